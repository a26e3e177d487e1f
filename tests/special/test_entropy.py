"""The product with a logarithm equals SciPy's, and is finite with finite gradients at zero."""

import math
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import special

RNG = np.random.default_rng(4)
X = RNG.normal(size=(3, 1, 4))
Y = RNG.exponential(size=(2, 1))


def total(x: Any, y: Any) -> Any:
    return xn.array_namespace(x, y).sum(special.xlogy(x, y))


def test_xlogy_broadcasts_as_that_of_scipy(lib):
    scipy_special = pytest.importorskip("scipy.special")
    x, y = lib.asarray(X), lib.asarray(Y)
    with lib.guard():
        value = special.xlogy(x, y)
        of_x, of_y = xn.grad(total, (0, 1))(x, y)
    lib.close(value, scipy_special.xlogy(X, Y), 1e-14)
    lib.close(of_x, np.full(X.shape, np.sum(np.log(Y))), 1e-14)
    lib.close(of_y, np.sum(X) / Y, 1e-13)
    for argnum, both in ((0, of_x), (1, of_y)):
        lib.close(xn.grad(total, argnum)(x, y), lib.to_host(both), 0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conventions_at_zero(lib, dtype):
    inf, nan = math.inf, math.nan
    x = lib.asarray([0, -0.0, 0, 0, 0, 2], dtype)
    y = lib.asarray([0, 0, inf, 0.5, nan, inf], dtype)
    with lib.guard():
        value = special.xlogy(x, y)
        of_x, of_y = xn.grad(total, (0, 1))(x, y)
    assert value.dtype == of_x.dtype == of_y.dtype == getattr(lib.xp, dtype)
    lib.close(value, [0, 0, 0, 0, nan, inf])
    lib.close(of_x, [0, 0, 0, -math.log(2), nan, inf], 1e-7)
    lib.close(of_y, [0, 0, 0, 0, nan, 0])


def test_a_negative_number_counts_only_beside_a_zero(lib):
    lib.close(special.xlogy(lib.asarray(0.0), lib.asarray(-1.0)), 0.0)
    with np.errstate(invalid="ignore"):
        lib.close(special.xlogy(lib.asarray(1.0), lib.asarray(-1.0)), math.nan)


def test_mixed_second_derivative(lib):
    """D/dx d/dy x log y = 1 / y, and that of the y-derivative by y is -x / y^2."""
    x, y = lib.asarray(3.0), lib.asarray(5.0)
    for argnum, expected in ((0, 1 / 5), (1, -3 / 25)):
        lib.close(xn.grad(xn.grad(special.xlogy, 1), argnum)(x, y), expected, 1e-14)


def test_gradients_have_the_dtypes_of_the_arguments(lib):
    of_x, of_y = xn.grad(total, (0, 1))(lib.asarray([2.0], "float32"), lib.asarray([3.0]))
    assert (of_x.dtype, of_y.dtype) == (lib.xp.float32, lib.xp.float64)


def test_no_terms(lib):
    assert tuple(special.xlogy(lib.asarray(np.ones((0, 2))), lib.asarray(1.0)).shape) == (0, 2)
