"""Sums at repeated positions, the counterpart of ``take``."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.namespace import array_namespace, device_of
from xpnet.scatter import add_at

__all__ = ["scatter_add"]


def scatter_add(x: Array, indices: Array, values: Array, /, *, axis: int = 0) -> Array:
    """Add values at indices along an axis; where an index is repeated, they are summed.

    Parameters
    ----------
    x : array, real or complex floating, shape (..., n, ...)
        What is added to; it is not changed.
    indices : array, integer, shape (m,)
        In ``[0, n)``, or counted from the end if negative.
    values : array, floating, shape (..., m, ...)
        Broadcast to what ``take(x, indices, axis=axis)`` returns, and converted to the dtype of
        `x`.
    axis : int, optional
        The axis of n and m, by default the first.

    Returns
    -------
    array
        Of the shape and dtype of `x`.

    Notes
    -----
    It is linear in `x` and `values`: the gradient of `x` is what arrives, that of `values` what
    is taken from there at the indices.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import scatter_add
    >>> x, values = xn.asarray([10.0, 20.0, 30.0]), xn.asarray([1.0, 2.0, 3.0])
    >>> scatter_add(x, xn.asarray([0, 2, 0]), values)
    array([14., 20., 32.], dtype=float32)
    """
    xp = array_namespace(x, indices, values)
    n = math.prod(x.shape)
    places = xp.reshape(xp.arange(n, device=device_of(x)), x.shape)
    places = xp.take(places, indices, axis=axis)
    values = xp.broadcast_to(xp.astype(values, x.dtype, copy=False), places.shape)
    flat = xp.asarray(xp.reshape(x, (n,)), copy=True)
    flat = add_at(flat, xp.reshape(values, (-1,)), xp.reshape(places, (-1,)))
    return xp.reshape(flat, x.shape)
