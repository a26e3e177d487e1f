"""Compiling loops with Numba; their source and the machine code are kept in files."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.program.loops import Argument, Loops

from . import machine

__all__ = ["Unavailable", "compiled", "folder"]

_NAMES = """\
from numba import carray, cfunc, njit
from numpy import bool_, exp, expm1, float32, float64, inf, int32, int64, log, log1p
from numpy import nan, sqrt, tanh, uint8, uint32


@njit(fastmath={"reassoc"})
def add(x, y):
    return x + y  # sums alone are formed in several parts at once, with vector instructions


"""
_OPTIONS = 'error_model="numpy"'  # the other one checks divisors, and is not vectorised
_LENGTHS = {"full": "(rows, columns)", "row": "rows", "column": "columns", "scalar": "1"}
_DIGEST = 32  # bytes at the beginning of a file


class Unavailable(Exception):  # noqa: N818 - a reason, as `unavailable` returns
    """Numba is installed, is needed to compile, and cannot."""


def folder() -> Path:
    """Return where kernels are kept: ``xpnet/kernels`` in the user's cache folder, if any."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # there is no home
        cache = Path(os.devnull)  # in which nothing can be kept
    return cache / "xpnet" / "kernels"


@functools.cache
def compiled(loops: Loops) -> Callable[..., None]:
    """Return the function ``kernel`` of some loops.

    It takes arrays however they lie in memory, and copies those that the loops cannot read. Where
    the folder cannot be written to it is compiled once in every process.

    Raises
    ------
    Unavailable
        If it was not compiled before, and Numba cannot do so.
    """
    loose = _Loose(loops.arguments)
    if machine.is_usable():
        with contextlib.suppress(RuntimeError):  # of what must stay with Numba, see `_code`
            loose.kernel = machine.callable_of(_code(loops), loops.arguments, loose)
            return loose.kernel
    loose.kernel = _run(*_file(f"@njit({_OPTIONS})\n{loops.source}"))
    with contextlib.suppress(OSError, RuntimeError):  # there is no place for files
        loose.kernel.enable_caching()  # type: ignore[attr-defined]
    return loose


def _code(loops: Loops) -> bytes:
    """Return an object file, from the folder if it is there and whole; nothing if it cannot be."""
    text, path = _file(_entry(loops))
    kept = path.with_suffix(f".{machine.key()}.o")
    with contextlib.suppress(OSError):
        data = kept.read_bytes()
        if data[:_DIGEST] == _digest(kept, data[_DIGEST:]):
            return data[_DIGEST:]
    kernel = _run(text, path)
    try:
        code = machine.emit(kernel.inspect_llvm(), kernel.native_name, loops.arguments)
    except machine.NeedsNumbaError:
        code = b""
    with contextlib.suppress(OSError):
        _write(kept, _digest(kept, code) + code)
    return code


def _digest(path: Path, code: bytes) -> bytes:
    """Return what tells a whole file from others, of other kernels too."""
    return hashlib.sha256(path.name.encode() + code).digest()


def _entry(loops: Loops) -> str:
    """Return the source of a function to which addresses of arrays are given."""
    kinds, views = ["intp", "intp"], []
    for x in loops.arguments:
        dtype = "boolean" if x.dtype == "bool" else x.dtype
        kinds.append(dtype if x.role is None else f"CPointer({dtype})")
        if x.role is not None:
            views.append(f"    {x.name} = carray({x.name}, {_LENGTHS[x.role]})\n")
    head, body = loops.source.split("\n", 1)
    written = ", ".join(x.name for x in loops.arguments if x.is_written)
    return (
        f"# Writes {written}.\n"
        f'@cfunc("intp({", ".join(kinds)})", {_OPTIONS})\n'
        f"{head}\n{''.join(views)}{body}    return 0\n"
    )


def _file(kernel: str) -> tuple[str, Path]:
    """Return the text of a file for a kernel, and where it is kept."""
    text = f"{_NAMES}{kernel}"
    return text, folder() / f"kernel_{hashlib.sha256(text.encode()).hexdigest()[:16]}.py"


def _run(text: str, path: Path) -> Any:
    """Return the kernel that some source defines, and write the source down for people."""
    reason = _import_error()
    if reason is not None:
        raise Unavailable(reason)
    with contextlib.suppress(OSError):
        data = text.encode()
        if not path.exists() or path.read_bytes() != data:
            _write(path, data)  # with a new date, which makes machine code of Numba's out of date
    module: Any = types.ModuleType(f"xpnet_{path.stem}")
    sys.modules[module.__name__] = module  # where Numba looks for it when it loads machine code
    exec(compile(text, str(path), "exec"), vars(module))
    return module.kernel


@functools.cache
def _import_error() -> str | None:
    """Return why Numba cannot compile, or None if it can."""
    try:
        import numba
    except Exception as error:  # of a Numba that does not fit the NumPy that is there, say
        return f"Numba cannot be imported ({type(error).__name__}: {error})"
    return "NUMBA_DISABLE_JIT was set when it was imported" if numba.config.DISABLE_JIT else None


def _write(path: Path, data: bytes) -> None:
    """Write a file, which others see when it is whole; another process may be doing the same."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as file:
        file.write(data)
    try:
        os.replace(file.name, path)
    except OSError:
        os.unlink(file.name)
        raise


class _Loose:
    """Calls a kernel with copies of the arrays that do not lie in memory as it reads them."""

    def __init__(self, arguments: Sequence[Argument]) -> None:
        self.kernel: Callable[..., None]
        self._arguments = arguments

    def __call__(self, rows: int, columns: int, *operands: Any) -> None:
        shapes = {"full": (rows, columns), "row": (rows,), "column": (columns,), "scalar": (1,)}
        whole = [
            x if argument.role is None else _whole(x, argument, shapes[argument.role])
            for x, argument in zip(operands, self._arguments, strict=True)
        ]
        self.kernel(rows, columns, *whole)
        for x, copy, argument in zip(operands, whole, self._arguments, strict=True):
            if argument.is_written and not np.may_share_memory(x, copy):
                x[...] = copy.reshape(x.shape)


def _whole(x: Any, argument: Argument, shape: tuple[int, ...]) -> Any:
    """Return an array, or a copy, as a kernel reads it."""
    array, dtype = np.asarray(x), np.dtype(argument.dtype)
    if not isinstance(x, np.ndarray) or x.dtype != dtype or x.size != math.prod(shape):
        raise TypeError(
            f"kernel: expected an array of {math.prod(shape)} elements of {dtype} as "
            f"{argument.name}, got {f'{x.shape} of {x.dtype}' if hasattr(x, 'dtype') else type(x)}"
        )
    if argument.is_written and not x.flags.writeable:
        raise ValueError(f"kernel: {argument.name}, which it writes to, is read-only")
    if array.dtype is dtype and array.flags.c_contiguous and array.flags.aligned:
        return array.reshape(shape)
    whole = np.empty(shape, dtype)
    whole[...] = array.reshape(shape)
    return whole
