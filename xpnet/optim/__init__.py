"""Optimizers: ``optimizer.update(model, grads)``."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet.optim.adagrad import Adadelta, Adagrad, RMSprop
from xpnet.optim.adam import Adam, AdamW, NAdam
from xpnet.optim.clipping import clip_by_global_norm, clip_by_value
from xpnet.optim.lion import Lion
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rule import recordable
from xpnet.optim.sgd import SGD
from xpnet.optim.wrappers import Accumulate, Average, Clip

if TYPE_CHECKING:
    from xpnet.optim import schedules

__all__ = [
    "SGD",
    "Accumulate",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Average",
    "Clip",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "clip_by_global_norm",
    "clip_by_value",
    "recordable",
    "schedules",
]


def __getattr__(name: str) -> Any:
    """Import the schedules when they are used: making nine dataclasses takes a while."""
    if name == "schedules":
        return importlib.import_module("xpnet.optim.schedules")
    raise AttributeError(f"module 'xpnet.optim' has no attribute {name!r}")
