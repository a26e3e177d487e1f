"""A GPU, as the engine sees it: memory, launches and graphs by CuPy."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any, Self

import cupy
from cupy import cuda

from xpnet.program.entry import Like

from .products import WORKSPACE, Product

__all__ = ["CudaDevice"]


class CudaDevice:
    """See `engine.Device`.

    All is launched on the user's current stream, graphs too. If that is another one than before,
    the work of the one before is waited for, since it uses the same memory.
    """

    def __init__(self, device: Any) -> None:
        self._device = device
        self._stream: Any = None
        self._workspace: Any = None

    def __enter__(self) -> Self:
        self._device.__enter__()
        stream = cuda.get_current_stream()
        if self._stream is not None and stream.ptr != self._stream.ptr:
            self._stream.synchronize()
        self._stream = stream
        return self

    def __exit__(self, *error: object) -> None:
        self._device.__exit__(*error)

    @property
    def keeps_nan(self) -> bool:
        """See `engine.Device`."""
        return _keeps_nan(self._device.id)

    def memory(self, size: int) -> Any:
        """See `engine.Device`."""
        return cuda.alloc(max(size, 1))

    def array(self, like: Like, memory: Any) -> Any:
        """See `engine.Device`."""
        below = sum(min(0, s * (n - 1)) for s, n in zip(like.strides, like.shape, strict=True))
        return cupy.ndarray(like.shape, like.dtype, memory - below, like.strides)

    def zeros(self, count: int, dtype: str) -> Any:
        """See `engine.Device`."""
        return cupy.zeros(count, dtype)

    def functions(self, source: str) -> Any:
        """See `engine.Device`."""
        return _Functions(cupy.RawModule(code=source, options=("-std=c++17",)))

    def product(self, x: Like, w: Like, bias: Like | None, relu: bool) -> Callable[..., None]:
        """See `engine.Device`."""
        if self._workspace is None:
            self._workspace = cuda.alloc(WORKSPACE)
        return Product(str(x.dtype), bias is not None, relu, self._workspace.ptr)

    def copy(self, x: Any) -> Any:
        """See `engine.Device`."""
        return x.copy("K")

    def copy_into(self, out: Any, x: Any) -> None:
        """See `engine.Device`."""
        if out.flags.c_contiguous and x.flags.c_contiguous and out.dtype == x.dtype:
            out.data.copy_from_device_async(x.data, x.nbytes)
        else:
            cupy.copyto(out, x)

    def capture(self, function: Callable[[], list[Any]]) -> Graph:
        """See `engine.Device`."""
        return Graph(function)

    def synchronize(self) -> None:
        """See `engine.Device`."""
        self._stream.synchronize()


class _Functions:
    """The functions of a module, by name."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getitem__(self, name: str) -> Callable[..., None]:
        function = self._module.get_function(name)

        def launch(grid: Any, block: Any, arguments: list[Any]) -> None:
            function(grid, block, tuple(arguments))

        return launch


class Graph:
    """What a function launches, captured on a stream and in memory that nobody else uses.

    Memory that is freed during a capture is used again by what follows in the graph, so the pool
    must not give it to others later; it lives as long as the graph.
    """

    def __init__(self, function: Callable[[], list[Any]]) -> None:
        self._last: Any = None  # stream on which it was launched
        self._pool = cuda.MemoryPool()
        self._stream = cuda.Stream(non_blocking=True)
        with self._stream, cuda.using_allocator(self._pool.malloc):
            self._stream.begin_capture()
            try:
                self.outputs = function()
            except BaseException:
                with contextlib.suppress(Exception):  # the capture may be broken as well
                    self._stream.end_capture()
                raise
            self._graph = self._stream.end_capture()

    def launch(self) -> None:
        """Launch it on the current stream."""
        self._last = cuda.get_current_stream()
        self._graph.launch(self._last)

    def __del__(self) -> None:
        if self._last is not None:
            with contextlib.suppress(Exception):  # at the end of the process
                self._last.synchronize()


@functools.cache
def _keeps_nan(device: int) -> bool:
    """Try whether nan that is cut off at zero is still nan: cuBLASLt's documents do not say."""
    x, out = cupy.full((16, 16), cupy.nan, "float32"), cupy.zeros((16, 16), "float32")
    workspace = cuda.alloc(WORKSPACE)
    Product("float32", True, True, workspace.ptr)(x, x, out[0].copy(), out)
    return bool(cupy.isnan(out).all())
