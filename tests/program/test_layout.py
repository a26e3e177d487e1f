"""How weights lie in memory in a compiled step on NumPy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim


def floats(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return losses.cross_entropy(model(x), y)

    loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def trained(change: Callable[[Any], None], *, compiled: bool) -> dict[str, Any]:
    """Return the weights after some steps between which something happens to the model."""
    xn.seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    model.layers[2].freeze()
    optimizer = optim.Adam(0.01)
    run = xn.compile(step) if compiled else step
    for n in range(6):
        if n == 3:
            change(model)
        run(model, optimizer, floats(9, 6, seed=n), np.arange(9) % 3)
    return {**model.state_dict(), **{k: v for k, v in optimizer.state_dict().items() if "." in k}}


def nothing(model: Any) -> None:
    """Change nothing."""


def by_rows(model: Any) -> None:
    for layer in model.layers[::2]:
        layer.weight = np.ascontiguousarray(layer.weight)


def by_columns(model: Any) -> None:
    for layer in model.layers[::2]:
        layer.weight = np.asfortranarray(layer.weight)


def in_pieces(model: Any) -> None:
    for layer in model.layers[::2]:
        vars(layer)["weight"] = np.repeat(layer.weight, 2, axis=1)[:, ::2]


def without(model: Any) -> None:
    """Train in between without xn.compile."""
    other = optim.SGD(0.1)
    for n in range(4):
        step(model, other, floats(9, 6, seed=n), np.arange(9) % 3)


def with_another(model: Any) -> None:
    """Train in between with another program, which sees all gradients."""
    other, clipped = optim.Clip(optim.SGD(0.1), norm=0.1), xn.compile(step)
    for n in range(4):
        clipped(model, other, floats(9, 6, seed=n), np.arange(9) % 3)


@pytest.fixture(params=["planned", "kernels"])
def engine(request: pytest.FixtureRequest) -> None:
    """Compile for NumPy alone, and with kernels."""
    if request.param == "kernels":
        request.getfixturevalue("kernels")


@pytest.mark.parametrize("change", [nothing, by_rows, by_columns, in_pieces, without, with_another])
@pytest.mark.usefixtures("engine")
def test_weights_are_kept_by_columns_whatever_else_happens(change: Callable[[Any], None]) -> None:
    with xn.use_backend("numpy"):
        expected, found = (trained(change, compiled=compiled) for compiled in (False, True))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    if change is nothing:
        for name in ("0.weight", "4.weight", "0.weight.mean"):
            assert found[name].flags.f_contiguous
        assert found["2.weight"].flags.c_contiguous  # frozen
