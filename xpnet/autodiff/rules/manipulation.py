"""Rules for the functions that move elements about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.indexing import gathered
from xpnet.autodiff.rules.tables import many, one, several

__all__: list[str] = []


@many
def concat(
    xp: Namespace, grad: Array, likes: Sequence[Any], /, *, axis: int | None = 0
) -> list[Array]:
    """d concat(x, y) = concat(dx, dy)."""
    if axis is None:
        axis, shapes = 0, [(math.prod(like.shape),) for like in likes]
    else:
        axis, shapes = axis % grad.ndim, [like.shape for like in likes]
    parts, start = [], 0
    for like, shape in zip(likes, shapes, strict=True):
        stop = start + shape[axis]
        part = grad[(slice(None),) * axis + (slice(start, stop), ...)]
        parts.append(xp.reshape(part, like.shape))
        start = stop
    return parts


@many
def stack(xp: Namespace, grad: Array, likes: Sequence[Any], /, *, axis: int = 0) -> list[Array]:
    """d stack(x, y) = stack(dx, dy)."""
    axis %= grad.ndim
    return [grad[(slice(None),) * axis + (index, ...)] for index in range(len(likes))]


@one(view=True)
def expand_dims(xp: Namespace, grad: Array, out: Array, x: Array, /, axis: Any = 0) -> Array:
    """d expand_dims(x) = expand_dims(dx)."""
    return xp.reshape(grad, x.shape)


@one(view=True)
def squeeze(xp: Namespace, grad: Array, out: Array, x: Array, /, axis: Any) -> Array:
    """d squeeze(x) = squeeze(dx)."""
    return xp.reshape(grad, x.shape)


@one(view=True)
def reshape(
    xp: Namespace, grad: Array, out: Array, x: Array, /, shape: Any, *, copy: Any = None
) -> Array:
    """d reshape(x) = reshape(dx)."""
    return xp.reshape(grad, x.shape)


@one(view=True)
def flip(xp: Namespace, grad: Array, out: Array, x: Array, /, *, axis: Any = None) -> Array:
    """d flip(x) = flip(dx)."""
    return xp.flip(grad, axis=axis)


@one(view=True)
def moveaxis(
    xp: Namespace, grad: Array, out: Array, x: Array, source: Any, destination: Any, /
) -> Array:
    """d moveaxis(x) = moveaxis(dx)."""
    return xp.moveaxis(grad, destination, source)


@one(view=True)
def permute_dims(
    xp: Namespace, grad: Array, out: Array, x: Array, /, axes: tuple[int, ...]
) -> Array:
    """d permute_dims(x) = permute_dims(dx)."""
    places = [axis % x.ndim for axis in axes]
    return xp.permute_dims(grad, tuple(places.index(axis) for axis in range(x.ndim)))


@one()
def roll(
    xp: Namespace, grad: Array, out: Array, x: Array, /, shift: Any, *, axis: Any = None
) -> Array:
    """d roll(x) = roll(dx)."""
    back = tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift
    return xp.roll(grad, back, axis=axis)


@one()
def tile(
    xp: Namespace, grad: Array, out: Array, x: Array, repetitions: tuple[int, ...], /
) -> Array:
    """d tile(x) = tile(dx), so the gradients of the copies are summed."""
    ndim = max(x.ndim, len(repetitions))
    sizes = (1,) * (ndim - x.ndim) + tuple(x.shape)
    times = (1,) * (ndim - len(repetitions)) + tuple(repetitions)
    split = tuple(n for pair in zip(times, sizes, strict=True) for n in pair)
    return xp.sum(xp.reshape(grad, split), axis=tuple(range(0, 2 * ndim, 2)))


@one(arrays=True)
def repeat(
    xp: Namespace, grad: Array, out: Array, x: Array, repeats: Any, /, *, axis: int | None = None
) -> Array:
    """d repeat(x) = repeat(dx), so the gradients of the copies are summed."""
    return gathered(xp, grad, x.shape, lambda places: xp.repeat(places, repeats, axis=axis))


@several(view=True)
def unstack(
    xp: Namespace,
    grads: Sequence[Array | None],
    outs: Any,
    x: Array,
    /,
    *,
    axis: int = 0,
) -> Array:
    """d unstack(x) = unstack(dx)."""
    arrived = next(grad for grad in grads if grad is not None)
    parts = [xp.zeros_like(arrived) if grad is None else grad for grad in grads]
    return xp.stack(parts, axis=axis)
