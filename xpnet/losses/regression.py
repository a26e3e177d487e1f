"""Losses for numbers."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.losses.reduction import Reduction, check_predictions, reduce, weigh

__all__ = ["mse_loss"]


def mse_loss(
    predictions: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Mean squared error.

    Parameters
    ----------
    predictions : array, real floating
        Any shape.
    targets : array, integer or real floating
        Of the same shape; nothing is broadcast.
    sample_weight : array, optional
        Of that shape, or of its first axes.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights.

    Returns
    -------
    array
        Of shape ``()``, or of that of `predictions` for ``"none"``; in squared units of the
        predictions.

    Raises
    ------
    TypeError
        If the predictions are not floating-point.
    ValueError
        If shapes differ, or `reduction` is unknown.

    Notes
    -----
    ``L = mean((y - t)**2)``, whose gradient is ``2 (y - t) / n``.

    Examples
    --------
    >>> import xpnet as xn
    >>> float(xn.losses.mse_loss(xn.asarray([1.0, 3.0]), xn.asarray([1.0, 1.0])))
    2.0
    """
    xp = check_predictions("mse_loss", predictions, targets, name="predictions")
    if predictions.shape != targets.shape:
        raise ValueError(
            f"mse_loss: expected targets of the predictions' shape {tuple(predictions.shape)}, "
            f"got {tuple(targets.shape)}"
        )
    values = (predictions - xp.astype(targets, predictions.dtype, copy=False)) ** 2
    values, weight = weigh("mse_loss", values, sample_weight)
    return reduce("mse_loss", values, weight, reduction)
