"""The parameters of a model as optimizers see them: those that are tied are one."""

from __future__ import annotations

from xpnet.nn.module import Module
from xpnet.program.state import state_of
from xpnet.state import BUFFER, PARAMETER, Slot, Stateful

__all__ = ["tied_slots", "trainable"]


def tied_slots(model: Module) -> dict[str, list[Slot]]:
    """Return the slots of each parameter, tied ones together, under the first name."""
    if not isinstance(model, Stateful):
        raise TypeError(
            f"optimizer: expected a Module, got {type(model).__name__}; write "
            "optimizer.update(model, grads)"
        )
    tied: dict[int, list[Slot]] = {}
    for slot in state_of(model).slots:
        if slot.role != BUFFER:
            tied.setdefault(id(slot.array), []).append(slot)
    return {group[0].name: group for group in tied.values()}


def trainable(model: Module) -> dict[str, list[Slot]]:
    """Return `tied_slots` of those parameters that are frozen nowhere."""
    return {
        name: tied
        for name, tied in tied_slots(model).items()
        if all(slot.role == PARAMETER for slot in tied)
    }
