"""Planning memory: which results share a buffer, by when each is used for the last time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from xpnet.program.entry import Entry
from xpnet.program.program import Program, references

__all__ = ["Kind", "Plan", "is_view", "plan"]

# How an engine computes an entry: into buffers; into memory that it takes itself; as a view of its
# first operand; or as it likes, so that the result may share the memory of any operand.
Kind = Literal["buffer", "fresh", "view", "other"]

# Functions whose results are views, in libraries that have views.
_VIEWS = frozenset(
    {
        *("broadcast_to", "expand_dims", "getitem", "matrix_transpose", "moveaxis"),
        *("permute_dims", "reshape", "squeeze"),
    }
)


def is_view(entry: Entry) -> bool:
    """Tell whether the result of an entry is a view of one operand, where there are views."""
    return entry.name in _VIEWS and len(references((entry.args, entry.kwargs))) == 1


class Plan(NamedTuple):
    """Where the results of a program are kept.

    Attributes
    ----------
    buffers : list of int
        Sizes of the buffers, in bytes.
    places : dict from int to int
        For each result that is computed into a buffer, its number.
    donated : dict from int to int
        For each result that is computed into an array of the state, that array's place.
    copied : dict from int to int
        For each place of the state that is overwritten in the end, what is copied there.
    roots : list of set of int
        For each place, those whose memory it may share, itself included unless it is a view.
    """

    buffers: list[int]
    places: dict[int, int]
    donated: dict[int, int]
    copied: dict[int, int]
    roots: list[frozenset[int]]

    def stays(self, old: int, new: int) -> bool:
        """Tell whether an array of the state has its new values where it had the old ones."""
        return old in self.copied or self.donated.get(new) == old

    def is_over(self, out: int, x: int) -> bool:
        """Tell whether a result that is planned is computed where an operand is."""
        if out in self.donated:
            return self.donated[out] in (x, self.donated.get(x))
        return self.places[out] == self.places.get(x)


def plan(
    program: Program,
    kind: Callable[[Entry], Kind],
    over: Callable[[Entry, int], list[int]],
) -> Plan:
    """Return where to keep what each entry computes.

    Parameters
    ----------
    program : Program
        What is to be run.
    kind : callable
        Tells how the engine computes an entry.
    over : callable
        Returns the operands of an entry in whose memory one of its results may be computed, since
        each element is read before the one is written that takes its place.
    """
    entries, places = program.entries, program.kinds
    defined = {place: n for n, entry in enumerate(entries) for place in entry.outs}
    kinds = [kind(entry) for entry in entries]
    roots = [frozenset((place,)) for place in range(len(places))]
    for entry, how in zip(entries, kinds, strict=True):
        given = references((entry.args, entry.kwargs))
        for out in entry.outs:
            if how == "view":
                roots[out] = roots[references(entry.args[0])[0]]
            elif how == "other":
                roots[out] = roots[out].union(*(roots[place] for place in given))
    last = dict.fromkeys(range(len(places)), -1)
    for n, entry in enumerate(entries):
        for place in references((entry.args, entry.kwargs)):
            last.update(dict.fromkeys(roots[place], n))
    for place in program.outputs:
        last.update(dict.fromkeys(roots[place], len(entries)))

    def over_alone(entry: Entry, out: int) -> list[int]:
        """Return the operands in question that are not seen through another operand as well."""
        given = set(references((entry.args, entry.kwargs)))
        return [p for p in over(entry, out) if not any(p in roots[q] for q in given - {p})]

    donated, copied = _donate(program, kinds, over_alone, defined, last)
    taken: dict[int, int] = {}  # place -> buffer
    buffers: list[int] = []
    free: list[int] = []
    for n, (entry, how) in enumerate(zip(entries, kinds, strict=True)):
        given = references((entry.args, entry.kwargs))
        dying = {root for place in given for root in roots[place] if last[root] == n}
        left = {taken[place] for place in dying if place in taken}
        for out in entry.outs:
            if how != "buffer" or out in donated:
                continue
            number = next(
                (
                    taken[p]
                    for p in over_alone(entry, out)
                    if p in dying and taken.get(p) in left and places[p] == places[out]
                ),
                None,
            )
            if number is None:
                number = _find(free, buffers, places[out].nbytes)
            left.discard(number)
            taken[out] = number
        left |= {taken[out] for out in entry.outs if out in taken and last[out] < n}
        free += left
    return Plan(buffers, taken, donated, copied, roots)


def _find(free: list[int], buffers: list[int], need: int) -> int:
    """Return a free buffer that fits well, or a new one."""
    fitting = [n for n in free if need <= buffers[n] <= 2 * need + 64]
    if fitting:
        number = min(fitting, key=lambda n: buffers[n])
        free.remove(number)
        return number
    buffers.append(need)
    return len(buffers) - 1


def _donate(
    program: Program,
    kinds: list[Kind],
    over: Callable[[Entry, int], list[int]],
    defined: dict[int, int],
    last: dict[int, int],
) -> tuple[dict[int, int], dict[int, int]]:
    """Let the state's new arrays, and what leads to them, be computed where the old ones are."""
    donated: dict[int, int] = {}
    copied: dict[int, int] = {}
    for old, new in zip(program.state, program.updates, strict=True):
        if old == new:
            continue
        like, chain = program.kinds[old], []
        place = new
        while place in defined and place not in donated and program.kinds[place] == like:
            n = defined[place]
            operands = over(program.entries[n], place)
            if kinds[n] != "buffer" or not (last[old] < n or (last[old] == n and old in operands)):
                break
            chain.append(place)
            place = next((p for p in operands if last[p] == n and p in defined), -1)
        if chain:
            donated.update(dict.fromkeys(chain, old))
        elif hasattr(like.type, "__iadd__") and program.kinds[new][:4] == like[:4]:  # but strides
            copied[old] = new
    return donated, copied
