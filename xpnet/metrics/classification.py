"""Metrics for classes."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.losses.reduction import check_predictions

__all__ = ["accuracy"]


def accuracy(logits: Array, targets: Array) -> Array:
    """Share of the samples whose true class has the highest score.

    Parameters
    ----------
    logits : array, real floating, shape (..., C)
        Scores or probabilities.
    targets : array, integer, shape (...)
        Indices of the true classes.

    Returns
    -------
    array, shape ()
        In [0, 1], in the dtype of `logits`, on their device.

    Raises
    ------
    TypeError
        If the logits are not floating-point, saying so if the arguments look swapped.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0]])
    >>> float(xn.metrics.accuracy(logits, xn.asarray([0, 1])))
    0.5
    """
    xp = check_predictions("accuracy", logits, targets, name="logits")
    if tuple(targets.shape) != tuple(logits.shape[:-1]):
        raise ValueError(
            f"accuracy: expected targets of shape {tuple(logits.shape[:-1])} for logits of shape "
            f"{tuple(logits.shape)}, got {tuple(targets.shape)}"
        )
    best = xp.argmax(logits, axis=-1)
    hit = best == xp.astype(targets, best.dtype)
    return xp.mean(xp.astype(hit, logits.dtype))
