"""The state of an optimizer as it was saved, checked before any of it is used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from xpnet._typing import Array
from xpnet.optim.settings import is_count
from xpnet.state import mismatches
from xpnet.transfer import copy_like

__all__ = ["Saved", "read_state"]


class Saved(NamedTuple):
    """What `Optimizer.state_dict` returned once, with arrays like those of the parameters."""

    steps: int
    updates: dict[str, int]
    rate_factor: float
    moments: dict[str, dict[str, Array]]


def read_state(
    where: str, state: Mapping[str, Any], parameters: Mapping[str, Array], moments: Collection[str]
) -> Saved:
    """Return a state, if it fits these parameters, for each of which there are these moments.

    Raises
    ------
    ValueError
        If it does not; all that is wrong is listed.
    """
    arrays = dict(state)
    steps, updates = arrays.pop("steps", None), arrays.pop("updates", None)
    factor = arrays.pop("rate_factor", 1.0)
    problems = "" if is_count(steps) else f"\n  steps: expected a number, got {steps!r}"
    if not isinstance(updates, dict) or not all(map(is_count, updates.values())):
        problems += f"\n  updates: expected a number for each parameter, got {updates!r}"
        updates = {}
    if not isinstance(factor, (int, float)) or not 0 <= factor < float("inf"):
        problems += f"\n  rate_factor: expected a number, not negative, got {factor!r}"
    problems += "".join(f"\n  unknown: {name}" for name in updates if name not in parameters)
    expected = {
        f"{name}.{moment}": parameters[name]
        for name in updates
        for moment in moments
        if name in parameters
    }
    problems += mismatches(expected, arrays)
    if problems:
        raise ValueError(f"{where}.load_state_dict: the state does not fit:{problems}")
    found = {
        name: {
            moment: copy_like(arrays[f"{name}.{moment}"], parameters[name]) for moment in moments
        }
        for name in updates
    }
    return Saved(steps, updates, float(factor), found)
