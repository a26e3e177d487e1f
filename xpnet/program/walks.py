"""How threads go over a kernel: by elements, rows or columns, and what they do at each."""

from __future__ import annotations

from typing import Literal, NamedTuple

from xpnet.program.c import CTYPES
from xpnet.program.entry import Like, dtype_name
from xpnet.program.kernel import Kernel
from xpnet.program.operation import REDUCTIONS, Operation
from xpnet.program.program import references

__all__ = ["Form", "Walk", "form", "is_printable", "overwritable", "walks"]

# Whether a thread takes any elements, those of a row, or those of a column.
Form = Literal["flat", "rows", "columns"]


class Walk(NamedTuple):
    """What is done with each element while a row is walked."""

    operations: list[Operation]
    reductions: list[Operation]
    outputs: list[int]
    loads: set[int]


def walks(kernel: Kernel) -> list[Walk]:
    """Return the walks over a row; what an earlier one computed is stored, or computed again."""
    roles, stages = kernel.roles, kernel.stages
    made = {op.out: op for op in kernel.operations if roles[op.out] == "full"}
    found = []
    reductions: dict[int, list[Operation]] = {}
    for op in kernel.operations:
        if op.name in REDUCTIONS and roles[references(op.args)[0]] == "full":
            reductions.setdefault(stages[references(op.args)[0]], []).append(op)
    ends = [*reductions, *(stages[out] for out in kernel.outputs if out in made)]
    for stage in range(max(ends, default=-1) + 1):
        outputs = [out for out in kernel.outputs if out in made and stages[out] == stage]
        wanted = [*outputs, *(references(op.args)[0] for op in reductions.get(stage, ()))]
        computed: set[int] = set()
        loads: set[int] = set()
        while wanted:
            place = wanted.pop()
            if place not in made or (place in kernel.outputs and stages[place] < stage):
                loads.add(place)
            elif place not in computed:
                computed.add(place)
                wanted += [p for p in references(made[place].args) if roles[p] == "full"]
        operations = [op for op in kernel.operations if op.out in computed]
        found.append(Walk(operations, reductions.get(stage, []), outputs, loads))
    return found


def is_printable(kernel: Kernel) -> bool:
    """Tell whether a kernel is one function: rows and columns are not reduced in the same."""
    chosen = form(kernel)
    for place in (*kernel.inputs, *(op.out for op in kernel.operations)):
        like = kernel.kinds[place]
        if isinstance(like, Like) and dtype_name(like) not in CTYPES:
            return False
    for op in kernel.operations:
        if op.name in REDUCTIONS:
            if chosen == "columns" and kernel.roles[op.out] != "column":
                return False
            if op.name != "sum" and not dtype_name(kernel.kinds[op.out]).startswith("float"):
                return False
    return True


def overwritable(kernel: Kernel, out: int) -> list[int]:
    """Return the inputs whose memory an output may be computed into.

    Each element is read for the last time by the thread that writes the one which takes its place.
    """
    role, late = kernel.roles[out], set[int]()
    if role == "full":
        for walk in walks(kernel)[kernel.stages[out] + 1 :]:
            late |= walk.loads
    elif role == "column":  # which is written by the thread that reads it, after all rows
        for op in kernel.operations:
            if kernel.roles[op.out] != "column":
                late |= set(references(op.args))
    else:
        return []
    like = kernel.kinds[out]
    return [
        place
        for place in kernel.inputs
        if kernel.roles[place] == role and kernel.kinds[place] == like and place not in late
    ]


def form(kernel: Kernel) -> Form:
    """Return what a thread takes of a kernel."""
    if any(kernel.roles[op.out] == "column" for op in kernel.operations):
        return "columns"
    return "rows" if {"row", "column"} & set(kernel.roles.values()) else "flat"
