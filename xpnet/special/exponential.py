"""Sigmoid, softmax, their logarithms, and the logarithm of a sum of exponentials."""

from __future__ import annotations

import math
from collections.abc import Callable

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient, stop_gradient
from xpnet.namespace import array_namespace

__all__ = ["expit", "log_softmax", "logsumexp", "softmax", "softplus"]


@custom_gradient
def expit(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Logistic sigmoid, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``1 / (1 + exp(-x))``, of the shape and dtype of `x`.

    Notes
    -----
    With ``e = exp(-|x|)``, which cannot overflow, it is ``1 / (1 + e)`` for ``x >= 0`` and
    ``e / (1 + e)`` below. The derivative ``expit(x) * expit(-x)`` keeps its digits where
    ``y * (1 - y)`` is rounded to zero, and is as smooth at 0 as the function.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import expit
    >>> expit(xn.asarray([-1e4, 0.0, 1e4]))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    xp = array_namespace(x)
    e = xp.exp(-xp.abs(x))
    value = xp.where(x >= 0, xp.ones_like(e), e) / (1 + e)
    return value, lambda grad: grad * (expit(x) * expit(-x))


@custom_gradient
def softplus(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Logarithm of one plus the exponential, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``log(1 + exp(x))``, of the shape and dtype of `x`.

    Notes
    -----
    Computed as ``max(x, 0) + log1p(exp(-|x|))``. The derivative is the logistic sigmoid. Also
    known as log1pexp.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import softplus
    >>> softplus(xn.asarray([-1e4, 1e4]))
    array([    0., 10000.], dtype=float32)
    """
    xp = array_namespace(x)
    value = xp.maximum(x, xp.zeros_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))
    return value, lambda grad: grad * expit(x)


@custom_gradient
def softmax(x: Array, /, *, axis: int = -1) -> tuple[Array, Callable[[Array], Array]]:
    """Exponentials that are scaled to sum to one along an axis.

    Parameters
    ----------
    x : array, real floating
        Scores; -inf gives a probability of exactly 0.
    axis : int, optional
        The axis of the classes, by default the last.

    Returns
    -------
    array
        Of the shape and dtype of `x`; nan where all scores of a row are -inf.

    Notes
    -----
    The maximum is subtracted before anything else, so nothing overflows. With ``p = softmax(x)``
    the gradient is ``p * (g - sum(p * g))``.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import softmax
    >>> softmax(xn.asarray([1e4, 1e4]))
    array([0.5, 0.5], dtype=float32)
    """
    xp = array_namespace(x)
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    p = e / xp.sum(e, axis=axis, keepdims=True)
    return p, lambda grad: p * (grad - xp.sum(p * grad, axis=axis, keepdims=True))


@custom_gradient
def log_softmax(x: Array, /, *, axis: int = -1) -> tuple[Array, Callable[[Array], Array]]:
    """Logarithm of the softmax along an axis.

    Parameters
    ----------
    x : array, real floating
        Scores; -inf gives a log-probability of -inf.
    axis : int, optional
        The axis of the classes, by default the last.

    Returns
    -------
    array
        Of the shape and dtype of `x`, in nats; nan where all scores of a row are -inf.

    Notes
    -----
    With ``z = x - max(x)`` it is ``z - log(sum(exp(z)))``. The order matters: in float32
    ``logsumexp(x) - x`` is 29 % off for two scores near 1e6 that are 3 apart. The gradient is
    ``g - softmax(x) * sum(g)``.

    Examples
    --------
    Equal scores of n classes give -log(n), here -0.6931..., however large they are:

    >>> import xpnet as xn
    >>> from xpnet.special import log_softmax
    >>> log_softmax(xn.asarray([1e20, 1e20]))
    array([-0.6931472, -0.6931472], dtype=float32)
    """
    xp = array_namespace(x)
    z = x - xp.max(x, axis=axis, keepdims=True)
    value = z - xp.log(xp.sum(xp.exp(z), axis=axis, keepdims=True))
    return value, lambda grad: grad - xp.exp(value) * xp.sum(grad, axis=axis, keepdims=True)


@custom_gradient
def logsumexp(
    x: Array, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False
) -> tuple[Array, Callable[[Array], Array]]:
    """Logarithm of the sum of exponentials, over some axes or all.

    Parameters
    ----------
    x : array, real floating
        Any shape.
    axis : int or tuple of int, optional
        What to sum over, by default all axes.
    keepdims : bool, optional
        Keep the axes that were summed over, with length 1.

    Returns
    -------
    array
        ``log(sum(exp(x)))``, of the dtype of `x`; -inf for no terms at all.

    Notes
    -----
    With the largest term ``m`` it is ``m + log(sum(exp(x - m)))``: one of the exponentials is 1,
    so nothing overflows and no logarithm of zero is taken. An infinite ``m`` is the result.

    The gradient is ``g * exp(x - m) / sum(exp(x - m))``, the softmax; ``exp(x - logsumexp(x))``
    would have only the digits of `x` behind the point. ``m`` is a constant in it, since the
    result does not depend on the shift. Where the result is infinite, the gradient is 0.

    References
    ----------
    .. [1] P. Blanchard, D. J. Higham and N. J. Higham, "Accurately computing the log-sum-exp and
       softmax functions", IMA Journal of Numerical Analysis 41, 2021, algorithm 4.1.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import logsumexp
    >>> logsumexp(xn.asarray([[1e4, -1e4], [0.0, 0.0]]), axis=1)
    array([1.000000e+04, 6.931472e-01], dtype=float32)
    """
    xp = array_namespace(x)
    if 0 in x.shape:
        return xp.sum(x, axis=axis, keepdims=keepdims) - math.inf, lambda grad: xp.zeros_like(x)
    top = stop_gradient(xp.max(x, axis=axis, keepdims=True))
    infinite = xp.isinf(x) & (x == top)  # where the difference would be nan
    e = xp.exp(xp.where(infinite, 0.0, x) - xp.where(infinite, 0.0, top))
    total = xp.sum(e, axis=axis, keepdims=keepdims)

    def vjp(grad: Array) -> Array:
        return xp.where(infinite, 0.0, e) * xp.reshape(grad / total, top.shape)

    return xp.reshape(top, total.shape) + xp.log(total), vjp
