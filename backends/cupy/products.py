"""Products by cuBLASLt, which adds a bias and cuts off what is negative in the same pass.

CuPy refuses its own products while a graph is captured (https://github.com/cupy/cupy/issues/6290),
so they are launched here, by the library that CuPy loads.
"""

from __future__ import annotations

import ctypes
import functools
import os
import weakref
from ctypes import byref, c_double, c_float, c_int, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

__all__ = ["WORKSPACE", "Product", "library"]

WORKSPACE = 32 * 2**20  # bytes, as cuBLAS recommends for its newest devices
# Names and values of cublasLt.h, cublas_api.h and library_types.h.
_TYPES = {"float32": 0, "float64": 1}
_COMPUTE = {"float32": 68, "float64": 70, "tf32": 77}
_TRANSA, _TRANSB, _EPILOGUE, _BIAS_POINTER = 3, 4, 7, 8
_EPILOGUES = {(False, False): 1, (True, False): 4, (True, True): 6}  # bias, relu
_MAX_WORKSPACE, _MIN_ALIGNMENTS = 1, (5, 6, 7, 8)
_NOT_SUPPORTED = 15


class _Found(ctypes.Structure):
    """An algorithm, and what it needs."""

    _fields_ = (
        ("algorithm", c_uint64 * 8),
        ("workspace", c_size_t),
        ("state", c_int),
        ("waves", c_float),
        ("reserved", c_int * 4),
    )


_ARGUMENTS: dict[str, list[Any]] = {
    "Create": [c_void_p],
    "MatmulDescCreate": [c_void_p, c_int, c_int],
    "MatmulDescDestroy": [c_void_p],
    "MatmulDescSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "MatrixLayoutCreate": [c_void_p, c_int, c_uint64, c_uint64, c_int64],
    "MatrixLayoutDestroy": [c_void_p],
    "MatmulPreferenceCreate": [c_void_p],
    "MatmulPreferenceDestroy": [c_void_p],
    "MatmulPreferenceSetAttribute": [c_void_p, c_int, c_void_p, c_size_t],
    "MatmulAlgoGetHeuristic": [*[c_void_p] * 7, c_int, c_void_p, c_void_p],
    "Matmul": [*[c_void_p] * 14, c_size_t, c_void_p],
}


@functools.cache
def library() -> Any:
    """Return cuBLASLt as CuPy loads it."""
    from cuda import pathfinder

    found = ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib("cublasLt").abs_path)
    for name, arguments in _ARGUMENTS.items():
        function = getattr(found, f"cublasLt{name}")
        function.argtypes, function.restype = arguments, c_int
    return found


def _call(name: str, *arguments: Any) -> None:
    status = getattr(library(), f"cublasLt{name}")(*arguments)
    if status:
        raise RuntimeError(f"cublasLt{name} failed with status {status}")


@functools.cache
def _handle(device: int) -> c_void_p:
    """Return the handle for a device, which is the current one."""
    handle = c_void_p()
    _call("Create", byref(handle))
    return handle


