"""The mean loss and the metrics of many batches, summed up where the arrays are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from xpnet._typing import Array
from xpnet.metrics import Metric
from xpnet.namespace import array_namespace, is_array
from xpnet.train.batches import Batch
from xpnet.transfer import to_host

__all__ = ["Measures", "read"]


class Measures:
    """What is measured on one pass through the data.

    The mean of the losses is weighted as the losses weigh their samples.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.total: Array | float = 0.0
        self.weight: Array | float = 0.0
        self.metrics = [copy.copy(metric) for metric in metrics]
        for metric in self.metrics:
            metric.totals = {}

    def add(self, batch: Batch, loss: Array, outputs: Array) -> None:
        """Count a batch with its mean loss and its outputs."""
        if batch.weight is None:
            weight: Array | float = float(batch.y.shape[0])
        else:
            weight = array_namespace(batch.weight).sum(batch.weight)
        self.total = self.total + loss * weight
        self.weight = self.weight + weight
        for metric in self.metrics:
            metric.update(outputs, batch.y)

    def compute(self, prefix: str = "") -> dict[str, Array]:
        """Return the loss and the metrics, each still where the arrays are."""
        results = {metric.name: metric.compute() for metric in self.metrics}
        return {
            prefix + name: value
            for name, value in {"loss": self.total / self.weight, **results}.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        metrics = {metric.name: metric.state_dict() for metric in self.metrics}
        return {"total": self.total, "weight": self.weight, "metrics": metrics}

    def load_state_dict(self, state: Mapping[str, Any], place: Callable[[Array], Array]) -> None:
        """Continue with the sums of another one, its arrays brought to where ours are."""
        names, ours = list(state["metrics"]), [metric.name for metric in self.metrics]
        if names != ours:
            raise ValueError(f"Trainer: the checkpoint has the metrics {names}, this one {ours}")
        self.total, self.weight = (
            place(state[name]) if is_array(state[name]) else state[name]
            for name in ("total", "weight")
        )
        like = self.total if is_array(self.total) else None  # the totals keep their own dtypes
        for metric in self.metrics:
            metric.load_state_dict(state["metrics"][metric.name], like)


def read(results: Mapping[str, Array]) -> dict[str, Any]:
    """Copy results to the host: all numbers at once, and one copy more for each larger array."""
    numbers = {name: result for name, result in results.items() if result.ndim == 0}
    xp = array_namespace(*numbers.values())
    floating = [a.dtype for a in numbers.values() if xp.isdtype(a.dtype, "real floating")]
    dtype = xp.result_type(*floating)
    together = xp.stack([xp.astype(number, dtype) for number in numbers.values()])
    known = dict(zip(numbers, to_host(together).tolist(), strict=True))
    return {
        name: known[name] if name in known else to_host(result).tolist()
        for name, result in results.items()
    }
