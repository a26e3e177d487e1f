"""What all losses have in common: peers' values, gradients of all arguments, weights, errors."""

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses

RNG = np.random.default_rng(1)
NUMBERS, OTHERS = RNG.normal(size=(2, 5, 3))
SHARES, OTHER_SHARES = RNG.uniform(0.05, 0.95, size=(2, 5, 3))
ROWS, OTHER_ROWS = RNG.dirichlet(np.ones(4), (2, 5))


def functional(name: str, **options: Any) -> Callable[..., Any]:
    """Return the losses of the elements, by a function of PyTorch."""

    def theirs(predictions: Any, targets: Any) -> Any:
        torch = pytest.importorskip("torch")
        function = getattr(torch.nn.functional, name)
        return function(predictions, targets, reduction="none", **options)

    return theirs


def gaussian(full: bool) -> Callable[..., Any]:
    def theirs(mean: Any, targets: Any, log_variance: Any) -> Any:
        torch = pytest.importorskip("torch")
        return torch.nn.functional.gaussian_nll_loss(
            mean, targets, log_variance.exp(), full=full, eps=0.0, reduction="none"
        )

    return theirs


def multiclass_hinge(scores: Any, targets: Any) -> Any:
    torch = pytest.importorskip("torch")
    true = torch.nn.functional.one_hot(targets, scores.shape[-1]).to(scores.dtype)
    return (scores + 1 - true).max(-1).values - (scores * true).sum(-1)


class Case(NamedTuple):
    """A loss, the losses of the samples by a peer, and what both take, predictions first."""

    loss: Callable[..., Any]
    theirs: Callable[..., Any]
    arrays: dict[str, np.ndarray]
    options: dict[str, Any]


def case(loss: Any, theirs: Any, predictions: Any, targets: Any, /, **more: Any) -> Case:
    options = {name: value for name, value in more.items() if not isinstance(value, np.ndarray)}
    extra = {name: value for name, value in more.items() if isinstance(value, np.ndarray)}
    return Case(loss, theirs, {"predictions": predictions, "targets": targets, **extra}, options)


bce, kl = losses.binary_cross_entropy, losses.kl_div
CASES = {
    "mse": case(losses.mse_loss, functional("mse_loss"), NUMBERS, OTHERS),
    "l1": case(losses.l1_loss, functional("l1_loss"), NUMBERS, OTHERS),
    "huber": case(losses.huber_loss, functional("huber_loss"), NUMBERS, OTHERS),
    "huber 0.3": case(
        losses.huber_loss, functional("huber_loss", delta=0.3), NUMBERS, OTHERS, delta=0.3
    ),
    "logits": case(bce, functional("binary_cross_entropy_with_logits"), NUMBERS, OTHER_SHARES),
    "probabilities": case(
        bce, functional("binary_cross_entropy"), SHARES, OTHER_SHARES, from_logits=False
    ),
    "hinge": case(
        losses.hinge_loss, lambda s, t: (1 - t * s).clamp(min=0), NUMBERS, (OTHERS > 0) * 2 - 1
    ),
    "multiclass hinge": case(
        losses.multiclass_hinge_loss, multiclass_hinge, np.log(ROWS), np.asarray([0, 3, 1, 1, 2])
    ),
    "kl": case(kl, lambda p, q: (q * (q.log() - p)).sum(-1), np.log(ROWS), OTHER_ROWS),
    "kl, columns": case(
        kl, lambda p, q: (q * (q.log() - p)).sum(0), np.log(ROWS), OTHER_ROWS, axis=0
    ),
    "kl of logarithms": case(
        kl,
        lambda p, q: functional("kl_div", log_target=True)(p, q).sum(-1),
        np.log(ROWS),
        np.log(OTHER_ROWS),
        log_target=True,
    ),
    "gaussian": case(
        losses.gaussian_nll_loss, gaussian(False), NUMBERS, OTHERS, log_variance=2 * SHARES
    ),
    "gaussian, full": case(
        losses.gaussian_nll_loss, gaussian(True), NUMBERS, OTHERS, log_variance=-SHARES, full=True
    ),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_reduction = pytest.mark.parametrize("reduction", ["mean", "sum", "none"])


KEYWORDS = ("log_variance", "sample_weight")


def call(case: Case, arrays: dict[str, Any], **options: Any) -> Any:
    predictions, targets, *_ = arrays.values()
    extra = {name: array for name, array in arrays.items() if name in KEYWORDS}
    return case.loss(predictions, targets, **extra, **case.options, **options)


def reduced_by_torch(values: Any, weight: Any, reduction: str) -> Any:
    if weight is None:
        return {"mean": values.mean(), "sum": values.sum(), "none": values}[reduction]
    weight = weight.reshape(-1, *[1] * (values.ndim - 1)).expand(values.shape)
    values = values * weight
    if reduction == "mean":
        return values.sum() / weight.sum()
    return values.sum() if reduction == "sum" else values


@every_case
@every_reduction
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_values_and_all_gradients_equal_those_of_torch(lib, case, reduction, weighted):
    torch = pytest.importorskip("torch")
    host = dict(case.arrays)
    theirs = {
        name: torch.tensor(array, requires_grad=array.dtype.kind == "f")
        for name, array in host.items()
    }
    values = case.theirs(*theirs.values())
    if weighted:
        host["sample_weight"] = np.random.default_rng(2).uniform(0.5, 2, values.shape[0])
        theirs["sample_weight"] = torch.tensor(host["sample_weight"], requires_grad=True)
    expected = reduced_by_torch(values, theirs.get("sample_weight"), reduction)
    cotangent = np.random.default_rng(3).normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(cotangent))

    def total(leaves: Any, whole: Any, cotangent: Any) -> Any:
        arrays = {name: leaves.get(name, whole.get(name)) for name in host}
        loss = call(case, arrays, reduction=reduction)
        return xn.array_namespace(loss).sum(loss * cotangent)

    arrays = {name: lib.asarray(array, None) for name, array in host.items()}
    leaves = {name: array for name, array in arrays.items() if theirs[name].requires_grad}
    whole = {name: array for name, array in arrays.items() if name not in leaves}
    with lib.guard():
        value = call(case, arrays, reduction=reduction)
        gradients = xn.grad(total)(leaves, whole, lib.asarray(cotangent))
    lib.close(value, expected.detach())
    for name, gradient in gradients.items():
        lib.close(gradient, theirs[name].grad)


