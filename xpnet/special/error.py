"""The error function, its complement and the normal distribution function."""

from __future__ import annotations

import math
from collections.abc import Callable

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace

__all__ = ["bell", "erf", "erfc", "ndtr"]

# Numerators and denominators of Cody's rational functions, the highest power first: for erf(x) / x
# in x^2 below 15/32, for exp(x^2) erfc(x) in x up to 4, and for its remainder in 1 / x^2 above.
_NEAR = (
    (
        *(1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2),
        *(3.77485237685302021e2, 3.20937758913846947e3),
    ),
    (
        *(1.0, 2.36012909523441209e1, 2.44024637934444173e2),
        *(1.28261652607737228e3, 2.84423683343917062e3),
    ),
)
_FAR = (
    (
        *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0),
        *(6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2),
        *(1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    ),
    (
        *(1.0, 1.57449261107098347e1, 1.17693950891312499e2),
        *(5.37181101862009858e2, 1.62138957456669019e3, 3.29079923573345963e3),
        *(4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
    ),
)
_BEYOND = (
    (
        *(1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1),
        *(1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    ),
    (
        *(1.0, 2.56852019228982242e0, 1.87295284992346725e0),
        *(5.27905102951428412e-1, 6.05183413124413191e-2, 2.33520497626869185e-3),
    ),
)


@custom_gradient
def erf(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Error function, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``2 / sqrt(pi)`` times the integral of ``exp(-t^2)`` from 0 to x, of the shape and dtype
        of `x`.

    Notes
    -----
    With Cody's rational functions R and S it is ``x R(x^2)`` for ``|x| < 15/32`` and
    ``1 - exp(-x^2) S(x)`` above, mirrored below. S was made for ``x <= 4``; beyond, what is
    subtracted is below 2e-8 and needs few of its digits. At 6 it is below the rounding unit.
    All coefficients are positive, so no digits cancel in R and S. Against 40 digits at 24000
    points, the relative error was at most 4.5e-16 in float64 and 2.6e-7 in float32.

    The derivative is ``2 / sqrt(pi) exp(-x^2)``, whose relative error grows like x^2: it was at
    most 1.9e-15 and 1.1e-6 for ``|x| < 5``.

    References
    ----------
    .. [1] W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
       Computation 23, 1969, pages 631-637.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import erf
    >>> erf(xn.asarray([-10.0, 0.0, 0.5]))
    array([-1.        ,  0.        ,  0.52049994], dtype=float32)
    """
    xp = array_namespace(x)
    near = xp.clip(x, -6.0, 6.0)
    y = xp.abs(near)
    square = y * y
    small = near * _ratio(square, *_NEAR)
    large = xp.copysign(1 - xp.exp(-square) * _ratio(y, *_FAR), x)

    def vjp(grad: Array) -> Array:
        t = xp.clip(x, -30.0, 30.0)  # whose square is finite, and its exponential 0 beyond
        return grad * (2 / math.sqrt(math.pi) * xp.exp(-t * t))

    return xp.where(y < 0.46875, small, large), vjp


@custom_gradient
def erfc(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Complementary error function, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``1 - erf(x)``, of the shape and dtype of `x`, with all its digits where it is small.

    Notes
    -----
    For ``y = |x| >= 15/32`` it is ``exp(-y^2)`` times a rational function of Cody's, below it is
    ``1 - erf(y)``; negative `x` give ``2 - erfc(y)``. The square is taken exactly, so that the
    relative error does not grow with it: against 40 digits at 20000 points in [-6, 26], it was at
    most 6.8e-16 in float64, and 5.6e-7 in float32.

    The derivative is ``-2 / sqrt(pi) exp(-x^2)``.

    References
    ----------
    .. [1] W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of
       Computation 23, 1969, pages 631-637.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import erfc
    >>> [f"{float(erfc(xn.asarray(x))):.4g}" for x in (-10.0, 0.0, 5.0)]
    ['2', '1', '1.537e-12']
    """
    xp = array_namespace(x)
    e = bell(x)
    upper = _upper(xp.abs(x), e)
    value = xp.where(x < 0, 2 - upper, upper)
    return value, lambda grad: grad * (-2 / math.sqrt(math.pi) * bell(x))


@custom_gradient
def ndtr(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Distribution function of the standard normal distribution, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        The probability of a number below `x`, ``erfc(-x / sqrt(2)) / 2``, of the shape and dtype
        of `x`, with all its digits where it is small.

    Notes
    -----
    Computed like `erfc`, with the exponential of the exact square of `x` itself: the relative
    error was at most 7.9e-16 in float64 at 20000 points in [-37, 6], and 4.8e-7 in float32. The
    derivative is ``exp(-x^2 / 2) / sqrt(2 pi)``.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import ndtr
    >>> [f"{float(ndtr(xn.asarray(x))):.4g}" for x in (-10.0, 0.0, 10.0)]
    ['7.62e-24', '0.5', '1']
    """
    xp = array_namespace(x)
    upper = 0.5 * _upper(math.sqrt(0.5) * xp.abs(x), bell(x, 0.5))
    value = xp.where(x > 0, 1 - upper, upper)
    return value, lambda grad: grad * (bell(x, 0.5) / math.sqrt(2 * math.pi))


def bell(x: Array, scale: float = 1.0) -> Array:
    """Return ``exp(-scale * x**2)`` to a few rounding units; `scale` is a power of two.

    The square is split into one of few bits, which is exact, and a small rest.
    """
    xp = array_namespace(x)
    y = xp.clip(x, -40.0, 40.0)  # whose square is finite, and the result 0 there
    few = xp.round(y * 16) / 16
    return xp.exp(-scale * few * few) * xp.exp(-scale * (y - few) * (y + few))


def _upper(y: Array, e: Array) -> Array:
    """Return ``erfc(y)`` for ``y >= 0``, where ``e = exp(-y**2)``."""
    xp = array_namespace(y)
    y = xp.minimum(y, 40.0)
    near = 1 - y * _ratio(y * y, *_NEAR)
    middle = e * _ratio(xp.minimum(y, 4.0), *_FAR)
    z = 1 / xp.maximum(y, 1.0)
    square = z * z
    rest = square * _ratio(square, *_BEYOND)
    beyond = e * z * (1 / math.sqrt(math.pi) - rest)
    return xp.where(y < 0.46875, near, xp.where(y <= 4, middle, beyond))


def _ratio(x: Array, numerator: tuple[float, ...], denominator: tuple[float, ...]) -> Array:
    """Return the quotient of two polynomials of one degree, by Horner's rule."""
    a, b = numerator[0], denominator[0]
    for p, q in zip(numerator[1:], denominator[1:], strict=True):
        a, b = a * x + p, b * x + q
    return a / b
