"""Host numbers: what Python computes before every run of a program.

A learning rate, a bias correction or the number of a draw changes from step to step, and is
computed by Python, in float64, whatever code it takes. While a step is recorded such a number
enters as an input, and the function that computes it is noted: every run calls it again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol, TypeVar

from xpnet.program.lines import refuse

__all__ = ["HostFloat", "HostInt", "as_input", "host", "note_use", "recorder"]

Numbers = TypeVar("Numbers")


class Recorder(Protocol):
    """What host numbers need of a recording."""

    def note_host(self, compute: Callable[[], Any]) -> Any:
        """Call `compute`, now and before every run; return its numbers as inputs."""

    def note_use(self, user: Any) -> None:
        """Refuse a module or optimizer that is none of the step's arguments."""


recorder: ContextVar[Recorder | None] = ContextVar("xpnet_recorder", default=None)


def host(compute: Callable[[], Numbers]) -> Numbers:
    """Return the numbers that a function computes, and again in every run of a program.

    Parameters
    ----------
    compute : callable
        Returns a number, or nested lists, tuples and dicts of numbers, always in the same
        structure. It may count, such as the steps of an optimizer.

    Returns
    -------
    number, or the structure of numbers
        To be handed to functions of arrays as they are: arithmetic on them belongs into
        `compute`.
    """
    recording = recorder.get()
    return compute() if recording is None else recording.note_host(compute)


def note_use(user: Any) -> None:
    """Let a recording refuse a module or optimizer that is none of the step's arguments."""
    recording = recorder.get()
    if recording is not None:
        recording.note_use(user)


def _refuse(self: Any, *others: Any) -> NoReturn:
    refuse(
        "a calculation of Python's with a number that changes from step to step",
        "an optimizer does it in its method numbers, other code in the function it gives to host",
    )


def _or_array(name: str) -> Callable[[Any, Any], Any]:
    """Return an operator that leaves arrays to do it, and refuses numbers."""

    def operate(self: Any, other: Any) -> Any:
        return NotImplemented if hasattr(other, "shape") else _refuse(self)

    operate.__name__ = name
    return operate


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_COMPARE = ("eq", "ne", "lt", "le", "gt", "ge")
_UNARY = (
    *("abs", "bool", "ceil", "complex", "divmod", "float", "floor", "index", "int", "neg", "pos"),
    *("rdivmod", "round", "trunc"),
)
_NAMED = ("as_integer_ratio", "bit_length", "conjugate", "hex", "is_integer")
_methods: dict[str, Any] = {
    **{f"__{stem}__": _or_array(stem) for stem in (*_BINARY, *_COMPARE)},
    **{f"__r{stem}__": _or_array(stem) for stem in _BINARY},
    **{f"__{stem}__": _refuse for stem in _UNARY},
    **dict.fromkeys(_NAMED, _refuse),
    **dict.fromkeys(("real", "imag"), property(_refuse)),
    "__hash__": object.__hash__,
}


class _HostNumber:
    """A number of a recording, which knows its place in the program and does no arithmetic."""

    number: float
    place: int


# Functions of array libraries ask whether a number is one, so these are.
HostFloat: Any = type("HostFloat", (_HostNumber, float), _methods)
HostInt: Any = type("HostInt", (_HostNumber, int), _methods)


def as_input(number: float, place: int) -> Any:
    """Return a number as an input of a program."""
    made = (HostInt if isinstance(number, int) else HostFloat)(number)
    made.number, made.place = number, place
    return made
