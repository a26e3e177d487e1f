"""Groups of parameters that share the numbers of their updates, which are computed once for each.

How often parameters were updated is kept for those that always were together. When some of them
are not, as while others are frozen, they come apart, and stay so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from xpnet.optim.settings import Overrides, matching

__all__ = ["Group", "Updates", "counts", "grouped", "loaded", "split", "spread"]

Updates = dict[tuple[str, ...], int]


class Group(NamedTuple):
    """Parameters that share their numbers, and the patterns of overrides that they match."""

    names: tuple[str, ...]
    patterns: tuple[str, ...]


def counts(updates: Updates) -> dict[str, int]:
    """Return how often each parameter was updated."""
    return {name: count for names, count in updates.items() for name in names}


def grouped(names: Iterable[str], updates: Updates, overrides: Overrides) -> list[Group]:
    """Return the groups of some parameters: updated together, and of the same settings."""
    together, groups = _together(updates), dict[Any, list[str]]()
    for name in names:
        key = together.get(name), matching(name, *overrides)
        groups.setdefault(key, []).append(name)
    return [Group(tuple(names), patterns) for (_, patterns), names in groups.items()]


def split(updates: Updates, groups: Iterable[Group]) -> Updates:
    """Return the same counts for these groups and for what is left of others."""
    count, parts = counts(updates), [group.names for group in groups]
    taken = {name for names in parts for name in names}
    parts += [tuple(name for name in names if name not in taken) for names in updates]
    return {names: count[names[0]] for names in parts if names}


def loaded(updates: Updates, count: Mapping[str, int]) -> Updates:
    """Return other counts, for the same groups where they are equal."""
    together, parts = _together(updates), dict[Any, list[str]]()
    for name, n in count.items():
        parts.setdefault((together.get(name), n), []).append(name)
    return {tuple(names): n for (_, n), names in parts.items()}


def spread(
    names: Iterable[str], groups: Iterable[Group], shared: Iterable[dict[str, float]]
) -> dict[str, dict[str, float]]:
    """Return for each parameter the numbers that its group shares."""
    pairs = zip(groups, shared, strict=True)
    found = {name: numbers for group, numbers in pairs for name in group.names}
    return {name: found[name] for name in names}


def _together(updates: Updates) -> dict[str, tuple[str, ...]]:
    """Return for each parameter those that always were updated with it."""
    return {name: names for names in updates for name in names}