@every_case
def test_gradients_of_gradients_equal_central_differences(case):
    arrays, scale = case.arrays, 1e-6
    direction = np.random.default_rng(4).normal(size=arrays["predictions"].shape)

    def loss(predictions: Any) -> Any:
        return call(case, {**arrays, "predictions": predictions})

    def slope(predictions: Any) -> Any:
        return np.sum(xn.grad(loss)(predictions) * direction)

    def along(predictions: Any) -> Any:
        gradient = xn.grad(loss)(predictions)
        return xn.array_namespace(gradient).sum(gradient * direction)

    x = arrays["predictions"]
    difference = (slope(x + scale * direction) - slope(x - scale * direction)) / (2 * scale)
    second = np.sum(xn.grad(along)(x) * direction)
    assert second == pytest.approx(difference, rel=1e-7, abs=1e-8)


@every_case
def test_the_loss_has_the_dtype_of_the_predictions(lib, case):
    arrays = {name: lib.asarray(array, None) for name, array in case.arrays.items()}
    arrays["sample_weight"] = lib.asarray(np.ones(4 if case.options.get("axis") == 0 else 5))
    x = lib.asarray(case.arrays["predictions"], "float32")
    value, gradient = xn.value_and_grad(lambda x, arrays: call(case, {**arrays, "predictions": x}))(
        x, arrays
    )
    assert value.dtype == gradient.dtype == lib.xp.float32


@every_case
def test_other_arrays_may_be_closed_over(lib, case):
    arrays = {name: lib.asarray(array, None) for name, array in case.arrays.items()}
    for name in (name for name, array in case.arrays.items() if array.dtype.kind == "f"):

        def loss(x, arrays, name=name):
            return call(case, {**arrays, name: x})

        with lib.guard():
            closed = xn.grad(lambda x, loss=loss: loss(x, arrays))(arrays[name])
            passed = xn.grad(loss)(arrays[name], arrays)
        lib.close(closed, lib.to_host(passed), 1e-15)


