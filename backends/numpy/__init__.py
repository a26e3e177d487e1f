"""NumPy: host memory, and the backend that is always there."""

from __future__ import annotations

from typing import Any

from xpnet.backend import Backend

from .. import pip_install  # noqa: F401, TID252 - see there

__all__ = ["NumPyBackend"]


class NumPyBackend(Backend):
    """Arrays of NumPy, and its scalars, which its reductions return in place of 0-d arrays."""

    name = "numpy"
    title = "NumPy"
    package = "numpy"
    install = "pip install numpy"
    auto_priority = 100

    def namespace(self) -> Any:
        """See `Backend.namespace`."""
        import array_api_compat.numpy as xp

        return xp

    def array_types(self, library: Any) -> tuple[type, ...]:
        """See `Backend.array_types`."""
        return (library.ndarray, library.generic)

    def owns(self, array_type: type) -> bool:
        """See `Backend.owns`; matrices and masked arrays compute otherwise than the standard."""
        import numpy as np

        others = (np.matrix, np.ma.MaskedArray)
        return super().owns(array_type) and not issubclass(array_type, others)

    def devices(self) -> list[Any]:
        """See `Backend.devices`."""
        return ["cpu"]

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        """See `Backend.from_host`."""
        if device not in (None, "cpu"):
            raise ValueError(f"NumPy has no device {device!r}; it has: cpu")
        return array.copy()

    def to_host(self, array: Any) -> Any:
        """See `Backend.to_host`."""
        import numpy as np

        return np.array(array)

    def engine(self, program: Any) -> Any:
        """See `Backend.engine`."""
        from . import engine, fast

        reason = fast.unavailable()
        if reason is None:
            try:
                return fast.print_fused(program)
            except fast.Unavailable as error:
                reason = str(error)
        printed = engine.print_planned(program)
        printed.notes.append(f"no kernels: {reason}")
        return printed

    def replay_after(self, *, integers: bool) -> int | None:
        """See `Backend.replay_after`."""
        return 2

    def add_at(self, array: Any, values: Any, positions: Any) -> Any:
        """See `Backend.add_at`."""
        import numpy as np

        np.add.at(array, positions, values)
        return array
