"""What a call must have in common with another one to run the same program."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import starmap
from operator import attrgetter, getitem, is_
from typing import Any

from xpnet._typing import Array
from xpnet.errors import CompileError
from xpnet.namespace import device_of, is_array
from xpnet.state import Reference, Slot, Stateful, changes

__all__ = [
    "Arguments",
    "Container",
    "State",
    "array_key",
    "containers",
    "members",
    "put_back",
    "settings",
    "state_of",
    "value_key",
]

Container = dict[Any, Any] | list[Any]


_look = attrgetter("shape", "dtype", "device")


class Arguments:
    """What the arguments of a call have in common with those of others that one program does.

    Of arrays that is the class, shape, dtype and device; of other things, the thing itself.

    Parameters
    ----------
    leaves : list
        As `xpnet.tree.spell` returns them.
    name : str
        What messages call the function.

    Attributes
    ----------
    key : hashable
        Equal for arguments that have it in common.
    arrays, statefuls : list of int
        Which leaves are arrays, and which modules and optimizers.
    """

    def __init__(self, leaves: list[Any], name: str) -> None:
        self.arrays: list[int] = []
        self.statefuls: list[int] = []
        self._others: list[int] = []
        keys: list[Hashable] = []
        for n, x in enumerate(leaves):
            if is_array(x):
                self.arrays.append(n)
                keys.append(array_key(x))
            elif isinstance(x, Stateful):
                self.statefuls.append(n)
                keys.append(Reference(x))
            else:
                _check_hashable(name, x)
                self._others.append(n)
                keys.append(value_key(x))
        self.key = tuple(keys)
        self._types = list(map(type, leaves))
        self._known = [array_key(leaves[n])[1:] for n in self.arrays]
        self._values = [value_key(leaves[n]) for n in self._others]

    def are_like(self, leaves: list[Any]) -> bool:
        """Tell whether other leaves have the same key, modules and optimizers aside; quickly."""
        return (
            list(map(type, leaves)) == self._types
            and self._likes(leaves) == self._known
            and [value_key(leaves[n]) for n in self._others] == self._values
        )

    def news(self, before: Arguments) -> str:
        """Say what is not as in the arguments of a call before."""
        for now, then in zip(self.key, before.key, strict=False):
            if now != then:
                return f"{_spelled(now)}, after {_spelled(then)}"
        if len(self.key) != len(before.key):
            return "another number of arguments"
        return "what a module or optimizer has that is no array"

    def _likes(self, leaves: list[Any]) -> list[Any]:
        return list(map(_look, map(leaves.__getitem__, self.arrays)))


def array_key(x: Array) -> tuple[Any, ...]:
    """Return what does not change between the arrays that one program takes."""
    return type(x), tuple(x.shape), x.dtype, device_of(x)


def _check_hashable(name: str, x: Any) -> None:
    try:
        hash(x)
    except TypeError:
        raise CompileError(
            f"{name}: expected arrays, modules, optimizers and things that can be hashed as "
            f"arguments, in lists, tuples and dicts; got a {type(x).__name__}"
        ) from None


def _spelled(key: Any) -> str:
    """Return what a key of an argument says, for a person to read."""
    if isinstance(key, Reference):
        return "another module or optimizer"
    kind, *rest = key
    if len(rest) == 3:
        shape, dtype, device = rest
        return f"an array of shape {shape} and {dtype} on {device}"
    return f"the {kind.__name__} {rest[0]}"


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
        self._places: list[tuple[Any, Any]] = []
        self.hosted: list[dict[str, Any]] = []
        self._seen: set[int] = set()
        self.key = tuple(map(self._key, statefuls))
        self._lengths = list(map(len, self._lists))
        self._keys = list(map(list, self._dicts))
        self._members = list(starmap(getitem, self._places))

    def is_of(self, statefuls: Sequence[Stateful]) -> bool:
        """Tell whether this is still the state of these modules and optimizers."""
        return (
            self._count == changes.count
            and len(self._refs) == len(statefuls)
            and all(map(is_, [known() for known in self._refs], statefuls))
            and not any(self._empty)
            and list(map(len, self._lists)) == self._lengths
            and list(map(list, self._dicts)) == self._keys
            and all(map(is_, starmap(getitem, self._places), self._members))
        )

    @property
    def is_alive(self) -> bool:
        """Whether all modules and optimizers are still there."""
        return all(ref() is not None for ref in self._refs)

    def has(self, owner: Container, key: Any) -> bool:
        """Tell whether an array is kept here."""
        return (id(owner), key) in self._slots

    def places(self) -> list[tuple[int, str]]:
        """Return where the arrays are kept."""
        return list(self._slots)

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
            self._places += [(x, key) for key in keys if (id(x), key) not in self._slots]
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


def containers(x: Any) -> list[Container]:
    """Return all dicts and lists that hold the state of a module or optimizer, its counters too."""
    return [container for container, _ in _walk(x, set(), all_of_it=True)]


def settings(x: Any) -> list[tuple[Container, dict[Any, Any]]]:
    """Return those that do not count, each with its members that are no arrays."""
    return [
        (c, {key: y for key, y in members(c).items() if key not in skip and not is_array(y)})
        for c, skip in _walk(x, set(), all_of_it=False)
    ]


def members(container: Container) -> dict[Any, Any]:
    """Return what is in a dict or list now, by key or index."""
    return dict(container if isinstance(container, dict) else enumerate(container))


def put_back(container: Container, then: dict[Any, Any]) -> None:
    """Have in a dict or list what `members` returned once, and nothing else."""
    if isinstance(container, dict):
        container.clear()
        container.update(then)
    else:
        container[:] = then.values()


def _walk(x: Any, seen: set[int], *, all_of_it: bool) -> Iterator[tuple[Container, frozenset[str]]]:
    """Yield dicts and lists, each with the keys of what does not belong to it."""
    skip: frozenset[str] = frozenset()
    if isinstance(x, Stateful):
        skip = frozenset() if all_of_it else x.hosted
        x = vars(x)
    if not isinstance(x, (dict, list, tuple)) or id(x) in seen:
        return
    seen.add(id(x))
    if not isinstance(x, tuple):
        yield x, skip
    if isinstance(x, dict):
        x = [member for key, member in x.items() if key not in skip]
    for member in x:
        yield from _walk(member, seen, all_of_it=all_of_it)
