"""The tables that the rules are entered in, and the decorators that enter them.

Every function of the standard is in exactly one of three tables: `RULES`, `ZERO` and `MISSING`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "MISSING",
    "RULES",
    "ZERO",
    "Composed",
    "Many",
    "One",
    "Several",
    "Two",
    "composed",
    "many",
    "missing",
    "one",
    "several",
    "two",
    "zero",
]

F = TypeVar("F", bound=Callable[..., Any])
Pull = Callable[..., Any]


class One(NamedTuple):
    """A function of one array: how to pull a gradient back, and what that takes.

    `options` tells whether it has any besides the array; `arrays`, whether some of them may be
    arrays, by which it has no derivative; `view`, whether its result may share memory with its
    argument, unless an option ``copy`` forbids it; `casts`, whether an option can ask for another
    kind of dtype.
    """

    pull: Pull
    saves_x: bool
    saves_out: bool
    options: bool
    arrays: bool
    view: bool
    casts: bool


class Two(NamedTuple):
    """A function of two arrays, one of which may be a Python scalar.

    `saves_a` and `saves_b` name the values that the gradient of each takes.
    """

    pull: Pull
    saves_a: frozenset[str]
    saves_b: frozenset[str]


class Many(NamedTuple):
    """A function of a list of arrays, none of whose values are saved."""

    pull: Pull


class Several(NamedTuple):
    """A function of one array that returns several."""

    pull: Pull
    saves_x: bool
    saves_outs: bool
    view: bool


class Composed(NamedTuple):
    """A function that is written in terms of others."""

    function: Callable[..., Any]


RULES: dict[str, One | Two | Many | Several | Composed] = {}
ZERO: set[str] = set()
MISSING: set[str] = set()


def _enter(function: Callable[..., Any], rule: One | Two | Many | Several | Composed) -> None:
    name = function.__name__
    if not name.endswith("__"):
        name = name.removesuffix("_")  # `abs_`, `max_` and so on shadow no builtin
    RULES[name] = rule


def one(
    *saves: str, arrays: bool = False, view: bool = False, casts: bool = False
) -> Callable[[F], F]:
    """Enter ``pull(xp, grad, out, x, ...)`` for a function of one array.

    It returns the gradient of `x`; `saves` names those of ``"x"`` and ``"out"`` it reads. The
    others arrive as a stand-in that has a shape and a dtype; where the function has no options,
    which keep both, as None. For `arrays`, `view` and `casts` see `One`.
    """

    def enter(pull: F) -> F:
        options = len(inspect.signature(pull).parameters) > len(("xp", "grad", "out", "x"))
        _enter(pull, One(pull, "x" in saves, "out" in saves, options, arrays, view, casts))
        return pull

    return enter


def two(*, a: str, b: str) -> Callable[[F], F]:
    """Enter ``pull(xp, grad, out, a, b, need_a, need_b)`` for a function of two arrays.

    It returns both gradients, anything for one that is not needed; `a` and `b` name the values
    that the gradient of each takes, out of ``"a b out"``. A function can have one option, which
    `pull` takes last.
    """

    def enter(pull: F) -> F:
        _enter(pull, Two(pull, frozenset(a.split()), frozenset(b.split())))
        return pull

    return enter


def many(pull: F) -> F:
    """Enter ``pull(xp, grad, likes, ...)``, which returns a gradient for each array of a list."""
    _enter(pull, Many(pull))
    return pull


def several(*saves: str, view: bool = False) -> Callable[[F], F]:
    """Enter ``pull(xp, grads, outs, x, ...)`` for a function of one array that returns several.

    It returns the gradient of `x`; `grads` holds None where no gradient arrived, and `saves`
    names those of ``"x"`` and ``"outs"`` it reads. For `view` see `One`.
    """

    def enter(pull: F) -> F:
        _enter(pull, Several(pull, "x" in saves, "outs" in saves, view))
        return pull

    return enter


def composed(function: F) -> F:
    """Enter ``function(xp, base, ...)``, written with functions of the namespace `xp`.

    `base` is the function of the library below, for what need not be traced.
    """
    _enter(function, Composed(function))
    return function


def zero(names: str) -> None:
    """Declare the derivative of these functions to be zero wherever there is one."""
    ZERO.update(names.split())


def missing(names: str) -> None:
    """Declare these functions not to be differentiable: they raise when a gradient arrives."""
    MISSING.update(names.split())
