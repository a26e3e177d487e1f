"""A model that is evaluated, or only looked at, is afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from xpnet.random.generator import undrawn
from xpnet.scatter import copy
from xpnet.state import BUFFER

if TYPE_CHECKING:
    from xpnet.nn.module import Module

__all__ = ["evaluating", "undisturbed"]


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Switch a model to evaluation; each module has its own mode back afterwards."""
    modes = [(module, module.training) for _, module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def undisturbed(model: Module) -> Iterator[None]:
    """Put buffers and random generators back afterwards; layers that wait may take a batch."""
    slots = [slot for _, module in model.modules() for slot in module.own_slots()]
    buffers = [(x, x.array) for x in slots if x.role == BUFFER and x.array is not None]
    for slot, array in buffers:
        slot.put(copy(array))  # the model may write into it
    try:
        with undrawn():
            yield
    finally:
        for slot, array in buffers:
            slot.put(array)
