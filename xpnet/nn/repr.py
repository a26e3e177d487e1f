"""The repr of a module: what it is made of, and how many parameters it has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from xpnet._typing import Array
from xpnet.state import BUFFER, FROZEN

if TYPE_CHECKING:
    from xpnet.nn.module import Module

__all__ = ["module_repr"]


def module_repr(module: Module) -> str:
    """Return the repr of a module, with one line for each of its own parameters and modules."""
    slots = [] if module.is_waiting() else [x for x in module.own_slots() if x.role != BUFFER]
    lines = [f"({name}): {child!r}" for name, child in module.children()]
    if lines:
        lines = [f"{slot.key}: {_shape(slot.array)}" for slot in slots] + lines
    head = f"{type(module).__name__}({module.extra_repr()}"
    waiting = any(each.is_waiting() for _, each in module.modules())
    if not lines:
        shapes = ", ".join(f"{slot.key} {_shape(slot.array)}" for slot in slots)
        frozen = ", frozen" if any(slot.role == FROZEN for slot in slots) else ""
        count = sum(_size(slot.array) for slot in slots)
        text = f"{shapes}: {count:,} parameters{frozen}" if slots else ""
    else:
        head += "".join("\n  " + line.replace("\n", "\n  ") for line in lines) + "\n"
        text = "" if waiting else f"{_count(module):,} parameters"
    text = "parameters are made by the first batch" if waiting else text
    return f"{head})" + (f"  # {text}" if text else "")


def _count(module: Module) -> int:
    """Return how many parameters a module has; tied ones count once."""
    unique = {id(array): array for array in module.parameters().values()}
    return sum(map(_size, unique.values()))


def _shape(array: Array) -> str:
    return str(tuple(array.shape))


def _size(array: Array) -> int:
    return math.prod(array.shape)