class Product:
    """A product of two matrices, and its epilogue, into a third.

    Its operands are contiguous or transposed; how, and at which addresses, is seen when it is
    called.

    Parameters
    ----------
    dtype : str
        float32, computed as TF32 if ``CUPY_TF32=1`` as CuPy's own products are, or float64.
    bias, relu : bool
        What the epilogue does.
    workspace : int
        The address of `WORKSPACE` bytes.
    """

    def __init__(self, dtype: str, bias: bool, relu: bool, workspace: int) -> None:
        self._dtype, self._bias, self._relu = dtype, bias, relu
        self._workspace = workspace
        number = c_double if dtype == "float64" else c_float
        self._one, self._zero = number(1), number(0)
        self._plans: dict[Any, _Plan] = {}

    def __call__(self, x: Any, w: Any, *others: Any) -> None:
        """Launch ``(x, w, out)`` or ``(x, w, bias, out)`` on the current stream."""
        import cupy

        out = others[-1]
        addresses = [array.data.ptr for array in (w, x, out, out)]
        bias = others[0].data.ptr if self._bias else 0  # is read with the alignment of the result
        starts = (*addresses[:3], addresses[3] | bias)
        alignments = tuple(min(256, address & -address) for address in starts)
        straight = tuple(bool(array.flags.c_contiguous) for array in (w, x))
        key = (alignments, straight, x.device.id)
        if key not in self._plans:
            self._plans[key] = self._plan(x.shape, w.shape, *key)
        plan = self._plans[key]
        epilogue = self._bias and plan.is_whole
        if epilogue:
            plan.set(_BIAS_POINTER, c_void_p(bias))
        a, b, c, d = addresses
        one, zero, stream = byref(self._one), byref(self._zero), cupy.cuda.get_current_stream().ptr
        _call(
            "Matmul",
            *(_handle(x.device.id), plan.product, one, a, plan.layouts[0], b, plan.layouts[1]),
            *(zero, c, plan.layouts[2], d, plan.layouts[2], byref(plan.found.algorithm)),
            *(self._workspace, WORKSPACE, stream),
        )
        if self._bias and not epilogue:
            cupy.add(out, others[0], out=out)
            if self._relu:
                cupy.maximum(out, 0, out=out)

    def _plan(self, x: Any, w: Any, alignments: Any, straight: Any, device: int) -> _Plan:
        """Return how to compute it, with its epilogue if the library can."""
        (rows, inner), columns = x, w[1]
        for bias, relu in dict.fromkeys([(self._bias, self._relu), (False, False)]):
            plan = _Plan(self._dtype, rows, inner, columns, straight, _EPILOGUES[bias, relu])
            plan.is_whole = bias == self._bias
            if plan.find(_handle(device), alignments):
                return plan
        raise RuntimeError(f"cublasLt has no product of {x} and {w} of {self._dtype}")


class _Plan:
    """What the library is told of a product: its matrices lie in the order of columns.

    The product of rows is that of the transposed matrices, exchanged; the bias, which it adds to
    each column, is then added to each row.
    """

    def __init__(
        self, dtype: str, rows: int, inner: int, columns: int, straight: Any, epilogue: int
    ) -> None:
        self.is_whole = True
        self.found = _Found()
        tf32 = dtype == "float32" and os.environ.get("CUPY_TF32", "0") not in ("", "0")
        compute = _COMPUTE["tf32" if tf32 else dtype]
        self.product = self._made("MatmulDesc", compute, _TYPES[dtype])
        lie = [(columns, inner), (inner, rows)]
        for attribute, is_straight in zip((_TRANSA, _TRANSB), straight, strict=True):
            self.set(attribute, c_int(not is_straight))
        self.set(_EPILOGUE, c_int(epilogue))
        shapes = [
            shape if is_straight else shape[::-1]
            for shape, is_straight in zip(lie, straight, strict=True)
        ]
        self.layouts = [
            self._made("MatrixLayout", _TYPES[dtype], *shape, shape[0])
            for shape in (*shapes, (columns, rows))
        ]

    def _made(self, name: str, *arguments: Any) -> c_void_p:
        """Return a new descriptor, which is destroyed with this."""
        made = c_void_p()
        _call(f"{name}Create", byref(made), *arguments)
        weakref.finalize(self, getattr(library(), f"cublasLt{name}Destroy"), made)
        return made

    def set(self, attribute: int, value: Any) -> None:
        """Set an attribute of the product."""
        size = ctypes.sizeof(value)
        _call("MatmulDescSetAttribute", self.product, attribute, byref(value), size)

    def find(self, handle: c_void_p, alignments: Any) -> bool:
        """Choose an algorithm for addresses with these alignments; return whether there is one."""
        wishes = self._made("MatmulPreference")
        values = [(_MAX_WORKSPACE, c_size_t(WORKSPACE))]
        values += [
            (name, c_uint32(alignment))  # type: ignore[misc]
            for name, alignment in zip(_MIN_ALIGNMENTS, alignments, strict=True)
        ]
        for name, value in values:
            _call("MatmulPreferenceSetAttribute", wishes, name, byref(value), ctypes.sizeof(value))
        count = c_int()
        a, b, d = self.layouts
        status = library().cublasLtMatmulAlgoGetHeuristic(
            *(handle, self.product, a, b, d, d, wishes, 1, byref(self.found), byref(count))
        )
        if status not in (0, _NOT_SUPPORTED):
            raise RuntimeError(f"cublasLtMatmulAlgoGetHeuristic failed with status {status}")
        return status == 0 and count.value > 0 and self.found.state == 0
