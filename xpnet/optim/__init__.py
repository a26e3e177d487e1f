"""Optimizers: ``optimizer.update(model, grads)``."""

from xpnet.optim.adagrad import Adadelta, Adagrad, RMSprop
from xpnet.optim.adam import Adam, AdamW, NAdam
from xpnet.optim.lion import Lion
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
]
