"""Rules for the utility functions."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import composed

__all__ = ["diff"]


@composed
def diff(
    xp: Namespace,
    base: Any,
    x: Array,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Array | None = None,
    append: Array | None = None,
) -> Array:
    """Take differences of neighbours, `n` times; not at all, there is nothing to add ends for."""
    axis %= x.ndim
    parts = (prepend, x, append) if n else (x,)
    x = xp.concat([part for part in parts if part is not None], axis=axis)
    before = (slice(None),) * axis
    for _ in range(n):
        x = x[(*before, slice(1, None), ...)] - x[(*before, slice(None, -1), ...)]
    return x
