"""What a model computes for any batch: its program, recorded with some sizes and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.errors import ExportError
from xpnet.interop.onnx.recording import Mark, Recorded, record, refuse
from xpnet.nn import Module
from xpnet.nn.modes import evaluating
from xpnet.program.clean import clean
from xpnet.program.entry import Entry, Like, Var, dtype_name
from xpnet.program.keys import value_key
from xpnet.program.program import Program, references
from xpnet.transfer import put_like, to_host

__all__ = ["BATCHES", "Size", "Traced", "trace"]

# The first makes the program, and the others are compared: different in whatever Python may compute
# of them, beyond small bounds, and the single row that code may make an exception of.
BATCHES = (2, 3, 61, 1)


@dataclass(frozen=True)
class Size:
    """A number that depends on the batch: what it was for each of `BATCHES`."""

    numbers: tuple[int, ...]

    @property
    def line(self) -> tuple[int, int] | None:
        """Slope and offset, if it is linear in the batch."""
        (x, y), (p, q) = BATCHES[:2], self.numbers[:2]
        slope = (q - p) // (y - x)
        offset = p - slope * x
        found = tuple(slope * batch + offset for batch in BATCHES)
        return (slope, offset) if found == self.numbers else None


class Traced(NamedTuple):
    """A program for any batch.

    Attributes
    ----------
    program : Program
        Cleaned. Numbers that depend on the batch are places of kind `Size`.
    shapes : list
        For each place of an array its lengths, each an int or a `Size`.
    marks : dict from int to Mark
        For each place that is computed, where.
    state : dict from int to (str, array)
        For each place of the state its dotted name, and what is there.
    """

    program: Program
    shapes: list[tuple[int | Size, ...]]
    marks: dict[int, Mark]
    state: dict[int, tuple[str, Array]]

    def dtype(self, place: int) -> str:
        """Return the standard's name of the dtype of an array."""
        return dtype_name(self.program.kinds[place])


def trace(model: Module, inputs: Sequence[Array]) -> Traced:
    """Return what a model computes in evaluation mode; it is as before afterwards."""
    hosts = [to_host(x) for x in inputs]
    arrays = {slot.name: slot.array for slot in model.slots()}
    like = next(iter(arrays.values()), inputs[0])
    with evaluating(model):
        recorded = [
            record(model, [put_like(_rows(host, batch), like) for host in hosts], batch)
            for batch in BATCHES
        ]
    state = {place: (name, arrays[name]) for place, name in recorded[0].names.items()}
    return _Merger(recorded).traced(state)


def _rows(x: HostArray, count: int) -> HostArray:
    """Return the first rows of an array, from the start again where there are too few."""
    return x[np.arange(count) % len(x)]


