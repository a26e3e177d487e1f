"""Printing a kernel as a function in CUDA C."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from xpnet.program.c import CTYPES, formula, literal
from xpnet.program.entry import Like, Var, dtype_name
from xpnet.program.kernel import AFTER, Kernel
from xpnet.program.operation import REDUCTIONS, Operation
from xpnet.program.program import references
from xpnet.program.walks import Form, Walk, form, walks

__all__ = ["Cuda", "print_cuda", "print_numbers"]

_FUNCTORS = {"max": "Max", "mean": "Sum", "min": "Min", "sum": "Sum"}
_STARTS = {"max": "-INF", "min": "INF"}
# The number of a thread in its block, and how many there are.
_NUMBERS = {
    "me": "const unsigned int me = threadIdx.y * blockDim.x + threadIdx.x;",
    "threads": "const unsigned int threads = blockDim.x * blockDim.y;",
}
_FIRST = "threadIdx.y == 0 && j < columns"
_LANES = 32  # threads of a warp
_BLOCKS = 1024  # at most, so that one block can add up what the others found


class Cuda(NamedTuple):
    """A kernel, printed.

    Attributes
    ----------
    source : str
        A function ``kernel(rows, columns, *inputs, *outputs)``; where something is reduced to a
        number, or by several blocks, with `partial` and `ticket` in the end. Arguments are
        pointers; those of host numbers point to a double. It needs `xpnet.program.c.PRELUDE`.
    form : "flat", "rows" or "columns"
        Whether a thread takes any elements, those of a row, or those of a column.
    totals : int
        How many results are needed of all blocks, or of all that share their columns.
    """

    source: str
    form: Form
    totals: int

    def launch(self, rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return how many blocks there are, and how many threads in each, both in x and y."""
        if self.form == "flat":
            return (min(_ceil(rows * columns, 256), _BLOCKS), 1), (256, 1)
        if self.form == "rows":
            wide = columns > 32 * _LANES
            block = (8 * _LANES, 1) if wide else (_LANES, 8)
            return (min(_ceil(rows, block[1]), _BLOCKS), 1), block
        strips = _ceil(columns, _LANES)
        slices = min(_ceil(rows, 256), max(1, 512 // strips))
        return (strips, slices), (_LANES, 16)

    def scratch(self, rows: int, columns: int) -> tuple[int, int]:
        """Return how many doubles `partial` has, and how many zeros `ticket` starts with."""
        (x, y), _ = self.launch(rows, columns)
        if self.form == "columns":
            return self.totals * columns * y, x
        return self.totals * x, 1


def _ceil(number: int, divisor: int) -> int:
    return -(-number // divisor)


def print_cuda(kernel: Kernel, overwritten: Collection[int] = ()) -> Cuda:
    """Return the source of a kernel that `is_printable`.

    Parameters
    ----------
    kernel : Kernel
        What is computed.
    overwritten : collection of int
        Places of inputs whose memory is that of an output, too.

    Notes
    -----
    Arrays are contiguous, in the order of rows. Sums are formed by trees, in the dtype of their
    result, and always in the same order. Kernels that differ in nothing but sizes have the same
    source.
    """
    return _Printing(kernel, overwritten).print()


def print_numbers(count: int) -> str:
    """Return the source of ``numbers(out, length, *numbers)``, which stores the first of them."""
    parameters = ["double* out", "const long long length"]
    parameters += [f"const double h{n}" for n in range(count)]
    lines = [f"if ({n} < length) out[{n}] = h{n};" for n in range(count)]
    head = f'extern "C" __global__ void numbers({", ".join(parameters)})'
    return "\n".join([*_block(head, _block("if (threadIdx.x == 0)", lines)), ""])


class _Printing:
    """A kernel while it is printed."""

    def __init__(self, kernel: Kernel, overwritten: Collection[int]) -> None:
        self.kernel, self.form = kernel, form(kernel)
        self.overwritten = overwritten
        self.inputs = {place: f"a{n}" for n, place in enumerate(kernel.inputs)}
        self.outputs = {place: f"b{n}" for n, place in enumerate(kernel.outputs)}
        self.names = {op.out: f"v{n}" for n, op in enumerate(kernel.operations)}
        self.names |= {place: f"x{n}" for n, place in enumerate(kernel.inputs)}
        self.walks = walks(kernel)
        total = "column" if self.form == "columns" else "scalar"
        self.totals = [op for op in self._at(total) if op.name in REDUCTIONS]

    def print(self) -> Cuda:
        """Return the source."""
        lines = [
            *self._loads(self._inputs("scalar"), "0"),
            *self._elements(self._at("scalar", early=True)),
            *(f"{self._type(op.out)} {self._restart(op)}" for op in self.totals),
            *{"flat": self._flat, "rows": self._rows, "columns": self._columns}[self.form](),
            *self._numbers(),
        ]
        head = f'extern "C" __global__ void kernel({", ".join(self._parameters())})'
        used = "\n".join(lines)
        lines = [line for name, line in _NUMBERS.items() if re.search(rf"\b{name}\b", used)] + lines
        return Cuda("\n".join([*_block(head, lines), ""]), self.form, len(self.totals))

    def _parameters(self) -> Iterator[str]:
        """Yield sizes and pointers; what is read only, and only through its pointer, is marked."""
        yield from ("const long long rows", "const long long columns")
        for place, name in self.inputs.items():
            restrict = "" if place in self.overwritten else "__restrict__ "
            yield f"const {self._type(place)}* {restrict}{name}"
        for place, name in self.outputs.items():
            yield f"{self._type(place)}* {name}"
        if self.totals:
            yield from ("double* partial", "unsigned int* ticket")

    # Forms

    def _flat(self) -> list[str]:
        loop = (
            "for (long long at = (long long)blockIdx.x * threads + me; at < rows * columns; "
            "at += (long long)gridDim.x * threads)"
        )
        return [line for walk in self.walks for line in _block(loop, self._walked(walk, ""))]

    def _rows(self) -> list[str]:
        loop = (
            "for (long long first = (long long)blockIdx.x * blockDim.y; first < rows; "
            "first += (long long)gridDim.x * blockDim.y)"
        )
        lines = [
            "const bool live = first + threadIdx.y < rows;  // all take part in reductions",
            "const long long i = live ? first + threadIdx.y : rows - 1;",
            *self._loads(self._inputs("row"), "i"),
        ]
        stages = [self.kernel.stages[op.out] for op in self._at("row")]
        for stage in range(max([*stages, len(self.walks)]) + 1):
            lines += self._between(stage)
            for walk in self.walks[stage : stage + 1]:
                totals = [op for op in walk.reductions if self.kernel.roles[op.out] == "row"]
                lines += [f"{self._type(op.out)} {self._restart(op)}" for op in totals]
                lines += _block(
                    "for (long long j = threadIdx.x; j < columns; j += blockDim.x)",
                    ["const long long at = i * columns + j;", *self._walked(walk, "live")],
                )
        return _block(loop, lines)

    def _between(self, stage: int) -> list[str]:
        """Return the lines for what there is one of in each row, before a walk over it."""
        lines = []
        alone = "live && threadIdx.x == 0"
        for op in self.kernel.operations:
            role = self.kernel.roles[op.out]
            if role == "row" and self.kernel.stages[op.out] == stage:
                if op.name in REDUCTIONS:
                    lines += self._reduce(op, "threadIdx.x, blockDim.x")
                    lines += self._finish(op)
                else:
                    lines += self._elements([op])
                lines += self._stores([op.out], "i", alone)
            elif role == "scalar" and op.name in REDUCTIONS:
                [x] = references(op.args)
                if self.kernel.roles[x] == "row" and self.kernel.stages[x] == stage:
                    lines += _block(f"if ({alone})", self._accumulate(op))
        return lines

    def _columns(self) -> list[str]:
        loop = (
            "for (long long i = blockIdx.y * blockDim.y + threadIdx.y; i < rows && j < columns; "
            "i += gridDim.y * blockDim.y)"
        )
        rows = list(self._at("row"))
        inside = [
            "const long long at = i * columns + j;",
            *self._loads(self._inputs("row"), "i"),
            *self._elements(rows),
            *self._stores([op.out for op in rows], "i", "j == 0"),
            *(line for walk in self.walks for line in self._walked(walk, "")),
        ]
        columns = list(self._at("column"))
        ends = [line for op in self.totals for line in self._finish(op)]
        ends += self._column_loads(columns)
        ends += self._elements(op for op in columns if op.name not in REDUCTIONS)
        ends += self._stores([op.out for op in columns], "j")
        return [
            "const long long j = (long long)blockIdx.x * blockDim.x + threadIdx.x;",
            *_block(loop, inside),
            *self._slices(),
            *_block(f"if ({'' if self.totals else 'blockIdx.y == 0 && '}{_FIRST})", ends),
        ]

    def _slices(self) -> list[str]:
        """Return the lines that add what the threads, and then the blocks, of a column found."""
        names = [self._total(op) for op in self.totals]
        down = [f"{name} = down({name});" for name in names]
        parts = [self._part(op, "columns * gridDim.y") for op in self.totals]
        pairs = list(zip(names, parts, strict=True))
        put = [f"{part}[blockIdx.y * columns + j] = {name};" for name, part in pairs]
        more = [
            *_block(f"if ({_FIRST})", put),
            "if (!is_last(ticket + blockIdx.x, gridDim.y)) return;",
            *map(self._restart, self.totals),
            *_block(
                "for (long long n = threadIdx.y; n < gridDim.y && j < columns; n += blockDim.y)",
                [f"{name} += {part}[n * columns + j];" for name, part in pairs],
            ),
            *down,
        ]
        return [*down, *_block("if (gridDim.y > 1)", more)] if self.totals else []

    def _numbers(self) -> list[str]:
        """Return the lines for numbers: what the blocks found, and what follows from it."""
        lines = self._stores(
            [op.out for op in self._at("scalar", early=True)],
            "0",
            "blockIdx.x == 0 && blockIdx.y == 0 && me == 0",
        )
        if self.form == "columns" or not self.totals:
            return lines
        among = [line for op in self.totals for line in self._reduce(op, "me, threads")]
        parts = [self._part(op, "gridDim.x") for op in self.totals]
        pairs = list(zip(self.totals, parts, strict=True))
        add = [self._combine(op, f"({self._type(op.out)}){part}[n]") for op, part in pairs]
        late = list(self._at("scalar", early=False))
        ends = [
            line
            for op in late
            for line in (self._finish(op) if op.name in REDUCTIONS else self._elements([op]))
        ]
        put = [f"{part}[blockIdx.x] = {self._total(op)};" for op, part in pairs]
        return [
            *lines,
            *among,
            *_block("if (me == 0)", put),
            "if (!is_last(ticket, gridDim.x)) return;",
            *map(self._restart, self.totals),
            *_block("for (unsigned int n = me; n < gridDim.x; n += threads)", add),
            *among,
            *_block("if (me == 0)", ends + self._stores([op.out for op in late], "0")),
        ]

    # Reductions

    def _restart(self, op: Operation) -> str:
        return f"{self._total(op)} = {_STARTS.get(op.name, '0')};"

    def _accumulate(self, op: Operation) -> list[str]:
        """Return the line that adds an element to a reduction."""
        return [self._combine(op, f"({self._type(op.out)}){self.names[op.args[0].place]}")]

    def _combine(self, op: Operation, value: str) -> str:
        total = self._total(op)
        return f"{total} = {_FUNCTORS[op.name]}()({total}, {value});"

    def _reduce(self, op: Operation, among: str) -> list[str]:
        """Return the line that combines what several threads found."""
        total = self._total(op)
        return [f"{total} = reduce({total}, {_FUNCTORS[op.name]}(), {among});"]

    def _finish(self, op: Operation) -> list[str]:
        """Return the line that makes the result of a reduction."""
        total, ctype = self._total(op), self._type(op.out)
        if op.name == "mean":
            role, whole = self.kernel.roles[op.out], self.kernel.roles[op.args[0].place] == "full"
            count = "columns" if role == "row" else "rows * columns" if whole else "rows"
            if role == "column":
                count = "rows"
            total = f"{total} / ({ctype})({count})"
        return [f"const {ctype} {self.names[op.out]} = {total};"]

    def _total(self, op: Operation) -> str:
        """Return the name of the number in which a reduction is formed."""
        return f"t{self.names[op.out][1:]}"

    def _part(self, op: Operation, size: str) -> str:
        """Return where the blocks put what they found for a reduction."""
        number = self.totals.index(op)
        return f"((volatile {self._type(op.out)}*)(partial + {number} * {size}))"

    # Elements

    def _walked(self, walk: Walk, live: str) -> list[str]:
        """Return the lines for an element."""
        lines = self._loads([place for place in self.names if place in walk.loads], "at")
        lines += self._column_loads(walk.operations)
        lines += self._elements(walk.operations)
        for op in walk.reductions:
            whole = live and self.kernel.roles[op.out] == "scalar"
            lines += _block(f"if ({live})", self._accumulate(op)) if whole else self._accumulate(op)
        return lines + self._stores(walk.outputs, "at", live)

    def _loads(self, places: Iterable[int], index: str) -> list[str]:
        """Return the lines that read elements, of inputs or of what was written before."""
        return [
            f"const {self._type(place)} {self.names[place]} = "
            f"{self.inputs.get(place) or self.outputs[place]}[{index}];"
            for place in places
        ]

    def _column_loads(self, operations: Iterable[Operation]) -> list[str]:
        """Return the lines that read what operations need of a column's vectors."""
        used = {place for op in operations for place in references(op.args)}
        return self._loads([place for place in self._inputs("column") if place in used], "j")

    def _stores(self, places: Iterable[int], index: str, condition: str = "") -> list[str]:
        """Return the lines that write those of some elements that are needed outside."""
        lines = [
            f"{self.outputs[place]}[{index}] = {self.names[place]};"
            for place in places
            if place in self.outputs
        ]
        return _block(f"if ({condition})", lines) if condition and lines else lines

    def _elements(self, operations: Iterable[Operation]) -> list[str]:
        """Return the lines that compute elements."""
        lines = []
        for op in operations:
            out = self._type(op.out)
            bounded = len(op.args) > 1 and not isinstance(op.args[1], Var)
            text = formula(
                "astype" if op.name == "same" else op.name,
                out,
                [self._operand(x) for x in op.args],
                bounded and op.args[1] == op.args[1],
            )
            lines.append(f"const {out} {self.names[op.out]} = ({out})({text});")
        return lines

    def _operand(self, x: Any) -> tuple[str, str | None]:
        """Return an expression and its type, if it has one of its own."""
        if not isinstance(x, Var):
            return literal(x), None
        is_array = isinstance(self.kernel.kinds[x.place], Like)
        return self.names[x.place], self._type(x.place) if is_array else None

    def _type(self, place: int) -> str:
        kind = self.kernel.kinds[place]
        return CTYPES[dtype_name(kind)] if isinstance(kind, Like) else "double"

    def _inputs(self, role: str) -> list[int]:
        """Return the inputs of a role; host numbers are scalars."""
        return [p for p in self.inputs if self.kernel.roles.get(p, "scalar") == role]

    def _at(self, role: str, early: bool | None = None) -> Iterator[Operation]:
        """Yield the operations for a role; for all, or what is known before or after the rows."""
        for op in self.kernel.operations:
            known = early is None or early == (self.kernel.stages[op.out] != AFTER)
            if self.kernel.roles[op.out] == role and known:
                yield op


def _block(head: str, lines: list[str]) -> list[str]:
    return [f"{head} {{", *(f"    {line}" for line in lines), "}"] if lines else []