@every_case
def test_weight_zero_leaves_a_sample_out(lib, case):
    if case.options.get("axis") == 0:
        pytest.skip("the samples are columns here")
    part = {name: lib.asarray(array[1:], None) for name, array in case.arrays.items()}
    arrays = {name: lib.asarray(array, None) for name, array in case.arrays.items()}
    arrays["sample_weight"] = lib.asarray([0, 1, 1, 1, 1])
    lib.close(call(case, arrays), lib.to_host(call(case, part)))


# Errors

PREDICTIONS = {
    losses.binary_cross_entropy: "logits",
    losses.gaussian_nll_loss: "mean",
    losses.hinge_loss: "scores",
    losses.huber_loss: "predictions",
    losses.kl_div: "log_predictions",
    losses.l1_loss: "predictions",
    losses.mse_loss: "predictions",
    losses.multiclass_hinge_loss: "scores",
}
every_loss = pytest.mark.parametrize("loss", PREDICTIONS, ids=lambda loss: loss.__name__)


def more(loss: Callable[..., Any], like: Any) -> dict[str, Any]:
    return {"log_variance": like} if loss is losses.gaussian_nll_loss else {}


def test_every_loss_is_tested_here_or_with_the_classes():
    others = {losses.cross_entropy, losses.nll_loss, losses.check_labels}
    assert {getattr(losses, name) for name in losses.__all__} == {*PREDICTIONS, *others}
    assert {case.loss for case in CASES.values()} == set(PREDICTIONS)


@pytest.mark.parametrize("loss", [*PREDICTIONS, losses.cross_entropy, losses.nll_loss])
def test_all_after_the_second_argument_is_given_by_keyword(loss):
    first, second, *rest = inspect.signature(loss).parameters.values()
    assert first.kind is second.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert second.name == "targets"
    assert {parameter.kind for parameter in rest} == {inspect.Parameter.KEYWORD_ONLY}


@every_loss
@pytest.mark.parametrize(
    ("shape", "given", "cure"),
    [
        ((3, 1), (3,), "write xp.squeeze({name}, axis=-1)"),
        ((3,), (3, 1), "write xp.squeeze(targets, axis=-1)"),
        ((3, 2), (2,), "nothing is broadcast"),
        ((3, 2), (1, 2), "nothing is broadcast"),
    ],
)
def test_shapes_must_be_equal(lib, loss, shape, given, cure):
    if loss is losses.multiclass_hinge_loss:
        pytest.skip("its shapes are those of cross_entropy")
    name = PREDICTIONS[loss]
    message = (
        f"{loss.__name__}: expected targets of the shape of {name}, {shape}, got {given}; "
        + cure.format(name=name)
    )
    x = lib.asarray(np.zeros(shape))
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(x, lib.asarray(np.zeros(given)), **more(loss, x))


@every_loss
def test_swapped_arguments_are_recognized(lib, loss):
    x, whole, name = lib.asarray([1, 2]), lib.asarray([1, 2], None), PREDICTIONS[loss]
    start = f"{loss.__name__}: expected floating-point {name}, got "
    swapped = f"; the arguments look swapped: write {loss.__name__}({name}, targets)"
    with pytest.raises(TypeError, match=f"^{re.escape(start)}.*int64{re.escape(swapped)}$"):
        loss(whole, x, **more(loss, x))
    with pytest.raises(TypeError, match=r"got .*int64; convert them with xp\.astype$"):
        loss(whole, whole, **more(loss, x))


@every_loss
def test_weights_and_reductions_that_do_not_fit_are_refused(lib, loss):
    x, t = lib.asarray(np.zeros((2, 2))), lib.asarray(np.zeros((2, 2)))
    shape = (2, 2)
    if loss is losses.multiclass_hinge_loss:
        t, shape = lib.asarray([0, 1], None), (2,)
    if loss is losses.kl_div:
        shape = (2,)
    message = (
        f"{loss.__name__}: expected sample_weight of shape {shape}, or of its first axes, got (3,)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(x, t, sample_weight=lib.asarray([1, 1, 1]), **more(loss, x))
    with pytest.raises(TypeError, match=r"expected arrays, got list"):
        loss(x, t, sample_weight=[1, 1], **more(loss, x))
    message = f"""{loss.__name__}: reduction must be "mean", "sum" or "none", got None"""
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        loss(x, t, reduction=None, **more(loss, x))
