"""Cross-entropy of two classes, from one number for the second.

As in `xpnet.losses.classification`, nothing is clipped or shifted away from zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.losses.reduction import Reduction, pair, times, weigh_and_reduce
from xpnet.namespace import array_namespace
from xpnet.special import expit, softplus

__all__ = ["binary_cross_entropy"]


def binary_cross_entropy(
    logits: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    from_logits: bool = True,
    reduction: Reduction = "mean",
) -> Array:
    """Cross-entropy of two classes, from one logit for the second.

    Parameters
    ----------
    logits : array, real floating
        Any shape; log-odds.
    targets : array, bool, integer or real floating
        Of the same shape; the probability of the second class, in [0, 1].
    sample_weight : array, optional
        Of that shape, or of its first axes.
    from_logits : bool, optional
        False if `logits` holds probabilities of the second class. Their logarithm is taken as it
        is: a probability of exactly 0 where the target is not 0, or of 1 where the target is not
        1, is an infinite loss.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights: it is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of that of `logits` for ``"none"``; in nats.

    Raises
    ------
    TypeError
        If the logits are not floating-point.
    ValueError
        If shapes differ, or `reduction` is unknown.

    Notes
    -----
    From a logit z, ``L = t softplus(-z) + (1 - t) softplus(z)``, with
    ``softplus(z) = log(1 + exp(z))`` computed without overflow. Its gradient
    ``(1 - t) sigmoid(z) - t sigmoid(-z)`` equals ``sigmoid(z) - t``, but keeps its digits where
    the sigmoid is rounded to 1.

    From a probability p, ``L = -t log p - (1 - t) log(1 - p)``, the latter as ``log1p(-p)``, which
    keeps the digits of a small p. Its gradient is ``(1 - t) / (1 - p) - t / p``. The logarithm of
    a class that cannot be true is not taken, so at ``p = t = 0`` the gradient is 1, at
    ``p = t = 1`` it is -1. A number outside of [0, 1] is no probability and has the loss nan.
    Near 1 a probability has few digits left: whoever has the logit should pass that.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.90.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([0.0, 1e4, -1e4])
    >>> xn.losses.binary_cross_entropy(logits, xn.asarray([1, 1, 1]), reduction="none")
    array([6.931472e-01, 0.000000e+00, 1.000000e+04], dtype=float32)

    The probability of what happened was 1/4, then 3/4; the logarithms are 1.3863 and 0.2877:

    >>> p, happened = xn.asarray([0.25, 0.25]), xn.asarray([True, False])
    >>> loss = xn.losses.binary_cross_entropy(p, happened, from_logits=False)
    >>> round(float(loss), 4)
    0.837
    """
    name = "binary_cross_entropy"
    _, logits, targets = pair(name, logits, targets, name="logits")
    values = (_sigmoid_loss if from_logits else _bernoulli_loss)(logits, targets)
    return weigh_and_reduce(name, values, sample_weight, reduction)


@custom_gradient
def _sigmoid_loss(z: Array, t: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """Return t softplus(-z) + (1 - t) softplus(z); see Notes of `binary_cross_entropy`."""
    value = times(t, softplus(-z)) + times(1 - t, softplus(z))
    return value, lambda grad: (
        grad * ((1 - t) * expit(z) - t * expit(-z)),
        lambda: -grad * z,
    )


@custom_gradient
def _bernoulli_loss(p: Array, t: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """Return -t log p - (1 - t) log(1 - p); where a factor is 0 its logarithm is not taken."""
    xp = array_namespace(p, t)
    # What is no probability keeps its logarithm, which is nan.
    yes = xp.where((t == 0) & (p >= 0), xp.ones_like(p), p)
    no = xp.where((t == 1) & (p <= 1), xp.zeros_like(p), p)
    value = (t - 1) * xp.log1p(-no) - t * xp.log(yes)
    return value, lambda grad: (
        grad * ((1 - t) / (1 - no) - t / yes),
        lambda: grad * (xp.log1p(-p) - xp.log(p)),
    )
