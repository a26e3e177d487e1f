"""The tape: what a traced array remembers, and the walk back over it.

A `TracedArray` belongs to one tape and knows its place there. An operation finds the highest tape
among its arguments, strips that one level, computes with what is below (which may be traced again,
on a lower tape) and writes one entry. Arrays that nothing is differentiated by lie on the tape
`CONSTANT`. Tapes carry the level, so ``grad`` of ``grad`` meets the same namespace again.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, NoReturn

from xpnet._typing import Array, DType, Namespace
from xpnet.errors import MissingRuleError, TracedArrayError
from xpnet.wrapping import WrappedArray, WrappedNamespace, wrap_namespace

__all__ = ["CONSTANT", "Tape", "TracedArray", "backward", "lift", "new_tape", "raw"]


class Tape(list[Any]):
    """The operations of one level of differentiation, in the order they ran.

    An entry is None for a leaf, else a tuple that starts with the function that pulls a gradient
    back through it: ``pull(xp, grad, entry, grads)`` adds to the list `grads` what flows on to
    the operands.
    """

    __slots__ = ("closed", "level")

    def __init__(self, level: int) -> None:
        super().__init__()
        self.level = level
        self.closed = False


CONSTANT = Tape(0)  # stays empty

_depth: ContextVar[int] = ContextVar("xpnet_autodiff_depth", default=0)


@contextmanager
def new_tape(above: int) -> Iterator[Tape]:
    """Open a tape one level above `above` and above those that are open in this context."""
    level = 1 + max(above, _depth.get())
    token = _depth.set(level)
    tape = Tape(level)
    try:
        yield tape
    finally:
        tape.closed = True
        _depth.reset(token)


class TracedArray(WrappedArray):
    """An array of a differentiable namespace: a value, and its place on a tape."""

    __slots__ = ("index", "tape")

    def __init__(self, value: Array, tape: Tape, index: int) -> None:
        self.value = value
        self.tape = tape
        self.index = index

    def __repr__(self) -> str:
        return f"traced({raw(self)!r})"

    def __bool__(self) -> bool:
        return bool(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return self.value.__index__()  # type: ignore[no-any-return]

    def __float__(self) -> float:
        self._refuse_number("float")
        return float(self.value)

    def __complex__(self) -> complex:
        self._refuse_number("complex")
        return complex(self.value)

    def _refuse_number(self, name: str) -> None:
        if self.tape is not CONSTANT:
            raise TracedArrayError(
                f"{name}(x) of an array that is being differentiated would lose its gradient. "
                f"Keep it an array, or say that you want the number: {name}(xn.stop_gradient(x))"
            )

    def to_device(self, device: Any, /, *, stream: Any = None) -> TracedArray:
        """Return the array itself; it cannot move."""
        if device == self.device:
            return self
        raise TracedArrayError("to_device on a traced array: move the arrays before xn.grad")


class Like(NamedTuple):
    """What is left of an operand whose values its rule does not need."""

    shape: tuple[int, ...]
    dtype: DType

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)


def refuse_escaped() -> NoReturn:
    """Raise for an array whose tape is closed, or is not the open one of its level."""
    raise TracedArrayError(
        "a traced array was used after the xn.grad that made it had returned, or in another "
        "thread's; its gradient would be lost. Keep xn.stop_gradient(x), or return the array as "
        "part of aux"
    )


def raw(x: Any) -> Any:
    """Return the array under all levels of tracing."""
    while isinstance(x, TracedArray):
        x = x.value
    return x


def lift(namespace: WrappedNamespace, x: Array) -> TracedArray:
    """Return `x` as a constant of `namespace`; one that is traced already stays as it is."""
    return x if isinstance(x, TracedArray) else namespace.array(x, CONSTANT, -1)


@functools.cache
def traced_namespace(base: Namespace) -> WrappedNamespace:
    """Return the one differentiable namespace over `base`."""
    from xpnet.autodiff.wrappers import make  # the rules import this module

    return wrap_namespace(base, TracedArray, f"traced({base.__name__})", make)


def differentiable(namespace: Namespace) -> WrappedNamespace:
    """Return the namespace that traces: `namespace` itself if it does, else the one over it."""
    if isinstance(namespace, WrappedNamespace) and issubclass(namespace.array, TracedArray):
        return namespace
    return traced_namespace(namespace)


def backward(tape: Tape, out: TracedArray, cotangent: Array, leaves: int) -> list[Array | None]:
    """Return the gradients of the first `leaves` entries; empties the tape as it goes.

    Parameters
    ----------
    tape : Tape
        Its first entries are the leaves.
    out : TracedArray
        An array on `tape`.
    cotangent : array
        The gradient that arrives at `out`; of its shape and dtype.
    leaves : int
        How many entries are leaves.

    Returns
    -------
    list of array or None
        None where no gradient arrived.
    """
    # On the lowest level all values are ordinary arrays; above it they may be traced themselves.
    namespace = out.namespace
    xp = namespace.wrapped_namespace if tape.level == 1 else namespace
    grads: list[Array | None] = [None] * len(tape)
    grads[out.index] = cotangent
    while len(tape) > leaves:
        entry = tape.pop()
        grad = grads.pop()
        if grad is not None:
            entry[0](xp, grad, entry, grads)
    return grads


def accumulate(
    xp: Namespace, grads: list[Array | None], parent: int, grad: Array, like: Array
) -> None:
    """Add `grad` to what has arrived at entry `parent`, in the shape and dtype of its array.

    Broadcasting and dtype promotion of the forward operation are undone here, for every rule.
    """
    if grad.shape != like.shape:
        grad = _sum_to(xp, grad, like.shape)
    if grad.dtype != like.dtype:
        refuse_complex(xp, grad, like)
        grad = xp.astype(grad, like.dtype)
    previous = grads[parent]
    grads[parent] = grad if previous is None else previous + grad


def refuse_complex(xp: Namespace, *arrays: Array) -> None:
    """Raise if one of the arrays is complex."""
    if any(xp.isdtype(x.dtype, "complex floating") for x in arrays):
        raise MissingRuleError(
            "a gradient reached complex numbers, whose differentiation has no rules yet; "
            "compute with real and imaginary parts"
        )


def _sum_to(xp: Namespace, grad: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which an array of `shape` was broadcast."""
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, size in enumerate(shape)
        if size == 1 and grad.shape[extra + axis] != 1
    )
    return xp.reshape(xp.sum(grad, axis=axes, keepdims=True), shape)
