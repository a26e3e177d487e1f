"""The tables that the rules are entered in, and the decorators that enter them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "COMPOSED",
    "MANY",
    "ONE",
    "TWO",
    "ZERO",
    "Rule",
    "composed",
    "many",
    "one",
    "two",
    "zero",
]

F = TypeVar("F", bound=Callable[..., Any])


class Rule(NamedTuple):
    """How to pull a gradient back, and which values that takes."""

    pull: Callable[..., Any]
    saves: tuple[str, ...] = ()
    saves_a: tuple[str, ...] = ()
    saves_b: tuple[str, ...] = ()
    leading: str = ""


ONE: dict[str, Rule] = {}
TWO: dict[str, Rule] = {}
MANY: dict[str, Rule] = {}
ZERO: set[str] = set()
COMPOSED: dict[str, Callable[..., Any]] = {}


def _name(pull: Callable[..., Any]) -> str:
    return pull.__name__.removesuffix("_")  # `abs_`, `max_` and so on shadow no builtin


def one(*saves: str) -> Callable[[F], F]:
    """Enter ``pull(xp, grad, out, x, ...)`` for a function of one array.

    It returns the gradient of `x`; `saves` names those of ``"x"`` and ``"out"`` it reads.
    """

    def enter(pull: F) -> F:
        ONE[_name(pull)] = Rule(pull, saves=saves)
        return pull

    return enter


def two(*, a: str, b: str, leading: str = "") -> Callable[[F], F]:
    """Enter ``pull(xp, grad, out, a, b, need_a, need_b)`` for a function of two arrays.

    It returns both gradients, anything for one that is not needed; `a` and `b` name the values
    that the gradient of each takes, out of ``"a b out"``. An option that comes before the arrays
    is named by `leading`.
    """

    def enter(pull: F) -> F:
        TWO[_name(pull)] = Rule(
            pull, saves_a=tuple(a.split()), saves_b=tuple(b.split()), leading=leading
        )
        return pull

    return enter


def many(pull: F) -> F:
    """Enter ``pull(xp, grad, likes, ...)``, which returns a gradient for each array of a list."""
    MANY[_name(pull)] = Rule(pull)
    return pull


def zero(names: str) -> None:
    """Declare the derivative of these functions to be zero wherever there is one."""
    ZERO.update(names.split())


def composed(function: F) -> F:
    """Enter ``function(xp, base, ...)``, written with functions of the namespace `xp`.

    `base` is the function of the library below, for what need not be traced.
    """
    COMPOSED[_name(function)] = function
    return function
