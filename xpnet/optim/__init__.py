"""Optimizers: ``optimizer.update(model, grads)``."""

from xpnet.optim import schedules
from xpnet.optim.adagrad import Adadelta, Adagrad, RMSprop
from xpnet.optim.adam import Adam, AdamW, NAdam
from xpnet.optim.clipping import clip_by_global_norm, clip_by_value
from xpnet.optim.lion import Lion
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.sgd import SGD
from xpnet.optim.wrappers import Accumulate, Average, Clip

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
    "schedules",
]
