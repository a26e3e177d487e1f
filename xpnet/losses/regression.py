"""Losses for numbers."""

from __future__ import annotations

from collections.abc import Callable

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.losses.reduction import Reduction, pair, weigh_and_reduce
from xpnet.namespace import array_namespace

__all__ = ["huber_loss", "l1_loss", "mse_loss"]


def mse_loss(
    predictions: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Mean squared error.

    Parameters
    ----------
    predictions : array, real floating
        Any shape.
    targets : array, integer or real floating
        Of the same shape; nothing is broadcast.
    sample_weight : array, optional
        Of that shape, or of its first axes.
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights: it is nan if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of that of `predictions` for ``"none"``; in squared units of the
        predictions.

    Raises
    ------
    TypeError
        If the predictions are not floating-point.
    ValueError
        If shapes differ, or `reduction` is unknown.

    Notes
    -----
    ``L = mean((y - t)**2)``, whose gradient is ``2 (y - t) / n``.

    Examples
    --------
    >>> import xpnet as xn
    >>> float(xn.losses.mse_loss(xn.asarray([1.0, 3.0]), xn.asarray([1.0, 1.0])))
    2.0
    """
    _, predictions, targets = pair("mse_loss", predictions, targets)
    return weigh_and_reduce("mse_loss", (predictions - targets) ** 2, sample_weight, reduction)


def l1_loss(
    predictions: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Mean absolute error.

    Parameters
    ----------
    predictions, targets, sample_weight, reduction
        See `mse_loss`.

    Returns
    -------
    array
        Of shape ``()``, or of that of `predictions` for ``"none"``; in units of the predictions.

    Raises
    ------
    TypeError, ValueError
        See `mse_loss`.

    Notes
    -----
    ``L = mean(|y - t|)``, whose gradient is ``sign(y - t) / n``, 0 where the two are equal.

    Examples
    --------
    >>> import xpnet as xn
    >>> float(xn.losses.l1_loss(xn.asarray([1.0, 3.0]), xn.asarray([1.0, 1.0])))
    1.0
    """
    xp, predictions, targets = pair("l1_loss", predictions, targets)
    return weigh_and_reduce("l1_loss", xp.abs(predictions - targets), sample_weight, reduction)


def huber_loss(
    predictions: Array,
    targets: Array,
    *,
    delta: float = 1.0,
    sample_weight: Array | None = None,
    reduction: Reduction = "mean",
) -> Array:
    """Squared error of what is near, absolute error of what is far.

    Parameters
    ----------
    predictions, targets
        See `mse_loss`.
    delta : float, optional
        The error, in units of the predictions, from which on the loss is linear.
    sample_weight, reduction
        See `mse_loss`.

    Returns
    -------
    array
        Of shape ``()``, or of that of `predictions` for ``"none"``; in squared units of the
        predictions.

    Raises
    ------
    TypeError
        If the predictions are not floating-point.
    ValueError
        If `delta` is not positive, shapes differ, or `reduction` is unknown.

    Notes
    -----
    With the error ``e = y - t`` it is ``e^2 / 2`` where ``|e| <= delta`` and
    ``delta (|e| - delta / 2)`` beyond, in one expression ``m (|e| - m / 2)`` with
    ``m = min(|e|, delta)``. The gradient, ``e`` clipped to ``[-delta, delta]``, has no jump, and
    no outlier has more than delta of it.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical
       Statistics 35, 1964, pages 73-101, section 1.

    Examples
    --------
    Errors of 1 and 3:

    >>> import xpnet as xn
    >>> predictions, targets = xn.asarray([1.0, 3.0]), xn.asarray([0.0, 0.0])
    >>> xn.losses.huber_loss(predictions, targets, reduction="none")
    array([0.5, 2.5], dtype=float32)
    """
    name = "huber_loss"
    if not delta > 0:
        raise ValueError(f"{name}: delta must be positive, got {delta}")
    _, predictions, targets = pair(name, predictions, targets)
    values = _huber(predictions - targets, float(delta))
    return weigh_and_reduce(name, values, sample_weight, reduction)


@custom_gradient
def _huber(error: Array, delta: float) -> tuple[Array, Callable[[Array], tuple[Array, None]]]:
    """See Notes of `huber_loss`."""
    xp = array_namespace(error)
    size = xp.abs(error)
    near = xp.minimum(size, delta)
    return near * (size - near / 2), lambda grad: (grad * xp.clip(error, -delta, delta), None)
