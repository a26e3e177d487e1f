"""Warnings that name the line of the user's code, however deep below it they are found."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["warn"]

_BETWEEN = {"xpnet", "sklearn", "joblib"}  # packages whose code calls ours


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn as of the nearest line that is not of these packages."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
