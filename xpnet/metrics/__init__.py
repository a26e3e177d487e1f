"""Metrics: how good predictions are, in numbers that people read.

Each is there twice: as a function of all predictions at once, and as an object that adds up
batches where the arrays live.
"""

from xpnet.metrics.confusion import ConfusionMatrix, confusion_matrix
from xpnet.metrics.hits import Accuracy, TopK, accuracy, top_k_accuracy
from xpnet.metrics.lookup import get
from xpnet.metrics.mean import Mean
from xpnet.metrics.metric import Metric
from xpnet.metrics.retrieval import F1, Precision, Recall, f1, precision, recall

__all__ = [
    "F1",
    "Accuracy",
    "ConfusionMatrix",
    "Mean",
    "Metric",
    "Precision",
    "Recall",
    "TopK",
    "accuracy",
    "confusion_matrix",
    "f1",
    "get",
    "precision",
    "recall",
    "top_k_accuracy",
]
