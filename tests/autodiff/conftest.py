"""What the tests of the extensions share: gradients against differences, JAX's and PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.backend import discover

HOST = xn.get_backend("numpy").namespace()
Call = Callable[..., Any]  # call(xp, *arrays) returns an array, or several

# A formula of six points is off by h^6 / 140 times the seventh derivative. Rounding adds some
# 1e-16 / h = 5e-14, and in the difference of differences 1e-16 / h^2 = 2.5e-11.
STEP = 2e-3
FIRST, SECOND = 1e-10, 2e-8


@pytest.fixture
def extended(lib: Any) -> Iterator[Any]:
    """Run the test on each library with its `linalg` and `fft` extensions."""
    if lib.name != "array_api_strict":
        yield lib
        return
    with lib.xp.ArrayAPIStrictFlags(enabled_extensions=("linalg", "fft")):
        yield lib


@pytest.fixture
def check(extended: Any) -> Checks:
    """Return the checks of a call on each library."""
    return Checks(extended)


class Checks:
    """Checks of ``call(xp, *inputs)`` at host arrays, all of which are variables."""

    def __init__(self, lib: Any) -> None:
        self.lib = lib

    def first(self, call: Call, inputs: tuple[np.ndarray, ...]) -> None:
        """The gradient equals differences, for all arrays together and for each one alone."""
        arrays = [self.lib.asarray(x, None) for x in inputs]
        f = projected(call, inputs, lambda w: self.lib.asarray(w, None))
        places = tuple(range(len(arrays)))
        with self.lib.guard():
            together = xn.grad(f, argnums=places)(*arrays)
            alone = [xn.grad(f, argnums=place)(*arrays) for place in places]
        truths = remembered(first_differences, call, inputs)
        for gradients in (together, alone):
            for gradient, x, truth in zip(gradients, arrays, truths, strict=True):
                assert gradient.shape == x.shape
                assert gradient.dtype == x.dtype
                self.lib.close(gradient, truth, FIRST)

    def second(self, call: Call, given: tuple[np.ndarray, ...]) -> None:
        """The gradient of a slope equals differences, also by what only scales the result."""
        inputs = (np.asarray(1.0), *given)
        arrays = [self.lib.asarray(x, None) for x in inputs]
        directions = [self.lib.asarray(direction(x), None) for x in inputs]
        places = tuple(range(len(arrays)))
        f = projected(scaled(call), inputs, lambda w: self.lib.asarray(w, None))

        def slope(*arrays: Any) -> Any:
            xp = xn.array_namespace(*arrays)
            gradients = xn.grad(f, argnums=places)(*arrays)
            return sum(total(xp, g, d) for g, d in zip(gradients, directions, strict=True))

        with self.lib.guard():
            gradients = xn.grad(slope, argnums=places)(*arrays)
        truths = remembered(second_differences, call, given)
        for gradient, truth in zip(gradients, truths, strict=True):
            size = np.max(np.abs(truth), initial=1.0)  # a second derivative may be 0
            self.lib.close(gradient, truth, SECOND, atol=SECOND * size)

    def single(self, call: Call, inputs: tuple[np.ndarray, ...]) -> None:
        """In single precision gradients are of single precision."""

        def asarray(x: np.ndarray) -> Any:
            return self.lib.asarray(x, "complex64" if x.dtype.kind == "c" else "float32")

        arrays = [asarray(x) for x in inputs]
        f = projected(call, inputs, asarray)
        gradients = xn.grad(f, argnums=tuple(range(len(arrays))))(*arrays)
        truths = remembered(first_differences, call, inputs)
        for gradient, x, truth in zip(gradients, arrays, truths, strict=True):
            assert gradient.dtype == x.dtype
            self.lib.close(gradient, truth, 1e-4)


@pytest.fixture(params=["jax", "torch"])
def agree(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Return a check that NumPy's gradients here are those that JAX and PyTorch take themselves."""
    name = request.param
    backend = discover()[name]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))

    def check(call: Call, inputs: tuple[np.ndarray, ...]) -> None:
        places = tuple(range(len(inputs)))
        f = projected(call, inputs, backend.from_host, backend.namespace())
        arrays = [backend.from_host(x) for x in inputs]
        if name == "jax":
            import jax

            truths = [np.asarray(g) for g in jax.jit(jax.grad(f, places))(*arrays)]
        else:
            for array in arrays:
                array.requires_grad_()
            f(*arrays).backward()
            truths = [
                np.zeros(array.shape)
                if array.grad is None
                else np.conj(backend.to_host(array.grad.resolve_conj()))
                for array in arrays
            ]
        gradients = xn.grad(projected(call, inputs), places)(*inputs)
        for gradient, truth in zip(gradients, truths, strict=True):
            size = np.max(np.abs(truth), initial=0.0)
            np.testing.assert_allclose(gradient, truth, rtol=0, atol=1e-12 * size)

    check.peer = name  # type: ignore[attr-defined]
    return check


