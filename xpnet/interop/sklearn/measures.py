"""What is minimised, and what tells how good a model is, where the arrays are."""

from __future__ import annotations

import math
from collections.abc import Callable

from xpnet._typing import Array
from xpnet.losses import binary_cross_entropy, cross_entropy, mse_loss
from xpnet.losses.reduction import weigh
from xpnet.metrics.counting import count
from xpnet.namespace import array_namespace
from xpnet.special import xlogy
from xpnet.special.indices import widen
from xpnet.transfer import to_host

__all__ = ["LOSSES", "accuracy", "r2"]


def squared_error(outputs: Array, targets: Array, *, sample_weight: Array | None = None) -> Array:
    """Return half of the squared errors, summed up over samples and outputs."""
    return 0.5 * mse_loss(outputs, targets, sample_weight=sample_weight, reduction="sum")


def poisson(outputs: Array, targets: Array, *, sample_weight: Array | None = None) -> Array:
    """Return half of the Poisson deviance of logarithms of expected counts, summed up."""
    xp = array_namespace(outputs, targets)
    losses = xp.exp(outputs) - targets * outputs + (xlogy(targets, targets) - targets)
    return xp.sum(weigh("poisson", losses, sample_weight)[0])


def log_loss(outputs: Array, targets: Array, *, sample_weight: Array | None = None) -> Array:
    """Return the cross-entropy of classes, or of each of several labels, summed up."""
    loss = cross_entropy if targets.ndim == 1 else binary_cross_entropy
    return loss(outputs, targets, sample_weight=sample_weight, reduction="sum")


LOSSES: dict[str, Callable[..., Array]] = {
    "log_loss": log_loss,
    "squared_error": squared_error,
    "poisson": poisson,
}


def accuracy(predicted: Array, truth: Array, weight: Array | None) -> float:
    """Return the share of right predictions; the counts are divided in double precision."""
    xp = array_namespace(predicted, truth)
    if xp.isdtype(predicted.dtype, "integral") and xp.isdtype(truth.dtype, "integral"):
        predicted, truth = widen(predicted), widen(truth)
    right = predicted == truth
    if right.ndim == 2:
        right = xp.all(right, axis=1)
    if weight is None:
        return float(to_host(count(right))) / float(right.shape[0])
    hits, samples = to_host(xp.stack([count(right, weight), xp.sum(weight)])).tolist()
    return float(hits / samples) if samples else math.nan


def _mean(values: Array, weight: Array | None) -> Array:
    """Return the mean over the samples."""
    xp = array_namespace(values)
    if weight is None:
        return xp.mean(values, axis=0)
    weight = xp.reshape(weight, (-1,) + (1,) * (values.ndim - 1))
    return xp.sum(weight * values, axis=0) / xp.sum(weight)


def r2(predicted: Array, targets: Array, weight: Array | None) -> float:
    """Return the coefficient of determination, averaged over the outputs.

    Of targets that are all the same it is 1 if all predictions are right, and else 0.
    """
    xp = array_namespace(predicted, targets)
    left = _mean((targets - predicted) ** 2, weight)
    all_ = _mean((targets - _mean(targets, weight)) ** 2, weight)
    varies = all_ > 0
    constant = xp.astype(left == 0, left.dtype)
    each = xp.where(varies, 1 - left / xp.where(varies, all_, 1.0), constant)
    return float(to_host(xp.mean(each)))
