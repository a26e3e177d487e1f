"""Optimizers: ``optimizer.update(model, grads)``."""

from xpnet.optim.adam import Adam, AdamW
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
