"""One safetensors file: arrays by name, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from xpnet._typing import HostArray
from xpnet.errors import DataError, MissingPackageError

__all__ = ["DTYPES", "pack", "safetensors", "unpack"]

# Those that both the format and the host memory have.
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
# Bytes. Each tensor of the header becomes a Python object some times its size.
_HEADER = 2**24


def pack(arrays: dict[str, HostArray], where: str) -> bytes:
    """Return the content of a file; the order of the arrays does not matter."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content: bytes = safetensors().numpy.save(plain)
    if _header_size(content) > _HEADER:
        raise ValueError(
            f"{where}: expected names and shapes of arrays that take up to {_HEADER} bytes, "
            f"{len(arrays)} arrays take {_header_size(content)}; join small arrays into larger ones"
        )
    return content


def unpack(file: Path) -> dict[str, HostArray]:
    """Read a file; no more memory is needed than it has bytes, whatever its header says."""
    package = safetensors()
    with file.open("rb") as stream:
        header = _header_size(stream.read(8))
    if header > _HEADER:
        raise DataError(
            f"load: {file}: expected a safetensors file with a header of up to {_HEADER} bytes, "
            f"found one of {header}; was it written by another program?"
        )
    try:
        with package.safe_open(file, framework="np") as opened:
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    # The last three for what the header may say but host memory does not have.
    except (package.SafetensorError, ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"load: {file}: expected the safetensors file of a checkpoint, found something else "
            f"({error}); was it written by another program?"
        ) from error
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise DataError(
                f"load: {file}: expected tensors of dtype {', '.join(DTYPES)}, found {name!r} of "
                f"{array.dtype.name}; was it written by another program?"
            )
    return arrays


def safetensors() -> Any:
    """Import the package that only checkpoints need."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingPackageError(
            f"checkpoints: expected the package safetensors, which cannot be imported ({error}); "
            'run: pip install "xpnet[checkpoint]"'
        ) from error
    return safetensors


def _header_size(start: bytes) -> int:
    return int.from_bytes(start[:8], "little")
