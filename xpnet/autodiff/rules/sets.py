"""Rules for the set functions: a value that occurs twice is differentiated where it comes first."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import composed
from xpnet.autodiff.tape import CONSTANT, TracedArray, lift, raw
from xpnet.standard import RESULTS

__all__ = ["unique_all", "unique_counts", "unique_inverse", "unique_values"]


@composed
def unique_values(xp: Namespace, base: Any, x: Array, /) -> Array:
    """Take each value from where it comes first."""
    return _from_first(xp, x, base(raw(x)))


@composed
def unique_all(xp: Namespace, base: Any, x: Array, /) -> Any:
    """See `unique_values`."""
    return _with_values(xp, "unique_all", x, base(raw(x)))


@composed
def unique_counts(xp: Namespace, base: Any, x: Array, /) -> Any:
    """See `unique_values`."""
    return _with_values(xp, "unique_counts", x, base(raw(x)))


@composed
def unique_inverse(xp: Namespace, base: Any, x: Array, /) -> Any:
    """See `unique_values`."""
    return _with_values(xp, "unique_inverse", x, base(raw(x)))


def _with_values(xp: Namespace, name: str, x: Array, out: Any) -> Any:
    values, *rest = out
    return RESULTS[name](_from_first(xp, x, values), *(lift(xp, y) for y in rest))


def _from_first(xp: Namespace, x: Array, values: Array) -> Array:
    """Return `values`, each taken from `x`; nan, which equals nothing, is a constant."""
    values = lift(xp, values)
    if not isinstance(x, TracedArray) or x.tape is CONSTANT:
        return values
    x = xp.reshape(x, (-1,))
    equal = xp.expand_dims(x, axis=1) == xp.expand_dims(values, axis=0)
    first = xp.argmax(xp.astype(equal, xp.int8), axis=0)
    return xp.where(values == values, xp.take(x, first), values)
