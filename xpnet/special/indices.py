"""Indices of classes: as rows of zeros with a one, and in a dtype that holds any class."""

from __future__ import annotations

from xpnet._typing import Array, DType
from xpnet.namespace import array_namespace, device_of

__all__ = ["one_hot", "widen"]


def one_hot(indices: Array, n: int, /, *, dtype: DType | None = None) -> Array:
    """Compare indices with 0, ..., n - 1 along a new last axis.

    Parameters
    ----------
    indices : array, integer, shape (...)
        One outside of ``[0, n)`` gives a row of zeros.
    n : int
        Number of classes.
    dtype : dtype, optional
        By default bool.

    Returns
    -------
    array, shape (..., n)
        One where the index is, zero elsewhere.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet.special import one_hot
    >>> one_hot(xn.asarray([1, 0]), 2)
    array([[False,  True],
           [ True, False]])
    """
    xp = array_namespace(indices)
    indices = widen(indices)
    classes = xp.arange(n, dtype=indices.dtype, device=device_of(indices))
    hot = indices[..., None] == classes
    return hot if dtype is None else xp.astype(hot, dtype)


def widen(indices: Array) -> Array:
    """Return integers in a signed dtype of at least 32 bits, which compares with any class."""
    xp = array_namespace(indices)
    if indices.dtype in (xp.int32, xp.int64):
        return indices
    small = xp.iinfo(indices.dtype).bits < 32
    return xp.astype(indices, xp.int32 if small else xp.int64)
