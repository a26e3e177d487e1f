"""What a call must have in common with another one to run the same program."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import starmap
from operator import is_
from typing import Any
from weakref import ref

from xpnet._typing import Tree
from xpnet.errors import CompileError
from xpnet.namespace import is_array
from xpnet.state import Slot, Stateful, changes

__all__ = ["State", "dictionaries", "settings", "signature", "state_of", "value_key"]


def signature(tree: Tree, name: str) -> Hashable:
    """Return what does not change between two calls of one program.

    Of arrays that is the class, shape, dtype and device; of other things, the thing itself.
    """
    if is_array(tree):
        return type(tree), tuple(tree.shape), tree.dtype, tree.device
    if isinstance(tree, Stateful):
        return ref(tree)
    if isinstance(tree, (list, tuple)):
        return (type(tree), *[signature(member, name) for member in tree])
    if isinstance(tree, dict):
        return (dict, *[(key, signature(member, name)) for key, member in tree.items()])
    try:
        hash(tree)
    except TypeError:
        raise CompileError(
            f"{name}: expected arrays, modules, optimizers and things that can be hashed as "
            f"arguments, in lists, tuples and dicts; got a {type(tree).__name__}"
        ) from None
    return value_key(tree)


def value_key(x: Hashable) -> Hashable:
    """Return a key that tells apart what is equal and yet computes something else."""
    return type(x), repr(x) if isinstance(x, (float, complex)) else x  # 0.0 == -0.0


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
    """

    def __init__(self, statefuls: Iterable[Stateful]) -> None:
        statefuls = list(statefuls)
        self._count = changes.count
        self._refs = tuple(map(ref, statefuls))
        self.slots = [slot for each in statefuls for slot in each.slots()]
        groups: dict[int, list[Slot]] = {}
        for slot in self.slots:
            groups.setdefault(id(slot.array), []).append(slot)
        self.groups = list(groups.values())
        self._slots = {
            (id(slot.owner), slot.key): n for n, group in enumerate(self.groups) for slot in group
        }
        self._empty: list[Any] = []
        self._containers: list[tuple[Any, Any, list[Any], list[Any]]] = []
        self._seen: set[int] = set()
        self._hosted: list[tuple[dict[str, Any], list[str]]] = []
        self.key = tuple(map(self._key, statefuls))

    def is_of(self, statefuls: Iterable[Stateful]) -> bool:
        """Tell whether this is still the state of these modules and optimizers."""
        return (
            self._count == changes.count
            and self._refs == tuple(map(ref, statefuls))
            and not any(self._empty)
            and all(starmap(_same, self._containers))
        )

    @property
    def is_alive(self) -> bool:
        """Whether all modules and optimizers are still there."""
        return all(ref() is not None for ref in self._refs)

    def hosted(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Return what Python counts for them, as it is now, and the dicts where it does."""
        return [
            (d, {name: x.copy() if type(x := d[name]) is dict else x for name in names})
            for d, names in self._hosted
        ]

    def has(self, owner: dict[str, Any], key: str) -> bool:
        """Tell whether an array is kept here."""
        return (id(owner), key) in self._slots

    def places(self) -> list[tuple[int, str]]:
        """Return where the arrays are kept."""
        return list(self._slots)

    def _key(self, x: Any) -> Hashable:
        if isinstance(x, Stateful):
            if id(x) in self._seen:
                return ref(x)
            self._seen.add(id(x))
            if x.hosted:
                self._hosted.append((vars(x), [name for name in vars(x) if name in x.hosted]))
            return ref(x), *self._members(vars(x), skip=x.hosted)
        if isinstance(x, (dict, list)):
            keys = list(x) if isinstance(x, dict) else range(len(x))
            kept = [key for key in keys if not is_array(x[key])]
            if x:
                self._containers.append((x, keys, kept, [x[key] for key in kept]))
            else:
                self._empty.append(x)
            if isinstance(x, dict):
                return (dict, *self._members(x))
        if isinstance(x, (list, tuple)):
            return (type(x), *map(self._key, x))
        if is_array(x):
            return _Same(x)  # none of the state: a program holds a copy
        try:
            hash(x)
        except TypeError:
            return _Same(x)
        return value_key(x)

    def _members(self, d: dict[str, Any], skip: frozenset[str] = frozenset()) -> Iterator[Hashable]:
        for name, value in d.items():
            group = self._slots.get((id(d), name))
            if group is not None:  # the number tells which ones are tied
                yield name, group, signature(value, "")
            elif name not in skip:
                yield name, self._key(value)


def state_of(x: Stateful) -> State:
    """Return the state of one module or optimizer, which is found anew only after a change."""
    state: State | None = x.known_state
    if state is None or not state.is_of((x,)):
        state = State((x,))
        object.__setattr__(x, "known_state", state)
    return state


def _same(x: Any, keys: Any, kept: list[Any], members: list[Any]) -> bool:
    """Tell whether a list or dict has the keys and the members that it had, arrays aside."""
    now = list(x) if isinstance(x, dict) else range(len(x))
    return now == keys and all(map(is_, map(x.__getitem__, kept), members))


class _Same:
    """A thing that is equal to itself alone."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return id(self.thing)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.thing is other.thing


def dictionaries(x: Any) -> list[dict[str, Any]]:
    """Return all dicts that hold the state of a module or optimizer, its counters included."""
    return [d for d, _ in _walk(x, set(), all_of_it=True)]


def settings(x: Any) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return those that do not count, each with its members that are no arrays."""
    return [
        (d, {key: y for key, y in d.items() if key not in skip and not is_array(y)})
        for d, skip in _walk(x, set(), all_of_it=False)
    ]


def _walk(
    x: Any, seen: set[int], *, all_of_it: bool
) -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Yield dicts, each with the keys of what does not belong to it."""
    skip: frozenset[str] = frozenset()
    if isinstance(x, Stateful):
        skip = frozenset() if all_of_it else x.hosted
        x = vars(x)
    if not isinstance(x, (dict, list, tuple)) or id(x) in seen:
        return
    seen.add(id(x))
    if isinstance(x, dict):
        yield x, skip
        x = [member for key, member in x.items() if key not in skip]
    for member in x:
        yield from _walk(member, seen, all_of_it=all_of_it)
