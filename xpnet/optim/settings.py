"""The settings of optimizers: their ranges, and which of them hold for which parameter."""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from xpnet.state import Stateful

__all__ = [
    "Overrides",
    "Rate",
    "check_overrides",
    "check_setting",
    "hint",
    "is_count",
    "keywords",
    "matching",
    "rate_at",
    "unmatched",
]

Rate = float | Callable[[int], float]
Overrides = Mapping[str, Mapping[str, Any]]

# Shares of an old value that is kept: at 1 nothing new would ever be seen.
_SHARES = ("momentum", "alpha", "rho", "decay")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_setting(where: str, name: str, value: Any) -> Any:
    """Return a setting as Python has it, whose numbers promote no dtype, if it is in its range."""
    is_schedule = callable(value) and not isinstance(value, Stateful)
    if isinstance(value, bool) or (name == "learning_rate" and is_schedule):
        return value
    if name == "betas":
        betas = value if isinstance(value, (tuple, list)) else ()
        numbers = tuple(float(beta) for beta in betas if isinstance(beta, Real))
        if len(betas) != 2 or [0 <= number < 1 for number in numbers] != [True, True]:
            raise ValueError(f"{where}: betas must be two numbers in [0, 1), got {value}")
        return numbers
    if not isinstance(value, Real):
        kind, given = "a number", type(value).__name__
        if name == "learning_rate":
            kind = "a number or a schedule"
            if isinstance(value, (Mapping, Stateful)):  # model.parameters(), as PyTorch has it
                given += "; the parameters are those of the model in update(model, grads)"
        raise TypeError(f"{where}: {name} must be {kind}, got {given}")
    number = float(value)
    if name in _SHARES and not 0 <= number < 1:
        raise ValueError(f"{where}: {name} must be in [0, 1), got {value}")
    if not 0 <= number < math.inf:
        raise ValueError(f"{where}: {name} must be finite and not negative, got {value}")
    return number


def check_overrides(
    where: str, overrides: Overrides | None, known: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return a copy of the overrides, if each is of a known setting and in its range."""
    checked: dict[str, dict[str, Any]] = {}
    for pattern, changes in (overrides or {}).items():
        here = f"{where}: overrides[{pattern!r}]"
        if not isinstance(changes, Mapping):
            raise TypeError(
                f"{here} must be a dict from settings to values, got {type(changes).__name__}"
            )
        for name in changes:
            if name not in known:
                raise TypeError(f"{here}: unknown setting {name!r}; {hint(name, known)}")
        checked[pattern] = {name: check_setting(here, name, x) for name, x in changes.items()}
    return checked


@functools.lru_cache(maxsize=4096)
def matching(name: str, *patterns: str) -> tuple[str, ...]:
    """Return those of the patterns that match a name."""
    return tuple(pattern for pattern in patterns if fnmatchcase(name, pattern))


def unmatched(overrides: Overrides, names: Collection[str]) -> list[str]:
    """Return the patterns that match none of these names."""
    return [pattern for pattern in overrides if not any(matching(name, pattern) for name in names)]


def keywords(cls: type, last: type) -> list[str]:
    """Return what a constructor takes, and those of its bases up to `last` if it passes it on."""
    names: dict[str, None] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        names |= dict.fromkeys(p.name for p in parameters if p.kind not in _VARIADIC)
        if base is last or all(p.kind != inspect.Parameter.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def hint(name: str, known: Collection[str]) -> str:
    """Return what may be meant by an unknown name."""
    close = difflib.get_close_matches(name, known, n=1)
    if name == "lr" and "learning_rate" in known:
        close = ["learning_rate"]
    return f"did you mean {close[0]}?" if close else f"expected some of: {', '.join(known)}"


def rate_at(where: str, rate: Rate, step: int) -> float:
    """Return the rate of the update that `step` others came before."""
    found = float(rate(step) if callable(rate) else rate)
    if not 0 <= found < math.inf:
        raise ValueError(
            f"{where}: expected a learning rate that is finite and not negative, got {found} "
            f"from {rate!r} after {step} updates"
        )
    return found


def is_count(number: Any) -> bool:
    """Tell whether this is an integer from 0."""
    return isinstance(number, int) and number >= 0
