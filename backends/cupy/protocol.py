"""What the engine asks of a device: `device.py` has CuPy's, and the tests one without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

from xpnet.program.entry import Like

__all__ = ["Device"]


class Device(Protocol):
    """What runs the launches of a program; a context in which its arrays can be used."""

    @property
    def keeps_nan(self) -> bool:
        """Whether nan that a product's epilogue cuts off at zero is still nan."""

    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def memory(self, size: int) -> Any:
        """Return so many bytes."""

    def array(self, like: Like, memory: Any) -> Any:
        """Return an array in some memory."""

    def zeros(self, count: int, dtype: str) -> Any:
        """Return a new vector."""

    def functions(self, source: str) -> Mapping[str, Callable[..., None]]:
        """Compile CUDA C; return what ``function(grid, block, arguments)`` launches, by name."""

    def product(self, x: Like, w: Like, bias: Like | None, relu: bool) -> Callable[..., None]:
        """Return what ``product(x, w, out)`` or ``product(x, w, bias, out)`` launches."""

    def copy(self, x: Any) -> Any:
        """Return a copy with memory of its own, which others may use afterwards."""

    def copy_into(self, out: Any, x: Any) -> None:
        """Copy the elements of an array into another one."""

    def capture(self, function: Callable[[], list[Any]]) -> Any:
        """Return a graph of what a function launches; it has `launch` and the list `outputs`."""

    def synchronize(self) -> None:
        """Wait until all is done."""
