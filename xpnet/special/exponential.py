"""Sigmoid, softmax and their logarithms."""

from __future__ import annotations

from collections.abc import Callable

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace

__all__ = ["expit", "log_softmax", "softmax", "softplus"]


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
