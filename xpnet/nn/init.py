"""Initial values of parameters."""

from __future__ import annotations

import math

from xpnet._typing import Array, Device, DType
from xpnet.random import Generator, default_generator

__all__ = ["fan_in_uniform"]


def fan_in_uniform(
    shape: tuple[int, ...],
    fan_in: int,
    *,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from U(-1/sqrt(fan_in), 1/sqrt(fan_in)), what PyTorch gives its linear layers.

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    fan_in : int
        How many inputs each output sums over.
    rng : Generator, optional
        By default the one that `xpnet.seed` sets.
    dtype : str or dtype, optional
        Of the result.
    device : device, optional
        By default the selected one.

    Returns
    -------
    array
        Of the selected backend, bit-equal on every one.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. Orr, K.-R. Mueller, "Efficient BackProp", 1998, section 4.6,
       for the scaling; its standard deviation is sqrt(3) times as large.
    """
    bound = 1 / math.sqrt(fan_in)
    rng = default_generator() if rng is None else rng
    return rng.uniform(shape, -bound, bound, dtype=dtype, device=device)
