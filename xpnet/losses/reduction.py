"""What losses, and metrics, share: checks of their arguments, weights and the reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from xpnet._typing import Array, DType, Namespace
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace, has_dtype, is_array, one_place

__all__ = [
    "Reduction",
    "check_predictions",
    "check_same_shape",
    "pair",
    "reduce",
    "spread",
    "times",
    "weigh",
    "weigh_and_reduce",
]

Reduction = Literal["mean", "sum", "none"]


def check_predictions(loss: str, predictions: Array, targets: Array, *, name: str) -> Namespace:
    """Return the namespace of the arrays, once they look like what they are meant to be.

    Raises
    ------
    TypeError
        If they are no arrays, or the predictions are not floating-point; the message says so if
        the arguments look swapped.
    MixedArraysError
        If they are of two libraries, or on two devices.
    """
    for array in (predictions, targets):
        if not is_array(array):  # not a number either, which would pass
            raise TypeError(
                f"{loss}: expected arrays, got {type(array).__name__}; make an array of it first, "
                "for example with xn.asarray"
            )
    xp = one_place(loss, predictions, targets)
    if not has_dtype(predictions, "real floating"):
        swapped = has_dtype(targets, "real floating")
        cure = (
            f"the arguments look swapped: write {loss}({name}, targets)"
            if swapped
            else "convert them with xp.astype"
        )
        raise TypeError(f"{loss}: expected floating-point {name}, got {predictions.dtype}; {cure}")
    return xp


def check_same_shape(
    loss: str, predictions: Array, targets: Array, *, name: str, other: str = "targets"
) -> None:
    """Check that two arguments have one shape, since broadcasting (N, 1) and (N,) gives (N, N).

    Raises
    ------
    ValueError
        If they do not; the message says which of them has an axis of length 1 too many.
    """
    shape, given = tuple(predictions.shape), tuple(targets.shape)
    if given == shape:
        return
    cure = "nothing is broadcast"
    if shape == (*given, 1):
        cure = f"write xp.squeeze({name}, axis=-1)"
    elif given == (*shape, 1):
        cure = f"write xp.squeeze({other}, axis=-1)"
    raise ValueError(
        f"{loss}: expected {other} of the shape of {name}, {shape}, got {given}; {cure}"
    )


def pair(
    loss: str, predictions: Array, targets: Array, *, name: str = "predictions"
) -> tuple[Namespace, Array, Array]:
    """Return the namespace, the predictions, and the targets in their dtype; both or none traced.

    Raises
    ------
    TypeError, ValueError
        See `check_predictions` and `check_same_shape`.
    """
    xp = check_predictions(loss, predictions, targets, name=name)
    check_same_shape(loss, predictions, targets, name=name)
    targets = xp.astype(targets, predictions.dtype, copy=False)
    return xp, xp.asarray(predictions), targets


def spread(loss: str, sample_weight: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return the weights in the shape and dtype of what they weigh.

    Raises
    ------
    ValueError
        If their shape is not that shape, nor its first axes.
    """
    xp = array_namespace(sample_weight)
    given = tuple(sample_weight.shape)
    if given != shape[: len(given)]:
        raise ValueError(
            f"{loss}: expected sample_weight of shape {shape}, or of its first axes, got {given}"
        )
    weight = xp.reshape(sample_weight, given + (1,) * (len(shape) - len(given)))
    return xp.broadcast_to(xp.astype(weight, dtype, copy=False), shape)


def weigh(loss: str, values: Array, sample_weight: Array | None) -> tuple[Array, Array | None]:
    """Return the weighted values, and the weights in their shape and dtype.

    Raises
    ------
    ValueError
        See `spread`.
    """
    if sample_weight is None:
        return values, None
    one_place(loss, values, sample_weight)
    weight = spread(loss, sample_weight, tuple(values.shape), values.dtype)
    return times(weight, values), weight


@custom_gradient
def times(weight: Array, values: Array) -> tuple[Array, Callable[[Array], tuple[Any, Any]]]:
    """Return weight times values, where a weight of 0 makes 0 of an infinite value too."""
    xp = array_namespace(weight, values)
    product = weight * xp.where(weight == 0, xp.zeros_like(values), values)
    return product, lambda grad: (lambda: grad * values, lambda: grad * weight)


def reduce(loss: str, values: Array, weight: Array | None, reduction: Reduction) -> Array:
    """Reduce the losses of the samples, of which those with a weight are weighted already.

    The weighted mean divides by the sum of the weights.

    Raises
    ------
    ValueError
        If `reduction` is not one of the three.
    """
    if reduction == "none":
        return values
    xp = array_namespace(values)
    if reduction == "sum":
        return xp.sum(values)
    if reduction != "mean":
        raise ValueError(f'{loss}: reduction must be "mean", "sum" or "none", got {reduction!r}')
    if weight is None:
        return xp.mean(values)
    return xp.sum(values) / xp.sum(weight)


def weigh_and_reduce(
    loss: str, values: Array, sample_weight: Array | None, reduction: Reduction
) -> Array:
    """Weigh and reduce the losses of the samples; see `weigh` and `reduce`.

    Raises
    ------
    ValueError
        If the weights do not fit, or `reduction` is not one of the three.
    """
    values, weight = weigh(loss, values, sample_weight)
    return reduce(loss, values, weight, reduction)
