"""NumPy's engine: straight-line calls that write into buffers which are planned beforehand."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from xpnet.program.entry import Entry, Like, Var
from xpnet.program.plan import Kind, Plan, is_view, plan
from xpnet.program.program import Program, references
from xpnet.program.source import Printed, Printer

from .layout import Whole, by_columns
from .memory import empty

__all__ = ["Planned", "print_planned"]

_OPERATORS = {
    "abs": np.absolute,
    "add": np.add,
    "and_": np.bitwise_and,
    "eq": np.equal,
    "floordiv": np.floor_divide,
    "ge": np.greater_equal,
    "gt": np.greater,
    "invert": np.invert,
    "le": np.less_equal,
    "lshift": np.left_shift,
    "lt": np.less,
    "mod": np.remainder,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "or_": np.bitwise_or,
    "rshift": np.right_shift,
    "sub": np.subtract,
    "truediv": np.divide,
    "xor": np.bitwise_xor,
}
_REDUCTIONS = {
    "max": np.maximum.reduce,
    "min": np.minimum.reduce,
    "prod": np.multiply.reduce,
    "sum": np.add.reduce,
}
# Functions that never return a view of an operand.
_FRESH = frozenset({"add_at", "concat", "set_at", "stack", "take", "take_along_axis", "where"})
# They use vector instructions for two arrays, and none for an array and one number.
_SLOW_WITH_ONE = frozenset({np.maximum, np.minimum})
_LARGE = 2**20  # bytes


def print_planned(program: Program) -> Printed:
    """Return source in which results are computed into buffers, and state where it is kept."""
    return Planned(program).print()


class Planned(Printer):
    """Prints calls of ufuncs with the arrays that they write to.

    Attributes
    ----------
    plan : Plan
        Where results are kept.
    fixed : dict from int to array
        Arrays that are the same in every run: constants, buffers, and their views.
    turned : frozenset of int
        Places that are kept by columns; their kinds say how they would lie by rows.
    """

    engine = "NumPy, into buffers that are planned"

    def __init__(self, program: Program) -> None:
        self.turned = by_columns(program)
        kinds = [x.by_rows() if p in self.turned else x for p, x in enumerate(program.kinds)]
        super().__init__(program._replace(kinds=kinds))
        program = self.program
        self.scope["np"] = np
        self.plan: Plan = plan(program, self._kind, self._over)
        self._kept: dict[int, str] = {}  # place -> name of its copy
        self._leaving = set(program.results_places)
        # For a dtype an array, and the names of its elements by the host number that is put there.
        self._boxes: dict[Any, tuple[Any, dict[int, str]]] = {}
        self._constant: dict[Any, Any] = {}  # arrays that have one number everywhere
        self.fixed: dict[int, Any] = dict(program.constants)
        memory = [empty((size,), np.uint8) for size in self.plan.buffers]
        seen: dict[Any, Any] = {}  # NumPy is faster in place with one array than with two views
        for place, number in self.plan.places.items():
            key = number, program.kinds[place], place in self.turned
            if key not in seen:
                seen[key] = self._buffer(place, memory[number])
            self.scope[self.names[place]] = self.fixed[place] = seen[key]

    def beginning(self) -> list[str]:
        """See `Printer.beginning`: state that somebody has laid out otherwise is copied."""
        lines = []
        for box, numbers in self._boxes.values():
            name = self.bind("numbers", box[: len(numbers)])
            lines.append(f"{name}[:] = {', '.join(self.names[place] for place in numbers)}")
        program, seen = self.program, self._seen_whole()
        names, kinds = [], []
        for old, new in zip(program.state, program.updates, strict=True):
            if old in seen:
                like, order = program.kinds[old], "F" if old in self.turned else "C"
                names.append(self.names[old])
                kinds.append((like.shape, like.dtype, order, self.plan.stays(old, new)))
        if names:
            listed = ", ".join(names)
            lines.append(f"[{listed}] = {self.bind('whole', Whole(kinds))}({listed})")
        return lines

    def _seen_whole(self) -> frozenset[int]:
        """Return the places that must lie in memory as planned, when they are of the state."""
        return self.turned

    def print(self) -> Printed:
        """See `Printer.print`."""
        printed, program = super().print(), self.program
        changed = [
            pair for pair in zip(program.state, program.updates, strict=True) if len({*pair}) > 1
        ]
        kept = [old for old, new in changed if self.plan.stays(old, new)]
        buffers = [*self.plan.buffers, *(array.nbytes for array in self._constant.values())]
        printed.engine, printed.copied = self.engine, self._seen_whole().intersection(kept)
        printed.notes.append(
            f"memory: {len(buffers)} buffers of {sum(buffers):,} bytes; of the "
            f"{len(changed)} arrays of the state that change, {len(kept)} do so where they are"
        )
        return printed

    def _buffer(self, place: int, memory: Any) -> Any:
        """Return the array in which a result is computed."""
        like = self.program.kinds[place]
        if place in self.turned:
            return np.ndarray(like.shape, like.dtype, memory, order="F")
        return np.ndarray(like.shape, like.dtype, memory, 0, like.strides)

    def statement(self, entry: Entry) -> str | None:
        """See `Printer.statement`."""
        out = entry.outs[0]
        if self._kind(entry) == "view" and self._is_fixed_view(entry):
            return None
        if out in self.plan.donated:
            self.names[out] = self.names[self.plan.donated[out]]
        elif out not in self.plan.places:
            quick = self._quick(entry)
            return super().statement(entry) if quick is None else f"{self.names[out]} = {quick}"
        return self._into(entry, self.names[out])

    def ending(self) -> list[str]:
        """See `Printer.ending`: what leaves is copied, then what was not computed in place.

        The next run writes into the same memory, so results are copies; they are made before the
        state is overwritten, whose old values they may be.
        """
        plan, lines = self.plan, []
        overwritten = frozenset(plan.copied)
        for old, new in zip(self.program.state, self.program.updates, strict=True):
            rebound = old != new and old not in plan.copied and plan.donated.get(new) != old
            if rebound or (old in plan.copied and plan.roots[new] & overwritten):
                lines += self._keep(new)
        for place in dict.fromkeys(self.program.results_places):
            lines += self._keep(place)
        for old, new in plan.copied.items():
            lines.append(f"np.copyto({self.names[old]}, {self._kept.get(new, self.names[new])})")
        return lines

    def _keep(self, place: int) -> list[str]:
        """Return the line that copies an array, if it is one and was not copied yet."""
        is_array = getattr(self.program.kinds[place], "type", None) is np.ndarray
        if place in self._kept or not (is_array or place in self.plan.places):
            return []
        self._kept[place] = f"r{len(self._kept)}"
        copied = ".copy('K')" if is_array else "[()]"
        return [f"{self._kept[place]} = {self.names[place]}{copied}"]

    def result(self, place: int) -> str:
        """See `Printer.result`."""
        return self._kept.get(place, self.names[place])

    def update(self, old: int, new: int) -> str:
        """See `Printer.update`."""
        if self.plan.stays(old, new):
            return self.names[old]
        name, leaves = self.result(new), new in self._leaving
        self._leaving |= {new}
        return f"{name}.copy('K')" if leaves else name

    def _is_fixed_view(self, entry: Entry) -> bool:
        """Tell whether an entry is a view of memory that stays, and make it once and for all."""
        base = self.fixed.get(entry.args[0].place)
        if base is None:
            return False
        view = entry.function(base, *entry.args[1:], **entry.kwargs)
        if not np.may_share_memory(view, base):
            return False
        [out] = entry.outs
        self.scope[self.names[out]] = self.fixed[out] = view
        return True

    def _quick(self, entry: Entry) -> str | None:
        """Return a shorter way to what NumPy's function does after many questions, or None."""
        if entry.name not in ("matrix_transpose", "expand_dims", "mean", "sum"):
            return None
        x, like = self.literal(entry.args[0]), self.program.kinds[entry.args[0].place]
        if entry.name == "matrix_transpose":
            return f"{x}.mT"
        if entry.name == "expand_dims" and list(entry.kwargs) == ["axis"]:
            axis = entry.kwargs["axis"] % (len(like.shape) + 1)
            return f"{x}[{':, ' * axis}None]"
        if entry.name in ("mean", "sum") and _is_quotient(entry, like):
            divisor = f" / {_summed(entry, like)}" if entry.name == "mean" else ""
            return f"{self._reduce('sum', entry, None)}{divisor}"
        return None

    def _kind(self, entry: Entry) -> Kind:
        """Return how this engine computes an entry."""
        out = self.program.kinds[entry.outs[0]]
        if out.type is not np.ndarray:  # NumPy's 0-d results are scalars
            return "fresh"
        if len(entry.outs) > 1:
            return "other"
        if is_view(entry):
            return "view"
        if _ufunc(entry) is not None:
            return "buffer"
        if entry.name == "matmul":
            return "buffer"
        if entry.name in _REDUCTIONS and set(entry.kwargs) <= {"axis", "keepdims"}:
            same = self.program.kinds[entry.args[0].place].dtype == out.dtype
            return "buffer" if same and len(entry.args) == 1 else "fresh"
        if entry.name == "mean" and _is_quotient(entry, self.program.kinds[entry.args[0].place]):
            return "buffer"
        if entry.name == "astype" and self._is_plain_cast(entry):
            return "buffer"
        return "fresh" if entry.name in _FRESH else "other"

    def _over(self, entry: Entry, out: int) -> list[int]:
        """Return the operands in whose memory an entry may be computed: a ufunc takes care."""
        return [] if _ufunc(entry) is None else [x.place for x in entry.args if isinstance(x, Var)]

    def _into(self, entry: Entry, out: str) -> str:
        """Return the call that computes an entry into an array."""
        if entry.name in _REDUCTIONS:
            return self._reduce(entry.name, entry, out)
        if entry.name == "mean":
            count = _summed(entry, self.program.kinds[entry.args[0].place])
            divide = f"{self.bind('divide', np.divide)}({out}, {count}, out={out})"
            return f"{self._reduce('sum', entry, out)}; {divide}"
        if entry.name == "astype":
            return (
                f"{self.bind('copyto', np.copyto)}({out}, {self.literal(entry.args[0])}, 'unsafe')"
            )
        function: np.ufunc = _ufunc(entry) or np.matmul
        name, given = self.bind(function.__name__, function), entry.args[: function.nin]
        kinds = [self.program.kinds[place] for place in references(given)]
        dtypes = {kind.dtype for kind in kinds if isinstance(kind, Like)}
        operands = [self._operand(x, dtypes) for x in given]
        if function in _SLOW_WITH_ONE:
            like = self.program.kinds[entry.outs[0]]
            for n, x in enumerate(given):
                if isinstance(x, (int, float)) and {like.dtype} == dtypes:
                    operands[n] = self._full(like, x)
        return f"{name}({', '.join(operands)}, out={out})"

    def _full(self, like: Like, number: float) -> str:
        """Return an array that has a number everywhere, or in a row of what is large."""
        shape = like.shape if like.nbytes <= _LARGE else like.shape[-1:]
        key = shape, like.dtype, repr(number)
        if key not in self._constant:
            self._constant[key] = empty(shape, like.dtype)
            self._constant[key].fill(number)
        return self.bind("constant" if number else "zeros", self._constant[key])

    def _operand(self, x: Any, dtypes: set[Any]) -> str:
        """Return what a ufunc is given: host numbers as arrays, over which it takes less time."""
        if not isinstance(x, Var) or type(self.program.kinds[x.place]) is not float:
            return self.literal(x)
        [dtype] = dtypes if len(dtypes) == 1 else [None]
        if getattr(dtype, "kind", None) != "f":
            return self.literal(x)
        if dtype not in self._boxes:
            self._boxes[dtype] = np.empty(len(self.program.numbers), dtype), {}
        box, names = self._boxes[dtype]
        if x.place not in names:
            element = box[len(names) : len(names) + 1].reshape(())
            names[x.place] = self.bind(self.names[x.place].replace("h", "n"), element)
        return names[x.place]

    def _reduce(self, name: str, entry: Entry, out: str | None) -> str:
        function = self.bind(f"reduce_{name}", _REDUCTIONS[name])
        axis, keepdims = entry.kwargs.get("axis"), entry.kwargs.get("keepdims", False)
        return f"{function}({self.literal(entry.args[0])}, {axis!r}, None, {out}, {keepdims!r})"

    def _is_plain_cast(self, entry: Entry) -> bool:
        """Tell whether real numbers or booleans are converted into other, floating-point ones."""
        before, after = (self.program.kinds[p].dtype for p in (entry.args[0].place, *entry.outs))
        plain = len(entry.args) == 2 and set(entry.kwargs) <= {"copy"}
        return bool(plain and before != after and before.kind in "biuf" and after.kind == "f")


def _is_quotient(entry: Entry, like: Like) -> bool:
    """Tell whether a mean is the sum, in the same dtype, divided by a number."""
    plain = like.shape and len(entry.args) == 1 and set(entry.kwargs) <= {"axis", "keepdims"}
    return bool(plain) and like.dtype in (np.float32, np.float64) and _summed(entry, like) > 0


def _summed(entry: Entry, like: Like) -> int:
    """Return how many elements each of a reduction's sums has."""
    axis = entry.kwargs.get("axis")
    axes = range(len(like.shape)) if axis is None else axis
    return math.prod(like.shape[n] for n in ((axes,) if isinstance(axes, int) else axes))


def _ufunc(entry: Entry) -> Any:
    """Return the elementwise ufunc that an entry calls, if it does and nothing else."""
    function = entry.function
    if entry.is_operator:
        if function is operator.pow:  # NumPy's operator has its own ways with numbers
            square = isinstance(entry.args[0], Var) and type(entry.args[1]) is int
            return np.square if square and entry.args[1] == 2 else None
        return _OPERATORS.get(function.__name__)
    if entry.kwargs or not isinstance(function, np.ufunc):
        return None
    plain = function.nout == 1 and function.signature is None and function.nin == len(entry.args)
    return function if plain else None
