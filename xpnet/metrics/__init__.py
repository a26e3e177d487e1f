"""Metrics: how good predictions are, in numbers that people read."""

from xpnet.metrics.classification import accuracy

__all__ = ["accuracy"]
