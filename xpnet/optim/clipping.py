"""Gradients that are not larger than they may be."""

from __future__ import annotations

import math

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.namespace import array_namespace

__all__ = ["clip_by_global_norm", "clip_by_value"]


def clip_by_value(grads: Tree, limit: float) -> Tree:
    """Return gradients whose entries are at most `limit` in size.

    Parameters
    ----------
    grads : array, or nested list, tuple or dict of arrays, real floating
        Not written to.
    limit : float
        Larger than 0.

    Returns
    -------
    tree of arrays
        Of the structure, shapes and dtypes of `grads`.

    Raises
    ------
    ValueError
        If `limit` is not larger than 0.

    Notes
    -----
    ``min(max(g, -limit), limit)``, which changes the direction. An infinite entry becomes
    ``limit`` or ``-limit``; NaN stays NaN.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.optim.clip_by_value({"w": xn.asarray([3.0, -4.0])}, 3.5)
    {'w': array([ 3. , -3.5], dtype=float32)}
    """
    limit = check_limit("clip_by_value", "limit", limit)
    return tree.map(lambda grad: array_namespace(grad).clip(grad, -limit, limit), grads)


def clip_by_global_norm(grads: Tree, max_norm: float) -> tuple[Tree, Array]:
    """Return gradients whose Euclidean norm, all taken together, is at most `max_norm`.

    Parameters
    ----------
    grads : array, or nested list, tuple or dict of arrays, real floating
        Not written to.
    max_norm : float
        Larger than 0.

    Returns
    -------
    tree of arrays
        ``grads * min(1, max_norm / norm)``, of the structure, shapes and dtypes of `grads`.
    array, shape ()
        The norm before, in the widest of their dtypes.

    Raises
    ------
    ValueError
        If there are no gradients, or `max_norm` is not larger than 0.

    Notes
    -----
    All are divided by the largest entry first, so that no square overflows or underflows. If the
    norm is infinite or NaN, the gradients are returned as they are: multiplied by ``max_norm /
    inf`` they would turn into zeros and NaN, which hides where the trouble is. PyTorch adds 1e-6
    to the norm in the divisor; here gradients within the norm are returned unchanged, bit for
    bit, and others have the norm `max_norm` to rounding.

    References
    ----------
    .. [1] R. Pascanu, T. Mikolov, Y. Bengio, "On the difficulty of training recurrent neural
       networks", ICML 2013, algorithm 1, https://arxiv.org/abs/1211.5063

    Examples
    --------
    >>> import xpnet as xn
    >>> grads, norm = xn.optim.clip_by_global_norm([xn.asarray([3.0]), xn.asarray([4.0])], 1.0)
    >>> float(norm)
    5.0
    >>> grads
    [array([0.6], dtype=float32), array([0.8], dtype=float32)]
    """
    max_norm = check_limit("clip_by_global_norm", "max_norm", max_norm)
    norm = _norm(tree.leaves(grads))
    xp = array_namespace(norm)
    scale = xp.where(xp.isfinite(norm), max_norm / xp.clip(norm, max_norm, None), 1.0)
    return tree.map(lambda grad: grad * xp.astype(scale, grad.dtype, copy=False), grads), norm


def check_limit(where: str, name: str, limit: float) -> float:
    """Return a limit as a Python float if it is one."""
    if not 0 < limit < math.inf:
        raise ValueError(f"{where}: {name} must be finite and larger than 0, got {limit}")
    return float(limit)


def _norm(grads: list[Array]) -> Array:
    """Return the Euclidean norm of all entries of some arrays."""
    if not grads:
        raise ValueError("clip_by_global_norm: expected at least one gradient, got none")
    xp = array_namespace(*grads)
    dtype = xp.result_type(*grads)
    grads = [grad for grad in grads if 0 not in grad.shape] or grads[:1]
    largest = xp.stack([xp.astype(_largest(grad), dtype, copy=False) for grad in grads])
    size = xp.max(largest)
    size = xp.where(xp.isfinite(size) & (size > 0), size, 1.0)
    total = xp.zeros_like(size)
    for grad in grads:
        part = xp.astype(grad, dtype, copy=False) / size
        total = total + xp.sum(part * part)
    return size * xp.sqrt(total)


def _largest(grad: Array) -> Array:
    xp = array_namespace(grad)
    return xp.max(xp.abs(grad))
