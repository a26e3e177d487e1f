"""Rules for choosing between arrays."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import two

__all__ = ["where"]


@two(a="", b="")
def where(
    xp: Namespace,
    grad: Array,
    out: Array,
    a: Array,
    b: Array,
    need_a: bool,
    need_b: bool,
    condition: Array,
) -> tuple[Any, Any]:
    """d where(c, a, b) = da where c, db elsewhere."""
    none = xp.zeros_like(grad)
    return (
        xp.where(condition, grad, none) if need_a else None,
        xp.where(condition, none, grad) if need_b else None,
    )
