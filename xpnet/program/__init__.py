"""Programs: a step that is recorded once, cleaned, printed as source and run many times."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.program.compiled import Compiled, compile  # noqa: A004

__all__ = ["Compiled", "compile"]


def __getattr__(name: str) -> Any:
    """Import when asked: the random numbers need `host` alone, and all of this needs them."""
    if name in __all__:
        return getattr(importlib.import_module("xpnet.program.compiled"), name)
    raise AttributeError(f"module 'xpnet.program' has no attribute {name!r}")
