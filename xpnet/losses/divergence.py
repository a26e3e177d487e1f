"""Divergences of distributions."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.losses.reduction import Reduction, check_predictions, check_same_shape, weigh_and_reduce

__all__ = ["kl_div"]


def kl_div(
    log_predictions: Array,
    targets: Array,
    *,
    log_target: bool = False,
    sample_weight: Array | None = None,
    axis: int = -1,
    reduction: Reduction = "mean",
) -> Array:
    """Kullback-Leibler divergence of the targets from the predictions.

    Parameters
    ----------
    log_predictions : array, real floating, shape (..., C)
        Log-probabilities, such as `xpnet.special.log_softmax` gives, in nats.
    targets : array, real floating
        Of the same shape; probabilities, or their logarithms.
    log_target : bool, optional
        Whether `targets` holds logarithms; -inf is a probability of 0.
    sample_weight : array, shape (...), optional
        Weight of each sample; the first axes are enough.
    axis : int, optional
        The axis of the classes, which is summed over.
    reduction : {"mean", "sum", "none"}, optional
        Of the divergences of the samples. The weighted mean divides by the sum of the weights: it
        is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of shape (...) for ``"none"``; in nats.

    Raises
    ------
    TypeError
        If one of the two is not floating-point.
    ValueError
        If shapes do not fit, there is no such axis, or `reduction` is unknown.

    Notes
    -----
    For one sample, ``D(q || p) = sum_c q_c (log q_c - log p_c)``: predictions p come first, as in
    every loss. It is the cross-entropy less the entropy of q, which no prediction can change, so
    the gradient ``dD/d log p = -q`` is that of `nll_loss`. A class of target probability 0 does
    not count: its term and its gradients are 0, even where ``log p`` is -inf. Elsewhere a
    prediction of probability 0 is an infinite loss. With respect to q the gradient is
    ``log q - log p + 1``, to ``log q`` it is that times q.

    The mean is over samples, each of which has one divergence. PyTorch calls this "batchmean";
    its own "mean" divides by the number of classes too, and is no divergence.

    References
    ----------
    .. [1] S. Kullback and R. A. Leibler, "On information and sufficiency", Annals of Mathematical
       Statistics 22, 1951, pages 79-86, eq. 2.4.

    Examples
    --------
    A fair coin taken for one that falls on one side in 3 of 4 throws costs
    ``log(2) - log(3) / 2``, half of ``log(4 / 3)``:

    >>> import math
    >>> import xpnet as xn
    >>> log_p = xn.asarray([[math.log(0.75), math.log(0.25)]])
    >>> round(float(xn.losses.kl_div(log_p, xn.asarray([[0.5, 0.5]]))), 4)
    0.1438
    """
    name = "kl_div"
    xp = check_predictions(name, log_predictions, targets, name="log_predictions")
    if not xp.isdtype(targets.dtype, "real floating"):
        raise TypeError(
            f"{name}: expected floating-point probabilities as targets, got {targets.dtype}; "
            "class indices are for cross_entropy or nll_loss"
        )
    check_same_shape(name, log_predictions, targets, name="log_predictions")
    if not -targets.ndim <= axis < targets.ndim:
        raise ValueError(f"{name}: predictions of shape {tuple(targets.shape)} have no axis {axis}")
    targets = xp.astype(targets, log_predictions.dtype, copy=False)
    q = xp.exp(targets) if log_target else targets
    counts = q != 0
    log_q = xp.where(counts, targets, 0.0) if log_target else xp.log(xp.where(counts, q, 1.0))
    values = xp.sum(q * (log_q - xp.where(counts, log_predictions, 0.0)), axis=axis)
    return weigh_and_reduce(name, values, sample_weight, reduction)
