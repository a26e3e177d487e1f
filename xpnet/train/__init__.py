"""Training: the loop with its hooks, and what it remembers."""

from xpnet.train.history import History
from xpnet.train.trainer import Trainer

__all__ = ["History", "Trainer"]
