"""State is slots: where the arrays of a module or an optimizer are kept, in one walk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from xpnet._typing import Array

__all__ = ["BUFFER", "FROZEN", "PARAMETER", "Role", "Slot", "Stateful"]

Role = Literal["parameter", "frozen", "buffer"]
PARAMETER: Role = "parameter"  # trained: `value_and_grad` differentiates, optimizers update
FROZEN: Role = "frozen"  # a parameter that is held fixed
BUFFER: Role = "buffer"  # belongs to the state, is written by the forward pass


class Slot(NamedTuple):
    """One place where an array is kept: ``owner[key]``."""

    name: str
    owner: dict[str, Any]
    key: str
    role: Role

    @property
    def array(self) -> Array:
        """What is kept here now."""
        return self.owner[self.key]

    def put(self, array: Array) -> None:
        """Keep `array` here instead."""
        self.owner[self.key] = array


class Stateful:
    """An object whose arrays differentiation, compilation and checkpoints can reach."""

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """Yield every slot once, dotted names starting with `prefix`.

        An array in two slots (a tied parameter) is yielded twice, as one and the same object.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no slots()")
