"""A kernel: elementwise calls, and the sums and extremes that hang on them, as one pass.

All arrays of a kernel lie over one matrix of rows and columns, leading axes together being the
rows. What it computes has a role there: *full*, an element for each row and column; *row*, one
for each row; *column*, one for each column; or *scalar*. A row is walked several times where
something of the whole row is needed first, as softmax needs the maximum and then the sum. Where
nothing is broadcast or reduced along one of the axes, the matrix is *flat*, a single row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from xpnet.program.entry import Entry, Var, shape_of
from xpnet.program.operation import REDUCTIONS, Operation
from xpnet.program.program import evaluate

__all__ = ["AFTER", "Kernel", "Role", "kernel_of"]

Role = Literal["full", "row", "column", "scalar"]
AFTER = 10**9  # the stage of what is known when all rows are done


class Kernel:
    """Calls that run as one pass over a matrix.

    Attributes
    ----------
    entries : list of Entry
        The calls, in the order in which they run.
    operations : list of Operation
        The same, under common names.
    kinds : sequence
        See `xpnet.program.program.Program`.
    shape : tuple of int
        Rows and columns; one row if the kernel is flat.
    roles : dict from int to str
        For each place that it reads or computes.
    stages : dict from int to int
        When a place is known: for *full*, during which walk over a row; for *row*, before which
        one; `AFTER` for what needs all rows.
    inputs, outputs : list of int
        Places that are read from outside, and those that are needed there.
    """

    __name__ = "kernel"  # in a printed program

    def __init__(
        self,
        entries: list[Entry],
        operations: list[Operation],
        kinds: Sequence[Any],
        shape: tuple[int, int],
        roles: dict[int, Role],
        stages: dict[int, int],
    ) -> None:
        self.entries, self.operations, self.kinds = entries, operations, kinds
        self.shape, self.roles, self.stages = shape, roles, stages
        inside = {op.out for op in operations}
        used = [place for op in operations for place in op.places]
        self.inputs = [place for place in dict.fromkeys(used) if place not in inside]
        self.outputs: list[int] = []

    @property
    def is_flat(self) -> bool:
        """Whether all is full or scalar."""
        return self.shape[0] == 1

    def entry(self, outputs: Iterable[int]) -> Entry:
        """Return a call of the kernel that computes these places."""
        self.outputs = list(outputs)
        arguments = tuple(map(Var, self.inputs))
        return Entry("kernel", self, arguments, {}, tuple(self.outputs), several=True)

    def __call__(self, *arrays: Any) -> list[Any]:
        """Compute the outputs with the functions that were recorded, one by one."""
        values = dict(zip(self.inputs, arrays, strict=True))
        evaluate(self.entries, values)
        return [values[place] for place in self.outputs]

    def overwritable(self, out: int) -> list[int]:
        """Return the inputs whose memory an output may be computed into.

        Each element is read for the last time before, or while, the one of the result is written
        that takes its place.
        """
        made = next(op for op in self.operations if op.out == out)
        if self.roles[out] == "scalar" or (self.roles[out] == "column" and made.name in REDUCTIONS):
            return []  # sums of columns grow there from the first row on
        last: dict[int, int] = {}
        for op in self.operations:
            for place in op.places:
                stage = self._read(op)
                last[place] = max(stage, last.get(place, stage))
        like = self.kinds[out]
        written = self.stages[out]
        return [
            place
            for place in self.inputs
            if self.roles[place] == self.roles[out]
            and self.kinds[place] == like
            and last[place] <= written
        ]

    def _read(self, op: Operation) -> int:
        """Return the walk during which the operands of an operation are read."""
        if op.name in REDUCTIONS:
            [x] = op.places
            return self.stages[x]
        return self.stages[op.out]


def kernel_of(
    entries: list[Entry], operations: list[Operation | None], kinds: Sequence[Any]
) -> Kernel | None:
    """Return the kernel that computes some entries, or None if they have no common matrix.

    `operations` has what `operation` returns for each.
    """
    known = [op for op in operations if op is not None]
    if len(known) < len(entries):
        return None
    shape = _matrix(known, kinds)
    if shape is None or 0 in shape:
        return None
    roles = _roles(known, kinds, shape)
    stages = None if roles is None else _stages(known, roles)
    if roles is None or stages is None:
        return None
    return Kernel(entries, known, kinds, shape, roles, stages)


def _matrix(operations: list[Operation], kinds: Sequence[Any]) -> tuple[int, int] | None:
    """Return rows and columns, or None if there is no matrix for all."""
    found: set[tuple[int, int]] = set()
    sizes: set[int] = set()
    for op in operations:
        shapes = [shape_of(kinds[place]) for place in op.places]
        if op.name in REDUCTIONS:
            [shape] = shapes
            if len(shape) > 1 and len(op.axes) < len(shape):
                found.add((math.prod(shape[:-1]), shape[-1]))
            sizes.add(math.prod(shape))
            continue
        out = shape_of(kinds[op.out])
        size = math.prod(out)
        sizes.add(size)
        if any(1 != math.prod(shape) != size for shape in shapes):
            found.add((math.prod(out[:-1]), out[-1]))
    found -= {(1, 1)}
    if len(found) == 1:
        return found.pop()
    sizes -= {1}
    return (1, max(sizes, default=1)) if not found and len(sizes) < 2 else None


def _roles(
    operations: list[Operation], kinds: Sequence[Any], shape: tuple[int, int]
) -> dict[int, Role] | None:
    """Return the role of each place, or None if one would need two."""
    rows, columns = shape
    roles: dict[int, Role] = {}

    def assign(place: int, role: Role | None) -> bool:
        return role is not None and roles.setdefault(place, role) == role

    def natural(place: int) -> Role | None:
        """Return the role that the shape of an array suggests."""
        found = shape_of(kinds[place])
        size = math.prod(found)
        if size == 1:
            return "scalar"
        if size == rows * columns and (rows == 1 or found[-1] == columns):
            return "full"
        if size == columns and found[-1] == columns:
            return "column"
        return "row" if size == rows and (found[-1] == 1 or len(found) == 1) else None

    for op in operations:
        places = op.places
        if op.name in REDUCTIONS:
            [x] = places
            if not assign(x, roles.get(x) or natural(x)):
                return None
            if not assign(op.out, _reduced(op, roles[x], shape_of(kinds[x]), shape)):
                return None
            continue
        out = shape_of(kinds[op.out])
        size = math.prod(out)
        arrays = [place for place in places if math.prod(shape_of(kinds[place])) > 1]
        if any(not assign(place, "scalar") for place in places if place not in arrays):
            return None
        if all(math.prod(shape_of(kinds[place])) == size for place in arrays):
            known = {roles[place] for place in arrays if place in roles}
            role = known.pop() if len(known) == 1 else None if known else natural(op.out)
            if role == "full" and rows > 1 and out[-1] != columns:
                return None
            if not all(assign(place, role) for place in (*arrays, op.out)):
                return None
            continue
        if size != rows * columns or not assign(op.out, "full"):  # something is broadcast
            return None
        for place in arrays:
            if not assign(place, _aligned(shape_of(kinds[place]), out, columns)):
                return None
    return roles


def _aligned(operand: tuple[int, ...], out: tuple[int, ...], columns: int) -> Role | None:
    """Return the role of an operand that is broadcast to a full result."""
    padded = (1,) * (len(out) - len(operand)) + operand
    if padded == out:
        return "full"
    if padded[-1] == columns and math.prod(padded[:-1]) == 1:
        return "column"
    return "row" if padded[-1] == 1 and padded[:-1] == out[:-1] else None


def _reduced(
    op: Operation, role: Role, operand: tuple[int, ...], shape: tuple[int, int]
) -> Role | None:
    """Return the role of what is left of an operand."""
    everything = len(op.axes) == len(operand)
    if role == "full":
        if everything:
            return "scalar"
        if op.axes == {len(operand) - 1}:
            return "row"
        leading = op.axes == set(range(len(operand) - 1))
        return "column" if leading and op.name in ("mean", "sum") else None
    whole = everything or (op.axes == set(range(len(operand) - 1)) and operand[-1] == 1)
    return "scalar" if role == "row" and whole and op.name in ("mean", "sum") else None


def _stages(operations: list[Operation], roles: dict[int, Role]) -> dict[int, int] | None:
    """Return when each place is known, or None if a row would need what needs all rows."""
    stages: dict[int, int] = {}
    for op in operations:
        places = op.places
        stage = max((stages.setdefault(place, 0) for place in places), default=0)
        role = roles[op.out]
        if op.name in REDUCTIONS:
            if stage == AFTER:
                return None
            stage = stage + 1 if role == "row" else AFTER
        elif role == "column":
            stage = AFTER
        elif role != "scalar" and stage == AFTER:
            return None
        stages[op.out] = stage
    return stages
