"""What programs consist of: calls, and what is known of the arrays that they take and make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet._typing import Device, DType

__all__ = ["Entry", "Like", "Var", "dtype_name", "shape_of"]


class Var(NamedTuple):
    """The place of an array, or of a host number, among all that a program computes with."""

    place: int


class Like(NamedTuple):
    """What is known of an array before it is computed."""

    type: type
    shape: tuple[int, ...]
    dtype: DType
    device: Device
    strides: Any  # of libraries that have them: in which order sums are formed depends on them

    @property
    def nbytes(self) -> int:
        """How many bytes its elements take, of a library that tells the size of a dtype."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    @property
    def is_contiguous(self) -> bool:
        """Whether elements lie one after another, in the order of rows, as far as is known."""
        if self.strides is None:
            return True
        step = int(self.dtype.itemsize)
        for length, stride in zip(self.shape[::-1], self.strides[::-1], strict=True):
            if length > 1 and stride != step:
                return False
            step *= length
        return True

    def by_rows(self) -> Like:
        """Return the same with elements one after another, in the order of rows."""
        steps = (math.prod(self.shape[n + 1 :]) for n in range(len(self.shape)))
        return self._replace(strides=tuple(step * self.dtype.itemsize for step in steps))


class Entry(NamedTuple):
    """One call: which function, of what, and where its results go, if it returns several."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: tuple[int, ...]
    several: bool = False

    @property
    def is_operator(self) -> bool:
        """Whether it is one of Python's operators; some functions of NumPy's have no module."""
        return getattr(self.function, "__module__", None) == "_operator"


def dtype_name(like: Any) -> str:
    """Return the standard's name of the dtype of an array."""
    return str(like.dtype).rpartition(".")[2]


def shape_of(x: Any) -> tuple[int, ...]:
    """Return the shape of an array, and that of an array without axes for a number."""
    return x.shape if isinstance(x, Like) else ()
