"""PyTorch's engine: numbers that change, `torch.compile`, and what runs where that fails."""

import functools
import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim, tree
from xpnet.program.host import host

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _backend() -> Iterator[None]:
    with xn.use_backend("torch"):
        yield


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Switch the compiler on."""
    dynamo = pytest.importorskip("torch._dynamo")
    monkeypatch.delenv("TORCHDYNAMO_DISABLE")
    with dynamo.config.patch(disable=False):
        yield dynamo


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run what the compiler is given as it is, and collect it."""
    found: list[Any] = []
    monkeypatch.delenv("TORCHDYNAMO_DISABLE")
    monkeypatch.setattr(torch, "compile", lambda graph, **options: found.append(graph) or graph)
    return found


def rate(step: int) -> float:
    """Return a rate that is another one in every step."""
    return 0.1 / (1 + step) if step % 3 else 0.01


def train(steps: int, *, compiled: bool, drop: float = 0.0) -> tuple[Any, Any]:
    """Return what a training leaves, and its step."""

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return losses.cross_entropy(model(x), y)

    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    xn.seed(0)
    rng = np.random.default_rng(0)
    linear = functools.partial(nn.Linear, dtype="float64")
    model = nn.Sequential(linear(5, 6), nn.Dropout(drop), nn.ReLU(), linear(6, 3))
    optimizer = optim.Clip(optim.Adam(rate), norm=0.5)
    run: Any = xn.compile(step) if compiled else step
    found = []
    for _ in range(steps):
        x, y = rng.normal(size=(7, 5)), rng.integers(3, size=7)
        found.append(run(model, optimizer, xn.asarray(x), xn.asarray(y)))
    return (found, model.state_dict(), optimizer.state_dict()), run


def assert_close(actual: Any, expected: Any, rtol: float) -> None:
    for a, b in tree.pairs(actual, expected):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.max(np.abs(b)))


def test_the_compiler_is_given_changing_numbers_as_arrays(graphs: list[Any]) -> None:
    expected, _ = train(9, compiled=False, drop=0.2)
    actual, step = train(9, compiled=True, drop=0.2)
    assert_close(actual, expected, rtol=0)
    assert len(graphs) == step.recordings == 1
    assert "engine: torch.compile" in step.explain()


def test_compiled_two_hundred_steps_equal_plain_ones_and_compile_once(dynamo: Any) -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("no C++ compiler")
    dynamo.utils.counters.clear()
    expected, _ = train(200, compiled=False)
    actual, step = train(200, compiled=True)
    assert "engine: torch.compile" in step.explain()
    assert dynamo.utils.counters["stats"]["unique_graphs"] == 1
    # It fuses operations, and sums in another order than one by one.
    assert_close(actual, expected, rtol=1e-5)


def test_numbers_promote_like_those_of_python(graphs: list[Any]) -> None:
    numbers = [0.0, 0]

    @xn.compile
    def step(x: Any, scalar: Any, whole: Any) -> Any:
        xp = xn.array_namespace(x)
        h, n = host(lambda: numbers)
        return [
            *(x * h, h - x, scalar * h, n * scalar, whole * n, whole * h, x**n),
            *(xp.maximum(x, h), xp.clip(x, 0.0, h), xp.where(x > 0, x, h), xp.add(scalar, h)),
            *(xp.full((2,), h, dtype=x.dtype), xp.full((2, 1), n, dtype=whole.dtype), h, n),
        ]

    arrays = [torch.tensor([-1.0, 2.0]), torch.tensor(0.3), torch.tensor([3], dtype=torch.int32)]
    for n in range(1, 5):
        numbers[:] = n / 7, n
        for actual, expected in zip(step(*arrays), step._function(*arrays), strict=True):
            assert type(actual) is type(expected)
            assert getattr(actual, "dtype", None) == getattr(expected, "dtype", None)
            assert torch.equal(torch.as_tensor(actual), torch.as_tensor(expected))
    assert len(graphs) == step.recordings == 1


def test_arrays_of_another_layout_are_welcome(dynamo: Any) -> None:
    step = xn.compile(lambda x: x @ x + 1)
    x = torch.arange(9.0).reshape(3, 3)
    for each in (x, x, x.T, x):
        assert torch.equal(step(each), each @ each + 1)
    assert step.recordings == 1
    assert "engine: torch.compile" in step.explain()


LAYOUTS = {
    "columns": lambda: torch.arange(12.0).reshape(3, 4).T,
    "every other": lambda: torch.arange(24.0).reshape(4, 6)[:, ::2],
    "spread": lambda: torch.arange(3.0).expand(4, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_compiled_takes_any_layout(graphs: list[Any], layout: str, first: bool) -> None:
    """What is traced of `reshape` is a view, which there is of one layout and not of another."""

    def flat(x: Any) -> Any:
        return xn.array_namespace(x).reshape(x, (-1,)) * 2

    step, given = xn.compile(flat), [LAYOUTS[layout](), torch.arange(12.0).reshape(4, 3)]
    for x in (given if first else given[::-1]) * 2:
        assert torch.equal(step(x), flat(x))
    assert "engine: torch.compile" in step.explain()
    assert len(graphs) == step.recordings == 1


def test_autograd_stays_off(graphs: list[Any]) -> None:
    step = xn.compile(lambda x: x * 2)
    x = torch.ones(2, requires_grad=True)
    step(x)
    assert not step(x).requires_grad
    assert graphs


def test_a_compiler_that_is_missing(dynamo: Any) -> None:
    config = pytest.importorskip("torch._inductor.config")
    with config.patch({"cpp.cxx": ("/nowhere/c++",), "force_disable_caches": True}):
        expected, _ = train(5, compiled=False)
        with pytest.warns(RuntimeWarning, match="(?s)runs as it is: .*/nowhere/c") as warned:
            actual, step = train(5, compiled=True)
    assert len(warned) == 1
    assert_close(actual, expected, rtol=0)
    engine, note = step.explain().split("\n")[1:3]
    assert engine == "engine: the functions of the library, one by one"
    assert note.startswith("not compiled: InductorError: ")
    assert "/nowhere/c++" in note


def test_a_compiler_that_is_switched_off() -> None:
    _, step = train(2, compiled=True)
    assert "one by one\nnot compiled: TORCHDYNAMO_DISABLE=1 is set" in step.explain()


def test_an_error_of_the_arguments_is_raised_and_not_noted(graphs: list[Any]) -> None:
    step = xn.compile(lambda x, indices: xn.array_namespace(x).take(x, indices, axis=0))
    x = torch.ones(3)
    for _ in range(2):
        step(x, torch.tensor([0, 2]))
    with pytest.raises(IndexError, match="out of range"):
        step(x, torch.tensor([0, 3]))
    assert "engine: torch.compile" in step.explain()
    assert graphs


def test_a_number_that_is_an_integer_at_first(graphs: list[Any]) -> None:
    numbers = iter([1, 1, 0.5, 0.5, 2])
    run = xn.compile(lambda x: x * host(lambda: next(numbers)))
    found = [float(run(xn.asarray([1.0]))[0]) for _ in range(5)]
    assert found == [1.0, 1.0, 0.5, 0.5, 2.0]
    assert len(graphs) == 2
