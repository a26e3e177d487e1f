"""Losses: ``loss(predictions, targets)``, everything else by keyword."""

from xpnet.losses.binary import binary_cross_entropy
from xpnet.losses.classification import cross_entropy, nll_loss
from xpnet.losses.divergence import kl_div
from xpnet.losses.gaussian import gaussian_nll_loss
from xpnet.losses.labels import check_labels
from xpnet.losses.margin import hinge_loss, multiclass_hinge_loss
from xpnet.losses.regression import huber_loss, l1_loss, mse_loss

__all__ = [
    "binary_cross_entropy",
    "check_labels",
    "cross_entropy",
    "gaussian_nll_loss",
    "hinge_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "mse_loss",
    "multiclass_hinge_loss",
    "nll_loss",
]
