"""Running a program: where its arguments come from, and where its results go."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import starmap
from operator import getitem
from typing import Any, NoReturn

from xpnet import tree
from xpnet._typing import Array
from xpnet.aliasing import overwritten
from xpnet.backend import Backend
from xpnet.errors import CompileError
from xpnet.program.arguments import Arguments
from xpnet.program.containers import Container
from xpnet.program.entry import Like, Var
from xpnet.program.program import Program, references, substitute
from xpnet.program.source import print_program
from xpnet.program.state import State
from xpnet.random import Generator
from xpnet.scatter import copy
from xpnet.state import Slot, changes

__all__ = ["Run", "check_inputs"]

_FLOATING = ("real floating", "complex floating")


class Run:
    """A program, bound to the state that it reads and changes.

    Parameters
    ----------
    program : Program
        What is computed.
    state : State
        Where the arrays of its state are kept.
    arguments : Arguments
        Of the call that was recorded, whose arrays are its inputs.
    assigned : list of (dict or list, key, value)
        What else it changes.
    backend : Backend or None
        Whose engine runs it.
    recorded : int
        How many calls were recorded, before the program was cleaned.
    name : str
        What messages call it.
    generators : list of Generator
        Whose draws it counts.
    """

    def __init__(
        self,
        program: Program,
        state: State,
        arguments: Arguments,
        assigned: list[tuple[Container, Any, Any]],
        backend: Backend | None,
        recorded: int,
        name: str,
        generators: list[Generator],
    ) -> None:
        self.program, self.recorded = program, recorded
        self._name, self._generators = name, generators
        printed = None if backend is None else backend.engine(program)
        self.printed = print_program(program) if printed is None else printed
        self._step = self.printed.function()
        self._computes = [compute for compute, _ in program.hosts]
        self._promoting = _promoting(program)
        self.arguments = arguments
        self._assigned = assigned
        pairs = zip(program.state, program.updates, strict=True)
        self._changed = [n for n, (old, new) in enumerate(pairs) if old != new]
        found: list[Var] = []

        def number(var: Var) -> _Output:
            found.append(var)
            return _Output(len(found) - 1)

        self._results = substitute(program.results, number)
        self._count = len(found)
        self.bind(state)

    def bind(self, state: State) -> None:
        """Read and change the arrays where they are kept now."""
        self.state = state
        self._read = [(group[0].owner, group[0].key) for group in state.groups]
        self._counters = [*state.hosted, *map(vars, self._generators)]
        self._slots = [state.groups[n][0] for n in self._changed]
        self._write = [
            (slot.owner, slot.key, self._count + number)
            for number, n in enumerate(self._changed)
            for slot in state.groups[n]
        ]

    def is_for(self, leaves: list[Any]) -> bool:
        """Tell whether a call with these arguments computes the same as the one before."""
        arguments = self.arguments
        return arguments.are_like(leaves) and self.state.is_of(
            list(map(leaves.__getitem__, arguments.statefuls))
        )

    def __call__(self, leaves: list[Any]) -> Any:
        """Run the program on the arrays among the leaves of a call's arguments.

        If that fails, nothing was counted.
        """
        state = list(starmap(getitem, self._read))
        inputs = list(map(leaves.__getitem__, self.arguments.arrays))
        check_inputs(self._name, inputs, map(state.__getitem__, self._changed), self._slots)
        before = [members.copy() for members in self._counters]
        try:
            numbers = tree.leaves([compute() for compute in self._computes])
            for n, then in self._promoting.items():
                if type(numbers[n]) is not then:
                    self._refuse_type(then, numbers[n])
            return self._finish(self._step(*state, *inputs, *numbers))
        except BaseException:
            for members, count in zip(self._counters, before, strict=True):
                members.update(count)
            raise

    def first(self, state: list[Array], inputs: list[Array]) -> Any:
        """Run the program on what it was recorded with, where Python has counted already.

        Nothing is written to these arrays.
        """
        program = self.program
        for (owner, key), array in zip(self._read, state, strict=True):
            owner[key] = array  # so that what was computed while recording takes no memory
        kept = {old for old, new in zip(program.state, program.updates, strict=True) if old == new}
        kept |= self.printed.copied
        pairs = zip(program.state, state, strict=True)
        copies = [array if place in kept else copy(array) for place, array in pairs]
        numbers = [program.kinds[place] for place in program.numbers]
        return self._finish(self._step(*copies, *inputs, *numbers))

    def _refuse_type(self, then: type, number: Any) -> NoReturn:
        raise CompileError(
            f"{self._name}: a number that meets an array of integers was of type {then.__name__} "
            f"when the step was recorded and is {number!r} now, which promotes it to another "
            "dtype; let the function that is given to host always return floats"
        )

    def _finish(self, outputs: list[Any]) -> Any:
        """Put what has changed where it belongs, and return the results."""
        for owner, key, number in self._write:
            owner[key] = outputs[number]
        for container, name, value in self._assigned:
            container[name] = value
            changes.count += 1
        results = self._results
        if type(results) is _Output:
            return outputs[results]
        return tree.map(lambda leaf: outputs[leaf] if type(leaf) is _Output else leaf, results)


def _promoting(program: Program) -> dict[int, type]:
    """Return which host numbers meet arrays of integers, whose results depend on their type."""
    kinds, places = program.kinds, {place: n for n, place in enumerate(program.numbers)}
    found = {}
    for entry in program.entries:
        met = references((entry.args, entry.kwargs))
        arrays = [kinds[place] for place in met if isinstance(kinds[place], Like)]
        if not any(program.base.isdtype(like.dtype, _FLOATING) for like in arrays):
            found.update({places[x]: type(kinds[x]) for x in met if x in places})
    return found


def check_inputs(
    name: str, inputs: list[Array], changed: Iterable[Array], slots: list[Slot]
) -> None:
    """Refuse an array that a program writes to, which is in one of `slots`, or a view of it."""
    number = overwritten(inputs, changed)
    if number is not None:
        raise CompileError(
            f"{name}: an array among the arguments is {slots[number].name!r} of a module or "
            "optimizer, or a view of it, which the step overwrites; pass a copy"
        )


class _Output(int):
    """Stands for the output of this number."""
