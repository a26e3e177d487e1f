"""Affine maps."""

from __future__ import annotations

from xpnet._typing import Array, Device, DType
from xpnet.namespace import array_namespace
from xpnet.nn import init
from xpnet.nn.module import Module, Parameter
from xpnet.random import Generator

__all__ = ["Linear"]


class Linear(Module):
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features : int
        Length of the last axis of the input.
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

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(3, 2)
    >>> layer(xn.asarray([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    >>> layer
    Linear(3, 2)  # weight (2, 3), bias (2,): 8 parameters
    """

    weight: Array
    bias: Array | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Generator | None = None,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> None:
        if in_features < 1 or out_features < 1:
            raise ValueError(
                "Linear: in_features and out_features must be positive, got "
                f"{in_features} and {out_features}"
            )
        self.in_features = in_features
        self.out_features = out_features

        def draw(*shape: int) -> Parameter:
            return Parameter(
                init.fan_in_uniform(shape, in_features, rng=rng, dtype=dtype, device=device)
            )

        self.weight = draw(out_features, in_features)
        self.bias = draw(out_features) if bias else None

    def forward(self, x: Array) -> Array:
        """Map an array of shape (..., in_features) to one of shape (..., out_features)."""
        array_namespace(x, self.weight)  # raises if they are of two libraries
        if x.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"Linear: expected an input of shape (..., {self.in_features}), "
                f"got {tuple(x.shape)}"
            )
        if x.dtype != self.weight.dtype:
            raise TypeError(
                f"Linear: the parameters have dtype {self.weight.dtype}, the input has {x.dtype}; "
                "convert the input with xp.astype, or give the layer dtype="
            )
        y = x @ self.weight.T
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        no_bias = ", bias=False" if self.bias is None else ""
        return f"{self.in_features}, {self.out_features}{no_bias}"
