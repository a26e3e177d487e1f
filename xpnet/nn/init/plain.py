"""Initial values that do not depend on the shape."""

from __future__ import annotations

import math
from statistics import NormalDist

from xpnet._typing import Array, Device, DType
from xpnet.backend import HOST, host, use_backend
from xpnet.random import Generator
from xpnet.random.generator import chosen, upload

__all__ = ["constant", "normal", "ones", "truncated_normal", "uniform", "zeros"]


def zeros(
    shape: tuple[int, ...],
    *,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Return zeros.

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    dtype : str or dtype, optional
        Of the result.
    device : device, optional
        By default the selected one.

    Returns
    -------
    array
        Of the selected backend, bit-equal on every one.

    Examples
    --------
    >>> from xpnet.nn import init
    >>> init.zeros((2,))
    array([0., 0.], dtype=float32)
    """
    return constant(shape, 0.0, dtype=dtype, device=device)


def ones(
    shape: tuple[int, ...],
    *,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Return ones.

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    dtype : str or dtype, optional
        Of the result.
    device : device, optional
        By default the selected one.

    Returns
    -------
    array
        Of the selected backend, bit-equal on every one.

    Examples
    --------
    >>> from xpnet.nn import init
    >>> init.ones((2,))
    array([1., 1.], dtype=float32)
    """
    return constant(shape, 1.0, dtype=dtype, device=device)


def constant(
    shape: tuple[int, ...],
    value: float,
    *,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Return one number everywhere.

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    value : float
        The number.
    dtype : str or dtype, optional
        Of the result.
    device : device, optional
        By default the selected one.

    Returns
    -------
    array
        Of the selected backend, bit-equal on every one.

    Examples
    --------
    >>> from xpnet.nn import init
    >>> init.constant((2,), 0.5)
    array([0.5, 0.5], dtype=float32)
    """
    xp = host().namespace()
    return upload(xp.full(shape, value, dtype=xp.float64), dtype, device)


def uniform(
    shape: tuple[int, ...],
    *,
    low: float = 0.0,
    high: float = 1.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from U(low, high).

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    low, high : float, optional
        Bounds.
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
    """
    rng = chosen(rng)
    return rng.uniform(shape, low, high, dtype=dtype, device=device)


def normal(
    shape: tuple[int, ...],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from the normal distribution N(mean, std^2).

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    mean, std : float, optional
        Mean and standard deviation.
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
    """
    rng = chosen(rng)
    return rng.normal(shape, mean, std, dtype=dtype, device=device)


def truncated_normal(
    shape: tuple[int, ...],
    *,
    mean: float = 0.0,
    std: float = 1.0,
    low: float = -2.0,
    high: float = 2.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw from the normal distribution, and only what lies between two bounds.

    Parameters
    ----------
    shape : tuple of int
        Of the result.
    mean, std : float, optional
        Mean and standard deviation before the bounds cut off the tails.
    low, high : float, optional
        The bounds themselves, not in units of `std`.
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
        If `std` is not positive, or `high` does not exceed `low`.

    Notes
    -----
    The inverse distribution function of uniform numbers between those of the bounds. The standard
    deviation is smaller than `std`: 0.88 of it for bounds at two of them.
    """
    if not std > 0 or not low < high:
        raise ValueError(
            "init.truncated_normal: expected a positive std and high above low, got "
            f"std={std}, low={low}, high={high}"
        )
    normal = NormalDist(mean, std)
    xp = host().namespace()
    # The open interval, whose ends may be 0 and 1 and have no inverse.
    first, last = max(normal.cdf(low), 2.0**-1000), min(normal.cdf(high), 1 - 2.0**-53)
    rng = chosen(rng)
    with use_backend(HOST):
        unit = rng.uniform((math.prod(shape),), first, last, dtype="float64")
    drawn = xp.asarray([normal.inv_cdf(p) for p in unit.tolist()], dtype=xp.float64)
    return upload(xp.reshape(xp.clip(drawn, low, high), shape), dtype, device)
