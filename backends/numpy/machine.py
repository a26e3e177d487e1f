"""Calling the machine code of kernels without Numba, which takes long to start.

What Numba has compiled is linked with an entry that Python calls like a function written in C. The
entry checks every array and hands addresses on; what does not fit goes to another function.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.metadata
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.program.loops import Argument

__all__ = ["NeedsNumbaError", "callable_of", "emit", "is_usable", "key"]

_KNOWN = frozenset(("memcpy", "memmove", "memset")).union(  # what else the code may call
    *((name, f"{name}f") for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh"))
)
_PYTHON = frozenset(
    ("PyErr_Occurred", "PyFloat_AsDouble", "PyLong_AsLongLong", "PyObject_Vectorcall", "Py_IncRef")
)
_C_CONTIGUOUS, _ALIGNED, _WRITEABLE = 0x1, 0x100, 0x400  # NumPy's flags
_FASTCALL = 0x80  # Python's METH_FASTCALL
# What an entry knows: the other function, None, the type of arrays, the dtype of each argument.
_NONE, _TYPE, _DTYPES = 1, 2, 3
_NUMBERS = {"i64": "PyLong_AsLongLong", "double": "PyFloat_AsDouble"}
_SIZES = {"full": "i64 %full", "row": "i64 %x0", "column": "i64 %x1", "scalar": "i64 1"}


class NeedsNumbaError(RuntimeError):
    """Code calls functions that only Numba has."""


class _Array(ctypes.Structure):
    """NumPy's ``PyArrayObject_fields``, which all modules are compiled with that use NumPy."""

    _fields_ = (
        ("references", ctypes.c_ssize_t),
        ("type", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("ndim", ctypes.c_int),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.c_void_p),
        ("base", ctypes.c_void_p),
        ("dtype", ctypes.c_void_p),
        ("flags", ctypes.c_int),
    )


class _Method(ctypes.Structure):
    """Python's ``PyMethodDef``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_DTYPE = 24  # where a dtype has its kind, character, byte order and number, in 8 bytes

# An array's data if it is what is expected, else null. Dtypes that are equal may be two objects,
# as those that were unpickled.
_SEEN = f"""
define internal ptr @seen(ptr %x, ptr %type, ptr %dtype, i64 %size, i32 %flags) nounwind {{
  %type.at = getelementptr i8, ptr %x, i64 {_Array.type.offset}
  %its.type = load ptr, ptr %type.at
  %is.array = icmp eq ptr %its.type, %type
  br i1 %is.array, label %array, label %no
array:
  %dtype.at = getelementptr i8, ptr %x, i64 {_Array.dtype.offset}
  %its.dtype = load ptr, ptr %dtype.at
  %its.number.at = getelementptr i8, ptr %its.dtype, i64 {_DTYPE}
  %its.number = load i64, ptr %its.number.at
  %number.at = getelementptr i8, ptr %dtype, i64 {_DTYPE}
  %number = load i64, ptr %number.at
  %is.dtype = icmp eq i64 %its.number, %number
  %flags.at = getelementptr i8, ptr %x, i64 {_Array.flags.offset}
  %its.flags = load i32, ptr %flags.at
  %set = and i32 %its.flags, %flags
  %is.set = icmp eq i32 %set, %flags
  %is.plain = and i1 %is.dtype, %is.set
  br i1 %is.plain, label %plain, label %no
plain:
  %ndim.at = getelementptr i8, ptr %x, i64 {_Array.ndim.offset}
  %ndim = load i32, ptr %ndim.at
  %shape.at = getelementptr i8, ptr %x, i64 {_Array.shape.offset}
  %shape = load ptr, ptr %shape.at
  br label %axes
axes:
  %axis = phi i32 [ 0, %plain ], [ %next, %multiply ]
  %its.size = phi i64 [ 1, %plain ], [ %product, %multiply ]
  %all = icmp eq i32 %axis, %ndim
  br i1 %all, label %end, label %multiply
multiply:
  %length.at = getelementptr i64, ptr %shape, i32 %axis
  %length = load i64, ptr %length.at
  %product = mul i64 %its.size, %length
  %next = add i32 %axis, 1
  br label %axes
end:
  %data.at = getelementptr i8, ptr %x, i64 {_Array.data.offset}
  %data = load ptr, ptr %data.at
  %is.size = icmp eq i64 %its.size, %size
  %seen = select i1 %is.size, ptr %data, ptr null
  ret ptr %seen
no:
  ret ptr null
}}
"""

_ENTRY = """
declare i64 @{kernel}({types})
declare i64 @PyLong_AsLongLong(ptr)
declare double @PyFloat_AsDouble(ptr)
declare ptr @PyErr_Occurred()
declare void @Py_IncRef(ptr)
declare ptr @PyObject_Vectorcall(ptr, ptr, i64, ptr)

