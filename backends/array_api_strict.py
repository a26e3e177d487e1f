"""array-api-strict: the standard and nothing but the standard, for tests."""

from __future__ import annotations

from typing import Any

from xpnet.backend import Backend

from . import pip_install

__all__ = ["StrictBackend"]


class StrictBackend(Backend):
    """Arrays of array-api-strict, on any of its pretended devices."""

    name = "array_api_strict"
    title = "array-api-strict"
    package = "array_api_strict"
    install = pip_install("test")

    def namespace(self) -> Any:
        """See `Backend.namespace`."""
        import array_api_strict as xp

        return xp

    def array_types(self, library: Any) -> tuple[type, ...]:
        """See `Backend.array_types`."""
        return (type(library.empty(0)),)

    def devices(self) -> list[Any]:
        """See `Backend.devices`."""
        devices: list[Any] = self.namespace().__array_namespace_info__().devices()
        return devices

    def device_name(self, device: Any) -> str:
        """See `Backend.device_name`."""
        return "cpu" if device == self.devices()[0] else str(device).split("'")[1]

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        """See `Backend.from_host`."""
        return self.namespace().asarray(array, device=device, copy=True)

    def to_host(self, array: Any) -> Any:
        """See `Backend.to_host`."""
        import numpy as np

        cpu = self.devices()[0]
        return np.array(np.from_dlpack(array.to_device(cpu)))
