"""Which arrays share memory, so that writing to one either does what the library does or raises.

A wrapped array is written to functionally: the object gets a new value. In the array library, the
write would also show through every view of the memory, which a new value cannot. So views are
noted where they are made, by weak references, and a write raises as long as another array that it
would show through is alive. One exception makes ``x[key] += y`` work, which Python runs as
``view = x[key]; view += y; x[key] = view``: after the second step `x` is put out of use until the
third.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NoReturn
from weakref import ref

from xpnet.errors import TracedArrayError

__all__ = ["OUTSIDE", "Hidden", "claim", "overwritten", "share"]


class Group(list[Any]):
    """Weak references to arrays that share memory; dead ones are dropped now and then."""

    limit = 64

    def add(self, x: Any) -> None:
        """Note one more array."""
        self.append(ref(x))
        if len(self) > self.limit:
            self[:] = [member for member in self if member() is not None]
            self.limit = 64 + 2 * len(self)


# Of arrays that came from outside, where anybody may see them.
OUTSIDE = Group()


def share(x: Any, view: Any) -> None:
    """Note that `view` shares the memory of `x`."""
    group = x.group
    if group is None:
        x.group = group = Group()
        group.add(x)
    other = view.group
    if group is not OUTSIDE:
        group.add(view)
    if other is None or group is OUTSIDE:
        view.group = group
    elif other is not OUTSIDE and other is not group:  # it may share memory with both
        for y in [member() for member in other]:
            if y is not None:
                y.group = group
                group.add(y)


def claim(x: Any, operation: str, *, but: Any = None) -> None:
    """Make sure that a write to `x` shows nowhere else, other than in `but`.

    Raises
    ------
    TracedArrayError
        If `x` came from outside, or an array that shares its memory is alive.
    """
    group = x.group
    if group is None:
        return
    name = x.namespace.__name__
    cure = "write into a copy, x = xp.asarray(x, copy=True), or make a new array, x = x + y"
    if group is OUTSIDE:
        raise TracedArrayError(
            f"{operation}: x is a {name} array that came from outside of the function, or a view "
            f"of one; {cure}"
        )
    if any(y is not None and y is not x and y is not but for y in (member() for member in group)):
        raise TracedArrayError(
            f"{operation}: another {name} array shares the memory of x, which is a view or has "
            f"one; {cure}"
        )
    x.group = None


def overwritten(arrays: Iterable[Any], written: Iterable[Any]) -> int | None:
    """Return which of the arrays that are written to shares memory with `arrays`, if any does."""
    roots = _roots(written)
    for root in _roots(arrays):
        if root in roots:
            return roots.index(root)
    return None


def _roots(arrays: Iterable[Any]) -> list[int]:
    """Return what stands for the memory of each array, its own or that of which it is a view."""
    return [id(x if (base := getattr(x, "base", None)) is None else base) for x in arrays]


class Hidden:
    """What an array holds that must not be used, since a write may show in it."""

    __array_ufunc__ = None

    def __array_namespace__(self, *, api_version: str | None = None) -> NoReturn:
        self.__getattr__("__array_namespace__")

    def __getattr__(self, name: str) -> NoReturn:
        raise TracedArrayError(
            "an array was used after a write that the array library may show in it: after "
            "view = x[key]; view += y (write x[key] += y), or after x[...] = view"
        )
