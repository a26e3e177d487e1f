"""`read_idx` returns what the file holds, and refuses what it does not, at bounded cost."""

import gzip
import hashlib
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xpnet.data.idx import read_idx
from xpnet.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
MIB = 2**20

# Each example rewrites the one file it uses.
reuse_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def header(code: int, *sizes: int) -> bytes:
    return bytes([0, 0, code, len(sizes)]) + struct.pack(f">{len(sizes)}i", *sizes)


def idx_bytes(array: np.ndarray) -> bytes:
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return header(CODES[array.dtype.str[1:]], *array.shape) + big_endian.tobytes()


def write(folder: Path, content: bytes, name: str = "some-idx") -> Path:
    file = folder / name
    file.write_bytes(content)
    return file


def peak_memory(function: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refusal(file: Path, **options: int | str) -> str:
    """Return the message with which the file is refused; it always names the file."""
    with pytest.raises(DataError, match="^read_idx: " + re.escape(str(file))) as caught:
        read_idx(file, **options)
    return str(caught.value)


def read_or_refuse(file: Path) -> np.ndarray | None:
    """Read the file; None if it is refused, with its name in the message."""
    try:
        return read_idx(file, max_bytes=2**62)
    except DataError as error:
        if str(file) not in str(error):
            raise
        return None


# What is read


@reuse_folder
@given(
    array=st.sampled_from(sorted(CODES)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0))
    ),
    zipped=st.booleans(),
)
def test_round_trip_in_every_dtype_and_shape(
    tmp_path: Path, array: np.ndarray, zipped: bool
) -> None:
    content = idx_bytes(array)
    result = read_idx(write(tmp_path, gzip.compress(content) if zipped else content))
    assert result.dtype == array.dtype
    assert result.dtype.isnative
    assert result.flags.c_contiguous
    assert result.flags.writeable
    assert result.flags.aligned
    assert result.shape == array.shape
    assert result.tobytes() == array.tobytes()  # NaN payloads and signed zeros included


def test_values_are_big_endian(tmp_path: Path) -> None:
    file = write(tmp_path, bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFE]))
    np.testing.assert_array_equal(read_idx(file), np.array([258, -2], dtype=np.int16))


def test_name_does_not_decide_on_compression(tmp_path: Path) -> None:
    labels = np.arange(5, dtype=np.uint8)
    plain = write(tmp_path, idx_bytes(labels), "plain.gz")
    packed = write(tmp_path, gzip.compress(idx_bytes(labels)), "packed")
    np.testing.assert_array_equal(read_idx(plain), labels)
    np.testing.assert_array_equal(read_idx(str(packed)), labels)


def test_gzip_stream_of_several_members(tmp_path: Path) -> None:
    labels = np.arange(5, dtype=np.uint8)
    content = idx_bytes(labels)
    file = write(tmp_path, gzip.compress(content[:6]) + gzip.compress(content[6:]))
    np.testing.assert_array_equal(read_idx(file), labels)


def test_result_does_not_share_memory_between_calls(tmp_path: Path) -> None:
    file = write(tmp_path, idx_bytes(np.zeros(3, dtype=np.float32)))
    read_idx(file)[:] = 1
    assert read_idx(file).sum() == 0


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_sha256_is_that_of_the_decompressed_content(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    content = idx_bytes(array)
    file = write(tmp_path, pack(content))
    digest = hashlib.sha256(content).hexdigest()
    np.testing.assert_array_equal(read_idx(file, sha256=digest), array)
    np.testing.assert_array_equal(read_idx(file, sha256=digest.upper()), array)
    message = refusal(file, sha256="0" * 64)
    assert message.endswith(f"expected sha256 {'0' * 64}, found {digest}")


# What is refused


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\x89PNG\r\n\x1a\n",
        b"\0\1\x08\1",
        b"\0\0\x0a\1\0\0\0\0",
        b"<html><body>Not Found</body></html>",
    ],
    ids=["empty", "short", "png", "magic", "dtype", "html"],
)
def test_not_idx(tmp_path: Path, content: bytes) -> None:
    message = refusal(write(tmp_path, content))
    assert (
        "expected an IDX header (two zero bytes, a dtype code out of "
        "0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e, the number of dimensions), "
        f"found {content[:4]!r}; is this an IDX file?"
    ) in message


