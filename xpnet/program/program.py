"""A program: what a recording has become."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

from xpnet._typing import Array, Namespace
from xpnet.program.entry import Entry, Var
from xpnet.program.record import Recording
from xpnet.scatter import copy

__all__ = ["Program", "evaluate", "references", "substitute"]


class Program(NamedTuple):
    """A list of calls over places: of state, inputs, host numbers and constants.

    Attributes
    ----------
    base : namespace
        Whose functions are called.
    entries : list of Entry
        In the order in which they run.
    kinds : list of Like or number
        What is in each place: shape, dtype and device of an array, a number as it was while
        recording.
    state, inputs : list of int
        Places that are filled before a run.
    hosts : list of pairs
        Functions that compute host numbers, each with the places of its numbers.
    constants : dict from int to array
        Places that are always the same.
    results : tree
        What is returned, with a `Var` for each array.
    updates : list of int
        For each place in `state`, the place of what it holds afterwards.
    """

    base: Namespace
    entries: list[Entry]
    kinds: list[Any]
    state: list[int]
    inputs: list[int]
    hosts: list[tuple[Callable[[], Any], list[int]]]
    constants: dict[int, Array]
    results: Any
    updates: list[int]

    @classmethod
    def of(
        cls,
        recording: Recording,
        state: list[int],
        inputs: list[int],
        results: Any,
        updates: list[int],
    ) -> Self:
        """Return what was recorded, with copies of the arrays that were closed over."""
        return cls(
            base=recording.base,
            entries=recording.entries,
            kinds=recording.kinds,
            state=state,
            inputs=inputs,
            hosts=recording.hosts,
            constants={place: copy(array) for place, array in recording.outside.values()},
            results=results,
            updates=updates,
        )

    @property
    def results_places(self) -> list[int]:
        """Places of the arrays and numbers that are returned."""
        return references(self.results)

    @property
    def outputs(self) -> list[int]:
        """Places whose values leave the program: results first, then the state's updates."""
        pairs = zip(self.state, self.updates, strict=True)
        return self.results_places + [new for old, new in pairs if new != old]

    @property
    def numbers(self) -> list[int]:
        """Places of all host numbers."""
        return [place for _, places in self.hosts for place in places]


def evaluate(entries: Iterable[Entry], values: dict[int, Any]) -> None:
    """Compute entries with one result each as they were recorded; `values` has all by place."""
    for entry in entries:
        args, kwargs = substitute((entry.args, entry.kwargs), lambda var: values[var.place])
        values[entry.outs[0]] = entry.function(*args, **kwargs)


def references(x: Any) -> list[int]:
    """Return the places that an argument of an entry refers to."""
    found: list[int] = []
    _collect(x, found)
    return found


def _collect(x: Any, found: list[int]) -> None:
    if type(x) is Var:
        found.append(x.place)
    elif isinstance(x, (list, tuple)):
        for member in x:
            _collect(member, found)
    elif isinstance(x, dict):
        for member in x.values():
            _collect(member, found)
    elif type(x) is slice:
        _collect((x.start, x.stop, x.step), found)


def substitute(x: Any, function: Callable[[Var], Any]) -> Any:
    """Return an argument with each `Var` replaced."""
    if isinstance(x, Var):
        return function(x)
    if isinstance(x, dict):
        return {key: substitute(member, function) for key, member in x.items()}
    if isinstance(x, (list, tuple)):
        members = [substitute(member, function) for member in x]
        return type(x)(*members) if hasattr(x, "_fields") else type(x)(members)
    if type(x) is slice:
        return slice(*(substitute(part, function) for part in (x.start, x.stop, x.step)))
    return x
