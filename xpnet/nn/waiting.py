"""Layers that wait for the first batch: a model that has them, before and after it has come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from xpnet._typing import Array
from xpnet.state import changes

if TYPE_CHECKING:
    from xpnet.nn.lazy import Lazy
    from xpnet.nn.module import Module

__all__ = ["remember", "still_waiting", "widths_from"]


@contextmanager
def still_waiting(model: Module) -> Iterator[None]:
    """Let the layers that wait for the first batch wait again afterwards."""
    wait = _waiting(model)
    try:
        yield
    finally:
        wait()


@contextmanager
def widths_from(model: Module, state: Mapping[str, Array]) -> Iterator[None]:
    """Make the arrays of the layers that wait, as wide as those of a state; not after an error."""
    wait = _waiting(model)
    try:
        for path, module in model.modules():
            if module.is_waiting():
                layer = cast("Lazy", module)  # no other module has places without arrays
                names = {slot.name: slot.key for slot in module.own_slots(path)}
                own = {key: state[name] for name, key in names.items() if name in state}
                with suppress(LookupError, AttributeError):  # `slots` then names the layer
                    layer.make_now(layer.width_of(own))
        yield
    except BaseException:
        wait()
        raise


def remember(modules: Iterable[Module]) -> Callable[[], None]:
    """Return a function that gives modules the attributes again that they have now."""
    before = [(vars(module), dict(vars(module))) for module in modules]

    def restore() -> None:
        for attributes, was in before:
            attributes.update(was)
        changes.count += 1

    return restore


def _waiting(model: Module) -> Callable[[], None]:
    """Return a function that lets the layers that wait now wait again."""
    return remember(module for _, module in model.modules() if module.is_waiting())
