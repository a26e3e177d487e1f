"""How a gradient is pulled back through each kind of entry that the wrappers write.

``pull(xp, grad, entry, grads)`` reads the entry and adds to the list `grads`, at the places of the
operands, what flows on to them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet._typing import Array, DType, Namespace
from xpnet.errors import MissingRuleError

__all__ = [
    "NOTHING",
    "Like",
    "accumulate",
    "pull_elementwise",
    "pull_many",
    "pull_missing",
    "pull_one",
    "pull_output",
    "pull_several",
    "pull_two",
]

NOTHING: Any = object()  # in the place of the option that a function of two arrays has not

Entry = tuple[Any, ...]
Grads = list[Any]


class Like(NamedTuple):
    """What is left of an operand whose values its rule does not need."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def pull_elementwise(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Pull a gradient back through a function whose result is like its argument."""
    _, rule, parent, out, x = entry
    grad = rule(xp, grad, out, x)
    previous = grads[parent]
    grads[parent] = grad if previous is None else previous + grad


def pull_one(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Pull a gradient back through a function of one array."""
    _, rule, parent, out, x, shape, dtype, args, options = entry
    if x is None:
        x = Like(shape, dtype)
    accumulate(xp, grads, parent, rule(xp, grad, out, x, *args, **options), shape, dtype)


def pull_two(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Pull a gradient back through a function of two arrays."""
    _, rule, index_a, index_b, out, a, b, option = entry
    if type(a) is tuple:
        a = Like(*a)
    if type(b) is tuple:
        b = Like(*b)
    if option is NOTHING:
        grad_a, grad_b = rule(xp, grad, out, a, b, index_a >= 0, index_b >= 0)
    else:
        grad_a, grad_b = rule(xp, grad, out, a, b, index_a >= 0, index_b >= 0, option)
    if index_a >= 0:
        accumulate(xp, grads, index_a, grad_a, a.shape, a.dtype)
    if index_b >= 0:
        accumulate(xp, grads, index_b, grad_b, b.shape, b.dtype)


def pull_many(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Pull a gradient back through a function of a list of arrays."""
    _, rule, parents, likes, options = entry
    parts = rule(xp, grad, [Like(*like) for like in likes], **options)
    for parent, like, part in zip(parents, likes, parts, strict=True):
        if parent >= 0:
            accumulate(xp, grads, parent, part, *like)


def pull_output(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Hand the gradient of one result to the entry of the function that returned several."""
    _, index, place, count = entry
    if grads[index] is None:
        grads[index] = [None] * count
    grads[index][place] = grad


def pull_several(xp: Namespace, grad: list[Array | None], entry: Entry, grads: Grads) -> None:
    """Pull gradients back through a function of one array that returned several."""
    _, rule, parent, outs, x, shape, dtype, options = entry
    if x is None:
        x = Like(shape, dtype)
    accumulate(xp, grads, parent, rule(xp, grad, outs, x, **options), shape, dtype)


def pull_missing(xp: Namespace, grad: Array, entry: Entry, grads: Grads) -> None:
    """Refuse to pull a gradient back through a function that has no rule."""
    _, name, where = entry
    raise MissingRuleError(
        f"a gradient reached argument {where} of xp.{name}, which is not differentiable. Write it "
        "with functions that are, give its gradient with xn.custom_gradient, or keep the gradient "
        "out with xn.stop_gradient"
    )


def accumulate(
    xp: Namespace, grads: Grads, parent: int, grad: Array, shape: tuple[int, ...], dtype: DType
) -> None:
    """Add `grad` to what has arrived at entry `parent`, in the shape and dtype of its array.

    Broadcasting and promotion of the forward operation are undone here, for every rule.
    """
    if grad.shape != shape:
        grad = _sum_to(xp, grad, shape)
    if grad.dtype != dtype:
        grad = _cast(xp, grad, dtype)
    previous = grads[parent]
    grads[parent] = grad if previous is None else previous + grad


def _cast(xp: Namespace, grad: Array, dtype: DType) -> Array:
    """Undo promotion; a real number that became complex gets the real part of the gradient."""
    if xp.isdtype(grad.dtype, "complex floating") and xp.isdtype(dtype, "real floating"):
        grad = xp.real(grad)
    return grad if grad.dtype == dtype else xp.astype(grad, dtype)


def _sum_to(xp: Namespace, grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an array of `shape` was broadcast."""
    extra = grad.ndim - len(shape)
    if extra < 0:  # leading axes of length 1 that an assignment dropped
        grad = xp.reshape(grad, (1,) * -extra + tuple(grad.shape))
    elif extra:
        grad = xp.sum(grad, axis=tuple(range(extra)))
    if grad.shape == shape:
        return grad
    axes = tuple(axis for axis, size in enumerate(shape) if size == 1 and grad.shape[axis] != 1)
    return xp.sum(grad, axis=axes, keepdims=True)
