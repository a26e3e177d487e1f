"""Nested lists, tuples and dicts of things."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xpnet._typing import Tree

__all__ = ["leaves", "map", "pairs", "spell"]


_BRANCHES = (list, tuple, dict)


def map(function: Callable[[Any], Any], tree: Tree) -> Tree:  # noqa: A001 - read as tree.map
    """Return a tree of the same structure with `function` applied to every leaf.

    Lists, tuples (named ones too) and dicts are branches; everything else, None included, is a
    leaf.
    """
    if not isinstance(tree, _BRANCHES):
        return function(tree)
    if isinstance(tree, dict):
        mapped = copy.copy(tree)  # keeps the order of the keys, and the default of a defaultdict
        mapped.update({key: map(function, member) for key, member in tree.items()})
        return mapped
    members = [map(function, x) if isinstance(x, _BRANCHES) else function(x) for x in tree]
    if type(tree) is list:
        return members
    return type(tree)(*members) if hasattr(tree, "_fields") else type(tree)(members)


def leaves(tree: Tree) -> list[Any]:
    """Return the leaves of a tree in the order in which `map` visits them."""
    if not isinstance(tree, _BRANCHES):
        return [tree]
    found: list[Any] = []
    _collect(tree, found)
    return found


def _collect(branch: Tree, found: list[Any]) -> None:
    for member in branch.values() if isinstance(branch, dict) else branch:
        if isinstance(member, _BRANCHES):
            _collect(member, found)
        else:
            found.append(member)


def spell(members: Iterable[Any]) -> list[Any]:
    """Return the leaves of some trees, those of each branch behind a tuple, which no leaf is.

    It tells the class and the length or keys of the branch, so trees of which it is equal are.
    """
    found: list[Any] = []
    for member in members:
        if not isinstance(member, _BRANCHES):
            found.append(member)
        elif isinstance(member, dict):
            found += [(dict, *member), *spell(member.values())]
        else:
            found += [(type(member), len(member)), *spell(member)]
    return found


def pairs(first: Tree, second: Tree) -> Iterator[tuple[Any, Any]]:
    """Yield the leaves of `first`, each with what is in its place in `second`.

    Raises
    ------
    ValueError
        If `second` does not have the structure of `first`.
    """
    if isinstance(first, dict):
        if not isinstance(second, dict) or first.keys() != second.keys():
            raise ValueError(f"expected a dict with the keys {list(first)}, got {_shown(second)}")
        for key, member in first.items():
            yield from pairs(member, second[key])
    elif isinstance(first, (list, tuple)):
        if not isinstance(second, (list, tuple)) or len(first) != len(second):
            kind = type(first).__name__
            raise ValueError(f"expected a {kind} of {len(first)}, got {_shown(second)}")
        for ours, theirs in zip(first, second, strict=True):
            yield from pairs(ours, theirs)
    else:
        yield first, second


def _shown(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"one with the keys {list(tree)}"
    kind = type(tree).__name__
    return f"a {kind} of {len(tree)}" if isinstance(tree, (list, tuple)) else f"a {kind}"
