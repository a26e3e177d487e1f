"""JAX, run eagerly: its arrays cannot be written to, and float64 needs ``JAX_ENABLE_X64=1``."""

from __future__ import annotations

from typing import Any

from xpnet.backend import Backend
from xpnet.program.source import Printed, Printer

from . import pip_install

__all__ = ["JAXBackend"]


class Jitted(Printed):
    """Source that XLA compiles when it runs for the first time.

    State is not donated: Ctrl-C comes when a run has ended and before its results are kept, so the
    model would be lost with the buffers that it had given away, and so it would after an error.
    """

    def function(self) -> Any:
        """See `Printed.function`."""
        import jax

        return jax.jit(super().function())


class JAXBackend(Backend):
    """Arrays of JAX, tracers included."""

    name = "jax"
    title = "JAX"
    package = "jax"
    install = pip_install("jax")

    def namespace(self) -> Any:
        """See `Backend.namespace`."""
        import jax.numpy as xp

        return xp

    def array_types(self, library: Any) -> tuple[type, ...]:
        """See `Backend.array_types`."""
        return (library.Array, library.core.Tracer)

    def devices(self) -> list[Any]:
        """See `Backend.devices`."""
        import jax

        return list(jax.devices())

    def device_name(self, device: Any) -> str:
        """See `Backend.device_name`."""
        return f"{device.platform}:{device.id}"

    def dtype(self, spec: Any) -> Any:
        """See `Backend.dtype`; without 64-bit types JAX would make 32-bit ones and only warn."""
        import jax

        dtype = super().dtype(spec)
        if jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise TypeError(f"JAX has no {_name(dtype)} here: set JAX_ENABLE_X64=1")
        return dtype

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        """See `Backend.from_host`; integers that fit into 32 bits may become 32-bit ones."""
        import jax
        import numpy as np

        dtype = jax.dtypes.canonicalize_dtype(array.dtype)
        fits = dtype == array.dtype or (
            not np.issubdtype(dtype, np.inexact) and np.array_equal(array.astype(dtype), array)
        )
        if not fits:
            raise TypeError(
                f"JAX has no {array.dtype} here: set JAX_ENABLE_X64=1, or give 32-bit data"
            )
        return jax.numpy.array(array, dtype=dtype, device=device)

    def to_host(self, array: Any) -> Any:
        """See `Backend.to_host`."""
        import numpy as np

        return np.array(array)

    def engine(self, program: Any) -> Printed:
        """See `Backend.engine`: the whole program is compiled."""
        printed = Printer(program).print()  # nobody writes to its arrays
        jitted = Jitted(printed.source, printed.scope)
        jitted.engine = "JAX, compiled as a whole by jit"
        return jitted

    def replay_after(self, *, integers: bool) -> int | None:
        """See `Backend.replay_after`; XLA rounds floating-point numbers in its own ways."""
        return 8 if integers else None

    def add_at(self, array: Any, values: Any, positions: Any) -> Any:
        """See `Backend.add_at`."""
        return array.at[positions].add(values)

    def set_at(self, array: Any, values: Any, key: Any) -> Any:
        """See `Backend.set_at`; these arrays cannot be written to."""
        return array.at[key].set(values)


def _name(dtype: Any) -> str:
    import numpy as np

    return str(np.dtype(dtype))
