"""Host numbers that meet integers in kernels, which would cut off what does not fit."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable
from typing import Any

from xpnet.program.formulas import COMPARISONS
from xpnet.program.kernel import Kernel

__all__ = ["check", "met"]


def met(kernels: Iterable[Kernel]) -> dict[Any, list[int]]:
    """Return the places of the host numbers that become integers, by the dtype of these."""
    found: dict[Any, dict[int, None]] = {}
    for kernel in kernels:
        for op in kernel.operations:
            dtype = kernel.kinds[op.out].dtype
            if op.name not in COMPARISONS and dtype.kind in "iu":
                hosted = [place for place in op.places if type(kernel.kinds[place]) is int]
                found.setdefault(dtype, {}).update(dict.fromkeys(hosted))
    return {dtype: list(places) for dtype, places in found.items() if places}


@functools.cache
def check(dtype: Any, count: int) -> Callable[..., None]:
    """Return a function of so many integers that raises if one does not fit."""
    pack = struct.Struct(f"{count}{dtype.char}").pack  # much faster than an array is made

    def check(*numbers: int) -> None:
        try:
            pack(*numbers)
        except struct.error:
            listed = ", ".join(map(str, numbers))
            raise OverflowError(
                f"xn.compile: {listed}: a number that changes from step to step is out of bounds "
                f"for {dtype}, the dtype of the array that it meets"
            ) from None

    return check
