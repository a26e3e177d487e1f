"""What the arguments of calls must have in common for one program to do them."""

from __future__ import annotations

from collections.abc import Hashable
from operator import attrgetter
from typing import Any

from xpnet.errors import CompileError
from xpnet.namespace import is_array
from xpnet.program.keys import array_key, value_key
from xpnet.state import Reference, Stateful

__all__ = ["Arguments"]

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
