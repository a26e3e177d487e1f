"""Which line of the user's code is to blame."""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import NoReturn

from xpnet.errors import CompileError

__all__ = ["caller", "refuse"]

_HERE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def caller() -> str:
    """Return file and line of the nearest code that is not xpnet's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_HERE):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return "an unknown line"


def refuse(what: str, cure: str) -> NoReturn:
    """Raise for what a program cannot do, naming the line of the user's code."""
    raise CompileError(
        f"xn.compile: {what}, at {caller()}: a step is recorded once and then run without "
        f"Python, so this would be frozen; {cure}"
    )
