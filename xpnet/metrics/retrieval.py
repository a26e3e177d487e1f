"""Precision, recall and F1: of what was found, and of what was to be found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from xpnet._typing import Array
from xpnet.metrics.counting import classify, count, ratio
from xpnet.metrics.metric import Metric, measure
from xpnet.namespace import array_namespace
from xpnet.special import one_hot

__all__ = ["F1", "Average", "Precision", "Recall", "f1", "precision", "recall"]

Average = Literal["macro", "micro", "weighted"] | None


class _Retrieval(Metric):
    """A quotient for each class of how often it was right, predicted and true; and their mean."""

    def __init__(
        self, *, average: Average = "macro", threshold: float = 0.0, zero_division: float = 0.0
    ) -> None:
        if average not in ("macro", "micro", "weighted", None):
            raise ValueError(
                f'{type(self).__name__}: average must be "macro", "micro", "weighted" or None, '
                f"got {average!r}"
            )
        if not 0 <= zero_division <= 1:
            raise ValueError(
                f"{type(self).__name__}: zero_division must be in [0, 1], got {zero_division}"
            )
        self.average = average
        self.threshold = threshold
        self.zero_division = float(zero_division)

    def count(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> dict[str, Array]:
        """Count for each class how often it was right, predicted and true."""
        found = classify(self.name, predictions, targets, sample_weight, self.threshold)
        first = 1 if found.binary else 0  # of two classes only the positive one is looked at
        predicted = one_hot(found.predicted, found.number)[:, first:]
        true = one_hot(found.true, found.number)[:, first:]
        return {
            "hits": count(predicted & true, found.weight),
            "predicted": count(predicted, found.weight),
            "true": count(true, found.weight),
        }

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return the mean over the classes, or with ``average=None`` the value of each."""
        counts = totals["hits"], totals["predicted"], totals["true"]
        xp = array_namespace(*counts)
        if self.average == "micro":
            counts = (xp.sum(counts[0]), xp.sum(counts[1]), xp.sum(counts[2]))
        values = ratio(*self.quotient(*counts), self.zero_division)
        if self.average == "macro":
            return xp.mean(values)
        if self.average == "weighted":
            weights = xp.astype(totals["true"], values.dtype, copy=False)
            return ratio(xp.sum(values * weights), xp.sum(weights), self.zero_division)
        return values

    def quotient(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Return what is divided by what."""
        raise NotImplementedError


class Precision(_Retrieval):
    """Share of the samples predicted to be of a class that are.

    Parameters
    ----------
    average : {"macro", "micro", "weighted", None}, optional
        Over the classes: the plain mean; the quotient of the sums; the mean weighted by how often
        each class is true; or none, for the value of each.
    threshold : float, optional
        See `Accuracy`.
    zero_division : float, optional
        The value, in [0, 1], where there is nothing to divide by.

    Raises
    ------
    ValueError
        If `average` is unknown, or `zero_division` not in [0, 1].

    Notes
    -----
    With hits h, predictions p and targets t of a class: precision h / p, recall h / t and
    F1 2 h / (p + t), the harmonic mean of the two.

    As in scikit-learn with ``labels=range(C)``: all classes count, those that never occur with
    `zero_division`. Where there is one score a sample, only class 1 is looked at, so that all
    averages are its value, as with ``average="binary"``. A target that is no class makes the
    prediction of its sample a wrong one.

    References
    ----------
    .. [1] C. J. van Rijsbergen, "Information retrieval", 2nd edition, 1979, chapter 7.

    Examples
    --------
    Of two samples that were called positive, one was, out of three positive ones:

    >>> import xpnet as xn
    >>> logits, targets = xn.asarray([1.0, 2.0, -1.0, -2.0]), xn.asarray([0, 1, 1, 1])
    >>> metric = xn.metrics.Precision()
    >>> metric.update(logits, targets)
    >>> float(metric.compute())
    0.5
    """

    name = "precision"

    def quotient(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Divide hits by predictions."""
        return hits, predicted


class Recall(_Retrieval):
    """Share of the samples of a class that were predicted to be.

    Parameters
    ----------
    average, threshold, zero_division
        See `Precision`.

    Raises
    ------
    ValueError
        See `Precision`.

    Notes
    -----
    See `Precision`.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits, targets = xn.asarray([1.0, 2.0, -1.0, -2.0]), xn.asarray([0, 1, 1, 1])
    >>> metric = xn.metrics.Recall()
    >>> metric.update(logits, targets)
    >>> round(float(metric.compute()), 4)
    0.3333
    """

    name = "recall"

    def quotient(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Divide hits by targets."""
        return hits, true


class F1(_Retrieval):
    """Harmonic mean of precision and recall.

    Parameters
    ----------
    average, threshold, zero_division
        See `Precision`.

    Raises
    ------
    ValueError
        See `Precision`.

    Notes
    -----
    See `Precision`.

    Examples
    --------
    A precision of 1/2 and a recall of 1/3:

    >>> import xpnet as xn
    >>> logits, targets = xn.asarray([1.0, 2.0, -1.0, -2.0]), xn.asarray([0, 1, 1, 1])
    >>> metric = xn.metrics.F1()
    >>> metric.update(logits, targets)
    >>> float(metric.compute())
    0.4
    """

    name = "f1"

    def quotient(self, hits: Array, predicted: Array, true: Array) -> tuple[Array, Array]:
        """Divide twice the hits by predictions and targets."""
        return 2 * hits, predicted + true


def precision(
    logits: Array,
    targets: Array,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    zero_division: float = 0.0,
    sample_weight: Array | None = None,
) -> Array:
    """Share of the samples predicted to be of a class that are.

    Parameters
    ----------
    logits, targets : array
        See `accuracy`.
    average, threshold, zero_division
        See `Precision`.
    sample_weight : array, optional
        See `accuracy`.

    Returns
    -------
    array
        Of shape ``()``, or of shape (C,) for ``average=None``; in [0, 1], in the dtype of
        `logits`.

    Raises
    ------
    TypeError, ValueError
        See `accuracy` and `Precision`.

    Examples
    --------
    Both samples that were called 0 were, but only one of two that were called 1:

    >>> import xpnet as xn
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    >>> xn.metrics.precision(logits, xn.asarray([0, 0, 0, 1]), average=None)
    array([1. , 0.5], dtype=float32)
    """
    metric = Precision(average=average, threshold=threshold, zero_division=zero_division)
    return measure(metric, logits, targets, sample_weight)


def recall(
    logits: Array,
    targets: Array,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    zero_division: float = 0.0,
    sample_weight: Array | None = None,
) -> Array:
    """Share of the samples of a class that were predicted to be.

    Parameters
    ----------
    logits, targets, average, threshold, zero_division, sample_weight
        See `precision`.

    Returns
    -------
    array
        See `precision`.

    Raises
    ------
    TypeError, ValueError
        See `precision`.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    >>> xn.metrics.recall(logits, xn.asarray([0, 0, 1, 0]), average=None).round(4)
    array([0.6667, 1.    ], dtype=float32)
    """
    metric = Recall(average=average, threshold=threshold, zero_division=zero_division)
    return measure(metric, logits, targets, sample_weight)


def f1(
    logits: Array,
    targets: Array,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    zero_division: float = 0.0,
    sample_weight: Array | None = None,
) -> Array:
    """Harmonic mean of precision and recall.

    Parameters
    ----------
    logits, targets, average, threshold, zero_division, sample_weight
        See `precision`.

    Returns
    -------
    array
        See `precision`.

    Raises
    ------
    TypeError, ValueError
        See `precision`.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits, targets = xn.asarray([1.0, 2.0, -1.0, -2.0]), xn.asarray([0, 1, 1, 1])
    >>> round(float(xn.metrics.f1(logits, targets)), 4)
    0.4
    """
    metric = F1(average=average, threshold=threshold, zero_division=zero_division)
    return measure(metric, logits, targets, sample_weight)
