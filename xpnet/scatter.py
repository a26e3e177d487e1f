"""Writing where libraries differ: copies, sums at repeated positions, and assignment.

The backend does it in the library's own way; `add_at_twin` is the form that needs none.
"""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array
from xpnet.backend import owner
from xpnet.namespace import array_namespace, device_of

__all__ = ["add_at", "add_at_twin", "copy", "set_at"]


def copy(x: Array) -> Array:
    """Return a copy of an array that shares nothing with it, on the same device."""
    backend = owner(type(x))
    if backend is not None:
        return backend.copy(x)
    return array_namespace(x).asarray(x, copy=True)


def add_at(x: Array, values: Array, positions: Array) -> Array:
    """Return the vector `x` with ``values[i]`` added at ``positions[i]``, repeated ones summed.

    An array that is not traced is given away: it may have been written to.
    """
    if hasattr(type(x), "wrapped_add_at"):
        return x.wrapped_add_at(values, positions)
    backend = owner(type(x))
    out = NotImplemented if backend is None else backend.add_at(x, values, positions)
    return add_at_twin(x, values, positions) if out is NotImplemented else out


def add_at_twin(x: Array, values: Array, positions: Array) -> Array:
    """See `add_at`; compares every position with every place."""
    xp = array_namespace(x)
    places = xp.arange(x.shape[0], dtype=positions.dtype, device=device_of(x))
    hits = xp.expand_dims(places, axis=1) == xp.expand_dims(positions, axis=0)
    return x + xp.sum(xp.where(hits, values, xp.zeros_like(values)), axis=1, dtype=x.dtype)


def set_at(x: Array, values: Array | complex, key: Any) -> Array:
    """Return `x` with ``x[key] = values``; one that is not traced is given away."""
    if hasattr(type(x), "wrapped_set_at"):
        return x.wrapped_set_at(values, key)
    backend = owner(type(x))
    if backend is not None:
        return backend.set_at(x, values, key)
    x[key] = values
    return x
