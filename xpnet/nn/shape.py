"""Layers that change the shape only."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.nn.module import Module

__all__ = ["Flatten"]


class Flatten(Module):
    """Join neighbouring axes into one, by default all but the first.

    Parameters
    ----------
    start_axis, end_axis : int, optional
        The first and the last of the axes to join.

    Raises
    ------
    ValueError
        If the input does not have these axes in this order (when called).

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Flatten()(xn.asarray([[[1.0, 2.0], [3.0, 4.0]]]))
    array([[1., 2., 3., 4.]], dtype=float32)
    """

    def __init__(self, start_axis: int = 1, end_axis: int = -1) -> None:
        self.start_axis = start_axis
        self.end_axis = end_axis

    def forward(self, x: Array) -> Array:
        """Return the same elements in the same order."""
        start = self.start_axis + x.ndim if self.start_axis < 0 else self.start_axis
        end = self.end_axis + x.ndim if self.end_axis < 0 else self.end_axis
        if not 0 <= start <= end < x.ndim:
            raise ValueError(
                f"Flatten: axes {self.start_axis} to {self.end_axis} are not in an input of shape "
                f"{tuple(x.shape)}"
            )
        joined = math.prod(x.shape[start : end + 1])
        shape = (*x.shape[:start], joined, *x.shape[end + 1 :])
        return array_namespace(x).reshape(x, shape)

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        default = self.start_axis == 1 and self.end_axis == -1
        return "" if default else f"{self.start_axis}, {self.end_axis}"
