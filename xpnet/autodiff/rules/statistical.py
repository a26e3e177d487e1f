"""Rules for sums, means, extrema and variances."""

from __future__ import annotations

import math
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import one

__all__: list[str] = []

Axis = int | tuple[int, ...] | None


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the reduced axes, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(a % ndim for a in axes)


def _spread(xp: Namespace, reduced: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """Give a reduced array its reduced axes back, of length 1, so that it broadcasts to `shape`."""
    axes = _axes(axis, len(shape))
    kept = tuple(1 if a in axes else size for a, size in enumerate(shape))
    return reduced if reduced.shape == kept else xp.reshape(reduced, kept)


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    return math.prod(shape[a] for a in _axes(axis, len(shape)))


@one()
def sum_(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    dtype: Any = None,
    keepdims: bool = False,
) -> Array:
    """d sum(x) = sum(dx)."""
    return xp.broadcast_to(_spread(xp, grad, x.shape, axis), x.shape)


@one()
def mean(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    keepdims: bool = False,
) -> Array:
    """d mean(x) = sum(dx) / n."""
    share = grad / _count(x.shape, axis)
    return xp.broadcast_to(_spread(xp, share, x.shape, axis), x.shape)


@one("x", "out")
def max_(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    keepdims: bool = False,
) -> Array:
    """d max(x) = dx at the maximum; several equal ones share the gradient."""
    chosen = xp.astype(x == _spread(xp, out, x.shape, axis), grad.dtype)
    ties = xp.sum(chosen, axis=axis, keepdims=True)
    return chosen * (_spread(xp, grad, x.shape, axis) / _spread(xp, ties, x.shape, axis))


@one("x", "out")
def min_(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    keepdims: bool = False,
) -> Array:
    """d min(x) = dx at the minimum; several equal ones share the gradient."""
    return max_(xp, grad, out, x, axis=axis)


@one("x")
def var(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """d var(x) = 2 (x - mean(x)) dx / (n - correction)."""
    n = _count(x.shape, axis) - correction
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return _spread(xp, grad, x.shape, axis) * (2 * centred / n)


@one("x", "out")
def std(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Array:
    """d std(x) = (x - mean(x)) dx / ((n - correction) std(x)); 0 where all x are equal."""
    n = _count(x.shape, axis) - correction
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    safe = xp.where(out == 0, xp.ones_like(out), out)
    return centred * (_spread(xp, grad / (n * safe), x.shape, axis))


@one()
def cumulative_sum(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Array:
    """d cumsum(x)_i = sum over j <= i of dx_j, so the gradient is summed from the end."""
    axis = 0 if axis is None else axis % x.ndim
    if include_initial:
        grad = grad[(slice(None),) * axis + (slice(1, None), ...)]
    return xp.flip(xp.cumulative_sum(xp.flip(grad, axis=axis), axis=axis), axis=axis)