def projected(
    call: Call, inputs: Any, asarray: Any = np.asarray, xp: Any = None
) -> Callable[..., Any]:
    """Return a function of the inputs: the weighted sum of the real parts of all results."""
    outs = [np.asarray(out) for out in outputs(call(HOST, *inputs))]
    weights = [asarray(weight(out)) for out in outs]

    def f(*arrays: Any) -> Any:
        space = xn.array_namespace(*arrays) if xp is None else xp
        results = outputs(call(space, *arrays))
        return sum(total(space, out, w) for out, w in zip(results, weights, strict=True))

    return f


def outputs(result: Any) -> Any:
    return result if isinstance(result, (list, tuple)) else [result]


def total(xp: Any, x: Any, w: Any) -> Any:
    """Return Re(sum(x w)), the convention of all gradients."""
    out = xp.sum(x * w)
    return xp.real(out) if xp.isdtype(out.dtype, "complex floating") else out


def weight(x: np.ndarray) -> np.ndarray:
    n = np.arange(math.prod(x.shape)).reshape(x.shape)
    return 1.5 + np.cos(1.0 + n) + (1j * np.cos(3.0 + n) if x.dtype.kind == "c" else 0.0)


def direction(x: np.ndarray) -> np.ndarray:
    n = np.arange(math.prod(x.shape)).reshape(x.shape)
    return np.cos(2.0 + n) + (1j * np.cos(5.0 + n) if x.dtype.kind == "c" else 0.0)


def difference(f: Callable[[float], Any]) -> Any:
    """Return f'(0)."""
    pairs = ((1, 45), (2, -9), (3, 1))
    return sum(c * (f(k * STEP) - f(-k * STEP)) for k, c in pairs) / (60 * STEP)


def differences(f: Callable[..., Any], inputs: Any) -> list[np.ndarray]:
    """Return the gradient by each input; by a complex one, d/dRe - i d/dIm."""
    gradients = []
    for n, x in enumerate(inputs):
        gradient = np.zeros_like(x)
        for place in np.ndindex(x.shape):
            for unit in (1.0, 1j)[: 1 + (x.dtype.kind == "c")]:

                def moved(t: float, n: int = n, place: Any = place, unit: Any = unit) -> Any:
                    step = np.zeros_like(inputs[n])
                    step[place] = t * unit
                    return f(*inputs[:n], inputs[n] + step, *inputs[n + 1 :])

                gradient[place] += difference(moved) * np.conj(unit)
        gradients.append(gradient)
    return gradients


def first_differences(call: Call, inputs: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Return the gradient of a call by each input."""
    return differences(projected(call, inputs), inputs)


def second_differences(call: Call, given: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Return the gradient of the slope along `direction`, by a scale of 1 and by each input."""
    inputs = (np.asarray(1.0), *given)
    f = projected(scaled(call), inputs)

    def slope(*arrays: Any) -> Any:
        pairs = [(x, direction(x)) for x in arrays]
        return difference(lambda t: f(*(x + t * d for x, d in pairs)))

    return differences(slope, inputs)


def scaled(call: Call) -> Call:
    """Return ``call(xp, scale, *inputs)``, which scales all results."""
    return lambda xp, scale, *arrays: [out * scale for out in outputs(call(xp, *arrays))]


_known: dict[tuple[int, int, int], tuple[Any, ...]] = {}


def remembered(function: Any, call: Call, inputs: tuple[np.ndarray, ...]) -> Any:
    """Return ``function(call, inputs)``, computed for the first library only."""
    key = id(function), id(call), id(inputs)
    if key not in _known:
        _known[key] = function(call, inputs), call, inputs  # which keeps their ids
    return _known[key][0]
