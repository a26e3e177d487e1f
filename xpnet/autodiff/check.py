"""A test of gradients against differences."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.autodiff.run import name_of
from xpnet.autodiff.transform import value_and_grad
from xpnet.backend import HOST, use_backend
from xpnet.namespace import COMPLEX, array_namespace, dtype_kind, is_array

__all__ = ["check_gradient"]

# Six points: the formula is off by h^6 / 140 times the seventh derivative, and rounding by some
# 1e-16 / h, so that both stay below 1e-12 for functions that vary on a scale of 1.
_STEP = 2e-3
_FORMULA = ((1, 45), (2, -9), (3, 1))


def check_gradient(
    function: Callable[..., Any],
    *args: Any,
    order: int = 2,
    rtol: float = 1e-7,
    step: float = _STEP,
    seed: int = 0,
) -> None:
    """Check the gradient of a function against differences of its values.

    Parameters
    ----------
    function : callable
        Returns a floating-point array of any shape, or a nested list, tuple or dict of them. It
        must be smooth within a few steps of the point.
    *args : array or tree of arrays
        The point. Floating-point arrays are checked, in float64 or complex128; everything else is
        passed on.
    order : int, optional
        How often to differentiate, by default 2: the gradient of the gradient is checked too.
    rtol : float, optional
        How large the error may be, relative to the sum of what adds up to the derivative.
    step : float, optional
        Of the differences; choose it some 500 times smaller than the scale on which the function
        varies.
    seed : int, optional
        Of the random numbers.

    Raises
    ------
    AssertionError
        If the gradient is wrong; the message says of which order, and both numbers.
    TypeError
        If there is no floating-point array among the arguments.

    Notes
    -----
    All derivatives are checked at once, along one random direction and for one random weight of
    each element of the value (so a wrong one shows, unless by chance). The differences are
    central, of six points.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.check_gradient(lambda x: xn.array_namespace(x).tanh(x), xn.asarray([0.5, -2.0]))

    A function whose gradient was given by hand, 0.05 % off:

    >>> @xn.custom_gradient
    ... def square(x):
    ...     return x * x, lambda grad: 2.001 * x * grad
    >>> xn.check_gradient(square, xn.asarray([0.5, -2.0]))
    Traceback (most recent call last):
    ...
    AssertionError: the gradient of square is wrong: along a random direction ...
    """
    from xpnet.random import Generator
    from xpnet.transfer import put_like

    generator = Generator(seed)

    def random_like(x: Array) -> Array:
        with use_backend(HOST):
            host = generator.normal(tuple(x.shape), dtype="float64")
            if dtype_kind(x) == COMPLEX:
                host = host + 1j * generator.normal(tuple(x.shape), dtype="float64")
        return put_like(host, x)

    point = tree.map(_widened, args)
    variables = [x for x in tree.leaves(point) if _is_floating(x)]
    if not variables:
        raise TypeError("check_gradient: expected a floating-point array among the arguments")
    weights: dict[int, Array] = {}

    def projected(variables: list[Array]) -> Array:
        value = function(*_filled(point, variables))
        terms = []
        for place, y in enumerate(tree.leaves(value)):
            if place not in weights:
                weights[place] = random_like(y)
            terms.append(_pairing(y, weights[place]))
        return sum(terms[1:], start=terms[0])

    name = name_of(function)
    projected(variables)  # draws the weights
    for n in range(1, order + 1):
        direction = [random_like(x) for x in variables]
        slope = _slope(projected, direction)
        found, scale = (float(number) for number in slope(variables))
        differences = _difference(projected, variables, direction, step)
        if not abs(found - differences) <= rtol * scale:  # nan is an error too
            of = "gradient" if n == 1 else f"gradient of order {n}"
            raise AssertionError(
                f"the {of} of {name} is wrong: along a random direction it gives {found:.12g}, "
                f"differences give {differences:.12g}; they may be {rtol * scale:.3g} apart"
            )
        projected = functools.partial(_first, slope)


def _slope(
    function: Callable[[list[Array]], Array], direction: list[Array]
) -> Callable[[list[Array]], tuple[Array, Array]]:
    """Return the derivative along a direction, and the sum of what adds up to it, all positive."""

    def slope(variables: list[Array]) -> tuple[Array, Array]:
        _, gradients = value_and_grad(function)(variables)
        xp = array_namespace(*gradients)
        parts = [_pairing(g, d) for g, d in zip(gradients, direction, strict=True)]
        sizes = [xp.sum(xp.abs(g * d)) for g, d in zip(gradients, direction, strict=True)]
        return sum(parts[1:], start=parts[0]), sum(sizes[1:], start=sizes[0])

    return slope


def _first(slope: Callable[[list[Array]], tuple[Array, Array]], variables: list[Array]) -> Array:
    return slope(variables)[0]


def _difference(
    function: Callable[[list[Array]], Array],
    variables: list[Array],
    direction: list[Array],
    step: float,
) -> float:
    """Return the derivative along a direction by six values."""

    def value(t: float) -> float:
        return float(function([x + t * d for x, d in zip(variables, direction, strict=True)]))

    pairs = [c * (value(k * step) - value(-k * step)) for k, c in _FORMULA]
    return sum(pairs) / (60 * step)


def _pairing(a: Array, b: Array) -> Array:
    """Return the real part of the sum of products, without a conjugate."""
    xp = array_namespace(a)
    total = xp.sum(a * b)
    return xp.real(total) if dtype_kind(total) == COMPLEX else total


def _is_floating(x: Any) -> bool:
    return is_array(x) and dtype_kind(x) != ""


def _widened(x: Any) -> Any:
    if not _is_floating(x):
        return x
    xp = array_namespace(x)
    return xp.astype(x, xp.complex128 if dtype_kind(x) == COMPLEX else xp.float64)


def _filled(point: Tree, variables: list[Array]) -> Tree:
    """Return the arguments with other floating-point arrays in the place of theirs."""
    each = iter(variables)
    return tree.map(lambda x: next(each) if _is_floating(x) else x, point)