def test_truncated_sizes(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, header(0x08, 1, 2, 3)[:-5]))
    assert (
        "expected 12 bytes for the sizes of 3 dimensions, found 7; the file is truncated"
    ) in message


def test_truncated_data(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, idx_bytes(np.zeros((2, 3), dtype=np.int16))[:-1]))
    assert (
        "expected 12 bytes of data (int16, shape (2, 3)), found 11; the file is truncated"
    ) in message


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_bytes_after_the_declared_end(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    message = refusal(write(tmp_path, pack(idx_bytes(np.zeros(4, dtype=np.uint8)) + b"!")))
    assert (
        "expected the end of the file after 4 bytes of data (uint8, shape (4,)), found more"
    ) in message


def test_negative_size(tmp_path: Path) -> None:
    message = refusal(write(tmp_path, header(0x08, 4, -1) + b"data"))
    assert "expected sizes of at least 0, found shape (4, -1)" in message


@pytest.mark.parametrize(
    "sizes", [(1,) * 200, (0, 2**31 - 1, 2**31 - 1, 2**31 - 1)], ids=["ndim", "overflow"]
)
def test_shape_beyond_numpy(tmp_path: Path, sizes: tuple[int, ...]) -> None:
    message = refusal(write(tmp_path, header(0x08, *sizes) + b"\0" * (0 not in sizes)))
    assert f"expected a shape NumPy can hold, found {sizes}" in message


def test_larger_than_max_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, idx_bytes(np.zeros((2, 3), dtype=np.float64)))
    assert read_idx(file, max_bytes=48).shape == (2, 3)
    assert (
        "expected at most max_bytes=47, the header declares 48 bytes of data "
        "(float64, shape (2, 3)); pass a larger max_bytes if that is right"
    ) in refusal(file, max_bytes=47)


def test_max_bytes_is_one_gibibyte_by_default(tmp_path: Path) -> None:
    assert "max_bytes=1073741824" in refusal(write(tmp_path, header(0x08, 2**30 + 1)))
    assert "found 0; the file is truncated" in refusal(write(tmp_path, header(0x08, 2**30)))


class TestDamagedGzip:
    content = gzip.compress(idx_bytes(np.arange(100, dtype=np.uint8)))

    @pytest.mark.parametrize(
        ("damaged", "cause"),
        [
            (content[:2], "ended before"),
            (content[:40], "ended before"),
            (content[:-1], "ended before"),
            (content[:-8] + b"\1\2\3\4" + content[-4:], "CRC check failed"),
            (content[:-4] + b"\1\2\3\4", "Incorrect length of data"),
            (content[:2] + b"\x07" + content[3:], "Unknown compression method"),
            (content[:10] + b"\xff" * 40 + content[50:], "invalid block type"),
            (content + b"garbage", "Not a gzipped file"),
        ],
        ids=["magic", "stream", "trailer", "crc", "length", "method", "deflate", "garbage"],
    )
    def test_each_damage_is_reported(self, tmp_path: Path, damaged: bytes, cause: str) -> None:
        message = refusal(write(tmp_path, damaged, "some.gz"))
        assert "expected a complete gzip stream, found a damaged one (" in message
        assert cause in message

    @reuse_folder
    @given(data=st.data())
    def test_any_changed_byte_is_refused_or_harmless(
        self, tmp_path: Path, data: st.DataObject
    ) -> None:
        position = data.draw(st.integers(0, len(self.content) - 1))
        changed = bytearray(self.content)
        changed[position] ^= data.draw(st.integers(1, 255))
        file = write(tmp_path, bytes(changed))
        result = read_or_refuse(file)
        if result is not None:  # some bytes, the time stamp for one, carry no data
            np.testing.assert_array_equal(result, np.arange(100))

    @reuse_folder
    @given(length=st.integers(0, len(content) - 1))
    def test_every_truncation_is_refused(self, tmp_path: Path, length: int) -> None:
        refusal(write(tmp_path, self.content[:length]))


