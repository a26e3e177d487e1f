"""What other programs read and write, and what they expect to find; each part when it is used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.interop import onnx, safetensors, sklearn

__all__ = ["onnx", "safetensors", "sklearn"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Import a part, which may need a package of its own, when it is used for the first time."""
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
