"""Rules for the elementwise functions.

Conventions: where ``maximum``, ``minimum`` or ``clip`` tie, each operand gets half of the
gradient; ``abs`` and ``hypot`` have derivative 0 at 0, and so have the steps (``floor``, ``sign``
and so on) everywhere.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import composed, one, two
from xpnet.autodiff.tape import TracedArray, lift, raw
from xpnet.namespace import COMPLEX, dtype_kind

__all__: list[str] = []


def expit(x: Array) -> Array:
    """Return the logistic sigmoid, whose own gradient is given by hand; see `xpnet.special`."""
    from xpnet.special import expit

    return expit(x)


# One array.


@one("x")
def abs_(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d |x| = sign(x) dx, conj(x) / |x| dx for complex x; 0 at 0."""
    if dtype_kind(x) == COMPLEX:
        size = xp.abs(x)
        return grad * (xp.conj(x) / xp.where(size == 0, xp.ones_like(size), size))
    return xp.where(x > 0, grad, xp.where(x < 0, -grad, xp.zeros_like(grad)))


@one("x")
def acos(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d acos(x) = -dx / sqrt((1 - x) (1 + x)); the product keeps the digits near 1."""
    return -grad / xp.sqrt((1 - x) * (1 + x))


@one("x")
def acosh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d acosh(x) = dx / (sqrt(x - 1) sqrt(x + 1)); two roots, since the product can overflow."""
    return grad / (xp.sqrt(x - 1) * xp.sqrt(x + 1))


@one("x")
def asin(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d asin(x) = dx / sqrt((1 - x) (1 + x)); the product keeps the digits near 1."""
    return grad / xp.sqrt((1 - x) * (1 + x))


@one("x")
def asinh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d asinh(x) = dx / sqrt(1 + x^2), for real x by a hypot that does not overflow."""
    if dtype_kind(x) == COMPLEX:
        return grad / xp.sqrt(1 + x * x)
    return grad / xp.hypot(x, xp.ones_like(x))


@one("x")
def atan(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d atan(x) = dx / (1 + x^2)."""
    return grad / (1 + x * x)


@one("x")
def atanh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d atanh(x) = dx / ((1 - x) (1 + x)); the product keeps the digits near 1."""
    return grad / ((1 - x) * (1 + x))


@one(view=True)
def conj(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d conj(x) = conj(dx)."""
    return xp.conj(grad)


@one("x")
def cos(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d cos(x) = -sin(x) dx."""
    return -grad * xp.sin(x)


@one("x")
def cosh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d cosh(x) = sinh(x) dx."""
    return grad * xp.sinh(x)


@one("out")
def exp(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d exp(x) = exp(x) dx."""
    return grad * out


@one("x")
def expm1(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d expm1(x) = exp(x) dx; expm1(x) + 1 would be 0 below the rounding unit."""
    return grad * xp.exp(x)


@one(view=True)
def imag(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d imag(x) = imag(dx), by the convention for complex numbers -i times what arrives."""
    return xp.astype(grad, x.dtype) * -1j


@one("x")
def log(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d log(x) = dx / x."""
    return grad / x


@one("x")
def log1p(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d log(1 + x) = dx / (1 + x)."""
    return grad / (1 + x)


@one("x")
def log2(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d log2(x) = dx / (x log 2)."""
    return grad / (x * math.log(2))


@one("x")
def log10(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d log10(x) = dx / (x log 10)."""
    return grad / (x * math.log(10))


@one()
def negative(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d(-x) = -dx."""
    return -grad


@one(view=True)
def positive(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d(+x) = dx."""
    return grad


@one(view=True)
def real(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d real(x) = real(dx)."""
    return grad


@one("out")
def reciprocal(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d(1/x) = -dx / x^2."""
    return -grad * (out * out)


@one("x")
def sin(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d sin(x) = cos(x) dx."""
    return grad * xp.cos(x)


@one("x")
def sinh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d sinh(x) = cosh(x) dx."""
    return grad * xp.cosh(x)


@one("out")
def sqrt(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d sqrt(x) = dx / (2 sqrt(x))."""
    return grad / (2 * out)


@one("x")
def square(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d x^2 = 2 x dx."""
    return grad * (2 * x)


@one("out")
def tan(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d tan(x) = (1 + tan(x)^2) dx."""
    return grad * (1 + out * out)


@one("x")
def tanh(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d tanh(x) = sech(x)^2 dx = 4 s(2 x) s(-2 x) dx with the logistic sigmoid s.

    1 - tanh(x)^2 is 6 % off at x = 8 in float32, and 1 / cosh(x)^2 overflows near 89. It is what
    serves for complex x.
    """
    if dtype_kind(x) == COMPLEX:
        return grad / xp.square(xp.cosh(x))
    return grad * (4 * expit(2 * x) * expit(-2 * x))


# Two arrays.


@two(a="", b="")
def add(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(a + b) = da + db."""
    return grad, grad


@two(a="a b", b="a b")
def atan2(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d atan2(a, b) = (b da - a db) / r^2 with r = hypot(a, b); divided twice, r^2 may overflow."""
    r = xp.hypot(a, b)
    scaled = grad / r
    return (b / r) * scaled if need_a else None, -(a / r) * scaled if need_b else None


@two(a="a out", b="")
def copysign(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d copysign(a, b) = sign(a) sign(b) da, signs of zeros counted; 0 for b."""
    return (
        xp.where(xp.signbit(a) == xp.signbit(out), grad, -grad) if need_a else None,
        xp.zeros_like(grad) if need_b else None,
    )


@two(a="b", b="b out")
def divide(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(a / b) = (da - (a / b) db) / b."""
    grad_a = grad / b
    return grad_a, -grad_a * out if need_b else None


@two(a="a out", b="b out")
def hypot(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d hypot(a, b) = (a da + b db) / hypot(a, b); 0 at the origin."""
    safe = xp.where(out == 0, xp.ones_like(out), out)
    return grad * (a / safe) if need_a else None, grad * (b / safe) if need_b else None


@two(a="a b", b="a b")
def logaddexp(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d logaddexp(a, b) = s(a - b) da + s(b - a) db with the logistic sigmoid s.

    exp(a - out) would lose the digits that a and b have below those of out. Where both are -inf
    the derivative is 0.
    """
    none = xp.zeros_like(grad)
    infinite = (a == b) & ((a == math.inf) | (a == -math.inf))  # whose difference is nan
    gap = xp.where(infinite, none, a) - xp.where(infinite, none, b)
    grad = xp.where(infinite & (a == -math.inf), none, grad)
    return grad * expit(gap), grad * expit(-gap)


@two(a="a b", b="a b")
def maximum(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d max(a, b) = da where a > db, db where b > a, half of each where they tie."""
    return _select(xp, grad, a, b, need_a), _select(xp, grad, b, a, need_b)


@two(a="a b", b="a b")
def minimum(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d min(a, b) = da where a < b, db where b < a, half of each where they tie."""
    return _select(xp, grad, b, a, need_a), _select(xp, grad, a, b, need_b)


def _select(xp: Namespace, grad: Array, greater: Array, less: Array, needed: bool) -> Any:
    """Return the gradient of the operand that is chosen where ``greater > less``."""
    if not needed:
        return None
    return xp.where(greater > less, grad, xp.where(greater == less, grad / 2, 0.0))


@two(a="b", b="a")
def multiply(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(a b) = b da + a db."""
    return grad * b if need_a else None, grad * a if need_b else None


@two(a="a b", b="a b out")
def pow_(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d a^b = b a^(b-1) da + a^b log(a) db; b = 0 makes the first 0, a = 0 the second."""
    return (
        grad * _power_slope(xp, a, b) if need_a else None,
        grad * out * _log_or_zero(xp, a) if need_b else None,
    )


def _power_slope(xp: Namespace, a: Array, b: Any) -> Array:
    """b a^(b-1), without 0 times infinity at b = 0 and a = 0."""
    if not hasattr(b, "dtype"):
        return xp.zeros_like(a) if b == 0 else b * a if b == 2 else b * a ** (b - 1)
    if not dtype_kind(b):
        b = xp.astype(b, xp.result_type(a, b))  # an unsigned 0 - 1 would be large
    undefined = (a == 0) & (b == 0)
    return b * xp.where(undefined, xp.ones_like(a), a) ** (b - 1)


def _log_or_zero(xp: Namespace, a: Any) -> Any:
    if not hasattr(a, "dtype"):
        return math.log(a) if a > 0 else 0.0 if a == 0 else math.nan
    return xp.log(xp.where(a == 0, xp.ones_like(a), a))


@two(a="", b="a b")
def remainder(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(a mod b) = da - floor(a / b) db."""
    return grad, -grad * xp.floor(a / b) if need_b else None


@two(a="", b="")
def subtract(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(a - b) = da - db."""
    return grad, -grad if need_b else None


@composed
def clip(
    xp: Namespace,
    base: Any,
    x: Array,
    /,
    min: Any = None,
    max: Any = None,
) -> Array:
    """Clip by ``maximum`` and ``minimum``, whose ties share the gradient."""
    x = +x if min is None else xp.maximum(x, min)
    return x if max is None else xp.minimum(x, max)


@composed
def sign(xp: Namespace, base: Any, x: Array, /) -> Array:
    """Return a constant for real x; for complex x it is x / |x|, 0 at 0, which turns with x."""
    if not isinstance(x, TracedArray) or dtype_kind(x) != COMPLEX:
        return lift(xp, base(raw(x)))
    size = xp.abs(x)
    turned = x / xp.where(size == 0, xp.ones_like(size), size)
    return xp.where(size == 0, xp.zeros_like(x), turned)
