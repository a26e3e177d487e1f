"""Losses: ``loss(predictions, targets)``, everything else by keyword."""

from xpnet.losses.binary import binary_cross_entropy
from xpnet.losses.classification import cross_entropy, nll_loss
from xpnet.losses.labels import check_labels
from xpnet.losses.regression import mse_loss

__all__ = ["binary_cross_entropy", "check_labels", "cross_entropy", "mse_loss", "nll_loss"]
