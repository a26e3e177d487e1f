"""Rules for the creation functions that take an array."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import composed, one
from xpnet.autodiff.tape import lift, raw
from xpnet.errors import TracedArrayError
from xpnet.wrapping import WrappedArray

__all__ = ["asarray", "full", "full_like", "tril", "triu"]


@one()
def tril(xp: Namespace, grad: Array, out: Array, x: Array, /, *, k: int = 0) -> Array:
    """d tril(x) = tril(dx)."""
    return xp.tril(grad, k=k)


@one()
def triu(xp: Namespace, grad: Array, out: Array, x: Array, /, *, k: int = 0) -> Array:
    """d triu(x) = triu(dx)."""
    return xp.triu(grad, k=k)


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
    """Return a traced array as it is, or in another dtype; anything else is a constant."""
    if isinstance(obj, WrappedArray):
        return obj if dtype is None or dtype == obj.dtype else xp.astype(obj, dtype)
    if _holds_traced(obj):
        raise TracedArrayError(
            "asarray of a list that holds traced arrays would lose their gradient; use xp.stack"
        )
    return lift(xp, base(obj, dtype=dtype, device=device, copy=copy))


@composed
def full(xp: Namespace, base: Any, shape: Any, fill_value: Any, **options: Any) -> Array:
    """Return an array filled with a number or with a 0-d array."""
    if isinstance(fill_value, (bool, int, float, complex)):
        return lift(xp, base(shape, fill_value, **options))
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return _filled(xp, shape, fill_value, options.get("dtype"))


@composed
def full_like(xp: Namespace, base: Any, x: Array, /, fill_value: Any, **options: Any) -> Array:
    """Return an array like `x`, filled with a number or with a 0-d array."""
    if isinstance(fill_value, (bool, int, float, complex)):
        return lift(xp, base(raw(x), fill_value, **options))
    return _filled(xp, x.shape, fill_value, options.get("dtype") or x.dtype)


def _filled(xp: Namespace, shape: tuple[int, ...], value: Array, dtype: Any) -> Array:
    value = xp.asarray(value, dtype=dtype)
    return xp.broadcast_to(xp.reshape(value, (1,) * len(shape)), shape)


def _holds_traced(obj: Any) -> bool:
    if isinstance(obj, (list, tuple)):
        return any(_holds_traced(member) for member in obj)
    return isinstance(obj, WrappedArray)
