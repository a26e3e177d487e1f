"""The check of gradients finds what is wrong, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

import xpnet as xn
from xpnet import special

ns = xn.array_namespace


def off_by(factor: float) -> Any:
    @xn.custom_gradient
    def square(x: Any) -> Any:
        return x * x, lambda grad: 2.0 * factor * x * grad

    return square


def test_right_gradients(lib: Any) -> None:
    x, y = lib.asarray([[0.5, -1.0], [2.0, 0.25]], "float32"), lib.asarray([1.5, -0.5])
    xn.check_gradient(lambda x, y: ns(x, y).tanh(x @ y), x, y)
    xn.check_gradient(lambda p: {"a": p[0] ** 3, "b": [special.softmax(p[1])]}, [x, y], order=3)
    xn.check_gradient(lambda x, i: ns(x).take(x, i), y, lib.asarray([1, 1, 0], None))


def test_complex_numbers(lib: Any) -> None:
    z = lib.asarray([1 + 2j, -0.5j], "complex64")
    xn.check_gradient(lambda z: ns(z).exp(z) * ns(z).conj(z), z)
    xn.check_gradient(lambda z: ns(z).abs(z), z)


@pytest.mark.parametrize("factor", [1.0005, 0.0, float("nan")])
def test_wrong_gradient(lib: Any, factor: float) -> None:
    with pytest.raises(AssertionError, match=r"the gradient of square is wrong: along a random"):
        xn.check_gradient(off_by(factor), lib.asarray([0.5, -2.0]))


def test_wrong_second_derivative(lib: Any) -> None:
    @xn.custom_gradient
    def square(x: Any) -> Any:
        return x * x, lambda grad: 2.0 * xn.stop_gradient(x) * grad

    xn.check_gradient(square, lib.asarray([0.5, -2.0]), order=1)
    with pytest.raises(AssertionError, match=r"the gradient of order 2 of square is wrong"):
        xn.check_gradient(square, lib.asarray([0.5, -2.0]))


def test_a_kink_is_found(lib: Any) -> None:
    with pytest.raises(AssertionError):
        xn.check_gradient(lambda x: ns(x).abs(x), lib.asarray([0.0, 1.0]))


def test_nothing_to_check(lib: Any) -> None:
    with pytest.raises(TypeError, match="expected a floating-point array among the arguments"):
        xn.check_gradient(lambda i: i, lib.asarray([1], None))
