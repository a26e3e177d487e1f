"""Filling slots with arrays that are loaded: all of them, or none."""

from __future__ import annotations

from collections.abc import Mapping

from xpnet._typing import Array
from xpnet.errors import TracedArrayError
from xpnet.state import Slot, are_of_a_kind, mismatches
from xpnet.transfer import copy_like
from xpnet.wrapping import WrappedArray

__all__ = ["fill"]


def fill(where: str, slots: list[Slot], state: Mapping[str, Array]) -> None:
    """Replace the arrays in some slots of a model by copies of those in `state`.

    Raises
    ------
    ValueError, TracedArrayError
        See `Module.load_state_dict`; nothing is changed then.
    """
    expected = {slot.name: slot.array for slot in slots}
    if any(isinstance(array, WrappedArray) for array in expected.values()):
        raise TracedArrayError(
            f"{where}: the model is being differentiated or compiled, where what is loaded would "
            "be lost; load it before"
        )
    problems = mismatches(expected, state, fits=are_of_a_kind)
    if problems:
        raise ValueError(f"{where}: the state does not fit this model:{problems}")
    # By id of the replaced array, so that tied ones stay tied.
    loaded: dict[int, Array] = {}
    for name, old in expected.items():
        if id(old) not in loaded:
            loaded[id(old)] = copy_like(state[name], old)
    for slot in slots:
        slot.put(loaded[id(expected[slot.name])])
