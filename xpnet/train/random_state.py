"""The random generators that a training draws from, and where they are."""

from __future__ import annotations

from collections.abc import Mapping

from xpnet.nn import Module
from xpnet.random import Generator, default_generator

__all__ = ["generators", "load_random_state", "random_state"]


def generators(model: Module, order: Generator | None) -> dict[str, Generator]:
    """Return the generators by name: the default one, that of the order, and those of layers."""
    found = {"default": default_generator()}
    if order is not None:
        found["order"] = order
    for path, module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, Generator):
                found[f"model.{path}.{name}"] = value
    return found


def random_state(found: Mapping[str, Generator]) -> dict[str, dict[str, int]]:
    """Return where each generator is."""
    return {name: generator.state_dict() for name, generator in found.items()}


def load_random_state(found: Mapping[str, Generator], state: Mapping[str, dict[str, int]]) -> None:
    """Bring each generator to where it was; nothing is changed if one does not fit.

    Raises
    ------
    ValueError
        If there were other generators.
    """
    if not isinstance(state, Mapping) or set(state) != set(found):
        raise ValueError(
            f"Trainer: the checkpoint has the random generators {sorted(state)}, this training "
            f"has {sorted(found)}; give fit and the layers the same rng= as then"
        )
    for each in state.values():
        Generator(0).load_state_dict(each)  # raises if it is no state of a generator
    for name, generator in found.items():
        generator.load_state_dict(state[name])