define ptr @entry(ptr %self, ptr %args, i64 %count) nounwind {{
  %known.at = getelementptr i8, ptr %self, i64 {data}
  %known = load ptr, ptr %known.at
  %is.count = icmp eq i64 %count, {count}
  br i1 %is.count, label %objects, label %other
objects:
  {lines}
  %done = call i64 @{kernel}({given})
  %none.at = getelementptr ptr, ptr %known, i64 {none}
  %none = load ptr, ptr %none.at
  call void @Py_IncRef(ptr %none)
  ret ptr %none
other:
  %function = load ptr, ptr %known
  %result = call ptr @PyObject_Vectorcall(ptr %function, ptr %args, i64 %count, ptr null)
  ret ptr %result
failed:
  ret ptr null
}}
"""


@functools.cache
def is_usable() -> bool:
    """Tell whether Python and NumPy keep arrays as entries expect, and LLVM is there."""
    sizes = {object.__basicsize__, _Array.data.offset}
    if sys.implementation.name != "cpython" or sizes != {16}:
        return False  # as of Python without its lock, or with 32 bits
    try:
        import llvmlite.binding as llvm

        key()
    except (ImportError, OSError, RuntimeError):
        return False
    if llvm.llvm_version_info < (20,):  # what comes with Numba before 0.62 has other functions
        return False
    for array in (np.zeros((2, 3), np.float32), np.zeros((5, 4), np.int64)[::2, 1:].T):
        seen = _Array.from_address(id(array))
        dtype = ctypes.string_at(id(array.dtype) + _DTYPE, 8)
        described = f"{array.dtype.kind}{array.dtype.char}{array.dtype.byteorder}".encode()
        if (
            (seen.type, seen.data, seen.ndim) != (id(np.ndarray), array.ctypes.data, array.ndim)
            or tuple(seen.shape[: array.ndim]) != array.shape
            or (seen.dtype, seen.flags) != (id(array.dtype), array.flags.num)
            or (dtype[:3], dtype[4:]) != (described, array.dtype.num.to_bytes(4, sys.byteorder))
        ):
            return False
    return True


@functools.cache
def key() -> str:
    """Return what machine code depends on besides its source, as a few letters."""
    import llvmlite.binding as llvm

    parts = [
        Path(__file__).read_bytes(),
        *(importlib.metadata.version(name) for name in ("numba", "llvmlite", "numpy")),
        *(sys.implementation.cache_tag, llvm.get_process_triple(), llvm.get_host_cpu_name()),
        llvm.get_host_cpu_features().flatten(),
        sorted(setting for setting in os.environ.items() if setting[0].startswith("NUMBA_")),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def emit(code: str, name: str, arguments: Sequence[Argument]) -> bytes:
    """Return an object file of some code of LLVM's and an entry to its function `name`.

    Raises
    ------
    NeedsNumbaError
        If it needs Numba while it runs.
    RuntimeError
        If LLVM cannot do it.
    """
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    module = llvm.parse_assembly(code)
    head = f'target triple = "{module.triple}"\ntarget datalayout = "{module.data_layout}"\n'
    module.link_in(llvm.parse_assembly(head + _SEEN + _entry(name, arguments)))
    for each in (*module.functions, *module.global_variables):
        if not each.is_declaration and each.name != "entry":
            each.linkage = "internal"
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="static" if target.name.startswith("x86") else "default",  # as Numba does
        codemodel="jitdefault",
        jit=True,
    )
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)  # what is not needed goes
    called = {f.name for f in module.functions if f.is_declaration and "llvm." not in f.name}
    unknown = called - _KNOWN - _PYTHON
    if unknown:
        raise NeedsNumbaError(f"it calls {', '.join(sorted(unknown))}")
    return bytes(machine.emit_object(module))


def _entry(name: str, arguments: Sequence[Argument]) -> str:
    """Return the function that Python calls, which calls the one of this name."""
    types = ["i64", "i64", *map(_type, arguments)]
    lines = []
    for n, kind in enumerate(types):
        lines += [
            f"%o{n}.at = getelementptr ptr, ptr %args, i64 {n}",
            f"%o{n} = load ptr, ptr %o{n}.at",
        ]
        if kind != "ptr":  # numbers come first: these may run Python, which may change arrays
            lines += [
                f"%x{n} = call {kind} @{_NUMBERS[kind]}(ptr %o{n})",
                f"%error{n} = call ptr @PyErr_Occurred()",
                f"%no{n} = icmp ne ptr %error{n}, null",
                f"br i1 %no{n}, label %failed, label %yes{n}",
                f"yes{n}:",
            ]
    lines += [
        "%full = mul i64 %x0, %x1",
        f"%type.at = getelementptr ptr, ptr %known, i64 {_TYPE}",
        "%type = load ptr, ptr %type.at",
    ]
    for n, x in enumerate(arguments, 2):
        if x.role is None:
            continue
        flags = _C_CONTIGUOUS | _ALIGNED | (_WRITEABLE if x.is_written else 0)
        lines += [
            f"%d{n}.at = getelementptr ptr, ptr %known, i64 {_DTYPES + n - 2}",
            f"%d{n} = load ptr, ptr %d{n}.at",
            f"%x{n} = call ptr @seen(ptr %o{n}, ptr %type, ptr %d{n}, {_SIZES[x.role]}, "
            f"i32 {flags})",
            f"%no{n} = icmp eq ptr %x{n}, null",
            f"br i1 %no{n}, label %other, label %yes{n}",
            f"yes{n}:",
        ]
    given = ", ".join(f"{kind} %x{n}" for n, kind in enumerate(types))
    return _ENTRY.format(
        kernel=f'"{name}"',
        types=", ".join(types),
        given=given,
        count=len(types),
        data=_Array.data.offset,
        none=_NONE,
        lines="\n  ".join(lines),
    )


def _type(argument: Argument) -> str:
    """Return the type of LLVM's that an argument is handed on as."""
    if argument.role is not None:
        return "ptr"
    return "i64" if argument.dtype == "int64" else "double"


def callable_of(
    data: bytes, arguments: Sequence[Argument], other: Callable[..., None]
) -> Callable[..., None]:
    """Return what calls the entry of an object file; `other` is called with what does not fit.

    Raises
    ------
    RuntimeError
        If the code needs anything that is not there.
    """
    import llvmlite.binding as llvm

    library = llvm.JITLibraryBuilder().add_object_img(data).add_current_process()
    for name in _PYTHON:
        address = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
        library.import_symbol(name, address)
    code = library.export_symbol("entry").link(_linker(), f"kernel{next(_numbers)}")
    method = _Method(b"kernel", code["entry"], _FASTCALL, None)
    dtypes = [None if x.role is None else np.dtype(x.dtype) for x in arguments]
    known = [other, None, np.ndarray, *dtypes, method, code]  # the last two are kept alive
    array = np.empty(len(known), object)
    for n, each in enumerate(known):
        array[n] = each
    function: Callable[..., None] = _new_function(ctypes.addressof(method), array, None)
    return function


_numbers = itertools.count()
_new_function = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
)(("PyCFunction_NewEx", ctypes.pythonapi))


@functools.cache
def _linker() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(suppress_errors=True)
