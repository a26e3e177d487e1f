"""Watching the outputs of all modules of a model, and trying a model without leaving traces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from xpnet.nn.module import Module
from xpnet.random.generator import undrawn
from xpnet.scatter import copy
from xpnet.state import BUFFER

__all__ = ["observe", "undisturbed"]


@contextmanager
def observe(model: Module, callback: Callable[[str, Module, Any], None]) -> Iterator[None]:
    """Call a function with the output of each module, for the length of a ``with`` block.

    Parameters
    ----------
    model : Module
        It and all modules below it are observed.
    callback : callable
        ``callback(name, module, output)`` is called after each forward pass of a module, so for
        the inner ones first; `name` is dotted, ``""`` for the model itself. A module that is used
        twice is reported twice, under its first name. Inside of `xpnet.grad` outputs are traced.

    Yields
    ------
    None
        Afterwards the modules are as before.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.ReLU())
    >>> with nn.observe(model, lambda name, module, output: print(name, output.shape)):
    ...     y = model(xn.asarray([[[1.0], [2.0]]]))
    0 (1, 2)
    1 (1, 2)
     (1, 2)
    """
    with ExitStack() as stack:
        for name, module in model.modules():
            stack.enter_context(_observed(name, module, callback))
        yield


@contextmanager
def _observed(
    name: str, module: Module, callback: Callable[[str, Module, Any], None]
) -> Iterator[None]:
    """Put a function around the forward pass of one module, as an attribute of the object."""
    attributes, inner = vars(module), module.forward
    before = attributes.get("forward")

    def forward(*args: Any, **kwargs: Any) -> Any:
        output = inner(*args, **kwargs)
        callback(name, module, output)
        return output

    attributes["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del attributes["forward"]
        else:
            attributes["forward"] = before


@contextmanager
def undisturbed(model: Module) -> Iterator[None]:
    """Switch a model to evaluation; put its modes, buffers and random generators back afterwards.

    Layers that wait for the first batch may take it.
    """
    modes = [(module, module.training) for _, module in model.modules()]
    slots = [slot for _, module in model.modules() for slot in module.own_slots()]
    buffers = [(x, x.array) for x in slots if x.role == BUFFER and x.array is not None]
    for slot, array in buffers:
        slot.put(copy(array))  # the model may write into it
    try:
        with undrawn():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for slot, array in buffers:
            slot.put(array)
