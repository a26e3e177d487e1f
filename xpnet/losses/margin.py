"""Losses of the margin by which the true class wins, as in support vector machines."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.losses.labels import Labels
from xpnet.losses.reduction import Reduction, check_predictions, pair, times, weigh_and_reduce

__all__ = ["hinge_loss", "multiclass_hinge_loss"]


def hinge_loss(
    scores: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Hinge loss of two classes, from one score for the second.

    Parameters
    ----------
    scores : array, real floating
        Any shape; positive for the second class.
    targets : array, bool, integer or real floating
        Of the same shape; 1 is the second class, -1 or 0 the first.
    sample_weight : array, optional
        Of that shape, or of its first axes.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights: it is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of that of `scores` for ``"none"``. Any other target than -1, 0 and 1
        has the loss nan.

    Raises
    ------
    TypeError
        If the scores are not floating-point.
    ValueError
        If shapes differ, or `reduction` is unknown.

    Notes
    -----
    ``L = max(0, 1 - y s)`` with y = 1 for the second class and -1 for the first. Its gradient is
    -y where the margin ``y s`` is below 1 and 0 above; at 1, half of -y.

    References
    ----------
    .. [1] C. Cortes and V. Vapnik, "Support-vector networks", Machine Learning 20, 1995,
       eq. 22-25: what the slack variables are at the minimum.

    Examples
    --------
    >>> import xpnet as xn
    >>> scores = xn.asarray([2.0, 0.5, 0.5])
    >>> xn.losses.hinge_loss(scores, xn.asarray([1, 1, -1]), reduction="none")
    array([0. , 0.5, 1.5], dtype=float32)
    """
    name = "hinge_loss"
    xp, scores, targets = pair(name, scores, targets, name="scores")
    side = xp.where(targets == 0, -1.0, targets)
    side = xp.where((side == 1) | (side == -1), side, math.nan)
    margin = side * scores
    values = xp.maximum(1 - margin, xp.zeros_like(margin))
    return weigh_and_reduce(name, values, sample_weight, reduction)


def multiclass_hinge_loss(
    scores: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Hinge loss of several classes, as Crammer and Singer have it.

    Parameters
    ----------
    scores : array, real floating, shape (..., C)
        The highest is the predicted class.
    targets : array, integer, shape (...)
        Indices of the true classes.
    sample_weight : array, shape (...), optional
        Weight of each sample; the first axes are enough.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights: it is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of shape (...) for ``"none"``. A sample whose index is outside of
        ``[0, C)`` has the loss nan; see `check_labels`.

    Raises
    ------
    TypeError
        If the scores are not floating-point, or the targets not integers.
    ValueError
        If shapes do not fit, or `reduction` is unknown.

    Notes
    -----
    ``L = max_c (s_c + [c != y]) - s_y``, which is 0 where the true class wins by 1 or more, as in
    scikit-learn's ``hinge_loss``. Its gradient is 1 for the class of the maximum and -1 for the
    true one; classes that tie for the maximum share the 1.

    References
    ----------
    .. [1] K. Crammer and Y. Singer, "On the algorithmic implementation of multiclass kernel-based
       vector machines", Journal of Machine Learning Research 2, 2001, eq. 2.

    Examples
    --------
    The true class leads by 2, then by 0.5, then lies 1 behind:

    >>> import xpnet as xn
    >>> scores = xn.asarray([[3.0, 1.0, 0.0], [1.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    >>> xn.losses.multiclass_hinge_loss(scores, xn.asarray([0, 0, 1]), reduction="none")
    array([0. , 0.5, 2. ], dtype=float32)
    """
    name = "multiclass_hinge_loss"
    xp = check_predictions(name, scores, targets, name="scores")
    if not xp.isdtype(targets.dtype, "integral"):
        raise TypeError(
            f"{name}: expected integer class indices as targets, got dtype {targets.dtype}; "
            "one score and one target of -1 or 1 a sample are for hinge_loss"
        )
    true = Labels(xp, name, scores, targets, None, None).hard  # one-hot
    values = xp.max(scores + (1 - true), axis=-1) - xp.sum(times(true, scores), axis=-1)
    return weigh_and_reduce(name, values, sample_weight, reduction)
