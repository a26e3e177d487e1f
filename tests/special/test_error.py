"""The error function is right to a few rounding units, and its derivatives follow."""

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
