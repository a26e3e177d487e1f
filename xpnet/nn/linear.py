"""Affine maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array, Device, DType
from xpnet.namespace import array_namespace
from xpnet.nn import init
from xpnet.nn.lazy import Lazy, check_dtype
from xpnet.nn.parameter import Parameter
from xpnet.random import Generator
from xpnet.state import PARAMETER

__all__ = ["Linear"]


class Linear(Lazy):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features : int or None
        Length of the last axis of the input; None takes it from the first batch, on whose library
        and device the parameters are made, with the same numbers as if it had been given.
    out_features : int
        Length of the last axis of the output.
    bias : bool, optional
        Whether to add a bias.
    rng : Generator, optional
        Draws the initial values; by default the one that `xpnet.seed` sets.
    dtype : str or dtype, optional
        Of the parameters, and of the inputs that are accepted.
    device : str or device, optional
        By default the selected one.

    Attributes
    ----------
    weight : array, shape (out_features, in_features)
        From U(-1/sqrt(in_features), 1/sqrt(in_features)), as in PyTorch.
    bias : array, shape (out_features,), or None
        From the same distribution.

    Raises
    ------
    ValueError
        If a width is not positive, or (when called) if the last axis of the input is not
        `in_features` long.
    TypeError
        If the input has another dtype than the parameters, or is of another library (when
        called).
    TracedArrayError
        If `in_features` is None and the first batch comes inside of `xpnet.grad` (when called).

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(3, 2)
    >>> layer(xn.asarray([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    >>> layer
    Linear(3, 2)  # weight (2, 3), bias (2,): 8 parameters
    """

    width = "in_features"
    weight: Array
    bias: Array | None

    def __init__(
        self,
        in_features: int | None,
        out_features: int,
        bias: bool = True,
        *,
        rng: Generator | None = None,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> None:
        if out_features < 1 or (in_features is not None and in_features < 1):
            raise ValueError(
                "Linear: in_features and out_features must be positive, got "
                f"{in_features} and {out_features}"
            )
        self.in_features = in_features
        self.out_features = out_features
        self._has_bias = bias
        roles = {"weight": PARAMETER, "bias": PARAMETER} if bias else {"weight": PARAMETER}
        self.bias = None
        self.start(roles, rng, dtype, device, draws=len(roles))

    def make(
        self, width: int, rng: Generator | None, dtype: DType | str, device: Device | None
    ) -> None:
        """See `Lazy.make`."""

        def draw(*shape: int) -> Parameter:
            return Parameter(init.fan_in_uniform(shape, width, rng=rng, dtype=dtype, device=device))

        self.weight = draw(self.out_features, width)
        self.bias = draw(self.out_features) if self._has_bias else None

    def width_of(self, state: Mapping[str, Array]) -> Any:
        """See `Lazy.width_of`."""
        return state["weight"].shape[1]

    def forward(self, x: Array) -> Array:
        """Map an array of shape (..., in_features) to one of shape (..., out_features)."""
        array_namespace(x, self.weight)  # raises if they are of two libraries
        if self.in_features is None and x.ndim:
            self.take_width(x, x.shape[-1])
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"Linear: expected an input of shape (..., {self.in_features}), "
                f"got {tuple(x.shape)}"
            )
        check_dtype("Linear", x, self.weight)
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        no_bias = "" if self._has_bias else ", bias=False"
        return f"{self.in_features}, {self.out_features}{no_bias}"
