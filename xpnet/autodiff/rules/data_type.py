"""Rules for casting and broadcasting."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, DType, Namespace
from xpnet.autodiff.rules.tables import composed, one

__all__ = ["astype", "broadcast_arrays", "broadcast_to"]


@one(view=True, casts=True)
def astype(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    dtype: DType,
    *,
    copy: bool = True,
    device: Any = None,
) -> Array:
    """d astype(x) = dx between floating dtypes, 0 to any other.

    The gradient goes back to the dtype of x like every other: from complex to real numbers that
    is its real part. Arrays of integers and booleans lie on no tape.
    """
    return grad


@one(view=True)
def broadcast_to(
    xp: Namespace, grad: Array, out: Array, x: Array, /, shape: tuple[int, ...]
) -> Array:
    """d broadcast_to(x) = broadcast_to(dx); the sum over the new axes is done for every rule."""
    return grad


@composed
def broadcast_arrays(xp: Namespace, base: Any, *arrays: Array) -> list[Array]:
    """Broadcast each array to the common shape."""
    shape = broadcast_shapes(*(array.shape for array in arrays))
    return [xp.broadcast_to(array, shape) for array in arrays]


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that arrays of these shapes broadcast to (new in the standard of 2025)."""
    ndim = max(map(len, shapes), default=0)
    padded = [(1,) * (ndim - len(shape)) + tuple(shape) for shape in shapes]
    common = []
    for sizes in zip(*padded, strict=True):
        wide = set(sizes) - {1}
        if len(wide) > 1:
            given = ", ".join(str(tuple(shape)) for shape in shapes)
            raise ValueError(f"shapes {given} do not broadcast together")
        common.append(wide.pop() if wide else 1)
    return tuple(common)
