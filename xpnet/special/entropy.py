"""Products with a logarithm, as in entropies."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.namespace import array_namespace

__all__ = ["xlogy"]


def xlogy(x: Array, y: Array, /) -> Array:
    """Product with a logarithm, which is zero where the first factor is.

    Parameters
    ----------
    x, y : array, real floating
        Of shapes that broadcast.

    Returns
    -------
    array
        ``x * log(y)``; 0 where `x` is 0, unless `y` is nan.

    Notes
    -----
    The limit of ``p log p`` at ``p = 0`` is 0, while ``0 * log(0)`` is nan. The gradient is
    ``log(y)`` for `x` and ``x / y`` for `y`. Where `x` is 0 and ``log(y)`` is not finite, both
    are 0 by convention: the term does not count.

    Examples
    --------
    The entropy of a coin that always falls on one side, and of a fair one:

    >>> import xpnet as xn
    >>> from xpnet.special import xlogy
    >>> p = xn.asarray([[0.0, 1.0], [0.5, 0.5]])
    >>> xp = xn.array_namespace(p)
    >>> 0.0 - xp.sum(xlogy(p, p), axis=1)
    array([0.       , 0.6931472], dtype=float32)
    """
    xp = array_namespace(x, y)
    x, y = xp.asarray(x), xp.asarray(y)  # where one of them is traced, both are
    ignored = (x == 0) & ((y <= 0) | (y == math.inf))
    return x * xp.log(xp.where(ignored, 1.0, y))
