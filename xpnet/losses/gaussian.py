"""Losses for numbers whose spread is predicted too."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.losses.reduction import Reduction, check_same_shape, pair, weigh_and_reduce
from xpnet.namespace import array_namespace

__all__ = ["gaussian_nll_loss"]


def gaussian_nll_loss(
    mean: Array,
    targets: Array,
    *,
    log_variance: Array,
    full: bool = False,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Negative log-likelihood of numbers under normal distributions.

    Parameters
    ----------
    mean : array, real floating
        Any shape; the predicted means.
    targets : array, integer or real floating
        Of the same shape; nothing is broadcast.
    log_variance : array, real floating
        Of the same shape; the logarithm of the predicted variances, any real number. Of a
        variance, pass ``xp.log(variance)``.
    full : bool, optional
        Whether to add the constant ``log(2 pi) / 2``, which has no gradient.
    sample_weight : array, optional
        Of that shape, or of its first axes.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights: it is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of that of `mean` for ``"none"``; in nats, and negative where the
        density exceeds 1.

    Raises
    ------
    TypeError
        If the means or log-variances are not floating-point.
    ValueError
        If shapes differ, or `reduction` is unknown.

    Notes
    -----
    With ``s = log sigma^2`` and the standardized error ``z = (y - t) exp(-s / 2)``,

        L = (s + z^2) / 2 [+ log(2 pi) / 2],

    whose gradients are ``dL/dy = z exp(-s / 2)`` and ``dL/ds = (1 - z^2) / 2``.

    It takes the logarithm since a network's output may be any number, as s may, while a variance
    must be positive and is 0 as soon as it underflows. PyTorch takes the variance and raises it
    to `eps` silently; here nothing is clipped.

    References
    ----------
    .. [1] D. A. Nix and A. S. Weigend, "Estimating the mean and variance of the target
       probability distribution", ICNN 1994, eq. 2.
    .. [2] A. Kendall and Y. Gal, "What uncertainties do we need in Bayesian deep learning for
       computer vision?", NIPS 2017, eq. 8, for the logarithm.

    Examples
    --------
    An error of 2 where the standard deviation was 1, then 2, and ``log(4) = 1.3863``:

    >>> import math
    >>> import xpnet as xn
    >>> mean, targets = xn.asarray([2.0, 2.0]), xn.asarray([0.0, 0.0])
    >>> log_variance = xn.asarray([0.0, math.log(4)])
    >>> xn.losses.gaussian_nll_loss(
    ...     mean, targets, log_variance=log_variance, reduction="none"
    ... ).round(4)
    array([2.    , 1.1931], dtype=float32)
    """
    name = "gaussian_nll_loss"
    _, mean, targets = pair(name, mean, targets, name="mean")
    xp = array_namespace(mean, targets, log_variance)
    if not xp.isdtype(log_variance.dtype, "real floating"):
        raise TypeError(
            f"{name}: expected floating-point log_variance, got {log_variance.dtype}; convert it "
            "with xp.astype"
        )
    check_same_shape(name, mean, log_variance, name="mean", other="log_variance")
    s = xp.astype(log_variance, mean.dtype, copy=False)
    z = xp.asarray(mean - targets) * xp.exp(-s / 2)
    values = (s + z**2) / 2
    if full:
        values = values + math.log(2 * math.pi) / 2
    return weigh_and_reduce(name, values, sample_weight, reduction)
