"""Rules for picking elements: indexing and ``take``."""

from __future__ import annotations

import math
import operator
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import ONE, Rule, one
from xpnet.errors import MissingRuleError

__all__ = ["getitem", "take"]


@one()
def take(
    xp: Namespace, grad: Array, out: Array, x: Array, /, indices: Array, *, axis: int | None = None
) -> Array:
    """d take(x, i) = take(dx, i): each gradient is added where its element was taken from.

    The sum is a product with the one-hot matrix of the indices, because the standard has no
    scatter-add, and assignment by an index with repeats keeps only one of them.
    """
    axis = 0 if axis is None else axis % x.ndim
    n = x.shape[axis]
    positions = xp.arange(n, dtype=indices.dtype, device=grad.device)
    hot = xp.astype(xp.expand_dims(positions, axis=1) == indices % n, grad.dtype)
    moved = xp.moveaxis(grad, axis, 0)
    rows = xp.reshape(moved, (indices.shape[0], math.prod(moved.shape[1:])))
    return xp.moveaxis(xp.reshape(hot @ rows, (n, *moved.shape[1:])), 0, axis)


def getitem(xp: Namespace, grad: Array, out: Array, x: Array, key: Any) -> Array:
    """d x[key] = dx[key]: gradients go back to where their elements came from, zeros elsewhere."""
    keys = _complete(key, x.ndim)
    # First undo None, which added an axis, and integers, which removed one.
    shape, kept = [], iter(grad.shape)
    for k in keys:
        if k is None:
            next(kept)
        else:
            shape.append(1 if isinstance(k, int) else next(kept))
    grad = xp.reshape(grad, tuple(shape))
    for axis, k in enumerate(k for k in keys if k is not None):
        start, stop, step = (
            (k % x.shape[axis], k % x.shape[axis] + 1, 1)
            if isinstance(k, int)
            else k.indices(x.shape[axis])
        )
        grad = _scatter_slice(xp, grad, axis, range(start, stop, step), x.shape[axis])
    return grad


def _scatter_slice(xp: Namespace, grad: Array, axis: int, places: range, n: int) -> Array:
    """Put the slices of `grad` along `axis` at `places` among `n`, with zeros between."""
    if places == range(n):
        return grad
    if places.step < 0:
        grad, places = xp.flip(grad, axis=axis), places[::-1]
    if len(places) == 0:
        return _zeros(xp, grad, axis, n)
    before = (slice(None),) * axis
    if places.step > 1:  # widen each slice by the zeros that follow it, then cut the last ones off
        wide = (*grad.shape[: axis + 1], places.step, *grad.shape[axis + 1 :])
        first = xp.expand_dims(grad, axis=axis + 1)
        rest = _zeros(xp, first, axis + 1, places.step - 1)
        grad = xp.reshape(
            xp.concat([first, rest], axis=axis + 1),
            (*wide[:axis], len(places) * places.step, *wide[axis + 2 :]),
        )[(*before, slice(0, places[-1] - places[0] + 1), ...)]
    ends = [_zeros(xp, grad, axis, places[0]), grad, _zeros(xp, grad, axis, n - 1 - places[-1])]
    return xp.concat(ends, axis=axis)


def _zeros(xp: Namespace, like: Array, axis: int, n: int) -> Array:
    shape = (*like.shape[:axis], n, *like.shape[axis + 1 :])
    return xp.zeros(shape, dtype=like.dtype, device=like.device)


def _complete(key: Any, ndim: int) -> list[Any]:
    """Return an index for every axis, and the Nones between, without an ellipsis."""
    keys = [_as_int(k) for k in (key if isinstance(key, tuple) else (key,))]
    if not all(k is None or k is ... or isinstance(k, (int, slice)) for k in keys):
        raise MissingRuleError(
            "a gradient reached x[key] with an array as index, which has no differentiation rule; "
            "use xp.take(x, indices, axis=...) for integers and xp.where(mask, x, 0) for a mask"
        )
    given = sum(k is not None and k is not ... for k in keys)
    fill = [slice(None)] * (ndim - given)
    if ... not in keys:
        return keys + fill
    at = keys.index(...)
    return keys[:at] + fill + keys[at + 1 :]


def _as_int(key: Any) -> Any:
    """Return the Python integer that a number of an array library stands for."""
    if isinstance(key, slice) or getattr(key, "shape", None) != ():
        return key
    return operator.index(key)


ONE["__getitem__"] = Rule(getitem)
