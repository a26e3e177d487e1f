"""Initial weights whose spread follows from their shape."""

from __future__ import annotations

import math
from typing import Literal

from xpnet._typing import Array, Device, DType
from xpnet.nn.init.plain import normal, uniform
from xpnet.random import Generator
from xpnet.random.generator import chosen

__all__ = [
    "calculate_gain",
    "fan_in_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
]

_GAINS = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 0.75,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which weights are to be larger because an activation shrinks.

    Parameters
    ----------
    nonlinearity : str
        ``"linear"``, ``"sigmoid"``, ``"tanh"``, ``"relu"``, ``"leaky_relu"`` or ``"selu"``.
    param : float, optional
        The negative slope of ``"leaky_relu"``, by default 0.01.

    Returns
    -------
    float
        1, 1, 5/3, sqrt(2), sqrt(2 / (1 + param^2)) or 3/4, as in PyTorch.

    Raises
    ------
    ValueError
        If the name is unknown, or `param` is given for another than ``"leaky_relu"``.

    Examples
    --------
    >>> from xpnet.nn import init
    >>> init.calculate_gain("leaky_relu", 1.0)
    1.0
    """
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in _GAINS or param is not None:
        known = ", ".join([*_GAINS, "leaky_relu"])
        given = f"{nonlinearity!r}" if param is None else f"{nonlinearity!r} with param={param}"
        raise ValueError(
            f"init.calculate_gain: expected one of {known}, the last with a slope, got {given}"
        )
    return _GAINS[nonlinearity]


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
    rng = chosen(rng)
    return rng.uniform(shape, -bound, bound, dtype=dtype, device=device)


def glorot_normal(
    shape: tuple[int, ...],
    *,
    gain: float = 1.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from N(0, s^2) with ``s = gain sqrt(2 / (fan_in + fan_out))``, also known as Xavier's.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
    gain : float, optional
        A factor for the activation that follows; see `calculate_gain`.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010, equation 12.

    """
    std = gain * math.sqrt(2 / sum(_fans("glorot_normal", shape)))
    return normal(shape, std=std, rng=rng, dtype=dtype, device=device)


def glorot_uniform(
    shape: tuple[int, ...],
    *,
    gain: float = 1.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from U(-b, b) with ``b = gain sqrt(6 / (fan_in + fan_out))``, also known as Xavier's.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
    gain : float, optional
        A factor for the activation that follows; see `calculate_gain`.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0.

    References
    ----------
    .. [1] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
       neural networks", AISTATS 2010, equation 16.

    """
    std = gain * math.sqrt(2 / sum(_fans("glorot_uniform", shape)))
    bound = math.sqrt(3) * std
    return uniform(shape, low=-bound, high=bound, rng=rng, dtype=dtype, device=device)


def he_normal(
    shape: tuple[int, ...],
    *,
    gain: float = math.sqrt(2),
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from N(0, s^2) with ``s = gain / sqrt(fan)``, also known as Kaiming's.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
    gain : float, optional
        A factor for the activation that follows; see `calculate_gain`. The
        default is that of ReLU.
    mode : str, optional
        ``"fan_in"`` keeps the variance on the way forward, ``"fan_out"`` that of the gradients.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0, or `mode` is something else.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing human-level
       performance on ImageNet classification", ICCV 2015, equations 10 and 14.

    """
    std = gain / math.sqrt(_fan("he_normal", shape, mode))
    return normal(shape, std=std, rng=rng, dtype=dtype, device=device)


def he_uniform(
    shape: tuple[int, ...],
    *,
    gain: float = math.sqrt(2),
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from U(-b, b) with ``b = gain sqrt(3 / fan)``, also known as Kaiming's.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
    gain : float, optional
        A factor for the activation that follows; see `calculate_gain`. The
        default is that of ReLU.
    mode : str, optional
        ``"fan_in"`` keeps the variance on the way forward, ``"fan_out"`` that of the gradients.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0, or `mode` is something else.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers: surpassing human-level
       performance on ImageNet classification", ICCV 2015, equations 10 and 14.

    """
    std = gain / math.sqrt(_fan("he_uniform", shape, mode))
    bound = math.sqrt(3) * std
    return uniform(shape, low=-bound, high=bound, rng=rng, dtype=dtype, device=device)


def lecun_normal(
    shape: tuple[int, ...],
    *,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from N(0, s^2) with ``s = 1 / sqrt(fan_in)``.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. Orr, K.-R. Mueller, "Efficient BackProp", 1998, section 4.6.

    """
    std = 1 / math.sqrt(_fans("lecun_normal", shape)[0])
    return normal(shape, std=std, rng=rng, dtype=dtype, device=device)


def lecun_uniform(
    shape: tuple[int, ...],
    *,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from U(-b, b) with ``b = sqrt(3 / fan_in)``.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes count for both.
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

    Raises
    ------
    ValueError
        If the shape has fewer than two axes, or a fan of 0.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. Orr, K.-R. Mueller, "Efficient BackProp", 1998, section 4.6.

    """
    std = 1 / math.sqrt(_fans("lecun_uniform", shape)[0])
    bound = math.sqrt(3) * std
    return uniform(shape, low=-bound, high=bound, rng=rng, dtype=dtype, device=device)


def _fans(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many inputs each output sums over, and how many outputs each input reaches."""
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            f"init.{name}: expected a shape (out, in) or (out, in, ...) of positive lengths, got "
            f"{tuple(shape)}; for other arrays take init.uniform or init.normal"
        )
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _fan(name: str, shape: tuple[int, ...], mode: str) -> int:
    """Return the fan of that name."""
    fan_in, fan_out = _fans(name, shape)
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f'init.{name}: mode must be "fan_in" or "fan_out", got {mode!r}')
    return fan_in if mode == "fan_in" else fan_out
