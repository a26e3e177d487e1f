"""Rules for sorting."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import composed

__all__ = ["sort"]


@composed
def sort(
    xp: Namespace,
    base: Any,
    x: Array,
    /,
    *,
    axis: int = -1,
    descending: bool = False,
    stable: bool = True,
) -> Array:
    """Take the elements in order; of equal ones each keeps its own gradient."""
    order = xp.argsort(x, axis=axis, descending=descending, stable=stable)
    return xp.take_along_axis(x, order, axis=axis)
