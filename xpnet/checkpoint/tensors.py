"""One safetensors file: arrays by name, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.errors import DataError, MissingPackageError
from xpnet.transfer import to_host

__all__ = ["DTYPES", "on_host", "pack", "safetensors", "unpack"]

# Those that both the format and the host memory have.
DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
_CODES = {f"{name[0].upper()}{8 * np.dtype(name).itemsize}": name for name in DTYPES[1:]}
_CODES["BOOL"] = DTYPES[0]
_BFLOAT16 = "BF16"
_ARCHIVE = b"PK\x03\x04"  # of PyTorch's pickles, and of other arrays
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
# Bytes. Each tensor of the header becomes a Python object some times its size.
_HEADER = 2**24
_CURE = "take another file, or convert it with the program that wrote it"


def on_host(array: Array, where: str) -> HostArray:
    """Copy an array to host memory, if the format has its dtype."""
    try:
        host = to_host(array)
    except TypeError as error:  # traced, or of a dtype that host memory does not have
        raise TypeError(f"{where}: {error}") from error
    if host.dtype.name not in DTYPES:
        raise TypeError(
            f"{where}: expected an array of dtype {', '.join(DTYPES)}, got {host.dtype.name}; cast "
            "it, or save the real and imaginary parts of complex numbers"
        )
    return host


def pack(
    arrays: dict[str, HostArray], where: str, metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return the content of a file; the order of the arrays does not matter."""
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content: bytes = safetensors().numpy.save(plain, metadata)
    if _header_size(content) > _HEADER:
        raise ValueError(
            f"{where}: expected names and shapes of arrays that take up to {_HEADER} bytes, "
            f"{len(arrays)} arrays take {_header_size(content)}; join small arrays into larger ones"
        )
    return content


def unpack(file: Path) -> dict[str, HostArray]:
    """Read a file, bfloat16 as float32; it takes twice its size, whatever its header says."""
    package = safetensors()
    with file.open("rb") as stream:
        start = stream.read(8)
        header = _header_size(start)
        if start.startswith((_ARCHIVE, *_PICKLES)) and header > _HEADER:
            found = "an archive such as " if start.startswith(_ARCHIVE) else ""
            raise DataError(
                f"load: {file}: expected a safetensors file, found {found}a pickle, which may run "
                "any code and is not read; where PyTorch is, write the weights with "
                "safetensors.torch.save_file(model.state_dict(), path)"
            )
        if start.startswith(b"{") and header > _HEADER:
            raise DataError(
                f"load: {file}: expected a safetensors file, found JSON; if it lists the files of "
                "a model in several parts, load each of those with strict=False"
            )
        if header > _HEADER:
            raise DataError(
                f"load: {file}: expected a safetensors file with a header of up to {_HEADER} "
                f"bytes, found one of {header}; {_CURE}"
            )
        stream.seek(0)
        content = stream.read()
    try:
        tensors = sorted(package.deserialize(content))
        return {name: _array(f"load: {file}", name, **tensor) for name, tensor in tensors}
    except DataError:
        raise
    except (package.SafetensorError, ValueError) as error:
        raise DataError(
            f"load: {file}: expected a safetensors file, found something else ({error}); {_CURE}"
        ) from error


def _array(where: str, name: str, dtype: str, shape: list[int], data: bytearray) -> HostArray:
    """Return one tensor of a file; its dtype and shape are those that the header gives."""
    if dtype == _BFLOAT16:  # the upper halves of float32
        bits = np.ndarray(shape, "<u2", data).astype("<u4")
        bits <<= 16
        return bits.view("<f4")
    if dtype not in _CODES:
        raise DataError(
            f"{where}: expected tensors of dtype {', '.join([*_CODES, _BFLOAT16])}, found "
            f"{name!r} of {dtype}; {_CURE}"
        )
    return np.ndarray(shape, np.dtype(_CODES[dtype]).newbyteorder("<"), data)


def safetensors() -> Any:
    """Import the package that only these files need."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingPackageError(
            "safetensors files: expected the package safetensors, which cannot be imported "
            f'({error}); run: pip install "xpnet[checkpoint]"'
        ) from error
    return safetensors


def _header_size(start: bytes) -> int:
    return int.from_bytes(start[:8], "little")
