"""Metric: the base class of all that is added up over batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from xpnet._typing import Array
from xpnet.autodiff import stop_gradient
from xpnet.autodiff.tape import TracedArray, raw
from xpnet.namespace import array_namespace, one_library
from xpnet.scatter import copy
from xpnet.state import BUFFER, Slot, Stateful, mismatches
from xpnet.transfer import put_like, to_host

__all__ = ["Metric", "measure"]


class Metric(Stateful):
    """Base class of metrics: totals that batches are added to, and what is made of them.

    A subclass says in `count` what one batch adds to the totals, in `result` what is to be read
    from them, and in `name` what it is called. Both methods stay on the device of the arrays, so
    nothing waits for it until the result is looked at.

    Attributes
    ----------
    name : str
        Its key in a training history, such as ``"accuracy"``; may be assigned.
    totals : dict from str to array
        What was counted so far; empty before the first update.

    Examples
    --------
    A mean is the quotient of two sums:

    >>> import xpnet as xn
    >>> class MeanSquare(xn.metrics.Metric):
    ...     name = "mean_square"
    ...     def count(self, predictions, targets):
    ...         xp = xn.array_namespace(predictions, targets)
    ...         error = predictions - targets
    ...         return {"squares": xp.sum(error**2), "samples": xp.sum(xp.ones_like(error))}
    ...     def result(self, totals):
    ...         return totals["squares"] / totals["samples"]
    >>> metric = MeanSquare()
    >>> metric.update(xn.asarray([1.0, 2.0]), xn.asarray([1.0, 0.0]))
    >>> metric.update(xn.asarray([2.0]), xn.asarray([0.0]))
    >>> round(float(metric.compute()), 4)
    2.6667
    """

    name: str = "metric"
    totals: dict[str, Array]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make room for the totals, so that subclasses need no ``super().__init__()``."""
        self = super().__new__(cls)
        self.totals = {}
        return self

    def count(self, predictions: Array, targets: Array) -> dict[str, Array]:
        """Return what one batch adds to the totals, in new arrays.

        A subclass that can weigh samples takes the keyword `sample_weight` too.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no count(predictions, targets)")

    def result(self, totals: Mapping[str, Array]) -> Array:
        """Return what the totals mean, as an array on their device."""
        raise NotImplementedError(f"{type(self).__name__} defines no result(totals)")

    def update(
        self, predictions: Array, targets: Array, *, sample_weight: Array | None = None
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        predictions, targets : array
            As `count` takes them.
        sample_weight : array, optional
            Weights of the samples, in all batches or in none.

        Raises
        ------
        TypeError, ValueError
            If the arrays are not what the metric takes, or do not fit the batches before; the
            totals are unchanged then.
        """
        counts = _count(self, predictions, targets, sample_weight)
        updated = {name: self._add(name, count) for name, count in counts.items()}
        self.totals.update(updated)

    def compute(self) -> Array:
        """Return the metric of all batches since the last reset, as an array on their device.

        Raises
        ------
        ValueError
            If there were none.
        """
        if not self.totals:
            raise ValueError(
                f"{type(self).__name__}.compute: expected at least one update(predictions, "
                "targets) before, got none"
            )
        return self.result(self.totals)

    def reset(self) -> None:
        """Forget all batches."""
        self.totals.clear()

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """See `xpnet.state.Stateful.slots`."""
        for name in self.totals:
            yield Slot(f"{prefix}.{name}" if prefix else name, self.totals, name, BUFFER)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of the totals by name; none before the first update."""
        return {name: copy(array) for name, array in self.totals.items()}

    def load_state_dict(self, state: Mapping[str, Array], like: Array | None = None) -> None:
        """Continue from the totals of another metric of the same kind.

        Parameters
        ----------
        state : mapping from str to array
            From `state_dict`; arrays of any library.
        like : array, optional
            To whose library and device the totals are moved; by default they stay.

        Raises
        ------
        ValueError
            If names or shapes differ from those of the totals there are; nothing is changed then.
        """
        problems = mismatches(self.totals or state, state) if state else ""
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit this metric:"
                f"{problems}"
            )
        loaded = {
            name: copy(array) if like is None else put_like(to_host(array), like)
            for name, array in state.items()
        }
        self.totals.clear()
        self.totals.update(loaded)

    def _add(self, name: str, count: Array) -> Array:
        """Return a total after a batch, without what may be differentiated in it."""
        total = self.totals.get(name)
        if total is None:
            return raw(count)
        one_library(f"{type(self).__name__}.update", total, count)
        before, now = ((tuple(array.shape), array.dtype) for array in (total, count))
        if before != now:
            raise ValueError(
                f"{type(self).__name__}.update: expected {name} of shape and dtype {before} as "
                f"in the batches before, got {now}; call reset() before other classes, and give "
                "sample_weight in all batches or in none"
            )
        traced = isinstance(total, TracedArray)  # where the metric is an argument of xn.grad
        return stop_gradient(total + count) if traced else total + raw(count)


def measure(
    metric: Metric, predictions: Array, targets: Array, sample_weight: Array | None
) -> Array:
    """Return what a metric says of one batch, in the dtype of the predictions."""
    value = metric.result(_count(metric, predictions, targets, sample_weight))
    return array_namespace(value).astype(value, predictions.dtype, copy=False)


def _count(
    metric: Metric, predictions: Array, targets: Array, sample_weight: Array | None
) -> dict[str, Array]:
    weights = {} if sample_weight is None else {"sample_weight": sample_weight}
    return metric.count(predictions, targets, **weights)
