"""The type aliases of the whole library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy  # noqa: TID251 - the type of host memory, never imported

__all__ = ["Array", "DType", "Device", "HostArray", "Namespace", "Tree"]

# The standard has no run-time classes to check against, so these are names for the reader.
Array: TypeAlias = Any
DType: TypeAlias = Any
Device: TypeAlias = Any
Namespace: TypeAlias = Any
Tree: TypeAlias = Any  # an array, or a list, tuple or dict of trees
HostArray: TypeAlias = "numpy.ndarray[Any, Any]"
