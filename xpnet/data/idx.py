"""Read the IDX files in which MNIST and data sets like it are published."""

import gzip
import hashlib
import math
import os
import zlib
from contextlib import nullcontext
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from xpnet.errors import DataError

__all__ = ["read_idx"]

_CHUNK = 2**20  # bytes
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(
    path: str | os.PathLike[str], *, max_bytes: int = 2**30, sha256: str | None = None
) -> npt.NDArray[Any]:
    """Read one IDX file, plain or gzip-compressed, into a NumPy array.

    Parameters
    ----------
    path : str or path
        The file. Its leading bytes tell whether it is compressed, not its name.
    max_bytes : int
        The most bytes of array data to accept, 1 GiB by default. The header is checked against
        it before any data is read.
    sha256 : str, optional
        The hexadecimal SHA-256 that the decompressed content, header included, must have.

    Returns
    -------
    array : numpy.ndarray
        C-contiguous, writable, native byte order, of the shape and dtype the header declares
        (uint8, int8, int16, int32, float32 or float64).

    Raises
    ------
    DataError
        If the file is not IDX, is truncated or damaged, goes on after its declared end, declares
        an impossible shape or more than `max_bytes`, or has another checksum than `sha256`.
    OSError
        If the file cannot be read; FileNotFoundError and IsADirectoryError are kinds of it.

    Notes
    -----
    The file starts with two zero bytes, a dtype code and the number of dimensions; then come the
    size of each dimension (int32) and the data, last dimension fastest, everything big-endian.

    Sizes are only claims: data is read piece by piece, so a false header costs no memory, and at
    most one byte past the declared end is asked for, so a gzip bomb stays packed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "labels-idx1-ubyte"
    ...     _ = file.write_bytes(bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(file)
    array([7, 2, 1], dtype=uint8)
    """
    where = f"read_idx: {os.fspath(path)}"
    if Path(path).is_dir():
        raise IsADirectoryError(f"{where}: expected an IDX file, found a directory")
    with open(path, "rb") as raw:
        zipped = raw.peek(2)[:2] == b"\x1f\x8b"
        with gzip.GzipFile(fileobj=raw) if zipped else nullcontext(raw) as stream:
            try:
                return _parse(stream, where, max_bytes, sha256)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise DataError(
                    f"{where}: expected a complete gzip stream, found a damaged one ({error})"
                ) from error


def _parse(
    stream: BufferedIOBase, where: str, max_bytes: int, sha256: str | None
) -> npt.NDArray[Any]:
    """Turn the decompressed bytes into an array."""
    head, dtype, shape = _parse_header(stream, where)
    declared = dtype.itemsize * math.prod(shape)
    what = f"{declared} bytes of data ({dtype.name}, shape {shape})"
    if declared > max_bytes:
        raise DataError(
            f"{where}: expected at most max_bytes={max_bytes}, the header declares {what}; "
            "pass a larger max_bytes if that is right"
        )
    data = bytearray()
    while chunk := stream.read(min(_CHUNK, declared - len(data))):
        data += chunk
    if len(data) < declared:
        raise DataError(f"{where}: expected {what}, found {len(data)}; the file is truncated")
    if stream.read(1):  # at the end of a gzip stream, this also checks its CRC
        raise DataError(f"{where}: expected the end of the file after {what}, found more")
    if sha256 is not None:
        digest = hashlib.sha256(head)
        digest.update(data)
        if digest.hexdigest() != sha256.lower():
            raise DataError(f"{where}: expected sha256 {sha256}, found {digest.hexdigest()}")
    array = np.frombuffer(data, dtype=dtype)  # a bytearray is writable, so nothing is copied
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise DataError(f"{where}: expected a shape NumPy can hold, found {shape}") from error


def _parse_header(
    stream: BufferedIOBase, where: str
) -> tuple[bytes, np.dtype[Any], tuple[int, ...]]:
    """Read the header; return its bytes, and the dtype and shape it declares."""
    head = stream.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES:
        codes = ", ".join(f"{code:#04x}" for code in _DTYPES)
        raise DataError(
            f"{where}: expected an IDX header (two zero bytes, a dtype code out of {codes}, "
            f"the number of dimensions), found {head!r}; is this an IDX file?"
        )
    ndim = head[3]
    sizes = stream.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataError(
            f"{where}: expected {4 * ndim} bytes for the sizes of {ndim} dimensions, "
            f"found {len(sizes)}; the file is truncated"
        )
    shape = tuple(np.frombuffer(sizes, dtype=">i4").tolist())
    if min(shape, default=0) < 0:
        raise DataError(f"{where}: expected sizes of at least 0, found shape {shape}")
    return head + sizes, np.dtype(_DTYPES[head[2]]), shape
