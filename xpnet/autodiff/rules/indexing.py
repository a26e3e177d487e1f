"""Rules for picking elements and for writing them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import one, two
from xpnet.namespace import device_of
from xpnet.scatter import add_at as scatter_add
from xpnet.scatter import set_at as scatter

__all__ = ["add_at", "gathered", "getitem", "set_at", "take", "take_along_axis"]


def gathered(
    xp: Namespace, grad: Array, shape: tuple[int, ...], gather: Callable[[Array], Array]
) -> Array:
    """Return the gradient of an array of `shape` from which `gather` picked elements.

    Each is added where its element came from, which picking from the positions tells.
    """
    n = math.prod(shape)
    places = xp.reshape(xp.arange(n, device=device_of(grad)), shape)
    zeros = xp.zeros((n,), dtype=grad.dtype, device=device_of(grad))
    positions = xp.reshape(gather(places), (-1,))
    return xp.reshape(scatter_add(zeros, xp.reshape(grad, (-1,)), positions), shape)


@one(arrays=True)
def getitem(xp: Namespace, grad: Array, out: Array, x: Array, key: Any, /) -> Array:
    """d x[key] = dx[key]: gradients go back to where their elements came from, zeros elsewhere."""
    if _holds_integers(xp, key):
        return gathered(xp, grad, x.shape, lambda places: places[key])
    zeros = xp.zeros(x.shape, dtype=grad.dtype, device=device_of(grad))
    keys = key if isinstance(key, tuple) else (key,)
    if any(k is None for k in keys):  # added axes, which not every library can assign to
        key = tuple(k for k in keys if k is not None)
        grad = xp.reshape(grad, zeros[key].shape)
    return scatter(zeros, grad, key)


@one(arrays=True)
def take(
    xp: Namespace, grad: Array, out: Array, x: Array, indices: Array, /, *, axis: int | None = None
) -> Array:
    """d take(x, i) = take(dx, i): each gradient is added where its element was taken from."""
    axis = 0 if axis is None else axis
    return gathered(xp, grad, x.shape, lambda places: xp.take(places, indices, axis=axis))


@one(arrays=True)
def take_along_axis(
    xp: Namespace, grad: Array, out: Array, x: Array, indices: Array, /, *, axis: int = -1
) -> Array:
    """d take_along_axis(x, i) = take_along_axis(dx, i); gradients are added as for ``take``."""
    return gathered(
        xp, grad, x.shape, lambda places: xp.take_along_axis(places, indices, axis=axis)
    )


# The two ways of writing of `xpnet.scatter`.


@two(a="", b="")
def add_at(
    xp: Namespace,
    grad: Array,
    out: Array,
    a: Array,
    b: Array,
    need_a: bool,
    need_b: bool,
    positions: Array,
) -> tuple[Any, Any]:
    """d (a, b added at p) = da, db added at p, so b gets what arrives at p."""
    return grad, xp.take(grad, positions) if need_b else None


@two(a="", b="")
def set_at(
    xp: Namespace,
    grad: Array,
    out: Array,
    a: Array,
    b: Any,
    need_a: bool,
    need_b: bool,
    key: Any,
) -> tuple[Any, Any]:
    """d (a[key] = b) = da outside of the key, db inside; of repeated positions the last counts."""
    grad_a = scatter(xp.asarray(grad, copy=True), 0.0, key) if need_a else None
    if not need_b:
        return grad_a, None
    grad_b = grad[key]
    if _holds_integers(xp, key):
        order = xp.reshape(xp.arange(math.prod(grad_b.shape), device=device_of(grad)), grad_b.shape)
        kept = scatter(xp.zeros(grad.shape, dtype=order.dtype, device=device_of(grad)), order, key)
        grad_b = xp.where(kept[key] == order, grad_b, 0.0)
    return grad_a, grad_b


def _holds_integers(xp: Namespace, key: Any) -> bool:
    """Tell whether a key has an array or a list of integers, which can name an element twice."""
    keys = key if isinstance(key, tuple) else (key,)
    return any(
        isinstance(k, list) or (hasattr(k, "dtype") and not xp.isdtype(k.dtype, "bool"))
        for k in keys
    )
