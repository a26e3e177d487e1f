"""The confusion matrix: how often each class was taken for each."""

from __future__ import annotations

from collections.abc import Mapping

from xpnet._typing import Array
from xpnet.metrics.counting import classify
from xpnet.metrics.metric import Metric
from xpnet.namespace import array_namespace, device_of
from xpnet.scatter import add_at, copy

__all__ = ["ConfusionMatrix", "confusion_matrix"]


class ConfusionMatrix(Metric):
    """How many samples of each class were predicted to be of each.

    Parameters
    ----------
    classes : int, optional
        How many classes there are; by default as many as the logits have on their last axis, or 2
        where there is one score a sample. If it is given, the predictions may be integers of the
        shape of the targets, the predicted classes themselves.
    threshold : float, optional
        See `Accuracy`.

    Notes
    -----
    Entry ``[i, j]`` counts samples of class i that were predicted to be of class j: rows are true,
    columns predicted, as in scikit-learn. A sample whose target or prediction is no class is not
    counted.

    Examples
    --------
    >>> import xpnet as xn
    >>> metric = xn.metrics.ConfusionMatrix()
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    >>> metric.update(logits, xn.asarray([0, 1, 1]))
    >>> metric.compute()
    array([[1, 0],
           [1, 1]])
    """

    name = "confusion_matrix"

    def __init__(self, classes: int | None = None, *, threshold: float = 0.0) -> None:
        self.classes = classes
        self.threshold = threshold

    def count(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> dict[str, Array]:
        """Count each pair of a true and a predicted class."""
        found = classify(
            self.name, predictions, targets, sample_weight, self.threshold, self.classes
        )
        xp, n = array_namespace(predictions, targets), found.number
        legal = _in_range(found.true, n) & _in_range(found.predicted, n)
        cell = xp.where(legal, found.true * n + found.predicted, 0)
        if found.weight is None:
            amount = xp.astype(legal, cell.dtype)
        else:
            amount = xp.where(legal, found.weight, 0.0)
        cells = xp.zeros((n * n,), dtype=amount.dtype, device=device_of(amount))
        return {"matrix": xp.reshape(add_at(cells, amount, cell), (n, n))}

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return the counts, of shape (C, C): integers, or floating-point if weighted."""
        return copy(totals["matrix"])


def confusion_matrix(
    logits: Array,
    targets: Array,
    *,
    classes: int | None = None,
    threshold: float = 0.0,
    sample_weight: Array | None = None,
) -> Array:
    """Count how many samples of each class were predicted to be of each.

    Parameters
    ----------
    logits, targets
        See `accuracy`.
    classes : int, optional
        See `ConfusionMatrix`.
    threshold, sample_weight
        See `accuracy`.

    Returns
    -------
    array, shape (C, C)
        Rows are true, columns predicted; integers, or floating-point if weighted. See
        `ConfusionMatrix`.

    Raises
    ------
    TypeError
        See `accuracy`.
    ValueError
        If shapes do not fit, or the logits are for another number of classes.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[2.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    >>> xn.metrics.confusion_matrix(logits, xn.asarray([0, 1, 1]))
    array([[1, 0],
           [1, 1]])
    """
    metric = ConfusionMatrix(classes, threshold=threshold)
    return metric.count(logits, targets, sample_weight=sample_weight)["matrix"]


def _in_range(indices: Array, n: int) -> Array:
    return (indices >= 0) & (indices < n)