class _Merger:
    """Makes one program of those of several batches."""

    def __init__(self, recorded: list[Recorded]) -> None:
        self._recordings = [each.recording for each in recorded]
        self._recorded = recorded
        self._first = self._recordings[0]
        self._sizes: dict[Size, int] = {}

    def traced(self, state: dict[int, tuple[str, Array]]) -> Traced:
        """Return the program."""
        first, recorded = self._first, self._recorded
        calls = [each.entries for each in self._recordings]
        for n, entries in enumerate(zip(*calls, strict=False)):
            if len({(entry.name, entry.outs) for entry in entries}) > 1:
                self._differ(n)
        if len(set(map(len, calls))) > 1:
            self._differ(min(map(len, calls)))
        self._shapes = [self._shape(n) for n in range(len(first.kinds))]
        self._kinds = list(first.kinds)
        entries = [self._entry(n, *found) for n, found in enumerate(zip(*calls, strict=True))]
        if len({repr(each.results) for each in recorded}) > 1:
            raise ExportError(
                "onnx.export: what the model returns depends on the size of the batch; return the "
                "same arrays for each"
            )
        program = Program(
            base=first.base,
            entries=entries,
            kinds=self._kinds,
            state=list(state),
            inputs=recorded[0].inputs,
            hosts=[],
            constants=dict(map(self._constant, *(r.outside.values() for r in self._recordings))),
            results=recorded[0].results,
            updates=list(state),
        )
        marks = {
            out: mark
            for entry, mark in zip(first.entries, first.marks, strict=True)
            for out in entry.outs
        }
        program = clean(program)
        self._check_hosts(program, marks)
        return Traced(program, self._shapes, marks, state)

    def _differ(self, n: int) -> NoReturn:
        """Refuse a model that calls other functions for other batches."""
        found = ", ".join(
            f"{recording.entries[n].name if n < len(recording.entries) else 'nothing'} for "
            f"{batch} row{'s' * (batch != 1)}"
            for batch, recording in zip(BATCHES, self._recordings, strict=True)
        )
        line = next(r.marks[n].line for r in self._recordings if n < len(r.marks))
        refuse(line, f"which functions are called depends on the size of the batch ({found})")

    def _line(self, place: int) -> str:
        """Return the line of the first call that makes or takes an array."""
        for entry, mark in zip(self._first.entries, self._first.marks, strict=True):
            if place in (*entry.outs, *references((entry.args, entry.kwargs))):
                return mark.line
        return "the end of the model"

    def _shape(self, place: int) -> tuple[int | Size, ...]:
        """Return the lengths of an array for any batch."""
        kinds = [recording.kinds[place] for recording in self._recordings]
        if not isinstance(kinds[0], Like):
            return ()
        if len({(dtype_name(kind), len(kind.shape)) for kind in kinds}) > 1:
            refuse(
                self._line(place),
                "the dtype or number of axes of an array depends on the size of the batch",
            )
        return tuple(
            numbers[0] if len(set(numbers)) == 1 else Size(numbers)
            for numbers in zip(*(kind.shape for kind in kinds), strict=True)
        )

    def _entry(self, n: int, *entries: Entry) -> Entry:
        """Return a call for any batch."""
        line = self._first.marks[n].line
        name, function, *_ = entry = entries[0]
        args = self._merge(line, *(each.args for each in entries))
        kwargs = self._merge(line, *(each.kwargs for each in entries))
        if name.endswith("_like") and any(isinstance(x, Size) for x in self._shapes[args[0].place]):
            # Of any batch: cleaning would make a constant of it.
            like, shape = self._kinds[args[0].place], self._shapes[args[0].place]
            args = (tuple(map(self._length, shape)), *args[1:])
            kwargs = {"dtype": like.dtype, "device": like.device} | kwargs
            name = name.removesuffix("_like")
            function = getattr(self._first.base, name)
        return entry._replace(name=name, function=function, args=args, kwargs=kwargs)

    def _merge(self, line: str, *xs: Any) -> Any:
        """Return an argument for any batch."""
        x = xs[0]
        if len(set(map(type, xs))) > 1:
            refuse(line, "an argument depends on the size of the batch")
        if type(x) is slice:
            return slice(*(self._merge(line, *each) for each in zip(*map(_parts, xs), strict=True)))
        if isinstance(x, dict):
            if any(other.keys() != x.keys() for other in xs):
                refuse(line, "arguments depend on the size of the batch")
            return {key: self._merge(line, *(each[key] for each in xs)) for key in x}
        if isinstance(x, (list, tuple)) and not isinstance(x, Var):
            if len(set(map(len, xs))) > 1:
                refuse(line, "how many arguments there are depends on the size of the batch")
            members = [self._merge(line, *each) for each in zip(*xs, strict=True)]
            return members if isinstance(x, list) else tuple(members)  # not a library's own kind
        if isinstance(x, (int, float, complex)):
            if len(set(map(value_key, xs))) == 1:
                return x
            if type(x) is int:
                return self._length(Size(xs))
            refuse(
                line,
                f"the number {x} was computed by Python from the size of the batch",
                "compute it by functions of arrays",
            )
        if any(other != x for other in xs):
            refuse(line, "an argument depends on the size of the batch")
        return x

    def _length(self, x: int | Size) -> int | Var:
        """Return a length as an argument: one that depends on the batch has a place."""
        if not isinstance(x, Size):
            return x
        if x not in self._sizes:
            self._sizes[x] = len(self._kinds)
            self._kinds.append(x)
            self._shapes.append(())
        return Var(self._sizes[x])

    def _constant(self, *found: tuple[int, Array]) -> tuple[int, Array]:
        """Return an array that the model closes over, which all batches must share."""
        place, array = found[0]
        hosts = [to_host(each) for _, each in found]
        if len({(host.shape, host.dtype, host.tobytes()) for host in hosts}) > 1:
            refuse(
                self._line(place),
                "an array was made by other functions, and differs from batch to batch",
                "make it by functions of xp = xn.array_namespace(x), without random numbers",
            )
        return place, array

    def _check_hosts(self, program: Program, marks: Mapping[int, Mark]) -> None:
        """Refuse numbers that change from call to call."""
        numbers = {place for _, places in self._first.hosts for place in places}
        for entry in program.entries:
            if numbers & set(references((entry.args, entry.kwargs))):
                refuse(
                    marks[entry.outs[0]].line,
                    "a number is used that changes from call to call, as for random numbers",
                    "do without in evaluation",
                )


def _parts(x: slice) -> tuple[Any, Any, Any]:
    return x.start, x.stop, x.step
