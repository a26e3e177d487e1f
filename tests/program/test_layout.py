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


@pytest.mark.usefixtures("engine")
def test_arrays_that_a_step_writes_are_moved_once_to_where_a_cache_line_begins() -> None:
    with xn.use_backend("numpy"):
        model, optimizer, run = nn.Linear(6, 5), optim.Adam(0.01), xn.compile(step)
        shifted = np.empty(31, np.float32)[1:].reshape(5, 6)
        shifted[...] = model.weight
        model.weight = shifted
        x, y = floats(9, 6), np.arange(9) % 3
        run(model, optimizer, x, y)
        run(model, optimizer, x, y)
        places = [each.ctypes.data for each in (model.weight, *optimizer.state["weight"].values())]
        run(model, optimizer, x, y)
        assert [place % 64 for place in places] == [0, 0, 0]
        assert model.weight.ctypes.data == places[0]


def test_large_arrays_start_at_distances_of_their_own_from_the_start_of_a_page() -> None:
    memory = pytest.importorskip("xpnet_backends.numpy.memory")
    shapes = [(64, 784), (784, 64), (5, 3), (0, 4), (4096,)]
    arrays = [memory.empty(shape, np.float32, order) for shape in shapes for order in "CF"]
    assert all(memory.is_aligned(array) for array in arrays)
    assert not memory.is_aligned(arrays[0][0, 1:])
    starts = [array.ctypes.data % 4096 for array in arrays if array.nbytes > 4096]
    assert len(set(starts)) == len(starts) == 6
    assert arrays[1].flags.f_contiguous
