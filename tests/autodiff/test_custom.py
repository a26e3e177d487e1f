"""Gradients given by hand and gradients stopped."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import pytest

import xpnet as xn
from xpnet.autodiff.tape import TracedArray

ns = xn.array_namespace


def total(x: Any) -> Any:
    return ns(x).sum(x)


@xn.custom_gradient
def triple_slope(x: Any) -> Any:
    """Square, with three times its gradient: a slope that no composition of rules gives."""
    return x * x, lambda grad: 3.0 * (2.0 * x * grad)


@xn.custom_gradient
def scaled_product(x: Any, y: Any, scale: float = 1.0) -> Any:
    return x * y * scale, lambda grad: (grad * y * scale, grad * x * scale, None)


# What is given by hand.


def test_given_gradient_is_used(lib: Any) -> None:
    x = lib.asarray([1.0, -2.0])
    with lib.guard():
        value, gradient = xn.value_and_grad(lambda x: total(triple_slope(x)))(x)
    lib.close(value, 5.0)
    lib.close(gradient, [6.0, -12.0])


def test_gradient_that_arrives_is_passed_on(lib: Any) -> None:
    def f(x: Any, w: Any) -> Any:
        return total(w * triple_slope(x) + x)

    gradient = xn.grad(f)(lib.asarray([1.0, -2.0]), lib.asarray([10.0, 100.0]))
    lib.close(gradient, [61.0, -1199.0])


@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1, 0)])
def test_several_arguments(lib: Any, argnums: Any) -> None:
    x, y = lib.asarray(3.0), lib.asarray(5.0)
    gradient = xn.grad(lambda x, y: scaled_product(x, y, 2.0), argnums)(x, y)
    expected = {0: 10.0, 1: 6.0}
    if isinstance(argnums, int):
        lib.close(gradient, expected[argnums])
    else:
        for given, n in zip(gradient, argnums, strict=True):
            lib.close(given, expected[n])


def test_one_array_as_two_arguments_gets_the_sum(lib: Any) -> None:
    lib.close(xn.grad(lambda x: scaled_product(x, x, 2.0))(lib.asarray(3.0)), 12.0)


def test_none_stands_for_zero(lib: Any) -> None:
    @xn.custom_gradient
    def first_only(x: Any, y: Any) -> Any:
        return x * y, lambda grad: (grad * y, None)

    gradients = xn.grad(first_only, argnums=(0, 1))(lib.asarray(3.0), lib.asarray(5.0))
    lib.close(gradients[0], 5.0)
    lib.close(gradients[1], 0.0)


def test_arguments_that_are_not_arrays(lib: Any) -> None:
    @xn.custom_gradient
    def power(x: Any, exponent: int, *, offset: Any = None, name: str = "") -> Any:
        assert (exponent, name) == (3, "cube")
        return x**exponent + offset, lambda grad: (grad * exponent * x ** (exponent - 1), None)

    def f(x: Any, offset: Any) -> Any:
        return total(power(x, 3, offset=offset, name="cube"))

    gradient = xn.grad(f)(lib.asarray([2.0, 3.0]), lib.asarray([1.0, 1.0]))
    lib.close(gradient, [12.0, 27.0])


def test_gradient_has_the_dtype_of_the_argument(lib: Any) -> None:
    def f(x: Any, y: Any) -> Any:
        return total(scaled_product(x, y, 1.0))

    x, y = lib.asarray([2.0], "float32"), lib.asarray([3.0])
    of_x, of_y = xn.grad(f, argnums=(0, 1))(x, y)
    assert (of_x.dtype, of_y.dtype) == (lib.xp.float32, lib.xp.float64)
    lib.close(of_x, [3.0])
    lib.close(of_y, [2.0])


def test_outside_of_grad_it_is_the_function(lib: Any) -> None:
    lib.close(triple_slope(lib.asarray([3.0])), [9.0])
    lib.close(scaled_product(lib.asarray([3.0]), 2.0, scale=0.5), [3.0])
    assert scaled_product(3.0, 2.0, 0.5) == 3.0


def test_name_and_text_are_kept() -> None:
    assert triple_slope.__name__ == "triple_slope"
    assert triple_slope.__doc__.startswith("Square, with three times")


def test_callable_without_a_name(lib: Any) -> None:
    def scaled(factor: float, x: Any) -> Any:
        return factor * x, lambda grad: 2.0 * factor * grad

    f = xn.custom_gradient(functools.partial(scaled, 3.0))
    lib.close(xn.grad(f)(lib.asarray(1.0)), 6.0)


# Levels.


def test_second_order_differentiates_the_given_gradient(lib: Any) -> None:
    x = lib.asarray([1.0, -2.0])
    first = xn.grad(lambda x: total(x * triple_slope(x)))  # x^2 + 6 x^2

    def slope(x: Any) -> Any:
        return total(first(x))

    lib.close(first(x), [7.0, 28.0])
    # x^2 is differentiated by hand there too: 6 x, then (6 x^2)' = 12 x; so does PyTorch.
    lib.close(xn.grad(slope)(x), [18.0, -36.0])


def test_given_gradient_holds_at_the_outer_level_too(lib: Any) -> None:
    @xn.custom_gradient
    def straight_through(x: Any) -> Any:
        return ns(x).round(x), lambda grad: grad

    def value(x: Any) -> Any:
        return xn.value_and_grad(lambda y: straight_through(y) * 2.0)(x)[0]

    lib.close(xn.grad(value)(lib.asarray(1.25)), 2.0)


def test_third_order(lib: Any) -> None:
    @xn.custom_gradient
    def exp(x: Any) -> Any:
        value = ns(x).exp(x)
        return value, lambda grad: grad * exp(x)

    x = lib.asarray(0.5)
    lib.close(xn.grad(xn.grad(xn.grad(exp)))(x), math.exp(0.5))


def test_given_gradient_of_a_constant_of_the_outer_level(lib: Any) -> None:
    """The values that the vjp closes over are not traced, the gradient it gets is."""

    def slope(scale: Any, x: Any) -> Any:
        return xn.grad(lambda x: scale * triple_slope(x))(x)

    lib.close(xn.grad(slope)(lib.asarray(2.0), lib.asarray(5.0)), 30.0)


def test_argument_of_the_outer_level_inside_an_inner_function(lib: Any) -> None:
    """D/dx (x d/dy (x y)) at y = x is 2 x."""

    def outer(x: Any) -> Any:
        return x * xn.grad(lambda y: scaled_product(x, y, 1.0))(x)

    lib.close(xn.grad(outer)(lib.asarray(3.0)), 6.0)


# When the gradient is asked for.


@pytest.fixture
def counted() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @xn.custom_gradient
    def square(x: Any) -> Any:
        def vjp(grad: Any) -> Any:
            calls.append(1)
            return 2.0 * x * grad

        return x * x, vjp

    return square, calls


def test_vjp_is_called_once(lib: Any, counted: Any) -> None:
    square, calls = counted

    def f(x: Any) -> Any:
        y = square(x)
        return total(y + y * 2.0 - y)

    lib.close(xn.grad(f)(lib.asarray([3.0])), [12.0])
    assert calls == [1]


@pytest.mark.parametrize(
    "f",
    [
        lambda square, x, c: total(x) + total(square(c)),
        lambda square, x, c: total(x) + total(xn.stop_gradient(square(x))),
        lambda square, x, c: total(x) + total(square(xn.stop_gradient(x))),
        lambda square, x, c: total(x) + total(ns(x).floor(square(x))) * 0.0,
    ],
    ids=["constant", "stopped after", "stopped before", "zero derivative"],
)
def test_vjp_is_not_called_when_no_gradient_is_wanted(lib: Any, counted: Any, f: Any) -> None:
    square, calls = counted
    gradient = xn.grad(lambda x, c: f(square, x, c))(lib.asarray([2.0]), lib.asarray([3.0]))
    lib.close(gradient, [1.0])
    assert calls == []


def test_function_of_constants_only(lib: Any, counted: Any) -> None:
    square, _ = counted

    def f(x: Any, c: Any) -> Any:
        squared = square(c)
        assert ns(squared) is ns(x)  # it can be handed to any function of the namespace
        return total(x * squared)

    lib.close(xn.grad(f)(lib.asarray([2.0]), lib.asarray([3.0])), [9.0])


@pytest.mark.parametrize(("argnums", "called"), [(0, ["x"]), (1, ["y"]), ((0, 1), ["x", "y"])])
def test_gradient_given_as_a_function_is_computed_if_needed(
    lib: Any, argnums: Any, called: Any
) -> None:
    calls = []

    @xn.custom_gradient
    def product(x: Any, y: Any) -> Any:
        def vjp(grad: Any) -> Any:
            def of_x() -> Any:
                calls.append("x")
                return 2.0 * grad * y

            def of_y() -> Any:
                calls.append("y")
                return 3.0 * grad * x

            return of_x, of_y

        return x * y, vjp

    gradient = xn.grad(product, argnums)(lib.asarray(5.0), lib.asarray(7.0))
    assert calls == called
    expected = {"x": 14.0, "y": 15.0}
    gradients = gradient if isinstance(gradient, tuple) else (gradient,)
    for given, name in zip(gradients, called, strict=True):
        lib.close(given, expected[name])


def test_gradient_given_as_a_function_may_be_none(lib: Any) -> None:
    @xn.custom_gradient
    def constant(x: Any) -> Any:
        return x * x, lambda grad: lambda: None

    lib.close(xn.grad(constant)(lib.asarray(5.0)), 0.0)


# Mistakes.


@pytest.mark.parametrize("parts", [1, 3])
def test_wrong_number_of_gradients(lib: Any, parts: int) -> None:
    @xn.custom_gradient
    def product(x: Any, y: Any) -> Any:
        return x * y, lambda grad: (grad,) * parts

    match = (
        rf"the custom gradient of product returned {parts} gradients for 2 positional arguments; "
        "return one for each, None for zero"
    )
    with pytest.raises(ValueError, match=match):
        xn.grad(product)(lib.asarray(1.0), lib.asarray(2.0))


def test_gradient_of_a_wrong_shape(lib: Any) -> None:
    @xn.custom_gradient
    def mean(x: Any) -> Any:
        return ns(x).mean(x), lambda grad: grad / x.shape[0]

    match = (
        r"the custom gradient of mean has shape \(\) for an argument of shape \(2,\); "
        "they must be equal"
    )
    with pytest.raises(ValueError, match=match):
        xn.grad(mean)(lib.asarray([1.0, 2.0]))


def test_gradient_that_is_a_python_number(lib: Any) -> None:
    @xn.custom_gradient
    def twice(x: Any) -> Any:
        return 2.0 * x, lambda grad: 2.0

    with pytest.raises(TypeError, match=r"the custom gradient of twice .*float"):
        xn.grad(twice)(lib.asarray(1.0))


def test_differentiated_array_by_keyword(lib: Any) -> None:
    match = (
        "scaled_product: an array that is being differentiated was passed by keyword; "
        "a function with a custom gradient takes those as positional arguments"
    )
    with pytest.raises(xn.TracedArrayError, match=match):
        xn.grad(lambda x: scaled_product(x, y=x))(lib.asarray(1.0))


# Stopped gradients.


def test_stopped_array_is_a_constant(lib: Any) -> None:
    with lib.guard():
        gradient = xn.grad(lambda x: x**2 * xn.stop_gradient(x))(lib.asarray(3.0))
    lib.close(gradient, 18.0)


class Pair(NamedTuple):
    left: Any
    right: Any


def test_stopped_containers_keep_their_structure(lib: Any) -> None:
    def f(x: Any) -> Any:
        stopped = xn.stop_gradient({"a": [x, (x, 2.0)], "b": Pair(x, None)})
        assert list(stopped) == ["a", "b"]
        assert type(stopped["b"]) is Pair
        assert stopped["a"][1][1] == 2.0
        assert stopped["b"].right is None
        return x * (stopped["a"][0] + stopped["a"][1][0] + stopped["b"].left)

    lib.close(xn.grad(f)(lib.asarray(3.0)), 9.0)


def test_stopped_outside_of_grad_nothing_changes(lib: Any) -> None:
    x = lib.asarray([1.0])
    assert xn.stop_gradient(x) is x
    assert xn.stop_gradient([x, "text"])[0] is x


def test_stopped_at_all_levels(lib: Any) -> None:
    """The inner derivative of x s is s, a constant to the outer level as well."""

    def inner(x: Any) -> Any:
        return x * xn.stop_gradient(x**2)

    x = lib.asarray(3.0)
    lib.close(xn.grad(inner)(x), 9.0)
    lib.close(xn.grad(xn.grad(inner))(x), 0.0)
    # Stopped between the levels, the inner derivative still is one.
    lib.close(xn.grad(lambda x: xn.stop_gradient(xn.grad(inner)(x)) * x)(x), 9.0)


def test_stopped_array_gives_its_number(lib: Any) -> None:
    numbers = []

    def f(x: Any) -> Any:
        stopped = xn.stop_gradient(x)
        assert isinstance(stopped, TracedArray)
        numbers.append(float(stopped))
        return x

    xn.grad(xn.grad(lambda x: f(x) ** 2))(lib.asarray(3.0))
    assert numbers == [3.0]
