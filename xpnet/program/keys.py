"""Keys: what of an array or a constant makes another program, told apart by equality."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from xpnet._typing import Array
from xpnet.namespace import device_of

__all__ = ["array_key", "value_key"]


def array_key(x: Array) -> tuple[Any, ...]:
    """Return what does not change between the arrays that one program takes."""
    return type(x), tuple(x.shape), x.dtype, device_of(x)


def value_key(x: Hashable) -> Hashable:
    """Return a key that tells apart what is equal and yet computes something else."""
    return type(x), repr(x) if isinstance(x, (float, complex)) else x  # 0.0 == -0.0
