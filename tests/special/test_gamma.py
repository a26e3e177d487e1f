"""The logarithm of the gamma function, its zeros, poles and derivatives."""

import math
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import special

RNG = np.random.default_rng(6)
POSITIVE = np.concatenate([RNG.uniform(0.01, 30, 300), 10.0 ** RNG.uniform(-25, 25, 200)])
# Between the poles, not next to them, where rounding x to float32 would move the value.
NEGATIVE = -RNG.integers(0, 30, 200) - RNG.uniform(0.1, 0.9, 200)
X = np.concatenate([POSITIVE, NEGATIVE])

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def total(function: Any) -> Any:
    return lambda x: xn.array_namespace(x).sum(function(x))


def error(value: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error, relative to the value or to 1, in rounding units."""
    assert np.isfinite(value).all()
    errors = np.abs(value.astype("float64") - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.max(errors)) / np.finfo(value.dtype).eps


@each_dtype
@pytest.mark.parametrize(
    ("name", "reference", "units"), [("lgamma", "gammaln", 60), ("digamma", "psi", 20)]
)
def test_equal_to_that_of_scipy(lib, dtype, name, reference, units):
    scipy_special = pytest.importorskip("scipy.special")
    host = X.astype(dtype)
    with lib.guard():
        value = getattr(special, name)(lib.asarray(host, dtype))
    assert value.dtype == getattr(lib.xp, dtype)
    expected = getattr(scipy_special, reference)(host.astype("float64"))
    assert error(lib.to_host(value), expected) < units


@each_dtype
def test_lgamma_keeps_its_digits_next_to_its_zeros(lib, dtype):
    """By the series sum over k of zeta(k) (-d)^k / k, with -Euler's constant d for k = 1."""
    zeta = pytest.importorskip("scipy.special").zeta
    d = 2.0 ** -np.arange(7, 22, dtype="float64")
    d = np.concatenate([-d, d])  # of which 1 + d is exact in float32 too
    k = np.arange(2.0, 14.0)
    powers = (-d[:, None]) ** k / k
    at_one = -np.euler_gamma * d + powers @ zeta(k)
    at_two = (1 - np.euler_gamma) * d + powers @ (zeta(k) - 1)
    rtol = 16 * np.finfo(dtype).eps
    lib.close(special.lgamma(lib.asarray(1 + d, dtype)), at_one, rtol, atol=0)
    lib.close(special.lgamma(lib.asarray(2 + d, dtype)), at_two, rtol, atol=0)


@each_dtype
def test_lgamma_at_the_edges(lib, dtype):
    inf = math.inf
    x = lib.asarray([1, 2, 0, -0.0, -1, -7, inf, -inf, -1e20, math.nan, 1e-30, 1e30], dtype)
    value = lib.to_host(special.lgamma(x))
    np.testing.assert_array_equal(value[:10], [0, 0, inf, inf, inf, inf, inf, inf, inf, math.nan])
    log = 30 * math.log(10)
    np.testing.assert_allclose(value[10:], [log, 1e30 * (log - 1)], rtol=1e-6)
    nan, euler = math.nan, np.euler_gamma
    slopes = [-euler, 1 - euler, -inf, inf, nan, nan, inf, nan, nan, nan, -1e30, log]
    lib.close(xn.grad(total(special.lgamma))(x), slopes, 1e-6, atol=0)


@pytest.mark.parametrize("x", [-3.3, -0.5, 0.01, 0.49, 1.0, 1.46, 2.0, 7.5, 400.0])
def test_derivatives_equal_the_polygamma_functions_of_scipy(lib, x):
    scipy_special = pytest.importorskip("scipy.special")

    def reflected(n: int) -> float:
        """Return the n-th polygamma function, which SciPy has for positive arguments only."""
        if x > 0:
            return float(scipy_special.polygamma(n, x))
        c, pi = 1 / math.tan(math.pi * x), math.pi
        cotangents = (c, -pi * (1 + c**2), pi**2 * (2 * c + 2 * c**3))
        cotangents = (*cotangents, -(pi**3) * (2 + 8 * c**2 + 6 * c**4))
        return (-1) ** n * float(scipy_special.polygamma(n, 1 - x)) - pi * cotangents[n]

    function = special.lgamma
    for n in range(4):
        function = xn.grad(function)
        expected = reflected(n)
        lib.close(function(lib.asarray(x)), expected, 1e-12, 1e-14)


def test_first_derivatives_equal_central_differences():
    x = np.asarray([-2.7, -0.6, 0.3, 0.5, 1.5, 4.0])
    for function in (special.lgamma, special.digamma):
        step = 1e-5
        difference = (function(x + step) - function(x - step)) / (2 * step)
        np.testing.assert_allclose(xn.grad(total(function))(x), difference, rtol=1e-8)


@each_dtype
def test_second_order_keeps_dtype_and_shape(lib, dtype):
    x = lib.asarray(np.asarray([[0.5, 2.0, -1.5]]), dtype)
    with lib.guard():
        second = xn.grad(total(xn.grad(total(special.lgamma))))(x)
    assert second.dtype == getattr(lib.xp, dtype)
    at_half = math.pi**2 / 2
    lib.close(second, [[at_half, math.pi**2 / 6 - 1, at_half + 4 + 4 / 9]], 1e-6)


def test_derivatives_are_nan_at_the_poles(lib):
    second = xn.grad(total(special.digamma))(lib.asarray([0.0, -1.0, -math.inf, 1.0]))
    lib.close(second, [math.nan, math.nan, math.nan, math.pi**2 / 6])


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_equal_to_that_of_torch(name):
    torch = pytest.importorskip("torch")
    expected = getattr(torch.special, {"lgamma": "gammaln"}.get(name, name))(torch.tensor(X))
    assert error(getattr(special, name)(X), expected.numpy()) < 60


@pytest.mark.parametrize("name", ["lgamma", "digamma"])
def test_no_numbers(lib, name):
    assert tuple(getattr(special, name)(lib.asarray(np.ones((0, 3)))).shape) == (0, 3)
