"""Running a program: where its arguments come from, and where its results go."""

from __future__ import annotations

from typing import Any

from xpnet import tree
from xpnet.backend import Backend
from xpnet.program.program import Program, substitute
from xpnet.program.record import Var
from xpnet.program.signature import State
from xpnet.program.source import print_program
from xpnet.state import changes

__all__ = ["Run"]


class Run:
    """A program, bound to the state that it reads and changes.

    Parameters
    ----------
    program : Program
        What is computed.
    state : State
        Where the arrays of its state are kept.
    which : list of int
        Which leaves of the arguments are its inputs.
    assigned : list of (dict, str, value)
        What else it changes.
    backend : Backend or None
        Whose engine runs it.
    recorded : int
        How many calls were recorded, before the program was cleaned.
    """

    def __init__(
        self,
        program: Program,
        state: State,
        which: list[int],
        assigned: list[tuple[dict[str, Any], str, Any]],
        backend: Backend | None,
        recorded: int,
    ) -> None:
        self.program, self.recorded = program, recorded
        printed = None if backend is None else backend.engine(program)
        self.printed = print_program(program) if printed is None else printed
        self._step = self.printed.function()
        self._computes = [compute for compute, _ in program.hosts]
        self._which = which
        self._assigned = assigned
        self._bind(state)
        found: list[Var] = []

        def number(var: Var) -> _Place:
            found.append(var)
            return _Place(len(found) - 1)

        self._results = substitute(program.results, number)
        self._count = len(found)

    def _bind(self, state: State) -> None:
        """Read and change the arrays where they are kept now."""
        self.state = state
        self._read = [(group[0].owner, group[0].key) for group in state.groups]
        pairs = zip(self.program.state, self.program.updates, strict=True)
        self._write = [
            [(slot.owner, slot.key) for slot in group]
            for group, (old, new) in zip(state.groups, pairs, strict=True)
            if old != new
        ]

    def __call__(self, leaves: list[Any], state: State) -> Any:
        """Run the program on the arrays among the leaves of a call's arguments."""
        if state is not self.state:
            self._bind(state)
        arguments = [owner[key] for owner, key in self._read]
        arguments += [leaves[n] for n in self._which]
        for compute in self._computes:
            arguments += tree.leaves(compute())
        outputs = self._step(*arguments)
        for slots, array in zip(self._write, outputs[self._count :], strict=True):
            for owner, key in slots:
                owner[key] = array
        for owner, key, value in self._assigned:
            owner[key] = value
            changes.count += 1
        results = self._results
        if type(results) is _Place:
            return outputs[results]
        return tree.map(lambda leaf: outputs[leaf] if type(leaf) is _Place else leaf, results)


class _Place(int):
    """Which of the outputs stands here."""
