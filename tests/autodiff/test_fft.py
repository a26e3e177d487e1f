"""The differentiation rules of the `fft` extension."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.standard import EXTENSIONS

CASES: dict[str, list[tuple[Callable[..., Any], tuple[np.ndarray, ...]]]] = {}
NORMS = ("backward", "ortho", "forward")
ZERO = {"fftfreq", "rfftfreq"}
REAL = {"rfft", "ihfft", "rfftn"}  # those of real arrays
NAMES = sorted(set(EXTENSIONS["fft"].split()) - ZERO)


def case(name: str, x: np.ndarray, **options: Any) -> None:
    """Enter ``xp.fft.name(x, **options)``."""
    CASES.setdefault(name, []).append((lambda xp, x: getattr(xp.fft, name)(x, **options), (x,)))


def real(*shape: int) -> np.ndarray:
    return np.sin(1.0 + 1.7 * np.arange(math.prod(shape)) ** 1.1).reshape(shape)


def complex_(*shape: int) -> np.ndarray:
    return real(*shape) + 1j * real(*shape, 2)[..., 1]


# As long as the array, cut and padded, to even and to odd lengths.
for _name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"):
    _make = real if _name in REAL else complex_
    case(_name, _make(2, 5))
    for _n, _norm in zip((2, 3, 4, 5, 8, 9), NORMS * 2, strict=True):
        case(_name, _make(2, 5), n=_n, norm=_norm)
    for _norm in NORMS:
        case(_name, _make(2, 4), norm=_norm)
        case(_name, _make(5, 2), axis=0, n=4, norm=_norm)
    case(_name, _make(2, 3, 2), axis=-2, n=6)
    case(_name, _make(3), n=1)
for _name in ("fftn", "ifftn", "rfftn", "irfftn"):
    _make = real if _name in REAL else complex_
    for _norm in NORMS:
        case(_name, _make(2, 3, 2), norm=_norm)
        case(_name, _make(2, 3, 2), s=(4, 3), axes=(0, -1), norm=_norm)
        case(_name, _make(3, 4), s=(2, 5), axes=(1, 0), norm=_norm)
    case(_name, _make(2, 4), axes=(1,))
    case(_name, _make(3, 4), axes=(1, 0))
    case(_name, _make(2, 4), s=(3,), axes=(0,))
for _name in ("fftshift", "ifftshift"):
    case(_name, complex_(3, 4))
    case(_name, real(3, 4), axes=0)
    case(_name, real(3, 5), axes=(1, 0))


def test_every_function_has_a_case() -> None:
    assert sorted(CASES) == NAMES


def cases(lib: Any, name: str) -> Any:
    # JAX compiles anew for each call and shape, which takes it 0.1 s.
    return CASES[name][:1] if lib.name == "jax" else CASES[name]


@pytest.mark.parametrize("name", NAMES)
def test_gradient(lib: Any, check: Any, name: str) -> None:
    for call, inputs in cases(lib, name):
        check.first(call, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_second_order(lib: Any, check: Any, name: str) -> None:
    for call, inputs in cases(lib, name)[:4]:  # they are linear
        check.second(call, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(lib: Any, check: Any, name: str) -> None:
    for call, inputs in cases(lib, name)[:4]:
        check.single(call, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_gradients_of_others(agree: Any, name: str) -> None:
    for call, inputs in CASES[name][:8:2]:
        agree(call, inputs)


@pytest.mark.parametrize("name", ["fft", "ifft", "fftn", "ifftn"])
def test_a_real_array_gets_a_real_gradient(lib: Any, check: Any, name: str) -> None:
    if lib.name == "array_api_strict":
        pytest.skip("array-api-strict: the standard has these for complex arrays only")
    check.first(lambda xp, x: getattr(xp.fft, name)(x), (real(2, 5),))


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_stack(lib: Any, check: Any, name: str) -> None:
    if lib.name == "torch" and "shift" not in name:
        pytest.skip("PyTorch: no transforms of empty arrays")
    make = real if name in REAL else complex_
    options = {"axes": (1,)} if name.endswith(("n", "shift")) else {}
    check.first(lambda xp, x: getattr(xp.fft, name)(x, **options), (make(0, 3),))


@pytest.mark.parametrize("name", sorted(ZERO))
def test_frequencies_are_constants(extended: Any, name: str) -> None:
    lib = extended

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        frequencies = xp.astype(getattr(xp.fft, name)(6, d=0.5, device=x.device), x.dtype)
        return xp.sum(frequencies * frequencies * x)

    slope = np.sum(getattr(np.fft, name)(6, d=0.5) ** 2)
    lib.close(xn.grad(f)(lib.asarray(2.0)), slope, 1e-6)  # PyTorch's are float32
