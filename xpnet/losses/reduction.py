"""What all losses share: checks of their arguments, weights and the reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from xpnet._typing import Array, Namespace
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace

__all__ = ["Reduction", "check_predictions", "reduce", "times", "weigh"]

Reduction = Literal["mean", "sum", "none"]


def check_predictions(loss: str, predictions: Array, targets: Array, *, name: str) -> Namespace:
    """Return the namespace of the arrays, once they look like what they are meant to be.

    Raises
    ------
    TypeError
        If the predictions are not floating-point, saying so if the arguments look swapped.
    """
    xp = array_namespace(predictions, targets)
    if not xp.isdtype(predictions.dtype, "real floating"):
        swapped = xp.isdtype(targets.dtype, "real floating")
        cure = (
            f"the arguments look swapped: write {loss}({name}, targets)"
            if swapped
            else "convert them with xp.astype"
        )
        raise TypeError(f"{loss}: expected floating-point {name}, got {predictions.dtype}; {cure}")
    return xp


def weigh(loss: str, values: Array, sample_weight: Array | None) -> tuple[Array, Array | None]:
    """Return the weighted values, and the weights in their shape and dtype.

    Raises
    ------
    ValueError
        If the weights do not have the leading axes of `values`.
    """
    if sample_weight is None:
        return values, None
    xp = array_namespace(values, sample_weight)
    shape = tuple(values.shape)
    given = tuple(sample_weight.shape)
    if given != shape[: len(given)]:
        raise ValueError(
            f"{loss}: expected sample_weight of shape {shape}, or of its first axes, got {given}"
        )
    weight = xp.reshape(sample_weight, given + (1,) * (len(shape) - len(given)))
    weight = xp.broadcast_to(xp.astype(weight, values.dtype, copy=False), shape)
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
