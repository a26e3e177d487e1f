"""Losses for classes.

Stable means by algebra: the maximum is subtracted before anything else is done, and nothing is
clipped or shifted away from zero by an epsilon.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet._typing import Array, HostArray, Namespace
from xpnet.autodiff import custom_gradient
from xpnet.losses.reduction import Reduction, check_predictions, reduce, times, weigh
from xpnet.namespace import array_namespace
from xpnet.special import expit, one_hot, softplus, widen
from xpnet.transfer import to_host

__all__ = ["binary_cross_entropy", "check_labels", "cross_entropy", "nll_loss"]


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
        The mean is weighted: it divides by the sum of the weights, of class and sample.

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
    labels = _Labels(xp, name, logits, targets, class_weight, ignore_index)
    distribution = labels.distribution(float(label_smoothing))
    losses = _softmax_loss if from_logits else _log_loss
    return labels.reduce(losses(labels.counted(logits), distribution), sample_weight, reduction)


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
    labels = _Labels(xp, name, log_p, targets, class_weight, ignore_index)
    losses = _expect(labels.counted(log_p), labels.distribution(0.0))
    return labels.reduce(losses, sample_weight, reduction)


def binary_cross_entropy(
    logits: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
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
    reduction : {"mean", "sum", "none"}, optional
        The weighted mean divides by the sum of the weights.

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
    ``L = t softplus(-z) + (1 - t) softplus(z)``, with ``softplus(z) = log(1 + exp(z))`` computed
    without overflow. Its gradient ``(1 - t) sigmoid(z) - t sigmoid(-z)`` equals
    ``sigmoid(z) - t``, but keeps its digits where the sigmoid is rounded to 1.

    Examples
    --------
    >>> import xpnet as xn
    >>> logits = xn.asarray([0.0, 1e4, -1e4])
    >>> xn.losses.binary_cross_entropy(logits, xn.asarray([1, 1, 1]), reduction="none")
    array([6.931472e-01, 0.000000e+00, 1.000000e+04], dtype=float32)
    """
    name = "binary_cross_entropy"
    xp = check_predictions(name, logits, targets, name="logits")
    if logits.shape != targets.shape:
        raise ValueError(
            f"{name}: expected targets of the logits' shape {tuple(logits.shape)}, got "
            f"{tuple(targets.shape)}; one logit a sample may need xp.squeeze(logits, axis=-1)"
        )
    values = _sigmoid_loss(logits, xp.astype(targets, logits.dtype, copy=False))
    weight = weigh(name, values, sample_weight)
    values = values if weight is None else times(weight, values)
    return reduce(name, values, weight, reduction)


def check_labels(labels: Array, classes: int, *, ignore_index: int | None = None) -> None:
    """Check that every label is the index of a class.

    Meant for a whole data set, once: it copies the labels to the host and waits for the device,
    which a loss must not do at every step.

    Parameters
    ----------
    labels : array, integer
        Any shape.
    classes : int
        How many classes there are.
    ignore_index : int, optional
        A value that is allowed besides.

    Raises
    ------
    ValueError
        If a label is outside of ``[0, classes)``; the message names the first such label, its
        position, and `ignore_index` if that seems to be meant.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.losses.check_labels(xn.asarray([0, 2, 10]), 10)
    Traceback (most recent call last):
    ...
    ValueError: check_labels: expected labels in [0, 10), got 10 at position 2; 1 of 3 is wrong
    """
    flat: HostArray = to_host(labels).ravel()
    wrong = (flat < 0) | (flat >= classes)
    if ignore_index is not None:
        wrong &= flat != ignore_index
    count = int(wrong.sum())
    if count == 0:
        return
    first = int(wrong.argmax())
    value = int(flat[first])
    hint = f". If {value} marks samples to ignore, pass ignore_index={value}" if value < 0 else ""
    raise ValueError(
        f"check_labels: expected labels in [0, {classes}), got {value} at position {first}; "
        f"{count} of {flat.size} {'is' if count == 1 else 'are'} wrong{hint}"
    )


