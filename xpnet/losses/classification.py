"""Cross-entropy of classes.

Stable means by algebra: the maximum is subtracted before anything else is done, and nothing is
clipped or shifted away from zero by an epsilon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff import custom_gradient
from xpnet.autodiff.rules.statistical import divided
from xpnet.losses.labels import Labels, is_class
from xpnet.losses.reduction import Reduction, check_predictions, times
from xpnet.namespace import array_namespace
from xpnet.special.indices import one_hot

__all__ = ["cross_entropy", "nll_loss"]


def cross_entropy(
    logits: Array,
    targets: Array,
    *,
    class_weight: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    from_logits: bool = True,
    axis: int = -1,
    reduction: Reduction = "mean",
) -> Array:
    """Cross-entropy of classes, from logits.

    Parameters
    ----------
    logits : array, real floating, shape (..., C)
        Scores; -inf rules a class out.
    targets : array
        Integers of shape (...) are the indices of the true classes; floating-point numbers of
        the logits' shape are their probabilities.
    class_weight : array, shape (C,), optional
        Weight of each class.
    sample_weight : array, shape (...), optional
        Weight of each sample; the first axes are enough.
    label_smoothing : float, optional
        Mixes this share, in [0, 1], of the uniform distribution into the targets.
    ignore_index : int, optional
        An index in `targets` whose samples do not count.
    from_logits : bool, optional
        False if `logits` holds probabilities. Their logarithm is taken as it is: a zero
        probability of the true class is an infinite loss.
    axis : int, optional
        The axis of the classes in `logits`.
    reduction : {"mean", "sum", "none"}, optional
        The mean is weighted: it divides by the sum of the weights, of class and sample, and is nan
        if all are 0.

    Returns
    -------
    array
        Of shape ``()``, or of shape (...) for ``"none"``; in nats. A sample whose index is
        outside of ``[0, C)`` has the loss nan on every library; `check_labels` finds it
        beforehand and says where.

    Raises
    ------
    TypeError
        If the logits are not floating-point, or the targets neither integers nor floating-point.
    ValueError
        If shapes do not fit, `label_smoothing` is not in [0, 1], `ignore_index` is given with
        probabilities, or `reduction` is unknown.

    Notes
    -----
    For one sample with scores z and target distribution q,

        L = -sum_c q_c log softmax(z)_c = s log sum_c exp(z_c) - sum_c q_c z_c,  s = sum_c q_c,

    with the maximum subtracted from z beforehand, which changes nothing but keeps every digit:
    in float32 the "log-sum-exp minus score" of two logits 3 apart is 0.5 % off at 1e4 and 0 at
    1e7. An index y is the distribution ``q_c = w_y [c = y]``, with class weights w.

    Gradient: ``d log sum exp(z) / dz = softmax(z)``, hence ``dL/dz = s softmax(z) - q``, for an
    index ``softmax(z) - onehot(y)``, divided by the number of samples (the sum of the weights)
    for a mean. It is given as one rule, which keeps the exponentials and nothing else.

    With probabilities and class weights the mean divides by ``sum w_c q_c``, so that a one-hot
    row equals its index; PyTorch divides by the number of samples there.

    References
    ----------
    .. [1] C. M. Bishop, "Pattern Recognition and Machine Learning", 2006, eq. 4.108 and 4.109.
    .. [2] C. Szegedy et al., "Rethinking the Inception architecture", CVPR 2016, section 7, for
       label smoothing.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([[-1.0, 0.5, 2.0], [-1.0, 0.5, 3.0]])
    >>> loss = xn.losses.cross_entropy(logits, xn.asarray([1, 2]))
    >>> round(float(loss), 4)
    0.9185

    Equal logits of three classes give log 3:

    >>> round(float(xn.losses.cross_entropy(xn.asarray([[7.0, 7.0, 7.0]]), xn.asarray([0]))), 4)
    1.0986
    """
    name = "cross_entropy"
    xp = check_predictions(name, logits, targets, name="logits")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must be in [0, 1], got {label_smoothing}")
    logits, targets = _classes_last(xp, name, logits, targets, axis)
    labels = Labels(xp, name, logits, targets, class_weight, ignore_index)
    if from_logits and labels.are_plain(label_smoothing):
        if sample_weight is None and reduction == "mean":
            mean: Array = _mean_index_loss(logits, labels.targets)
            return mean
        losses = _index_loss(logits, labels.targets)
    else:
        loss = _softmax_loss if from_logits else _log_loss
        losses = loss(labels.counted(logits), labels.distribution(float(label_smoothing)))
    return labels.reduce(losses, sample_weight, reduction)


def nll_loss(
    log_probabilities: Array,
    targets: Array,
    *,
    class_weight: Array | None = None,
    sample_weight: Array | None = None,
    ignore_index: int | None = None,
    axis: int = -1,
    reduction: Reduction = "mean",
) -> Array:
    """Negative log-likelihood of classes, from log-probabilities.

    Parameters
    ----------
    log_probabilities : array, real floating, shape (..., C)
        Such as `xpnet.special.log_softmax` gives, in nats.
    targets, class_weight, sample_weight, ignore_index, axis, reduction
        See `cross_entropy`.

    Returns
    -------
    array
        See `cross_entropy`.

    Raises
    ------
    TypeError, ValueError
        See `cross_entropy`.

    Notes
    -----
    ``L = -sum_c q_c log p_c`` with the target distribution q, so ``dL/d log p = -q``.

    Examples
    --------
    >>> import xpnet as xn
    >>> log_p = xn.asarray([[-0.5, -1.5, -1.75]])
    >>> float(xn.losses.nll_loss(log_p, xn.asarray([1])))
    1.5
    """
    name = "nll_loss"
    xp = check_predictions(name, log_probabilities, targets, name="log_probabilities")
    log_p, targets = _classes_last(xp, name, log_probabilities, targets, axis)
    labels = Labels(xp, name, log_p, targets, class_weight, ignore_index)
    losses = _expect(labels.counted(log_p), labels.distribution(0.0))
    return labels.reduce(losses, sample_weight, reduction)


def _classes_last(
    xp: Namespace, loss: str, scores: Array, targets: Array, axis: int
) -> tuple[Array, Array]:
    """Move the axis of the classes to the end, in scores and in probabilities."""
    if not -scores.ndim <= axis < scores.ndim:
        raise ValueError(f"{loss}: scores of shape {tuple(scores.shape)} have no axis {axis}")
    if axis in (-1, scores.ndim - 1):
        return scores, targets
    if targets.ndim == scores.ndim:
        targets = xp.moveaxis(targets, axis, -1)
    return xp.moveaxis(scores, axis, -1), targets


@custom_gradient
def _softmax_loss(logits: Array, q: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """-sum(q log softmax(logits)) over the last axis; see Notes of `cross_entropy`."""
    xp = array_namespace(logits, q)
    z, e, total = _shifted(xp, logits)
    s = xp.sum(q, axis=-1, keepdims=True)
    value = s * xp.log(total) - xp.sum(times(q, z), axis=-1, keepdims=True)

    def vjp(grad: Array) -> tuple[Any, Any]:
        grad = xp.expand_dims(grad, axis=-1)
        return grad * (e * (s / total) - q), lambda: grad * (xp.log(total) - z)

    return value[..., 0], vjp


@custom_gradient
def _index_loss(logits: Array, y: Array) -> tuple[Array, Callable[[Array], tuple[Any, None]]]:
    """-log softmax(logits)_y over the last axis."""
    value, pull = _index(logits, y)
    return value[..., 0], lambda grad: (pull(grad[..., None]), None)


@custom_gradient
def _mean_index_loss(logits: Array, y: Array) -> tuple[Array, Callable[[Array], tuple[Any, None]]]:
    """mean(-log softmax(logits)_y), whose gradient is one number for all samples."""
    xp = array_namespace(logits, y)
    value, pull = _index(logits, y)
    count = math.prod(value.shape)
    return xp.mean(value), lambda grad: (pull(divided(xp, grad, count)), None)


def _index(logits: Array, y: Array) -> tuple[Array, Callable[[Array], Array]]:
    """-log softmax(logits)_y, and its gradient, without what multiplies by 0 and 1."""
    xp = array_namespace(logits, y)
    z, e, total = _shifted(xp, logits)
    hot = one_hot(y, logits.shape[-1])
    total = xp.where(is_class(y, logits.shape[-1])[..., None], total, xp.nan)
    value = xp.log(total) - xp.sum(xp.where(hot, z, 0.0), axis=-1, keepdims=True)
    return value, lambda grad: grad * (e * (1 / total) - xp.astype(hot, e.dtype))


def _shifted(xp: Namespace, logits: Array) -> tuple[Array, Array, Array]:
    """Return the logits minus their maximum, their exponentials, and the sums of those."""
    z = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(z)
    return z, e, xp.sum(e, axis=-1, keepdims=True)


@custom_gradient
def _log_loss(p: Array, q: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """-sum(q log p) over the last axis; where q is 0 the logarithm is not taken."""
    xp = array_namespace(p, q)
    safe = xp.where(q == 0, xp.ones_like(p), p)

    def vjp(grad: Array) -> tuple[Any, Any]:
        grad = xp.expand_dims(grad, axis=-1)
        return -grad * (q / safe), lambda: -grad * xp.log(p)

    return -xp.sum(q * xp.log(safe), axis=-1), vjp


@custom_gradient
def _expect(log_p: Array, q: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """-sum(q log_p) over the last axis."""
    xp = array_namespace(log_p, q)

    def vjp(grad: Array) -> tuple[Any, Any]:
        grad = xp.expand_dims(grad, axis=-1)
        return -grad * q, lambda: -grad * log_p

    return -xp.sum(times(q, log_p), axis=-1), vjp
