"""Fusing: which calls of a program become one kernel."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import NamedTuple

from xpnet.program.entry import Entry, shape_of
from xpnet.program.kernel import Kernel, kernel_of
from xpnet.program.operation import operation
from xpnet.program.program import Program, references

__all__ = ["Fused", "fuse"]


class Fused(NamedTuple):
    """A program with kernels.

    Attributes
    ----------
    program : Program
        Each entry that is a kernel's has that as its function.
    alone : list of (str, str)
        The names of the other entries, each with the reason.
    """

    program: Program
    alone: list[tuple[str, str]]


def fuse(program: Program, obstacle: Callable[[Kernel], str | None], *, least: int = 2) -> Fused:
    """Return a program in which calls are replaced by kernels.

    Parameters
    ----------
    program : Program
        As `xpnet.program.clean` leaves it.
    obstacle : callable
        Returns why an engine does not run a kernel, which has at least one entry, or None.
    least : int
        How many operations a kernel has at least; those that hand elements on do not count.

    Returns
    -------
    Fused
        The program, which computes the same, and what is in no kernel.

    Notes
    -----
    From the end to the start, each call joins the kernel of one that uses its result; then kernels
    join that share an operand, such as the several sums of one loss. Two may become one if nothing
    that runs between them needs the first and is needed by the second. Calls that no kernel takes,
    or in groups that are too small, stay as they are.
    """
    return _Fusing(program, obstacle, least).fused()


class _Fusing:
    """A program whose entries are in groups; `None` stands for one that no kernel takes."""

    def __init__(
        self, program: Program, obstacle: Callable[[Kernel], str | None], least: int
    ) -> None:
        self.source, self._obstacle, self._least = program, obstacle, least
        self._alone: list[tuple[str, str]] = []
        entries = program.entries
        producer = {out: n for n, entry in enumerate(entries) for out in entry.outs}
        self.operands = [set(references((entry.args, entry.kwargs))) for entry in entries]
        self.operations = [operation(entry, program.kinds) for entry in entries]
        self.users: list[set[int]] = [set() for _ in entries]
        self.givers: list[set[int]] = [set() for _ in entries]
        for n, operands in enumerate(self.operands):
            self.givers[n] = {producer[place] for place in operands if place in producer}
            for giver in self.givers[n]:
                self.users[giver].add(n)
        self.group = list(range(len(entries)))  # of each entry; named by one of its members
        self.members = {n: [n] for n in self.group}
        self.kernels = {n: self._kernel([n]) for n in self.group}
        for n in reversed(range(len(entries))):
            for user in sorted(self.users[n]):
                if self._join(self.group[n], self.group[user]):
                    break
        self._join_neighbours()

    def fused(self) -> Fused:
        """Return the program, ordered so that what was late stays late."""
        waiting = {
            group: {self.group[giver] for n in members for giver in self.givers[n]} - {group}
            for group, members in self.members.items()
        }
        ready = [(max(self.members[group]), group) for group, needs in waiting.items() if not needs]
        heapq.heapify(ready)
        ordered: list[Entry] = []
        while ready:
            _, group = heapq.heappop(ready)
            ordered += self._entries(group)
            for user in {self.group[user] for n in self.members[group] for user in self.users[n]}:
                if user != group and group in waiting[user]:
                    waiting[user].remove(group)
                    if not waiting[user]:
                        heapq.heappush(ready, (max(self.members[user]), user))
        return Fused(self.source._replace(entries=ordered), self._alone)

    def _entries(self, group: int) -> list[Entry]:
        kernel, members = self.kernels[group], self.members[group]
        if kernel is None or sum(op.name != "same" for op in kernel.operations) < self._least:
            self._alone += [(self.source.entries[n].name, self._reason(n)) for n in members]
            return [self.source.entries[n] for n in members]
        leaving = set(self.source.outputs)
        inside = set(members)
        return [
            kernel.entry(
                out
                for n in members
                for out in self.source.entries[n].outs
                if out in leaving or self.users[n] - inside
            )
        ]

    def _kernel(self, members: Iterable[int]) -> Kernel | None:
        kernel = self._any_kernel(sorted(members))
        return kernel if kernel is not None and self._obstacle(kernel) is None else None

    def _any_kernel(self, members: list[int]) -> Kernel | None:
        """Return the kernel of some entries, in their order, whether an engine runs it or not."""
        entries = [self.source.entries[n] for n in members]
        return kernel_of(entries, [self.operations[n] for n in members], self.source.kinds)

    def _reason(self, n: int) -> str:
        """Return why an entry is in no kernel."""
        if self.operations[n] is None:
            return "no elementwise function, sum or extreme that kernels know"
        kernel = self._any_kernel([n])
        if kernel is None:
            return "its arrays do not lie over one matrix of rows and columns"
        return self._obstacle(kernel) or "nothing beside it to be fused with"

    def _join_neighbours(self) -> None:
        """Join kernels that have an operand in common, as long as there are any."""
        users: dict[int, list[int]] = {}
        for n, operands in enumerate(self.operands):
            for place in operands if self.kernels[self.group[n]] is not None else ():
                if shape_of(self.source.kinds[place]):
                    users.setdefault(place, []).append(n)
        for first, *others in users.values():
            for n in others:
                self._join(self.group[first], self.group[n])

    def _join(self, first: int, second: int) -> bool:
        """Make one kernel of two groups, if that is possible; return whether it is."""
        if first == second:
            return True
        if self.kernels[first] is None or self.kernels[second] is None:
            return False
        if self._is_between(first, second) or self._is_between(second, first):
            return False
        members = sorted(self.members[first] + self.members[second])
        kernel = self._kernel(members)
        if kernel is None:
            return False
        self.kernels[second], self.members[second] = kernel, members
        for n in self.members.pop(first):
            self.group[n] = second
        del self.kernels[first]
        return True

    def _is_between(self, first: int, second: int) -> bool:
        """Tell whether another group needs the first and is needed by the second."""
        seen = {first, second}
        pending = [first]
        while pending:
            group = pending.pop()
            for n in self.members[group]:
                for user in map(self.group.__getitem__, self.users[n]):
                    if user == second and group != first:
                        return True
                    if user not in seen:
                        seen.add(user)
                        pending.append(user)
        return False
