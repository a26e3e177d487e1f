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
from xpnet.wrapping import WrappedArray

__all__ = [
    "HostNumber",
    "OutdatedError",
    "host",
    "note_state",
    "note_use",
    "recorder",
    "refuse_recording",
]

Numbers = TypeVar("Numbers")


class Recorder(Protocol):
    """What host numbers need of a recording."""

    def note_host(self, compute: Callable[[], Any]) -> Any:
        """Call `compute`, now and before every run; return its numbers as inputs."""

    def note_use(self, user: Any) -> None:
        """Refuse a module or optimizer that is none of the step's arguments."""

    def note_state(self, user: Any) -> None:
        """Take arrays that a module or optimizer has just made as what its state starts with."""


class OutdatedError(Exception):
    """Raised by what computes host numbers if its program does not fit any more."""


recorder: ContextVar[Recorder | None] = ContextVar("xpnet_recorder", default=None)


def host(compute: Callable[[], Numbers]) -> Numbers:
    """Return the numbers that a function computes, and again in every run of a program.

    Parameters
    ----------
    compute : callable
        Returns a number, or nested lists, tuples and dicts of numbers, always in the same
        structure. It may count, such as the steps of an optimizer, and it may raise
        `OutdatedError`: then the step is recorded anew.

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


def note_state(user: Any) -> None:
    """Let a recording take arrays that were just made as what the state of `user` starts with."""
    recording = recorder.get()
    if recording is not None:
        recording.note_state(user)


def refuse_recording(what: str, cure: str) -> None:
    """Refuse, while a step is recorded, what its runs would not do again."""
    if recorder.get() is not None:
        refuse(what, cure)


class HostNumber:
    """A number of a recording, which knows its place in the program and does no arithmetic.

    It is no float, because everything written in C takes the value of one, and would freeze it.
    """

    __slots__ = ("number", "place")

    def __init__(self, number: float, place: int) -> None:
        self.number, self.place = number, place

    def __repr__(self) -> str:
        return "<a number that changes from step to step>"


def _refuse(self: HostNumber, *others: Any, **options: Any) -> NoReturn:
    refuse(
        "a calculation of Python's with a number that changes from step to step",
        "an optimizer does it in its method numbers, other code in the function it gives to host",
    )


def _or_array(self: HostNumber, other: Any) -> Any:
    """Leave an operator to arrays that record, and refuse all else."""
    return NotImplemented if isinstance(other, WrappedArray) else _refuse(self)


_OPERATORS = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_BINARY = (*_OPERATORS, *(f"r{stem}" for stem in _OPERATORS), "eq", "ne", "lt", "le", "gt", "ge")
_REFUSED = {*dir(float), *dir(int)} - {*dir(object)}
for _name in (*_REFUSED, "__str__", "__format__", "__hash__", "__array__", "__array_ufunc__"):
    setattr(HostNumber, _name, _refuse)
for _name in ("real", "imag", "numerator", "denominator"):
    setattr(HostNumber, _name, property(_refuse))
for _name in _BINARY:
    setattr(HostNumber, f"__{_name}__", _or_array)
