"""Orthogonal initial weights."""

from __future__ import annotations

import math

from xpnet._typing import Array, Device, DType
from xpnet.backend import HOST, host, use_backend
from xpnet.nn.init.plain import normal
from xpnet.random import Generator
from xpnet.random.generator import upload

__all__ = ["orthogonal"]


def orthogonal(
    shape: tuple[int, ...],
    *,
    gain: float = 1.0,
    rng: Generator | None = None,
    dtype: DType | str = "float32",
    device: Device | None = None,
) -> Array:
    """Draw a matrix with orthogonal rows or columns, whichever are fewer, of length `gain`.

    Parameters
    ----------
    shape : tuple of int
        ``(out, in)``, or ``(out, in, ...)`` whose further axes are joined to the second.
    gain : float, optional
        The length; see `calculate_gain`.
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
        If the shape has fewer than two axes, or one of length 0.

    Notes
    -----
    Uniformly distributed: the factor Q of a matrix of normal numbers, each column with the sign
    that makes the diagonal of R positive [2]_.

    References
    ----------
    .. [1] A. M. Saxe, J. L. McClelland and S. Ganguli, "Exact solutions to the nonlinear dynamics
       of learning in deep linear neural networks", ICLR 2014, section 3.
    .. [2] F. Mezzadri, "How to generate random matrices from the classical compact groups",
       Notices of the AMS 54, 2007, section 5.

    Examples
    --------
    >>> from xpnet.nn import init
    >>> q = init.orthogonal((2, 3), dtype="float64")
    >>> abs(q @ q.T).round(9)
    array([[1., 0.],
           [0., 1.]])
    """
    if len(shape) < 2 or 0 in shape:
        raise ValueError(
            "init.orthogonal: expected a shape (out, in) or (out, in, ...) of positive lengths, "
            f"got {tuple(shape)}"
        )
    xp = host().namespace()
    rows, columns = shape[0], math.prod(shape[1:])
    with use_backend(HOST):
        drawn = normal((max(rows, columns), min(rows, columns)), rng=rng, dtype="float64")
    q, r = xp.linalg.qr(drawn)
    q = gain * q * xp.where(xp.linalg.diagonal(r) < 0, -1.0, 1.0)
    return upload(xp.reshape(q if rows >= columns else q.T, shape), dtype, device)
