"""CuPy: NVIDIA and AMD GPUs."""

from __future__ import annotations

from typing import Any

from xpnet.backend import Backend

from .. import pip_install  # noqa: TID252 - see there

__all__ = ["CuPyBackend"]


class CuPyBackend(Backend):
    """Arrays of CuPy.

    CuPy imports without a driver and only the first allocation fails, so what counts as usable
    is a device that answers, not an import that works.
    """

    name = "cupy"
    title = "CuPy"
    package = "cupy"
    install = f"{pip_install('cuda12')} (or cuda13, after the driver's CUDA version)"
    auto_priority = 0

    def namespace(self) -> Any:
        """See `Backend.namespace`."""
        import array_api_compat.cupy as xp

        return xp

    def array_types(self, library: Any) -> tuple[type, ...]:
        """See `Backend.array_types`."""
        return (library.ndarray,)

    def devices(self) -> list[Any]:
        """See `Backend.devices`."""
        from cupy import cuda

        count = cuda.runtime.getDeviceCount()  # raises, with the reason, where there is no driver
        return [cuda.Device(index) for index in range(count)]

    def device_name(self, device: Any) -> str:
        """See `Backend.device_name`."""
        return f"cuda:{device.id}"

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        """See `Backend.from_host`."""
        import cupy

        # CuPy ignores `device=` when it creates arrays and follows the current device instead.
        with cupy.cuda.Device() if device is None else device:
            return cupy.array(array)

    def to_host(self, array: Any) -> Any:
        """See `Backend.to_host`."""
        return array.get()

    def engine(self, program: Any) -> Any:
        """See `Backend.engine`: kernels and products, in one graph if that can be."""
        from cupy import cuda

        from xpnet.program.entry import Like

        from . import engine

        if cuda.runtime.is_hip:  # AMD's
            return None
        from .device import CudaDevice

        place = next(like.device for like in program.kinds if isinstance(like, Like))
        return engine.print_launched(program, CudaDevice(place))

    def add_at(self, array: Any, values: Any, positions: Any) -> Any:
        """See `Backend.add_at`."""
        import cupy

        cupy.add.at(array, positions, values)
        return array

    def synchronize(self) -> None:
        """See `Backend.synchronize`."""
        import cupy

        cupy.cuda.get_current_stream().synchronize()
