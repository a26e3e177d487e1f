"""Layers that convert what is measured into numbers to compute with."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.namespace import array_namespace, dtype_kind
from xpnet.nn.module import Module

__all__ = ["Rescale"]


class Rescale(Module):
    """Divide by a constant; integers, such as the bytes of an image, become real numbers.

    As the first layer it lets images stay bytes, a quarter of the memory, until a batch of them is
    computed.

    Parameters
    ----------
    divisor : float, optional
        What becomes 1.
    dtype : {"float32", "float64"}, optional
        Of the output, where the input is integers.

    Raises
    ------
    ValueError
        If `divisor` is zero or not finite, or `dtype` is none of the two.

    Notes
    -----
    ``y = x / divisor``, of the shape of `x`. Floating-point numbers keep their dtype.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.Rescale()(xn.asarray([[0, 51, 255]], dtype="uint8"))
    array([[0. , 0.2, 1. ]], dtype=float32)
    """

    def __init__(self, divisor: float = 255.0, *, dtype: str = "float32") -> None:
        if not (math.isfinite(divisor) and divisor):
            raise ValueError(f"Rescale: expected a finite divisor other than 0, got {divisor}")
        if dtype not in ("float32", "float64"):
            raise ValueError(f'Rescale: expected dtype "float32" or "float64", got {dtype!r}')
        self.divisor = float(divisor)
        self.dtype = dtype

    def forward(self, x: Array) -> Array:
        """Return the input divided by the divisor."""
        if dtype_kind(x):
            return x / self.divisor
        xp = array_namespace(x)
        y = xp.astype(x, getattr(xp, self.dtype))
        y /= self.divisor  # in place: a second array of this size costs more than to fill it
        return y

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        changed = [] if self.divisor == 255 else [f"{self.divisor:g}"]
        return ", ".join(changed + [f"dtype={self.dtype!r}"] * (self.dtype != "float32"))