@reuse_folder
@given(tail=st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(tmp_path: Path, tail: bytes) -> None:
    file = write(tmp_path, b"\0\0" + tail)
    result = read_or_refuse(file)
    if result is not None:
        assert idx_bytes(result) == b"\0\0" + tail


# What the published files look like: images and labels, plain, with a known checksum.
PLAIN = {
    "images": idx_bytes(np.arange(18, dtype=np.uint8).reshape(2, 3, 3)),
    "labels": idx_bytes(np.arange(7, dtype=np.uint8)),
    "float": idx_bytes(np.linspace(0, 1, 4).reshape(2, 2)),
}


@pytest.mark.parametrize("kind", PLAIN)
def test_every_truncation_of_a_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    for length in range(len(PLAIN[kind])):
        message = refusal(write(tmp_path, PLAIN[kind][:length]))
        assert "truncated" in message or "expected an IDX header" in message


@pytest.mark.parametrize("kind", PLAIN)
def test_every_flipped_bit_is_refused_or_within_the_data(tmp_path: Path, kind: str) -> None:
    """Without a checksum, what is declared and what is there still have to agree."""
    content = PLAIN[kind]
    shape = read_idx(write(tmp_path, content)).shape
    start = 4 + 4 * len(shape)
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        file = write(tmp_path, bytes(damaged))
        result = read_or_refuse(file)
        if bit // 8 >= start:
            assert result is not None
            assert result.shape == shape
        elif result is not None:  # of another dtype of this size, then
            assert bit // 8 == 2
            assert result.nbytes == len(content) - start


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_every_flipped_bit_is_refused_by_the_checksum(
    tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    content = PLAIN[kind]
    digest = hashlib.sha256(content).hexdigest()
    for bit in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        refusal(write(tmp_path, pack(bytes(damaged))), sha256=digest)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [2**31 - 1, 2**24, -(2**31), 4])
def test_other_sizes_than_there_are(tmp_path: Path, axis: int, size: int) -> None:
    content = bytearray(PLAIN["images"])
    struct.pack_into(">i", content, 4 + 4 * axis, size)
    file = write(tmp_path, bytes(content))
    messages = []
    assert peak_memory(lambda: messages.append(refusal(file))) < 3 * MIB
    expected = "at least 0" if size < 0 else "truncated" if size == 4 else "truncated|max_bytes"
    assert re.search(expected, messages[0])


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent-idx"):
        read_idx(tmp_path / "absent-idx")


def test_directory(tmp_path: Path) -> None:
    expected = f"read_idx: {tmp_path}: expected an IDX file, found a directory"
    with pytest.raises(IsADirectoryError, match="^" + re.escape(expected)):
        read_idx(tmp_path)


# What it costs


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_false_header_costs_no_memory(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    content = header(0x0E, 2**31 - 1, 2**10) + b"\0" * 18
    assert len(content) == 30
    file = write(tmp_path, pack(content))
    message = ""

    def read() -> None:
        nonlocal message
        message = refusal(file, max_bytes=2**62)

    assert peak_memory(read) < 3 * MIB
    assert f"expected {(2**31 - 1) * 2**13} bytes of data" in message
    assert "found 18; the file is truncated" in message


@pytest.mark.parametrize("declared", [10, 2**31 - 1], ids=["past the end", "past max_bytes"])
def test_gzip_bomb_stays_packed(tmp_path: Path, declared: int) -> None:
    packer = zlib.compressobj(level=1, wbits=31)
    pieces = [packer.compress(header(0x08, declared))]
    pieces += [packer.compress(bytes(MIB)) for _ in range(64)]
    file = write(tmp_path, b"".join([*pieces, packer.flush()]))
    assert file.stat().st_size < MIB
    assert peak_memory(lambda: refusal(file)) < 3 * MIB


def test_memory_follows_the_data(tmp_path: Path) -> None:
    file = write(tmp_path, idx_bytes(np.ones(2 * MIB, dtype=np.float64)))
    assert peak_memory(lambda: read_idx(file)) < 1.3 * 16 * MIB
