"""Memory that loops over several arrays at once read and write fast."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

__all__ = ["empty", "is_aligned"]

_LINE, _PAGE = 64, 4096  # bytes: of the cache, and of memory
# Processors tell by the last twelve bits of an address whether what is read was just written, so
# loops over arrays that agree in them wait for nothing. These differ by four lines or more.
_starts = itertools.cycle(range(0, _PAGE, 5 * _LINE))


def empty(shape: tuple[int, ...], dtype: Any, order: Any = "C") -> Any:
    """Return an array whose values are arbitrary, like NumPy's.

    It starts where a cache line does, a large one at another distance from the beginning of a
    page than those that were made before and after it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    unit, start = (_LINE, 0) if size < _PAGE else (_PAGE, next(_starts))
    memory = np.empty(size + unit + start, np.uint8)
    return np.ndarray(shape, dtype, memory, start - memory.ctypes.data % -unit, order=order)


def is_aligned(array: Any) -> bool:
    """Tell whether an array starts where a cache line does."""
    return bool(array.ctypes.data % _LINE == 0)
