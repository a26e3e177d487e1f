"""Labels as what a network is trained on, and back, where they are."""

from __future__ import annotations

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.namespace import array_namespace
from xpnet.random import Generator
from xpnet.scatter import add_at
from xpnet.special.indices import widen
from xpnet.transfer import put_like, to_host

__all__ = ["counted", "distinct", "encode", "split"]

_MOST = 256  # classes that are looked for on a device


def distinct(y: Array) -> HostArray:
    """Return the labels there are, in order.

    Of integers on a device at most 258 numbers are read. Where there are more classes, and of
    labels that are no integers, all are copied to the host.
    """
    xp = array_namespace(y)
    if isinstance(y, np.ndarray):
        return np.unique(y)
    host_dtype = to_host(y[:0]).dtype
    if xp.isdtype(y.dtype, "bool"):
        y = xp.astype(y, xp.uint8)
    wide = xp.isdtype(y.dtype, "integral") and xp.iinfo(y.dtype).max <= 2**63 - 1
    if not wide:
        return np.unique(to_host(y))
    most = min(_MOST, y.shape[0])
    ordered = xp.sort(widen(y))
    first = xp.concat([xp.ones_like(ordered[:1], dtype=xp.bool), ordered[1:] != ordered[:-1]])
    number = xp.cumulative_sum(xp.astype(first, xp.int32)) - 1
    kept = xp.where(number < most, number, most)  # the others are summed up behind them
    empty = xp.zeros(most + 1, dtype=ordered.dtype, device=ordered.device)
    labels = add_at(empty, xp.where(first, ordered, xp.zeros_like(ordered)), kept)
    last = xp.astype(number[-1:], ordered.dtype)
    read = to_host(xp.concat([last, labels]))
    count = int(read[0]) + 1
    found = read[1 : count + 1] if count <= most else np.unique(to_host(y))
    return found.astype(host_dtype)


def encode(y: Array, classes: HostArray) -> Array:
    """Return for each label its index among the classes, which must have it."""
    if isinstance(y, np.ndarray):
        return np.searchsorted(classes, y)
    xp = array_namespace(y)
    if xp.isdtype(y.dtype, "bool"):
        y, classes = xp.astype(y, xp.uint8), classes.astype("uint8")
    if xp.isdtype(y.dtype, "integral"):
        y = widen(y)
    known = xp.astype(put_like(classes, y), y.dtype)
    return widen(xp.searchsorted(known, y))


def counted(indices: Array, classes: int, weight: Array | None = None) -> Array:
    """Return how many samples each class has, or the sums of their weights."""
    xp = array_namespace(indices)
    if weight is None:
        weight = xp.ones(indices.shape, dtype=xp.int32, device=indices.device)
    empty = xp.zeros(classes, dtype=weight.dtype, device=indices.device)
    return add_at(empty, weight, indices)


def split(
    targets: Array, count: int, rng: Generator, strata: Array | None = None
) -> tuple[Array, Array]:
    """Return the rows to train on, and `count` to validate on, drawn at random.

    With the indices of classes as `strata` each class has its share in both, to one sample.
    """
    samples = targets.shape[0]
    order = put_like(rng.permutation(samples), targets)
    xp = array_namespace(order)
    if strata is not None:
        order = xp.take(order, xp.argsort(xp.take(strata, order), stable=True))
    held_out = ((np.arange(count) + 0.5) * (samples / count)).astype(np.int64)
    kept = np.delete(np.arange(samples), held_out)
    first, second = (xp.sort(xp.take(order, put_like(rows, order))) for rows in (kept, held_out))
    return first, second