class _Labels:
    """The targets of a classification loss: indices or probabilities, with their weights."""

    def __init__(
        self,
        xp: Namespace,
        loss: str,
        scores: Array,
        targets: Array,
        class_weight: Array | None,
        ignore_index: int | None,
    ) -> None:
        self.xp, self.loss, self.dtype = xp, loss, scores.dtype
        self.classes = scores.shape[-1]
        self.indexed = xp.isdtype(targets.dtype, "integral")
        self.ignore_index = ignore_index
        shape = tuple(scores.shape)
        if not self.indexed and not xp.isdtype(targets.dtype, "real floating"):
            raise TypeError(
                f"{loss}: expected integer class indices or floating-point probabilities as "
                f"targets, got dtype {targets.dtype}"
            )
        if self.indexed and tuple(targets.shape) != shape[:-1]:
            raise ValueError(
                f"{loss}: expected class indices of shape {shape[:-1]} for scores of shape "
                f"{shape}, got {tuple(targets.shape)}"
            )
        if not self.indexed and tuple(targets.shape) != shape:
            raise ValueError(
                f"{loss}: expected probabilities of the scores' shape {shape}, got "
                f"{tuple(targets.shape)}; class indices must have an integer dtype"
            )
        if not self.indexed and ignore_index is not None:
            raise ValueError(f"{loss}: ignore_index needs class indices as targets")
        array_namespace(scores, class_weight)  # raises if the weights are no array
        if class_weight is not None and tuple(class_weight.shape) != (self.classes,):
            raise ValueError(
                f"{loss}: expected class_weight of shape ({self.classes},), got "
                f"{tuple(class_weight.shape)}"
            )
        self.class_weight = (
            None if class_weight is None else xp.astype(class_weight, self.dtype, copy=False)
        )
        if not self.indexed:
            self.targets, self.hard = targets, xp.astype(targets, self.dtype, copy=False)
            return
        self.targets = widen(targets)
        valid = (self.targets >= 0) & (self.targets < self.classes)
        hard = one_hot(self.targets, self.classes)
        if ignore_index is not None:
            kept = self.targets != ignore_index
            valid = valid | ~kept
            hard = hard & xp.expand_dims(kept, axis=-1)
        hard = xp.astype(hard, self.dtype)
        # A wrong index makes its own loss and gradient nan, on every library and without a sync.
        self.hard = xp.where(xp.expand_dims(valid, axis=-1), hard, xp.full_like(hard, xp.nan))

    def distribution(self, smoothing: float) -> Array:
        """Return what the log-probabilities are multiplied by: targets, smoothed and weighted."""
        q = self.hard
        if smoothing:
            q = q * (1 - smoothing) + smoothing / self.classes
            kept = self._kept()
            if kept is not None:
                q = q * self.xp.expand_dims(kept, axis=-1)
        return q if self.class_weight is None else q * self.class_weight

    def counted(self, scores: Array) -> Array:
        """Return the scores, zeros for the samples that are ignored, whatever theirs are."""
        if self.ignore_index is None:
            return scores
        ignored = self.xp.expand_dims(self.targets == self.ignore_index, axis=-1)
        return self.xp.where(ignored, self.xp.zeros_like(scores), scores)

    def _kept(self) -> Array | None:
        """Return 0 for the samples that are ignored and 1 for the others."""
        if self.ignore_index is None:
            return None
        return self.xp.astype(self.targets != self.ignore_index, self.dtype)

    def reduce(self, values: Array, sample_weight: Array | None, reduction: Reduction) -> Array:
        """Weigh and reduce the losses of the samples."""
        xp = self.xp
        weight = weigh(self.loss, values, sample_weight)
        values = values if weight is None else times(weight, values)
        if self.class_weight is not None:
            own = xp.sum(self.hard * self.class_weight, axis=-1)
            weight = own if weight is None else own * weight
        kept = self._kept()
        if kept is not None:
            weight = kept if weight is None else kept * weight
        return reduce(self.loss, values, weight, reduction)


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
    z = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(z)
    total = xp.sum(e, axis=-1, keepdims=True)
    s = xp.sum(q, axis=-1, keepdims=True)
    value = s * xp.log(total) - xp.sum(times(q, z), axis=-1, keepdims=True)

    def vjp(grad: Array) -> tuple[Any, Any]:
        grad = xp.expand_dims(grad, axis=-1)
        return grad * (e * (s / total) - q), lambda: grad * (xp.log(total) - z)

    return value[..., 0], vjp


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


@custom_gradient
def _sigmoid_loss(z: Array, t: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """Return t softplus(-z) + (1 - t) softplus(z); see Notes of `binary_cross_entropy`."""
    value = times(t, softplus(-z)) + times(1 - t, softplus(z))
    return value, lambda grad: (
        grad * ((1 - t) * expit(z) - t * expit(-z)),
        lambda: -grad * z,
    )
