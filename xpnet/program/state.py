"""What the state of modules and optimizers must have in common for one program to do steps."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import starmap
from operator import getitem, is_
from typing import Any

from xpnet.namespace import is_array
from xpnet.program.containers import Container
from xpnet.program.keys import array_key, value_key
from xpnet.state import Reference, Slot, Stateful, changes

__all__ = ["State", "state_of"]


class State:
    """All of some modules and optimizers but the values of their arrays, as they are now.

    Attributes
    ----------
    key : hashable
        Equal for states of which a step computes the same: structure, settings, shapes, modes.
    slots : list of Slot
        Where the arrays are kept.
    groups : list of list of Slot
        Those of each array; several if they are tied.
    hosted : list of dict
        Where Python counts for them.
    """

    def __init__(self, statefuls: Iterable[Stateful]) -> None:
        statefuls = list(statefuls)
        self._count = changes.count
        self._refs = tuple(map(Reference, statefuls))
        self.slots = [slot for each in statefuls for slot in each.slots()]
        groups: dict[int, list[Slot]] = {}
        for slot in self.slots:
            groups.setdefault(id(slot.array), []).append(slot)
        self.groups = list(groups.values())
        self._slots = {
            (id(slot.owner), slot.key): n for n, group in enumerate(self.groups) for slot in group
        }
        # What may change without being counted: the members of lists and dicts.
        self._empty: list[Any] = []
        self._lists: list[list[Any]] = []
        self._dicts: list[dict[Any, Any]] = []
        self._checked: list[tuple[Any, Any]] = []
        self.hosted: list[dict[str, Any]] = []
        self._seen: set[int] = set()
        self.key = tuple(map(self._key, statefuls))
        self._lengths = list(map(len, self._lists))
        self._keys = list(map(list, self._dicts))
        self._members = list(starmap(getitem, self._checked))

    def is_of(self, statefuls: Sequence[Stateful]) -> bool:
        """Tell whether this is still the state of these modules and optimizers."""
        return (
            self._count == changes.count
            and len(self._refs) == len(statefuls)
            and all(map(is_, [known() for known in self._refs], statefuls))
            and not any(self._empty)
            and list(map(len, self._lists)) == self._lengths
            and list(map(list, self._dicts)) == self._keys
            and all(map(is_, starmap(getitem, self._checked), self._members))
        )

    @property
    def is_alive(self) -> bool:
        """Whether all modules and optimizers are still there."""
        return all(ref() is not None for ref in self._refs)

    def has(self, owner: Container, key: Any) -> bool:
        """Tell whether an array is kept here."""
        return (id(owner), key) in self._slots

    def slot_keys(self) -> set[tuple[int, str]]:
        """Return where the arrays are kept: the id of each dict, and the key in it."""
        return set(self._slots)

    def _key(self, x: Any) -> Hashable:
        if isinstance(x, Stateful):
            if id(x) in self._seen:
                return Reference(x)
            self._seen.add(id(x))
            if x.hosted:
                self.hosted.append(vars(x))
            return Reference(x), *self._items(vars(x), x.hosted, x.counted)
        if isinstance(x, (dict, list)):
            keys = x if isinstance(x, dict) else range(len(x))
            filled: list[Any] = self._dicts if isinstance(x, dict) else self._lists
            (filled if x else self._empty).append(x)
            self._checked += [(x, key) for key in keys if (id(x), key) not in self._slots]
            if isinstance(x, dict):
                return (dict, *self._items(x))
        if isinstance(x, (list, tuple)):
            return (type(x), *map(self._key, x))
        if is_array(x):
            return _Same(x)  # none of the state: a program holds a copy
        try:
            hash(x)
        except TypeError:
            return _Same(x)
        return value_key(x)

    def _items(
        self,
        d: dict[str, Any],
        hosted: frozenset[str] = frozenset(),
        counted: frozenset[str] = frozenset(),
    ) -> Iterator[Hashable]:
        for name, value in d.items():
            group = self._slots.get((id(d), name))
            if group is not None:  # the number tells which ones are tied
                yield name, group, array_key(value)
            elif name in counted:
                yield name, tuple(value.items())
            elif name not in hosted:
                yield name, self._key(value)


def state_of(x: Stateful) -> State:
    """Return the state of one module or optimizer, which is found anew only after a change."""
    state: State | None = x.known_state
    if state is None or not state.is_of((x,)):
        state = State((x,))
        object.__setattr__(x, "known_state", state)
    return state


class _Same:
    """A thing that is equal to itself alone."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing
