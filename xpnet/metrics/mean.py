"""The mean over batches of any function, such as a loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from xpnet._typing import Array
from xpnet.losses.reduction import times
from xpnet.metrics.counting import ratio, widest
from xpnet.metrics.metric import Metric
from xpnet.namespace import array_namespace, is_array

__all__ = ["Mean"]


class Mean(Metric):
    """Mean of a function over batches, each with as much weight as it has samples.

    Parameters
    ----------
    function : callable
        ``function(predictions, targets)`` returns an array of shape (), the mean of a batch. With
        weights it is called with ``sample_weight=`` too, and its mean must divide by their sum, as
        that of the losses does.
    name : str, optional
        By default that of the function.

    Raises
    ------
    TypeError
        If `function` cannot be called.

    Notes
    -----
    The samples are those along the first axis of the predictions.

    Examples
    --------
    Three samples with a mean error of 1, and one with an error of 3:

    >>> import xpnet as xn
    >>> metric = xn.metrics.Mean(xn.losses.l1_loss)
    >>> metric.update(xn.asarray([1.0, 1.0, 1.0]), xn.asarray([0.0, 0.0, 0.0]))
    >>> metric.update(xn.asarray([3.0]), xn.asarray([0.0]))
    >>> metric.name, float(metric.compute())
    ('l1_loss', 1.5)
    """

    def __init__(self, function: Callable[..., Array], *, name: str | None = None) -> None:
        if not callable(function):
            raise TypeError(
                f"Mean: expected a function of predictions and targets, got "
                f"{type(function).__name__}"
            )
        self.function = function
        self.name = str(name or getattr(function, "__name__", type(function).__name__))

    def count(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> dict[str, Array]:
        """Add up the function, and the samples or their weights.

        Raises
        ------
        TypeError
            If the function returns something else than an array.
        ValueError
            If it returns more than one number.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        value = self.function(predictions, targets, **weights)
        if not is_array(value):
            raise TypeError(
                f"Mean of {self.name}: expected an array, got {type(value).__name__}; leave the "
                "result where it is, float() makes the device wait"
            )
        if tuple(value.shape) != ():
            raise ValueError(
                f"Mean of {self.name}: expected one number, an array of shape (), got shape "
                f"{tuple(value.shape)}; reduce it with xp.mean"
            )
        xp = array_namespace(value)
        value = xp.astype(value, widest(xp, value), copy=False)
        if sample_weight is None:
            samples = xp.full_like(value, predictions.shape[0] if predictions.ndim else 1)
        else:
            samples = xp.sum(xp.astype(xp.asarray(sample_weight), value.dtype, copy=False))
        return {"sum": times(samples, value), "samples": samples}

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return the mean; nan of no samples."""
        return ratio(totals["sum"], totals["samples"], float("nan"))
