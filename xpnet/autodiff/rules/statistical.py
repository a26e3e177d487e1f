"""Rules for sums, means, extrema and variances."""

from __future__ import annotations

import math
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import one
from xpnet.namespace import device_of

__all__ = ["conjugate", "divided", "spread"]

Axis = int | tuple[int, ...] | None

_LARGEST_HALF = 65_504  # in half precision


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the reduced axes, counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = (axis,) if isinstance(axis, int) else axis
    return tuple(a % ndim for a in axes)


def spread(xp: Namespace, reduced: Array, shape: tuple[int, ...], axis: Axis) -> Array:
    """Give a reduced array its reduced axes back, of length 1, so that it broadcasts to `shape`."""
    ndim = len(shape)
    if reduced.ndim == ndim:
        return reduced
    axes = _axes(axis, ndim)
    return reduced[tuple([None if a in axes else slice(None) for a in range(ndim)])]


def conjugate(xp: Namespace, x: Array) -> Array:
    """Return conj(x), and a real array as it is."""
    return xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    if axis is None:
        return math.prod(shape)
    return math.prod(shape[a] for a in _axes(axis, len(shape)))


def divided(xp: Namespace, x: Array, n: float) -> Array:
    """Return x / n, of which n may be too large for the dtype of x."""
    if n > _LARGEST_HALF and n > (largest := float(xp.finfo(x.dtype).max)):
        scale = 2.0 ** math.ceil(math.log2(n / largest))
        x, n = x / scale, n / scale
    return x / n


@one(casts=True)
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
    if axis is not None:
        grad = spread(xp, grad, x.shape, axis)
    return xp.broadcast_to(grad, x.shape)


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
    return sum_(xp, divided(xp, grad, _count(x.shape, axis)), out, x, axis)


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
    chosen = xp.astype(x == spread(xp, out, x.shape, axis), grad.dtype)
    ties = xp.sum(chosen, axis=axis, keepdims=True)
    return chosen * (spread(xp, grad, x.shape, axis) / spread(xp, ties, x.shape, axis))


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
    return spread(xp, grad, x.shape, axis) * divided(xp, 2 * conjugate(xp, centred), n)


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
    return conjugate(xp, centred) * spread(xp, divided(xp, grad, n) / safe, x.shape, axis)


@one(casts=True)
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


@one("x", casts=True)
def prod(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: Axis = None,
    dtype: Any = None,
    keepdims: bool = False,
) -> Array:
    """d prod(x) = sum_i dx_i prod_{j != i} x_j, as the product of those before and those after.

    Right where some x are 0, unlike prod(x) / x_i.
    """
    # All reduced axes become one, the last.
    axes = _axes(axis, x.ndim)
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)
    moved = xp.permute_dims(xp.astype(x, grad.dtype, copy=False), order)
    flat = xp.reshape(moved, (*moved.shape[: len(kept)], _count(x.shape, axis)))
    before = xp.cumulative_prod(flat, axis=-1, include_initial=True)[..., :-1]
    after = xp.cumulative_prod(xp.flip(flat, axis=-1), axis=-1, include_initial=True)[..., :-1]
    others = before * xp.flip(after, axis=-1)
    inverse = tuple(order.index(a) for a in range(x.ndim))
    others = xp.permute_dims(xp.reshape(others, moved.shape), inverse)
    return spread(xp, grad, x.shape, axis) * others


@one("x", casts=True)
def cumulative_prod(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
) -> Array:
    """d p_j / d x_i = p_{i-1} x_{i+1} ... x_j for i <= j, with the products p; right where x is 0.

    The gradient of x_i is p_{i-1} s_i with s_i = g_i + x_{i+1} s_{i+1}. This recurrence is solved
    by doubling: after k rounds, s_i is right up to 2^k terms and c_i is the product of the 2^k
    factors that follow x_i.
    """
    axis = 0 if axis is None else axis % x.ndim
    n = x.shape[axis]
    x = xp.moveaxis(xp.astype(x, grad.dtype, copy=False), axis, -1)
    s = xp.moveaxis(grad, axis, -1)
    if include_initial:
        s = s[..., 1:]
    before = xp.cumulative_prod(x, axis=-1, include_initial=True)[..., :n]
    c, reach = _shifted(xp, x, 1), 1
    while reach < n:
        s = s + c * _shifted(xp, s, reach)
        c, reach = c * _shifted(xp, c, reach), 2 * reach
    return xp.moveaxis(before * s, -1, axis)


def _shifted(xp: Namespace, x: Array, by: int) -> Array:
    """Move elements along the last axis to the front, zeros following."""
    end = xp.zeros((*x.shape[:-1], min(by, x.shape[-1])), dtype=x.dtype, device=device_of(x))
    return xp.concat([x[..., min(by, x.shape[-1]) :], end], axis=-1)
