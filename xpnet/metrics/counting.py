"""What metrics of classes share: which class was predicted, how often, and quotients of counts.

Counts are integers, since a sum of ones in float32 stops growing at 2^24; with weights they are
the widest floating-point numbers that the device has, as are the quotients.
"""

from __future__ import annotations

from typing import NamedTuple

from xpnet._typing import Array, DType, Namespace
from xpnet.losses.reduction import check_predictions, spread
from xpnet.namespace import array_namespace, device_of, one_library

__all__ = [
    "Classes",
    "as_indices",
    "check_classes",
    "classify",
    "count",
    "flat_weight",
    "ratio",
    "widest",
]


class Classes(NamedTuple):
    """The predicted and the true class of n samples."""

    predicted: Array  # shape (n,), integer
    true: Array  # shape (n,), of the same dtype; may be out of range
    number: int  # of classes
    binary: bool  # whether there was one score a sample, for class 1
    weight: Array | None  # shape (n,)


def check_classes(metric: str, logits: Array, targets: Array, *, binary: bool = True) -> bool:
    """Tell whether there is one score a sample, and not one for each class.

    Raises
    ------
    TypeError
        If the logits are not floating-point, or the targets not integers or booleans.
    ValueError
        If the shapes do not fit, or there is one score a sample and `binary` is False.
    """
    xp = check_predictions(metric, logits, targets, name="logits")
    if not xp.isdtype(targets.dtype, ("integral", "bool")):
        raise TypeError(
            f"{metric}: expected integer or bool targets, got {targets.dtype}; of 0.0 and 1.0 "
            "pass xp.astype(targets, xp.int64), of a row of probabilities its xp.argmax"
        )
    shape, given = tuple(logits.shape), tuple(targets.shape)
    if binary and given == shape:
        return True
    if given == shape[:-1] and shape[-1:] not in ((), (1,)):
        return False
    cure = "one logit for each class is needed"
    if binary:
        cure = "with one logit a sample both have one shape"
    if binary and shape == (*given, 1):
        cure = "with one logit a sample pass xp.squeeze(logits, axis=-1)"
    raise ValueError(
        f"{metric}: expected targets of shape {shape[:-1]} for logits of shape {shape}, got "
        f"{given}; {cure}"
    )


def classify(
    metric: str,
    logits: Array,
    targets: Array,
    sample_weight: Array | None,
    threshold: float,
    classes: int | None = None,
) -> Classes:
    """Return the classes that scores mean: the first of the highest, or what the threshold says.

    Where the number of classes is given, predictions may be indices of classes already.

    Raises
    ------
    TypeError, ValueError
        See `check_classes`; the weights must fit the targets, the logits the number of classes.
    """
    xp = one_library(metric, logits, targets)
    logits, targets = xp.asarray(logits), xp.asarray(targets)  # both are traced, or none is
    binary = False
    if classes is not None and _are_indices(xp, logits, targets):
        number, predicted = classes, logits
    else:
        binary = check_classes(metric, logits, targets)
        number = 2 if binary else logits.shape[-1]
        predicted = logits > threshold if binary else xp.argmax(logits, axis=-1)
    if classes not in (None, number):
        raise ValueError(
            f"{metric}: expected logits of {classes} classes, got shape {tuple(logits.shape)}, "
            f"which is for {number}"
        )
    return Classes(
        predicted=xp.reshape(as_indices(predicted), (-1,)),
        true=xp.reshape(as_indices(targets), (-1,)),
        number=number,
        binary=binary,
        weight=flat_weight(metric, sample_weight, targets),
    )


def as_indices(classes: Array) -> Array:
    """Return integers or booleans in the dtype of indices."""
    xp = array_namespace(classes)
    defaults = xp.__array_namespace_info__().default_dtypes(device=device_of(classes))
    return xp.astype(classes, defaults["indexing"], copy=False)


def flat_weight(metric: str, sample_weight: Array | None, targets: Array) -> Array | None:
    """Return the weights of the samples in one row.

    Raises
    ------
    ValueError
        If they do not fit the targets.
    """
    if sample_weight is None:
        return None
    xp = one_library(metric, targets, sample_weight)
    dtype = widest(xp, sample_weight)
    return xp.reshape(spread(metric, sample_weight, tuple(targets.shape), dtype), (-1,))


def count(true: Array, weight: Array | None = None) -> Array:
    """Return how many booleans are true along the first axis, or what they weigh."""
    xp = array_namespace(true)
    if weight is None:
        return xp.count_nonzero(true, axis=0)
    weight = xp.reshape(weight, (-1,) + (1,) * (true.ndim - 1))
    return xp.sum(xp.where(true, weight, 0.0), axis=0)


def ratio(numerator: Array, denominator: Array, otherwise: float) -> Array:
    """Return the quotient of counts; `otherwise` where there is nothing to divide by."""
    xp = array_namespace(numerator, denominator)
    dtype = widest(xp, denominator)
    divisor = xp.astype(denominator, dtype, copy=False)
    nothing = divisor == 0
    quotient = xp.astype(numerator, dtype, copy=False) / xp.where(nothing, 1.0, divisor)
    return xp.where(nothing, otherwise, quotient)


def widest(xp: Namespace, like: Array) -> DType:
    """Return the widest real floating-point dtype on the device of an array."""
    there = xp.__array_namespace_info__().dtypes(device=device_of(like), kind="real floating")
    return there.get("float64", xp.float32)


def _are_indices(xp: Namespace, predictions: Array, targets: Array) -> bool:
    """Tell whether both are integers, of one shape."""
    integers = all(xp.isdtype(array.dtype, "integral") for array in (predictions, targets))
    return integers and tuple(predictions.shape) == tuple(targets.shape)
