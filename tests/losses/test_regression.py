"""The losses for numbers equal PyTorch's, gradients too, and broadcast nothing."""

import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import mse_loss

PREDICTIONS, TARGETS, DIRECTION = np.random.default_rng(1).normal(size=(3, 5, 3))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [None, (5,), (5, 3)])
def test_mse_loss_equals_that_of_torch(lib, reduction, shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    sample_weight = None if shape is None else rng.uniform(0.5, 2, shape)
    y, t = (torch.tensor(array, requires_grad=True) for array in (PREDICTIONS, TARGETS))
    weight = torch.ones(5, 3, dtype=torch.float64)
    if sample_weight is not None:
        weight = weight * torch.tensor(sample_weight.reshape(5, -1))
    expected = torch.nn.functional.mse_loss(y, t, reduction="none") * weight
    if reduction != "none":
        expected = expected.sum() / (weight.sum() if reduction == "mean" else 1)
    cotangent = rng.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(cotangent))

    def total(y: Any, t: Any, options: dict[str, Any], cotangent: Any) -> Any:
        loss = mse_loss(y, t, **options, reduction=reduction)
        return xn.array_namespace(y).sum(loss * cotangent)

    options = {} if sample_weight is None else {"sample_weight": lib.asarray(sample_weight)}
    arrays = lib.asarray(PREDICTIONS), lib.asarray(TARGETS), options, lib.asarray(cotangent)
    with lib.guard():
        value = mse_loss(*arrays[:2], **options, reduction=reduction)
        by_predictions, by_targets = xn.grad(total, argnums=(0, 1))(*arrays)
    lib.close(value, expected.detach())
    lib.close(by_predictions, y.grad)
    lib.close(by_targets, t.grad)


def test_mse_loss_of_the_worked_example(lib):
    value, gradient = xn.value_and_grad(mse_loss)(lib.asarray([1, 3]), lib.asarray([1, 1]))
    lib.close(value, 2)
    lib.close(gradient, [0, 2])


def test_gradient_equals_central_differences():
    step = 1e-3  # the third derivative is zero, so only rounding is left
    ahead, behind = (mse_loss(PREDICTIONS + h * DIRECTION, TARGETS) for h in (step, -step))
    along = np.sum(xn.grad(mse_loss)(PREDICTIONS, TARGETS) * DIRECTION)
    assert along == pytest.approx((ahead - behind) / (2 * step), rel=1e-7)


def test_the_loss_has_the_dtype_of_the_predictions(lib):
    y, t = lib.asarray(PREDICTIONS, "float32"), lib.asarray(TARGETS, "float32")
    weight = lib.asarray(np.ones(5))
    value, gradient = xn.value_and_grad(lambda y: mse_loss(y, t, sample_weight=weight))(y)
    assert value.dtype == gradient.dtype == lib.xp.float32


@pytest.mark.parametrize("targets", [np.zeros(3), np.zeros((1, 3)), np.zeros((3, 3))])
def test_shapes_must_be_equal(lib, targets):
    message = f"mse_loss: expected targets of the predictions' shape (3, 1), got {targets.shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mse_loss(lib.asarray(np.zeros((3, 1))), lib.asarray(targets))


def test_other_arguments_that_do_not_fit_are_refused(lib):
    x, whole = lib.asarray([1, 2]), lib.asarray([1, 2], None)
    message = "mse_loss: expected sample_weight of shape (2,), or of its first axes, got (3,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mse_loss(x, x, sample_weight=lib.asarray([1, 1, 1]))
    message = """mse_loss: reduction must be "mean", "sum" or "none", got None"""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        mse_loss(x, x, reduction=None)
    swapped = r"^mse_loss: expected floating-point predictions, got .*int64; the arguments look "
    with pytest.raises(
        TypeError, match=swapped + r"swapped: write mse_loss\(predictions, targets\)$"
    ):
        mse_loss(whole, x)
    with pytest.raises(TypeError, match=r"got .*int64; convert them with xp\.astype$"):
        mse_loss(whole, whole)
