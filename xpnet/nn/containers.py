"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xpnet.nn.module import Module

__all__ = ["Sequential"]


class Sequential(Module):
    """Apply modules, or functions of one array, one after the other.

    Parameters
    ----------
    *layers : Module or callable
        The first is applied first.

    Raises
    ------
    TypeError
        If a layer cannot be called, or is a class.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet import nn
    >>> model = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))
    >>> model
    Sequential(
      (0): Linear(784, 16)  # weight (16, 784), bias (16,): 12,560 parameters
      (1): ReLU()
      (2): Linear(16, 10)  # weight (10, 16), bias (10,): 170 parameters
    )  # 12,730 parameters
    >>> list(model.parameters())
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """

    def __init__(self, *layers: Any) -> None:
        for index, layer in enumerate(layers):
            if not callable(layer):
                fix = "; write Sequential(*layers)" if isinstance(layer, (list, tuple)) else ""
                raise TypeError(
                    f"Sequential: layer {index} is a {type(layer).__name__}, "
                    f"which cannot be called{fix}"
                )
            if isinstance(layer, type):
                raise TypeError(
                    f"Sequential: layer {index} is the class {layer.__name__}; write "
                    f"{layer.__name__}(...)"
                )
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = layer(x)
        return x

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the layers that are modules, named by their number as in PyTorch, and the rest."""
        for name, child in super().children():
            yield name.removeprefix("layers."), child

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]

    def __len__(self) -> int:
        return len(self.layers)
