"""The tape: what a traced array remembers, and the walk back over it.

A `TracedArray` belongs to one tape and knows its place there. An operation finds the highest tape
among its arguments, strips that one level, computes with what is below (which may be traced again,
on a lower tape) and writes one entry. Arrays that nothing is differentiated by lie on the tape
`CONSTANT`. Tapes carry the level, so ``grad`` of ``grad`` meets the same namespace again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, NoReturn

from xpnet._typing import Array, Namespace
from xpnet.aliasing import Hidden
from xpnet.errors import TracedArrayError
from xpnet.wrapping import WrappedArray, WrappedNamespace, wrap_namespace

__all__ = [
    "CONSTANT",
    "Opened",
    "Tape",
    "TracedArray",
    "backward",
    "differentiable",
    "fresh",
    "highest_tape",
    "is_differentiating",
    "lift",
    "lowered",
    "place",
    "raw",
    "refuse_escaped",
    "strip",
    "traced_namespace",
]


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


def is_differentiating() -> bool:
    """Tell whether a function is being differentiated in this context."""
    return _depth.get() > 0


class Opened:
    """A tape one level above `above` and above those that are open in this context."""

    def __init__(self, above: int) -> None:
        self._above = above

    def __enter__(self) -> Tape:
        level = 1 + max(self._above, _depth.get())
        self._token = _depth.set(level)
        self._tape = Tape(level)
        return self._tape

    def __exit__(self, *error: object) -> None:
        self._tape.closed = True
        _depth.reset(self._token)


class TracedArray(WrappedArray):
    """An array of a differentiable namespace: a value, and its place on a tape."""

    __slots__ = ("index", "tape")

    def __init__(self, value: Array, tape: Tape, index: int) -> None:
        self.value = value
        self.tape = tape
        self.index = index

    def __repr__(self) -> str:
        return f"traced({raw(self)!r})"

    def _become(self, other: TracedArray) -> None:
        self.value, self.tape, self.index = other.value, other.tape, other.index

    def __copy__(self) -> TracedArray:
        return fresh(self)

    def __deepcopy__(self, memo: Any) -> TracedArray:
        return fresh(self)

    def __reduce__(self) -> NoReturn:
        raise TracedArrayError(
            "a traced array cannot be pickled; pickle xn.to_host(xn.stop_gradient(x))"
        )

    def _hide(self) -> Callable[[], None]:
        was = fresh(self)
        self.value = Hidden()
        return lambda: self._become(was)

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

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: Any = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        self._refuse_number("from_dlpack")
        options = {
            "stream": stream,
            "max_version": max_version,
            "dl_device": dl_device,
            "copy": copy,
        }
        given = {key: option for key, option in options.items() if option is not None}
        return self.value.__dlpack__(**given)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()

    def _refuse_number(self, name: str) -> None:
        if self.tape is not CONSTANT:
            raise TracedArrayError(
                f"{name}(x) of an array that is being differentiated would lose its gradient. "
                "Keep it an array of this namespace, or say that you want the numbers: "
                f"{name}(xn.stop_gradient(x))"
            )


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


def highest_tape(arrays: Iterable[Any]) -> Tape:
    """Return the tape of the highest level among `arrays`."""
    highest = CONSTANT
    for x in arrays:
        if isinstance(x, TracedArray) and x.tape is not highest:
            if x.tape.level == highest.level:
                refuse_escaped()
            if x.tape.level > highest.level:
                highest = x.tape
    return highest


def lowered(cls: type[Any], tape: Tape, x: Any) -> tuple[Any, int]:
    """Return an operand one level below `tape`, where arrays are traced, and its place on it."""
    if type(x) is not cls:
        return (cls(x, CONSTANT, -1) if hasattr(x, "shape") else x), -1
    return (x.value, x.index) if x.tape is tape else (x, -1)


def strip(tape: Tape, x: Any) -> Any:
    """Return `x` one level below `tape`; constants stay traced as long as anything is."""
    if isinstance(x, TracedArray) and (x.tape is tape or (x.tape is CONSTANT and tape.level < 2)):
        return x.value
    return x


def place(tape: Tape, x: Any) -> int:
    """Return the place of `x` on `tape`, or -1."""
    return x.index if isinstance(x, TracedArray) and x.tape is tape else -1


def lift(namespace: WrappedNamespace, x: Array) -> TracedArray:
    """Return `x` as a constant of `namespace`; one that is traced already stays as it is."""
    return x if isinstance(x, TracedArray) else namespace.array(x, CONSTANT, -1)


def fresh(x: TracedArray) -> TracedArray:
    """Return a new array equal to `x`, which nothing else can see."""
    return type(x)(x.value, x.tape, x.index)


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


def backward(
    tape: Tape,
    seeds: Iterable[tuple[TracedArray, Array]],
    leaves: int,
    *,
    keep: bool = False,
) -> list[Array | None]:
    """Return the gradients of the first `leaves` entries.

    Parameters
    ----------
    tape : Tape
        Its first entries are the leaves.
    seeds : iterable of pairs of TracedArray and array
        Arrays on `tape`, and for each the gradient that arrives there; of its shape and dtype.
    leaves : int
        How many entries are leaves.
    keep : bool, optional
        Whether to keep the entries for another walk, instead of dropping each, and what it saved,
        as soon as the walk has passed it.

    Returns
    -------
    list of array or None
        None where no gradient arrived.
    """
    grads: list[Any] = [None] * len(tape)
    xp: Namespace = None
    for out, cotangent in seeds:
        # On the lowest level all values are ordinary arrays; above it they may be traced.
        xp = out.namespace.wrapped_namespace if tape.level == 1 else out.namespace
        previous = grads[out.index]
        grads[out.index] = cotangent if previous is None else previous + cotangent
    for index in range(len(tape) - 1, leaves - 1, -1):
        entry = tape[index] if keep else tape.pop()
        grad = grads.pop()
        if grad is not None:
            entry[0](xp, grad, entry, grads)
    return grads
