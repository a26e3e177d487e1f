"""Activations as functions of one array, each with its gradient given by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace
from xpnet.special import expit, ndtr
from xpnet.special.error import bell

__all__ = ["check_interval", "elu", "gelu", "hardtanh", "leaky_relu", "relu", "silu"]

# Beyond, the weight of negative numbers rounds to 0 and that of positive ones to 1.
_SILU_FLAT = 1000.0
_GELU_FLAT = 40.0


@custom_gradient
def relu(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Rectified linear unit, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``max(x, 0)``, of the shape and dtype of `x`.

    Notes
    -----
    The derivative is 1 for positive `x` and 0 elsewhere, at 0 too.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.relu(xn.asarray([-1.0, 2.0]))
    array([0., 2.], dtype=float32)
    """
    xp = array_namespace(x)
    value = xp.maximum(x, 0.0)
    return value, lambda grad: grad * xp.astype(value > 0, grad.dtype)


@custom_gradient
def leaky_relu(
    x: Array, /, *, negative_slope: float = 0.01
) -> tuple[Array, Callable[[Array], Array]]:
    """Rectified linear unit that lets a part of negative numbers through, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.
    negative_slope : float, optional
        What negative numbers are multiplied by.

    Returns
    -------
    array
        `x` where it is positive, else ``negative_slope * x``; of the shape and dtype of `x`.

    Notes
    -----
    The derivative is 1 for positive `x` and `negative_slope` elsewhere, at 0 too.

    References
    ----------
    .. [1] A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network
       acoustic models", ICML 2013, equation 2.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.leaky_relu(xn.asarray([-1.0, 2.0]), negative_slope=0.25)
    array([-0.25,  2.  ], dtype=float32)
    """
    xp = array_namespace(x)
    positive = x > 0

    def vjp(grad: Array) -> Array:
        return xp.where(positive, grad, negative_slope * grad)

    return xp.where(positive, x, negative_slope * x), vjp


@custom_gradient
def elu(x: Array, /, *, alpha: float = 1.0) -> tuple[Array, Callable[[Array], Array]]:
    """Exponential linear unit, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.
    alpha : float, optional
        Minus the limit at minus infinity.

    Returns
    -------
    array
        `x` where it is positive, else ``alpha * (exp(x) - 1)``; of the shape and dtype of `x`.

    Notes
    -----
    The derivative is 1 for positive `x` and ``alpha * exp(x)`` elsewhere, at 0 too.

    References
    ----------
    .. [1] D.-A. Clevert, T. Unterthiner and S. Hochreiter, "Fast and accurate deep network
       learning by exponential linear units (ELUs)", ICLR 2016, equation 15.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.elu(xn.asarray([-1e4, 2.0]))
    array([-1.,  2.], dtype=float32)
    """
    xp = array_namespace(x)
    positive = x > 0
    below = xp.where(positive, 0.0, x)  # whose exponential cannot overflow

    def vjp(grad: Array) -> Array:
        return xp.where(positive, grad, grad * (alpha * xp.exp(below)))

    return xp.where(positive, x, alpha * xp.expm1(below)), vjp


@custom_gradient
def silu(x: Array, /) -> tuple[Array, Callable[[Array], Array]]:
    """Sigmoid linear unit, also known as swish, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.

    Returns
    -------
    array
        ``x / (1 + exp(-x))``, of the shape and dtype of `x`; 0 at minus infinity.

    Notes
    -----
    With the logistic sigmoid s the derivative is ``s(x) (1 + x s(-x))``.

    References
    ----------
    .. [1] S. Elfwing, E. Uchibe and K. Doya, "Sigmoid-weighted linear units for neural network
       function approximation in reinforcement learning", Neural Networks 107, 2018, equations 1
       and 4.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.silu(xn.asarray([-1e4, 0.0, 1e4]))
    array([   -0.,     0., 10000.], dtype=float32)
    """
    xp = array_namespace(x)
    weight = expit(x)

    def vjp(grad: Array) -> Array:
        t = xp.clip(x, -_SILU_FLAT, _SILU_FLAT)
        return grad * (weight * (1 + t * expit(-t)))

    return xp.maximum(x, -_SILU_FLAT) * weight, vjp


@custom_gradient
def gelu(
    x: Array, /, *, approximate: Literal["none", "tanh"] = "none"
) -> tuple[Array, Callable[[Array], Array]]:
    """Gaussian error linear unit, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.
    approximate : str, optional
        ``"none"`` is exact, ``"tanh"`` the approximation that some models were trained with.

    Returns
    -------
    array
        ``x * Phi(x)``, of the shape and dtype of `x`; 0 at minus infinity. Phi is the
        distribution function of the standard normal distribution (see `xpnet.special.ndtr`), or
        ``(1 + tanh(u)) / 2`` with ``u = sqrt(2 / pi) (x + 0.044715 x^3)``.

    Raises
    ------
    ValueError
        If `approximate` is something else.

    Notes
    -----
    For negative `x`, ``1 + erf`` and ``1 + tanh`` would lose all digits of a small sum: neither
    is computed, but Phi to all its digits, and ``(1 + tanh(u)) / 2`` as the logistic sigmoid of
    ``2 u``. The derivative is ``Phi(x) + x Phi'(x)``.

    References
    ----------
    .. [1] D. Hendrycks and K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415,
       2016, section 2.

    Examples
    --------
    >>> import xpnet as xn
    >>> [f"{float(xn.nn.gelu(xn.asarray(x))):.4g}" for x in (-10.0, 0.0, 10.0)]
    ['-7.62e-23', '0', '10']
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f'gelu: approximate must be "none" or "tanh", got {approximate!r}')
    xp = array_namespace(x)
    t = xp.clip(x, -_GELU_FLAT, _GELU_FLAT)
    if approximate == "none":
        weight = ndtr(t)
    else:
        twice_u = math.sqrt(8 / math.pi) * (t + 0.044715 * t * t * t)
        weight = expit(twice_u)

    def vjp(grad: Array) -> Array:
        if approximate == "none":
            slope = bell(t, 0.5) / math.sqrt(2 * math.pi)
        else:
            du = math.sqrt(8 / math.pi) * (1 + 3 * 0.044715 * t * t)
            slope = weight * expit(-twice_u) * du
        return grad * (weight + t * slope)

    return xp.maximum(x, -_GELU_FLAT) * weight, vjp


@custom_gradient
def hardtanh(
    x: Array, /, *, min_val: float = -1.0, max_val: float = 1.0
) -> tuple[Array, Callable[[Array], Array]]:
    """Clip to an interval, elementwise.

    Parameters
    ----------
    x : array, real floating
        Any shape.
    min_val, max_val : float, optional
        The interval.

    Returns
    -------
    array
        `x`, but at least `min_val` and at most `max_val`; of the shape and dtype of `x`.

    Raises
    ------
    ValueError
        If `max_val` is not greater than `min_val`.

    Notes
    -----
    The derivative is 1 inside of the interval and 0 elsewhere, at its ends too.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.hardtanh(xn.asarray([-3.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    check_interval("hardtanh", min_val, max_val)
    xp = array_namespace(x)
    inside = (x > min_val) & (x < max_val)
    return xp.clip(x, min_val, max_val), lambda grad: grad * xp.astype(inside, grad.dtype)


def check_interval(name: str, min_val: float, max_val: float) -> None:
    """Raise unless `min_val` is below `max_val`."""
    if not min_val < max_val:
        raise ValueError(f"{name}: max_val must exceed min_val, got {min_val} and {max_val}")
