"""Printing a kernel as loops in Python, for a compiler of such loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from xpnet.program.entry import Like, Var, dtype_name
from xpnet.program.formulas import COMPARISONS, FORMULAS
from xpnet.program.kernel import AFTER, Kernel, Role
from xpnet.program.operation import REDUCTIONS, Operation
from xpnet.program.program import references

__all__ = ["Argument", "Loops", "print_loops"]

# With a number that is not nan in second place, which compilers turn into a single instruction.
_BOUNDED = {"maximum": "{1} if {0} <= {1} else {0}", "minimum": "{1} if {0} >= {1} else {0}"}


class Argument(NamedTuple):
    """What a kernel is given.

    Attributes
    ----------
    name : str
        In the source.
    dtype : str
        Of the elements of an array; of a number, the one it is to be read as.
    role : Role or None
        What the array has elements for, see `xpnet.program.kernel`: in a flat kernel the columns,
        where others have all rows and columns. None for a number.
    is_written : bool
        Whether the kernel writes it.
    """

    name: str
    dtype: str
    role: Role | None
    is_written: bool = False


class Loops(NamedTuple):
    """The source of a function ``kernel(rows, columns, *arguments)``, and its arguments.

    These are the inputs of the kernel, its outputs, and at last vectors to keep numbers in.
    """

    source: str
    arguments: tuple[Argument, ...]


def print_loops(kernel: Kernel, over: Mapping[int, int] = MappingProxyType({})) -> Loops:
    """Return a kernel as loops.

    Parameters
    ----------
    kernel : Kernel
        What is computed.
    over : mapping from int to int
        For outputs that are computed where an input is, that input; they are no arguments, so that
        a compiler knows that the others are elsewhere.

    Notes
    -----
    It sees what is full as a matrix of rows and columns, and all else, as everything in a flat
    kernel, as a vector; elements follow one another, in the order of rows. It names functions and
    dtypes of a NumPy-like library, such as ``float32`` and ``exp``. Kernels that differ in nothing
    but sizes have the same source. Sums are formed in double precision where they are one number
    or one for each row; where there is one for each column, row is added to row.
    """
    return _Loops(kernel, over).print()


class _Loops:
    """A kernel while it is printed."""

    def __init__(self, kernel: Kernel, over: Mapping[int, int]) -> None:
        self.kernel = kernel
        self.inputs = {place: f"a{n}" for n, place in enumerate(kernel.inputs)}
        self.outputs = {
            place: self.inputs[over[place]] if place in over else f"b{n}"
            for n, place in enumerate(kernel.outputs)
        }
        self.names: dict[int, str] = {}  # of what is computed, and of scalars
        for n, op in enumerate(kernel.operations):
            self.names[op.out] = f"v{n}"
        self.top: list[str] = []  # what comes before all loops
        self._scalars: dict[tuple[Any, str], str] = {}
        self.kept = self._kept()

    def print(self) -> Loops:
        """Return the source, and the arguments."""
        kernel = self.kernel
        before = [line for op in self._at("scalar", 0) for line in self._elementwise(op)]
        body = self._rows()
        after = self._after()
        lines = [*self.top, *before, *self._starts(AFTER)]
        if kernel.is_flat:
            lines += body
        else:
            lines += ["for i in range(rows):", *_indent(body)]
        lines += after
        arguments = self._arguments()
        names = ", ".join(["rows", "columns", *(argument.name for argument in arguments)])
        return Loops("\n".join([f"def kernel({names}):", *_indent(lines), ""]), arguments)

    # Parts

    def _arguments(self) -> tuple[Argument, ...]:
        """Return what is read, what is written, and vectors to keep numbers in."""
        kinds, written = self.kernel.kinds, set(self.outputs.values())
        found = {}
        for place, name in (self.inputs | self.outputs).items():
            if place in self.inputs and self._is_number(place):
                found[name] = Argument(name, self._read_as(place), None)
            else:
                role = self.kernel.roles[place]
                role = "column" if role == "full" and self.kernel.is_flat else role
                found[name] = Argument(name, dtype_name(kinds[place]), role, name in written)
        kept = [
            Argument(f"{self.names[place]}_", dtype_name(kinds[place]), "column", is_written=True)
            for place in dict.fromkeys([*self.kept, *self._at_columns()])
            if place not in self.outputs
        ]
        return (*found.values(), *kept)

    def _at_columns(self) -> list[int]:
        """Return the reductions of which there is one for each column."""
        operations = self._at("column", AFTER)
        return [op.out for op in operations if op.name in REDUCTIONS]

    def _is_number(self, place: int) -> bool:
        """Tell whether an input is a number; NumPy-like scalars are."""
        kind = self.kernel.kinds[place]
        is_array = isinstance(kind, Like)
        return not is_array or (not kind.shape and not hasattr(kind.type, "__setitem__"))

    def _read_as(self, place: int) -> str:
        """Return the dtype to read a number as, which is converted where it is used."""
        dtypes = [dtype for key, dtype in self._scalars if key == place]
        return "int64" if any("int" in dtype for dtype in dtypes) else "float64"

    def _rows(self) -> list[str]:
        """Return the lines that are run for each row."""
        kernel = self.kernel
        lines: list[str] = []
        if not kernel.is_flat:
            seen = {name: place for place, name in (self.inputs | self.outputs).items()}
            lines += [f"{x}_ = {x}[i]" for x, p in seen.items() if kernel.roles[p] == "full"]
            for place, name in self.inputs.items():
                if kernel.roles[place] == "row":
                    lines.append(f"{name}_ = {name}[i]")
        walks = [op for op in kernel.operations if self._walk(op) is not None]
        last = max((self._walk(op) or 0 for op in walks), default=-1)
        for stage in range(last + 2):
            lines += self._between(stage)
            if stage <= last:
                lines += self._starts(stage)
                lines += ["for j in range(columns):", *_indent(self._walked(stage))]
        return lines

    def _between(self, stage: int) -> list[str]:
        """Return the lines for what there is one of in each row, before a walk over it."""
        lines = []
        for op in self.kernel.operations:
            role = self.kernel.roles[op.out]
            if role == "row" and self.kernel.stages[op.out] == stage:
                lines += self._finish(op) if op.name in REDUCTIONS else self._elementwise(op)
                if op.out in self.outputs:
                    index = "0" if self.kernel.is_flat else "i"
                    lines.append(f"{self.outputs[op.out]}[{index}] = {self.names[op.out]}")
            elif op.name in REDUCTIONS and role == "scalar":
                [x] = references(op.args)
                if self.kernel.roles[x] == "row" and self.kernel.stages[x] == stage:
                    lines.append(f"{self._total(op)} += {self._operand(op, x)}")
        return lines

    def _walked(self, stage: int) -> list[str]:
        """Return the lines for each element of a row."""
        operations = [op for op in self.kernel.operations if self._walk(op) == stage]
        made = {op.out for op in operations}
        lines = []
        for place in dict.fromkeys(references([op.args for op in operations])):
            if self.kernel.roles[place] == "full" and place not in made:
                lines.append(f"{self._loaded(place)} = {self._memory(place)}[j]")
            elif self.kernel.roles[place] == "column":
                lines.append(f"{self._loaded(place)} = {self._column(place)}")
        for op in operations:
            lines += self._accumulate(op) if op.name in REDUCTIONS else self._elementwise(op)
        for op in operations:
            if op.out in self.kept or (op.out in self.outputs and op.name not in REDUCTIONS):
                lines.append(f"{self._memory(op.out)}[j] = {self.names[op.out]}")
        return lines

    def _after(self) -> list[str]:
        """Return the lines that are run when all rows are done."""
        kernel = self.kernel
        lines = []
        for op in kernel.operations:
            if kernel.roles[op.out] != "scalar":
                continue
            if kernel.stages[op.out] == AFTER:
                lines += self._finish(op) if op.name in REDUCTIONS else self._elementwise(op)
            if op.out in self.outputs:
                lines.append(f"{self.outputs[op.out]}[0] = {self.names[op.out]}")
        columns = list(self._at("column", AFTER))
        if any(op.name not in REDUCTIONS or op.name == "mean" for op in columns):
            lines += ["for j in range(columns):", *_indent(self._columns(columns))]
        return lines

    def _columns(self, operations: list[Operation]) -> list[str]:
        """Return the lines for each column, when all rows are done."""
        lines, made = [], set()
        for op in operations:
            if op.name in REDUCTIONS:
                made.add(op.out)
                total = f"{self._column(op.out)}"
                if op.name == "mean":
                    total = f"{_dtype(self.kernel.kinds[op.out])}({total} / rows)"
                lines.append(f"{self.names[op.out]} = {total}")
        for place in dict.fromkeys(references([op.args for op in operations])):
            if self.kernel.roles[place] == "column" and place in self.inputs:
                lines.append(f"{self._loaded(place)} = {self._column(place)}")
        for op in operations:
            if op.name not in REDUCTIONS:
                lines += self._elementwise(op)
        for op in operations:
            if op.out in self.outputs and (op.name not in REDUCTIONS or op.name == "mean"):
                lines.append(f"{self.outputs[op.out]}[j] = {self.names[op.out]}")
        return lines

    # Reductions

    def _starts(self, stage: int) -> list[str]:
        """Return the lines with which reductions start whose results are known afterwards."""
        lines = []
        for op in self.kernel.operations:
            if op.name not in REDUCTIONS:
                continue
            role, known = self.kernel.roles[op.out], self.kernel.stages[op.out]
            if stage == AFTER and role == "column":
                lines += ["for j in range(columns):", f"    {self._column(op.out)} = 0"]
            elif (stage == AFTER and role == "scalar") or (role == "row" and known == stage + 1):
                dtype = _dtype(self.kernel.kinds[op.out])
                start = {"max": f"{dtype}(-inf)", "min": f"{dtype}(inf)"}.get(op.name, "0.0")
                lines.append(f"{self._total(op)} = {start}")
        return lines

    def _accumulate(self, op: Operation) -> list[str]:
        """Return the line that adds an element to a reduction."""
        [x] = references(op.args)
        value = self._operand(op, x)
        if self.kernel.roles[op.out] == "column":
            return [f"{self._column(op.out)} += {value}"]
        name = self._total(op)
        if op.name in ("max", "min"):
            sign = ">" if op.name == "max" else "<"
            return [f"{name} = {value} if {value} {sign} {name} or {value} != {value} else {name}"]
        return [f"{name} = add({name}, {value})"]

    def _finish(self, op: Operation) -> list[str]:
        """Return the line that makes the result of a reduction that is one number."""
        [x] = references(op.args)
        total, role = self._total(op), self.kernel.roles[op.out]
        if op.name == "mean":
            row = self.kernel.roles[x] == "row"
            count = "columns" if role == "row" else "rows" if row else "(rows * columns)"
            total = f"{total} / {count}"
        return [f"{self.names[op.out]} = {_dtype(self.kernel.kinds[op.out])}({total})"]

    def _total(self, op: Operation) -> str:
        """Return the name of the number in which a reduction is formed."""
        return f"t{self.names[op.out][1:]}"

    # Elements

    def _elementwise(self, op: Operation) -> list[str]:
        """Return the line that computes an element."""
        kinds = self.kernel.kinds
        out = _dtype(kinds[op.out])
        if op.name == "same":
            [x] = op.args
            return [f"{self.names[op.out]} = {self._operand(op, x.place)}"]
        dtypes = [self._dtype_of(op, x) for x in op.args]
        operands = [
            self._operand(op, x.place, dtype)
            if isinstance(x, Var)
            else self._number(repr(x), repr(x), dtype)
            for x, dtype in zip(op.args, dtypes, strict=True)
        ]
        formula = FORMULAS[op.name]
        if op.name in _BOUNDED and not isinstance(op.args[1], Var) and op.args[1] == op.args[1]:
            formula = _BOUNDED[op.name]
        if op.name == "bitwise_invert" and out == "bool_":
            formula = FORMULAS["logical_not"]
        return [f"{self.names[op.out]} = {out}({formula.format(*operands)})"]

    def _dtype_of(self, op: Operation, x: Any) -> str:
        """Return the name of the dtype to which an operand is converted if it is a number."""
        kinds = self.kernel.kinds
        if op.name not in COMPARISONS:
            return _dtype(kinds[op.out])
        for place in references(op.args):
            if isinstance(kinds[place], Like) and _dtype(kinds[place]).startswith("float"):
                return _dtype(kinds[place])
        number = kinds[x.place] if isinstance(x, Var) else x
        return "float64" if isinstance(number, float) else "int64"  # exact, whatever the array's

    def _operand(self, op: Operation, place: int, dtype: str | None = None) -> str:
        """Return the name of an operand."""
        if place in self.names:
            return self.names[place]
        kind = self.kernel.kinds[place]
        if not isinstance(kind, Like):
            return self._number(place, self.inputs[place], dtype or "float64")
        if self.kernel.roles[place] == "scalar":
            return self._number(place, self._element(place), _dtype(kind))
        if self.kernel.roles[place] == "row":
            return f"{self.inputs[place]}_"
        return self._loaded(place)

    def _number(self, key: Any, value: str, dtype: str) -> str:
        """Return the name of a number, converted once."""
        if (key, dtype) not in self._scalars:
            name = f"s{len(self._scalars)}"
            self._scalars[key, dtype] = name
            self.top.append(f"{name} = {dtype}({value})")
        return self._scalars[key, dtype]

    def _element(self, place: int) -> str:
        """Return the only element of an array, or a number."""
        name = self.inputs[place]
        return name if self._is_number(place) else f"{name}[0]"

    # Places

    def _memory(self, place: int) -> str:
        """Return the name of the vector in which a row of something full is."""
        name = self.outputs.get(place) or self.inputs.get(place)
        if name is None:
            return f"{self.names[place]}_"
        return name if self.kernel.is_flat else f"{name}_"

    def _loaded(self, place: int) -> str:
        """Return the name of an element that was read."""
        return self.names.get(place) or f"x{self.inputs[place][1:]}"

    def _column(self, place: int) -> str:
        """Return the element of a column's vector."""
        name = self.outputs.get(place) or self.inputs.get(place) or f"{self.names[place]}_"
        return f"{name}[j]"

    def _walk(self, op: Operation) -> int | None:
        """Return the number of the walk over a row that an operation is part of."""
        if op.name in REDUCTIONS:
            [x] = references(op.args)
            return self.kernel.stages[x] if self.kernel.roles[x] == "full" else None
        return self.kernel.stages[op.out] if self.kernel.roles[op.out] == "full" else None

    def _at(self, role: str, stage: int) -> Iterator[Operation]:
        for op in self.kernel.operations:
            if self.kernel.roles[op.out] == role and self.kernel.stages[op.out] == stage:
                yield op

    def _kept(self) -> list[int]:
        """Return what is full, is computed in one walk over a row, and needed in a later one."""
        kept = []
        for op in self.kernel.operations:
            walk = self._walk(op)
            for place in references(op.args):
                made = place in self.names and self.kernel.roles[place] == "full"
                if made and walk is not None and self.kernel.stages[place] < walk:
                    kept.append(place)
        return list(dict.fromkeys(kept))


def _indent(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _dtype(kind: Any) -> str:
    """Return the name of a dtype as a function that converts to it."""
    name = dtype_name(kind)
    return "bool_" if name == "bool" else name
