"""The share of right answers: the first guess, or one of the first few."""

from __future__ import annotations

from collections.abc import Mapping

from xpnet._typing import Array
from xpnet.metrics.counting import as_indices, check_classes, classify, count, flat_weight, ratio
from xpnet.metrics.metric import Metric, measure
from xpnet.namespace import array_namespace

__all__ = ["Accuracy", "TopK", "accuracy", "top_k_accuracy"]


class Accuracy(Metric):
    """Share of the samples whose true class has the highest score.

    Parameters
    ----------
    threshold : float, optional
        Where there is one score a sample: above it the prediction is class 1, else class 0. The
        default is for logits; probabilities need 0.5.

    Notes
    -----
    `update` takes logits of shape (..., C) and integer targets of shape (...), or logits and
    targets of one shape, whose elements all count alike. Of equal scores the first counts, as in
    ``argmax``. A target that is no class is never right.

    Examples
    --------
    >>> import xpnet as xn
    >>> metric = xn.metrics.Accuracy()
    >>> metric.update(xn.asarray([[2.0, 1.0], [2.0, 1.0]]), xn.asarray([0, 1]))
    >>> metric.update(xn.asarray([[0.0, 1.0]]), xn.asarray([1]))
    >>> round(float(metric.compute()), 4)
    0.6667
    """

    name = "accuracy"

    def __init__(self, *, threshold: float = 0.0) -> None:
        self.threshold = threshold

    def count(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> dict[str, Array]:
        """Count the samples, and those that were right."""
        found = classify(self.name, predictions, targets, sample_weight, self.threshold)
        return _hits(found.predicted == found.true, found.weight)

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return the share of right ones; nan of no samples."""
        return _share(totals)


class TopK(Metric):
    """Share of the samples whose true class has one of the k highest scores.

    Parameters
    ----------
    k : int, optional
        How many guesses there are.

    Raises
    ------
    ValueError
        If `k` is not a positive integer.

    Notes
    -----
    `update` takes logits of shape (..., C) and integer targets of shape (...). A sample is right
    if fewer than k classes have a strictly greater score than the true one: of equal scores, all
    count. A target that is no class is never right, nor is a score that is nan.

    Examples
    --------
    >>> import xpnet as xn
    >>> metric = xn.metrics.TopK(2)
    >>> metric.update(xn.asarray([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), xn.asarray([1, 2]))
    >>> float(metric.compute())
    0.5
    >>> metric.name
    'top_2_accuracy'
    """

    def __init__(self, k: int = 5) -> None:
        if not isinstance(k, int) or k < 1:
            raise ValueError(f"TopK: expected a positive integer as k, got {k!r}")
        self.k = k
        self.name = f"top_{k}_accuracy"

    def count(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> dict[str, Array]:
        """Count the samples, and those that were right."""
        check_classes(self.name, predictions, targets, binary=False)
        xp = array_namespace(predictions, targets)
        true = xp.expand_dims(as_indices(xp.asarray(targets)), axis=-1)
        legal = (true >= 0) & (true < predictions.shape[-1])
        score = xp.take_along_axis(predictions, xp.where(legal, true, 0), axis=-1)
        # "not smaller or equal" counts nan, unlike "greater".
        ahead = xp.count_nonzero(~(predictions <= score), axis=-1)
        hits = xp.reshape((ahead < self.k) & legal[..., 0] & (score == score)[..., 0], (-1,))
        return _hits(hits, flat_weight(self.name, sample_weight, targets))

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return the share of right ones; nan of no samples."""
        return _share(totals)


def accuracy(
    logits: Array,
    targets: Array,
    *,
    threshold: float = 0.0,
    sample_weight: Array | None = None,
) -> Array:
    """Share of the samples whose true class has the highest score.

    Parameters
    ----------
    logits : array, real floating, shape (..., C)
        Scores or probabilities; or of the shape of `targets`, one for class 1.
    targets : array, integer or bool, shape (...)
        Indices of the true classes.
    threshold : float, optional
        See `Accuracy`.
    sample_weight : array, shape (...), optional
        Weight of each sample; the first axes are enough. If all are 0 the result is nan.

    Returns
    -------
    array, shape ()
        In [0, 1], in the dtype of `logits`, on their device; see `Accuracy`.

    Raises
    ------
    TypeError
        If the logits are not floating-point, saying so if the arguments look swapped, or the
        targets not integers or booleans.
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0]])
    >>> float(xn.metrics.accuracy(logits, xn.asarray([0, 1])))
    0.5
    """
    return measure(Accuracy(threshold=threshold), logits, targets, sample_weight)


def top_k_accuracy(
    logits: Array, targets: Array, *, k: int = 5, sample_weight: Array | None = None
) -> Array:
    """Share of the samples whose true class has one of the k highest scores.

    Parameters
    ----------
    logits : array, real floating, shape (..., C)
        Scores or probabilities.
    targets : array, integer or bool, shape (...)
        Indices of the true classes.
    k : int, optional
        How many guesses there are.
    sample_weight : array, shape (...), optional
        Weight of each sample; the first axes are enough. If all are 0 the result is nan.

    Returns
    -------
    array, shape ()
        In [0, 1], in the dtype of `logits`, on their device; see `TopK` on equal scores.

    Raises
    ------
    TypeError, ValueError
        See `accuracy` and `TopK`.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
    >>> float(xn.metrics.top_k_accuracy(logits, xn.asarray([1, 2]), k=2))
    0.5
    """
    return measure(TopK(k), logits, targets, sample_weight)


def _hits(hits: Array, weight: Array | None) -> dict[str, Array]:
    every = array_namespace(hits).ones_like(hits)
    return {"hits": count(hits, weight), "samples": count(every, weight)}


def _share(totals: Mapping[str, Array]) -> Array:
    return ratio(totals["hits"], totals["samples"], float("nan"))
