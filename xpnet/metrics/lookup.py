"""Metrics by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from xpnet._typing import Array
from xpnet.metrics.confusion import ConfusionMatrix, confusion_matrix
from xpnet.metrics.hits import Accuracy, TopK, accuracy, top_k_accuracy
from xpnet.metrics.mean import Mean
from xpnet.metrics.metric import Metric
from xpnet.metrics.retrieval import F1, Precision, Recall, f1, precision, recall

__all__ = ["get"]

_METRICS: dict[Callable[..., Array], type[Metric]] = {
    accuracy: Accuracy,
    top_k_accuracy: TopK,
    precision: Precision,
    recall: Recall,
    f1: F1,
    confusion_matrix: ConfusionMatrix,
}
_NAMES: dict[str, type[Metric]] = {cls().name: cls for cls in _METRICS.values()}


def get(metric: str | Metric | Callable[..., Array], /) -> Metric:
    """Return the metric that is meant.

    Parameters
    ----------
    metric : str, Metric or callable
        A name, such as ``"accuracy"`` or ``"top_3_accuracy"``, for a new metric with the default
        settings; a metric, for itself; a function of this module, for its streaming form; or any
        other function, for its `Mean`.

    Returns
    -------
    Metric
        New, unless a metric was passed.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If the name is unknown; the message lists the known ones and suggests one.

    Examples
    --------
    >>> from xpnet import losses, metrics
    >>> metrics.get("top_3_accuracy").k
    3
    >>> metrics.get(losses.mse_loss).name
    'mse_loss'
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return _named(metric)
    if isinstance(metric, type) and issubclass(metric, Metric):
        raise TypeError(
            f"metrics.get: expected a metric, got the class {metric.__name__}; write "
            f"{metric.__name__}()"
        )
    if not callable(metric):
        raise TypeError(
            "metrics.get: expected a name, a metric or a function of predictions and targets, got "
            f"{type(metric).__name__}"
        )
    found = next((cls for function, cls in _METRICS.items() if metric is function), None)
    return Mean(metric) if found is None else found()


def _named(name: str) -> Metric:
    if name in _NAMES:
        return _NAMES[name]()
    top = re.fullmatch(r"top_([1-9]\d*)_accuracy", name)
    if top:
        return TopK(int(top[1]))
    close = difflib.get_close_matches(name, _NAMES, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"metrics.get: expected one of {', '.join(map(repr, _NAMES))}, got {name!r}{hint}"
    )
