"""Containers: the dicts and lists that modules and optimizers consist of, and what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xpnet.namespace import is_array
from xpnet.state import Stateful

__all__ = ["Container", "containers", "members", "put_back", "settings"]

Container = dict[Any, Any] | list[Any]


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
