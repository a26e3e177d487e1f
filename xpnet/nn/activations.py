"""Activations as layers; `xpnet.nn.functional` has the functions."""

from __future__ import annotations

from typing import Literal

from xpnet import special
from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.nn.functional import (
    check_interval,
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    relu,
    silu,
)
from xpnet.nn.module import Module

__all__ = [
    "ELU",
    "GELU",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
]


class Identity(Module):
    """Return the input itself: a place where another layer may stand.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Identity()(xn.asarray([-1.0, 2.0]))
    array([-1.,  2.], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Return the input."""
        return x


class ReLU(Module):
    """Rectified linear unit: ``max(x, 0)``; see `relu`.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.ReLU()(xn.asarray([-1.0, 2.0]))
    array([0., 2.], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return relu(x)


class LeakyReLU(Module):
    """Rectified linear unit that lets a part of negative numbers through; see `leaky_relu`.

    Parameters
    ----------
    negative_slope : float, optional
        What negative numbers are multiplied by.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.LeakyReLU(0.25)(xn.asarray([-1.0, 2.0]))
    array([-0.25,  2.  ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = float(negative_slope)  # a NumPy scalar would promote

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return leaky_relu(x, negative_slope=self.negative_slope)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """Exponential linear unit: `x`, or ``alpha * (exp(x) - 1)`` below 0; see `elu`.

    Parameters
    ----------
    alpha : float, optional
        Minus the limit at minus infinity.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.ELU()(xn.asarray([-1e4, 2.0]))
    array([-1.,  2.], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = float(alpha)

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return elu(x, alpha=self.alpha)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """Gaussian error linear unit: ``x * Phi(x)``; see `gelu`.

    Parameters
    ----------
    approximate : str, optional
        ``"none"`` is exact, ``"tanh"`` the approximation that some models were trained with.

    Raises
    ------
    ValueError
        If `approximate` is something else (when called).

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.GELU()(xn.asarray([-1e4, 0.0, 1e4]))
    array([   -0.,     0., 10000.], dtype=float32)
    """

    def __init__(self, approximate: Literal["none", "tanh"] = "none") -> None:
        self.approximate: Literal["none", "tanh"] = approximate

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return gelu(x, approximate=self.approximate)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """Sigmoid linear unit: ``x / (1 + exp(-x))``; see `silu`.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.SiLU()(xn.asarray([-1e4, 0.0, 1e4]))
    array([   -0.,     0., 10000.], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return silu(x)


class Softplus(Module):
    """Smooth rectified linear unit: ``log(1 + exp(beta x)) / beta``.

    Parameters
    ----------
    beta : float, optional
        The larger, the nearer to `ReLU`; positive.

    Raises
    ------
    ValueError
        If `beta` is not positive.

    Notes
    -----
    PyTorch returns `x` itself where ``beta x > 20``, lest the exponential overflow. Here it
    cannot (see `xpnet.special.softplus`), so there is no such threshold.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Softplus()(xn.asarray([-1e4, 1e4]))
    array([    0., 10000.], dtype=float32)
    """

    def __init__(self, beta: float = 1.0) -> None:
        if not beta > 0:
            raise ValueError(f"Softplus: beta must be positive, got {beta}")
        self.beta = float(beta)

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return special.softplus(self.beta * x) / self.beta

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"beta={self.beta}"


class Hardtanh(Module):
    """Clip to an interval; see `hardtanh`.

    Parameters
    ----------
    min_val, max_val : float, optional
        The interval.

    Raises
    ------
    ValueError
        If `max_val` is not greater than `min_val`.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Hardtanh(0.0, 6.0)(xn.asarray([-3.0, 0.5, 8.0]))
    array([0. , 0.5, 6. ], dtype=float32)
    """

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        check_interval("Hardtanh", min_val, max_val)
        self.min_val, self.max_val = float(min_val), float(max_val)

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return hardtanh(x, min_val=self.min_val, max_val=self.max_val)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"{self.min_val}, {self.max_val}"


class Tanh(Module):
    """Hyperbolic tangent.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Tanh()(xn.asarray([0.0, 100.0]))
    array([0., 1.], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return array_namespace(x).tanh(x)


class Sigmoid(Module):
    """Logistic sigmoid: ``1 / (1 + exp(-x))``; see `xpnet.special.expit`.

    A model that ends in it and is trained with `xpnet.losses.binary_cross_entropy` loses digits
    that the logits have: leave the layer out and give the loss the logits.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Sigmoid()(xn.asarray([0.0, 100.0]))
    array([0.5, 1. ], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Apply it to each element."""
        return special.expit(x)


class Softmax(Module):
    """Softmax along an axis; see `xpnet.special.softmax`.

    A model that ends in it and is trained with `xpnet.losses.cross_entropy` loses digits that
    the logits have: leave the layer out and give the loss the logits.

    Parameters
    ----------
    axis : int, optional
        The axis of the classes.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Softmax()(xn.asarray([[5.0, 5.0]]))
    array([[0.5, 0.5]], dtype=float32)
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        """Map scores to probabilities."""
        return special.softmax(x, axis=self.axis)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"axis={self.axis}"


class LogSoftmax(Softmax):
    """Logarithm of the softmax along an axis; see `xpnet.special.log_softmax`.

    Parameters
    ----------
    axis : int, optional
        The axis of the classes.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.LogSoftmax()(xn.asarray([[5.0, 5.0]]))
    array([[-0.6931472, -0.6931472]], dtype=float32)
    """

    def forward(self, x: Array) -> Array:
        """Map scores to log-probabilities."""
        return special.log_softmax(x, axis=self.axis)
