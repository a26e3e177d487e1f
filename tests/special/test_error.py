"""The error functions are right to a few rounding units, and their derivatives follow."""

import math

import numpy as np
import pytest

import xpnet as xn
from xpnet import special

RNG = np.random.default_rng(5)
X = np.concatenate(
    [RNG.uniform(-7, 7, 500), RNG.normal(size=300) * 10.0 ** RNG.uniform(-30, 30, 300)]
)


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 4e-7), ("float64", 1e-15)])
def test_equal_to_that_of_scipy(lib, dtype, rtol):
    scipy_special = pytest.importorskip("scipy.special")
    host = X.astype(dtype)
    x = lib.asarray(host, dtype)
    with lib.guard():
        value = special.erf(x)
    assert value.dtype == getattr(lib.xp, dtype)
    lib.close(value, scipy_special.erf(host.astype("float64")), rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges(lib, dtype):
    x = lib.asarray([0, -0.0, math.inf, -math.inf, math.nan, 1e30, -1e30], dtype)
    expected = np.asarray([0, -0.0, 1, -1, math.nan, 1, -1])
    value = lib.to_host(special.erf(x))
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_array_equal(np.signbit(value[:2]), [False, True])

    def total(function):
        return lambda x: xn.array_namespace(x).sum(function(x))

    gradient = xn.grad(total(special.erf))
    slope = 2 / math.sqrt(math.pi)
    lib.close(gradient(x), [slope, slope, 0, 0, math.nan, 0, 0], 1e-6)
    second = xn.grad(total(gradient))(x)
    lib.close(second[:4], [0, 0, 0, 0])
    lib.close(second[5:], [0, 0])


@pytest.mark.parametrize("x", [-2.5, -0.3, 0.0, 0.46875, 1.0, 4.5])
def test_derivatives(lib, x):
    """Those of order n + 1 are 2 / sqrt(pi) (-1)^n H_n(x) exp(-x^2) with Hermite's polynomials."""
    function = special.erf
    for signed_hermite in (1, -2 * x, 4 * x**2 - 2, -8 * x**3 + 12 * x):
        function = xn.grad(function)
        expected = 2 / math.sqrt(math.pi) * signed_hermite * math.exp(-x * x)
        lib.close(function(lib.asarray(x)), expected, 1e-13, 1e-15)


def test_no_numbers(lib):
    assert tuple(special.erf(lib.asarray(np.ones((2, 0)))).shape) == (2, 0)


# Beyond, the results are no normal numbers.
LOWEST = {"float32": 12.5, "float64": 37.0}


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-6), ("float64", 1.5e-15)])
@pytest.mark.parametrize("name", ["erfc", "ndtr"])
def test_small_probabilities_have_all_digits(lib, name, dtype, rtol):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 30
    sign, scale, exact = {"erfc": (-1, 0.7, mpmath.erfc), "ndtr": (1, 1.0, mpmath.ncdf)}[name]
    host = (sign * scale * np.linspace(-LOWEST[dtype], 9, 500)).astype(dtype)
    x = lib.asarray(host, dtype)
    with lib.guard():
        value = getattr(special, name)(x)
    assert value.dtype == getattr(lib.xp, dtype)
    lib.close(value, [float(exact(mpmath.mpf(t))) for t in host.tolist()], rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_of_small_probabilities(lib, dtype):
    x = lib.asarray([0, -0.0, math.inf, -math.inf, math.nan, 1e30, -1e30], dtype)
    lib.close(special.erfc(x), [1, 1, 0, 2, math.nan, 0, 2], atol=0)
    lib.close(special.ndtr(x), [0.5, 0.5, 1, 0, math.nan, 1, 0], atol=0)


@pytest.mark.parametrize("x", [-12.3, -2.5, -0.3, 0.0, 0.46875, 1.0, 4.5])
def test_derivatives_of_small_probabilities(lib, x):
    """The bell curve with Hermite's polynomials He_n(x) for `ndtr`, H_n(x) for `erfc`."""
    ndtr, erfc = special.ndtr, special.erfc
    bell = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    steep = -2 / math.sqrt(math.pi) * math.exp(-x * x)
    for he, h in ((1, 1), (-x, -2 * x), (x * x - 1, 4 * x * x - 2)):
        ndtr, erfc = xn.grad(ndtr), xn.grad(erfc)
        lib.close(ndtr(lib.asarray(x)), he * bell, 1e-12, 1e-300)
        lib.close(erfc(lib.asarray(x)), h * steep, 1e-12, 1e-300)
