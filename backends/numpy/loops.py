"""Compiling loops with Numba, from files that are kept, so that the machine code is, too."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["compiled", "folder"]

_NAMES = """\
from numba import njit
from numpy import bool_, empty, exp, expm1, float32, float64, inf, int32, int64, log, log1p
from numpy import nan, sqrt, tanh, uint8, uint32


@njit(fastmath={"reassoc"})
def add(x, y):
    return x + y  # sums alone are formed in several parts at once, with vector instructions


"""


def folder() -> Path:
    """Return where kernels are kept: ``xpnet/kernels`` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "xpnet" / "kernels"


@functools.cache
def compiled(source: str) -> Callable[..., Any]:
    """Return the function ``kernel`` of some source, compiled when it is called.

    Where the folder cannot be written to it is compiled once in every process.
    """
    import numba

    source = _NAMES + source
    path = folder() / f"kernel_{hashlib.sha256(source.encode()).hexdigest()[:16]}.py"
    options: Any = {"error_model": "numpy"}  # the other one checks divisors, and is not vectorised
    try:
        _write(path, source)
        spec: Any = importlib.util.spec_from_file_location(f"xpnet_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where Numba looks for it when it loads machine code
        spec.loader.exec_module(module)
        return numba.njit(module.kernel, cache=True, **options)  # type: ignore[no-any-return]
    except (OSError, RuntimeError):  # Numba's, where it has no place for its files
        scope: dict[str, Any] = {}
        exec(source, scope)
        return numba.njit(scope["kernel"], **options)  # type: ignore[no-any-return]


def _write(path: Path, source: str) -> None:
    """Write a file unless it is there; another process may be doing the same."""
    if path.exists():  # a new date would make its machine code out of date
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(source)
    os.replace(file.name, path)
