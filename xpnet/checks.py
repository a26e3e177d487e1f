"""Checks of numbers that callers give."""

from __future__ import annotations

import operator

__all__ = ["positive"]


def positive(where: str, **numbers: int) -> None:
    """Raise an error that names the number that is not whole, or is below 1."""
    for name, number in numbers.items():
        try:
            whole = operator.index(number)
        except TypeError:
            raise TypeError(f"{where}: {name} must be a whole number, got {number!r}") from None
        if whole < 1:
            raise ValueError(f"{where}: {name} must be at least 1, got {number}")
