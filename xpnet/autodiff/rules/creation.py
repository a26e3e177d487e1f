"""Rules for the creation functions that take an array."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.aliasing import OUTSIDE
from xpnet.autodiff.rules.tables import composed, one
from xpnet.autodiff.tape import fresh, lift, raw
from xpnet.namespace import device_of, is_array
from xpnet.wrapping import WrappedArray

__all__ = ["asarray", "from_dlpack", "full", "full_like", "meshgrid", "to_device", "tril", "triu"]


@one()
def tril(xp: Namespace, grad: Array, out: Array, x: Array, /, *, k: int = 0) -> Array:
    """d tril(x) = tril(dx)."""
    return xp.tril(grad, k=k)


@one()
def triu(xp: Namespace, grad: Array, out: Array, x: Array, /, *, k: int = 0) -> Array:
    """d triu(x) = triu(dx)."""
    return xp.triu(grad, k=k)


@one("x")
def to_device(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    device: Any,
    /,
    *,
    stream: Any = None,
) -> Array:
    """d to_device(x) = to_device(dx), so the gradient moves back."""
    return xp.asarray(grad, device=device_of(x))


@composed
def asarray(
    xp: Namespace,
    base: Any,
    obj: Any,
    /,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
) -> Array:
    """Return a traced array as it is or converted, and lists of traced arrays stacked."""
    if isinstance(obj, (list, tuple)) and _holds_traced(obj):
        obj, copy = xp.stack([xp.asarray(member, device=device) for member in obj]), False
    if isinstance(obj, WrappedArray):
        if device is not None and device != device_of(obj):
            obj = obj.to_device(device)
        if dtype is not None and dtype != obj.dtype:
            return xp.astype(obj, dtype)
        return fresh(obj) if copy else obj
    out = lift(xp, base(obj, dtype=dtype, device=device, copy=copy))
    if not copy and is_array(obj):
        out.group = OUTSIDE
    return out


@composed
def from_dlpack(xp: Namespace, base: Any, x: Any, /, **options: Any) -> Array:
    """Return an array of another library as a constant, a traced one as `asarray` does."""
    return xp.asarray(x, **options) if isinstance(x, WrappedArray) else lift(xp, base(x, **options))


@composed
def full(xp: Namespace, base: Any, shape: Any, fill_value: Any, **options: Any) -> Array:
    """Return an array filled with a number or with a 0-d array."""
    if not is_array(fill_value):
        return lift(xp, base(shape, fill_value, **options))
    value = xp.asarray(fill_value, dtype=options.get("dtype"))
    return fresh(xp.broadcast_to(value, (shape,) if isinstance(shape, int) else shape))


@composed
def full_like(xp: Namespace, base: Any, x: Array, /, fill_value: Any, **options: Any) -> Array:
    """Return an array like `x`, filled with a number or with a 0-d array."""
    if not is_array(fill_value):
        return lift(xp, base(raw(x), fill_value, **options))
    dtype = options.get("dtype")
    return xp.full(x.shape, fill_value, dtype=x.dtype if dtype is None else dtype)


@composed
def meshgrid(xp: Namespace, base: Any, *arrays: Array, indexing: str = "xy") -> list[Array]:
    """Broadcast each vector along the axes of the others."""
    if indexing not in ("xy", "ij"):
        raise ValueError(f'meshgrid: indexing must be "xy" or "ij", got {indexing!r}')
    n = len(arrays)
    shape = [x.shape[0] if x.ndim else 1 for x in arrays]
    wide = [
        xp.reshape(x, (1,) * axis + (-1,) + (1,) * (n - 1 - axis)) for axis, x in enumerate(arrays)
    ]
    grids = [xp.broadcast_to(x, tuple(shape)) for x in wide]
    if indexing == "xy" and n > 1:
        grids = [xp.moveaxis(grid, 0, 1) for grid in grids]
    return [fresh(grid) for grid in grids]


def _holds_traced(obj: Any) -> bool:
    if isinstance(obj, (list, tuple)):
        return any(_holds_traced(member) for member in obj)
    return isinstance(obj, WrappedArray)
