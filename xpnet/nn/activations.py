"""Activations: functions of one array, and the layers that apply them."""

from __future__ import annotations

from collections.abc import Callable

from xpnet import special
from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace
from xpnet.nn.module import Module

__all__ = ["LogSoftmax", "ReLU", "Sigmoid", "Softmax", "Tanh", "relu"]


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
