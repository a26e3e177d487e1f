"""Watching the outputs of all modules of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.nn.module import Module

__all__ = ["observe"]


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
