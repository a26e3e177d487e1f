"""A damaged, foreign or hostile checkpoint is a clear error, costs little and changes nothing."""

import hashlib
import json
import os
import random
import re
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import checkpoint

pytest.importorskip("safetensors")

MIB = 2**20
FILES = (
    "SHA256SUMS",
    "state.json",
    "model.safetensors",
    "optimizer.safetensors",
    "seen.safetensors",
)
MIXED = "; were files of several checkpoints mixed"
ABSENT = f"found none of this name{MIXED}"


@pytest.fixture
def saved(path: Path, new: Any) -> Path:
    """A checkpoint of a run after two updates, with an array in another part."""
    new(2).save(path, seen={"indices": np.arange(3)}, epoch=1)
    assert {file.name for file in path.iterdir()} == set(FILES)
    return path


def refuse(path: Path, run: Any, file: str, message: str) -> None:
    """Load the checkpoint, which must fail, name the file and a cure, and change nothing."""
    before = run.bits
    with pytest.raises(xn.DataError) as caught:
        run.load(path)
    text = str(caught.value)
    assert text.startswith(f"load: {path / file}: ")
    assert re.search(message, text), text
    assert re.search("(?s)expected .*, found .*; ", text), text
    assert run.bits == before


def renew(path: Path) -> None:
    """Write checksums that fit, as somebody would who wants the files to be believed."""
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n"
        for file in sorted(path.iterdir())
        if file.name != "SHA256SUMS"
    ]
    (path / "SHA256SUMS").write_text("".join(lines))


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change what is in state.json, and its checksum."""
    file = path / "state.json"
    state = json.loads(file.read_text())
    file.write_text(json.dumps(change(state) or state))
    renew(path)


def tensor_file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype: str, shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


# By accident: the checksums find it


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", FILES)
def test_truncated(saved: Path, new: Any, name: str, share: float) -> None:
    file = saved / name
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    message = (
        "a checksum, two spaces and a name" if name == "SHA256SUMS" else "the SHA-256 .* gives"
    )
    refuse(saved, new(1), name, message)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", FILES)
def test_flipped_bits(saved: Path, new: Any, name: str, seed: int) -> None:
    """A single bit each time, at many places."""
    places, file, run = random.Random(seed), saved / name, new(1)
    content = file.read_bytes()
    for _ in range(5):
        damaged = bytearray(content)
        damaged[places.randrange(len(content))] ^= 1 << places.randrange(8)
        file.write_bytes(damaged)
        before = run.bits
        with pytest.raises(xn.DataError, match=f"^load: {re.escape(str(saved))}") as caught:
            run.load(saved)
        assert "SHA256SUMS" in str(caught.value) or "expected this file" in str(caught.value)
        assert run.bits == before


@pytest.mark.parametrize("name", FILES)
def test_missing(saved: Path, new: Any, name: str) -> None:
    (saved / name).unlink()
    refuse(saved, new(1), name, "expected this file, found none; the checkpoint is damaged or not")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_goes_on(saved: Path, new: Any, name: str) -> None:
    with (saved / name).open("ab") as file:
        file.write(b"\0")
    message = "two spaces" if name == "SHA256SUMS" else "the SHA-256"
    refuse(saved, new(1), name, message)


def test_files_of_two_checkpoints(saved: Path, new: Any) -> None:
    other = saved.with_name("other")
    new(3).save(other)
    (other / "model.safetensors").replace(saved / "model.safetensors")
    refuse(saved, new(1), "model.safetensors", "the SHA-256 .* that SHA256SUMS gives, found ")


@pytest.mark.parametrize(
    "content", [b"", b"epoch,loss\n1,0.5\n", b"\x80\x04K\x01."], ids=["empty", "text", "pickle"]
)
def test_a_file_instead_of_a_folder(path: Path, new: Any, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(xn.DataError, match="last: expected the folder of a checkpoint, found a f"):
        new(1).load(path)


def test_another_folder(path: Path, new: Any) -> None:
    path.mkdir()
    (path / "model.safetensors").write_bytes(tensor_file({}))
    refuse(path, new(1), "SHA256SUMS", "expected this file, found none; ")


# On purpose: links, and names that lead out of the folder


@pytest.mark.parametrize("name", FILES)
def test_links(saved: Path, new: Any, name: str) -> None:
    """The target has the right content, and still."""
    (saved / name).rename(saved.with_name("target"))
    (saved / name).symlink_to("../target")
    refuse(saved, new(1), name, "expected a file, found a symbolic link; ")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names")
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("make", ["mkfifo", "mkdir"])
def test_what_is_no_file(saved: Path, new: Any, name: str, make: str) -> None:
    """A pipe would never end."""
    (saved / name).unlink()
    getattr(os, make)(saved / name)
    refuse(saved, new(1), name, "expected a file, found something else; ")


DIGEST = "0" * 64


@pytest.mark.parametrize(
    "line",
    [
        f"{DIGEST}  ../model.safetensors",
        f"{DIGEST}  /etc/passwd",
        f"{DIGEST}  sub/x.safetensors",
        f"{DIGEST}  ..\\x.safetensors",
        f"{DIGEST}  C:x.safetensors",
        f"{DIGEST}  .x.safetensors",
        f"{DIGEST}  SHA256SUMS",
        f"{DIGEST}  x.safetensors\0",
        f"{DIGEST}  x.pkl",
        f"{DIGEST} model.safetensors",
        f"{DIGEST[1:]}  model.safetensors",
        f"{DIGEST}  model.safetensors\r",
        f"{DIGEST}  state.json",  # a second time
        "é",
        "",
    ],
    ids=ascii,
)
def test_lines_that_are_no_checksums(saved: Path, new: Any, line: str) -> None:
    with (saved / "SHA256SUMS").open("a", encoding="utf-8", newline="") as file:
        file.write(f"{line}\n")
    message = "a checksum, two spaces and a name in each line, one of them state.json, found some"
    refuse(saved, new(1), "SHA256SUMS", message)


def test_checksums_without_that_of_the_state(saved: Path, new: Any) -> None:
    sums = saved / "SHA256SUMS"
    sums.write_text("".join(sums.read_text().splitlines(keepends=True)[1:]))
    refuse(saved, new(1), "SHA256SUMS", "one of them state.json, found something else")


def test_too_many_checksums(saved: Path, new: Any) -> None:
    lines = (f"{DIGEST}  x{i}.safetensors\n" for i in range(20000))
    (saved / "SHA256SUMS").write_text("".join(lines))
    refuse(saved, new(1), "SHA256SUMS", "expected at most 1048576 bytes, found more; ")


# On purpose: the JSON, with a checksum that fits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected JSON, found something else .Expecting value"),
        (b"{", "expected JSON, found something else"),
        (b"\xff\xfe\xff", "expected JSON, found something else"),
        (b'{"format": "xpnet checkpoint", "parts": {"a": NaN}}', "NaN is not JSON"),
        (b'{"format": "xpnet checkpoint", "parts": {"a": -Infinity}}', "-Infinity is not JSON"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "expected JSON, .*4300 digits"),
        (b"[" * 200_000, "expected JSON, found something else .*recursion"),
        (b'{"a":' * 200_000, "expected JSON, found something else .*recursion"),
        (b"[1]", '"format": "xpnet checkpoint", found JSON of another kind; was it written by an'),
        (b"null", "found JSON of another kind"),
        (b'{"model_type": "bert"}', "found JSON of another kind"),
        (b'{"format": "xpnet checkpoint"}', '"version": 1 and "parts", found version None and No'),
        (b'{"format": "xpnet checkpoint", "version": 1, "parts": []}', "found version 1 and list"),
        (b'{"format": "xpnet checkpoint", "version": "1", "parts": {}}', "found version '1' and"),
        (b'{"format": "xpnet checkpoint", "version": 0, "parts": {}}', "found version 0 and dict"),
        (
            b'{"format": "xpnet checkpoint", "version": 2, "pieces": []}',
            "expected version 1 of the format, found version 2; it was written by a newer xpnet",
        ),
    ],
    ids=lambda x: repr(x[:60]) if isinstance(x, bytes) else "",
)
def test_another_state(saved: Path, new: Any, content: bytes, message: str) -> None:
    (saved / "state.json").write_bytes(content)
    renew(saved)
    refuse(saved, new(1), "state.json", message)


def test_a_state_that_is_too_large(saved: Path, new: Any) -> None:
    with (saved / "state.json").open("r+b") as file:
        file.truncate(64 * MIB + 1)
    renew(saved)
    refuse(saved, new(1), "state.json", "expected at most 67108864 bytes, found more; ")


def nested(levels: int) -> Any:
    tree: Any = 1
    for _ in range(levels):
        tree = [tree]
    return tree


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        ({"$array": "other"}, f"seen: expected the array 'other', {ABSENT}"),
        ([{"$array": "indices"}] * 2, f"expected the array 'indices' once, found it twice{MIXED}"),
        ({}, f"a reference to each array of the safe.* file, found none to indices{MIXED}"),
        ({"$array": 3}, f"a reference to an array or a float, found one with .* '.array'{MIXED}"),
        ({"$array": ["indices"]}, "a reference to an array or a float"),
        ({"$array": "indices", "x": 1}, r"one with the keys '\$array', 'x'; "),
        ({"x": 1, "$array": "indices"}, r"one with the keys 'x', '\$array'; "),
        ({"$float": "1"}, r"a reference to an array or a float, found one with the keys '\$float'"),
        ({"$float": 1.0}, "a reference to an array or a float"),
        ({"$eval": "1"}, r"found one with the keys '\$eval'"),
        (nested(101), f"seen: expected at most 100 levels, found more{MIXED}"),
    ],
    ids=lambda x: "" if isinstance(x, str) else str(x)[:40],
)
def test_another_tree(saved: Path, new: Any, seen: Any, message: str) -> None:
    rewrite(saved, lambda state: state["parts"].update(seen=seen))
    refuse(saved, new(1), "state.json", message)


def test_arrays_without_a_file(saved: Path, new: Any) -> None:
    (saved / "seen.safetensors").unlink()
    renew(saved)
    refuse(
        saved,
        new(1),
        "state.json",
        f"seen: expected the array 'indices', {ABSENT}",
    )


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "", "a\0b", "x" * 5000])
def test_parts_of_hostile_names(saved: Path, new: Any, name: str) -> None:
    """They are values that are returned; no file is looked for."""
    rewrite(saved, lambda state: state["parts"].update({name: 1}))
    assert new(1).load(saved)[name] == 1
    rewrite(saved, lambda state: state["parts"].update({name: {"$array": "passwd"}}))
    refuse(saved, new(1), "state.json", "the array 'passwd', found none of this name")


# On purpose: the tensors, with a checksum that fits

F32 = tensor("F32", [2], 0, 8)
TENSORS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "found something else"),
    "no length": (b"\0" * 7, "found something else"),
    "pickle": (b"\x80\x04K\x01." + bytes(9), "found a pickle, which may run any code"),
    "zip": (b"PK\3\4" + bytes(96), "found an archive such as a pickle, which may run any code"),
    "index": (b'{"weight_map": {}}', "found JSON; if it lists .* with strict=False"),
    "zeros": (bytes(100), "found something else"),
    "huge header": (tensor_file({}, length=2**63), f"16777216 bytes, found one of {2**63}; take"),
    "large header": (tensor_file({}, length=2**24 + 1), "found one of 16777217; "),
    "header past the end": (tensor_file({}, length=2**20), "found something else .*header"),
    "no JSON": (tensor_file(b"[" * 50000), "found something else .*JSON"),
    "deep JSON": (tensor_file(b'{"a":' * 50000), "found something else .*JSON"),
    "a list": (tensor_file([1]), "found something else .*JSON"),
    "huge tensor": (tensor_file({"x": tensor("F32", [2**40], 0, 2**42)}), "found something else"),
    "overflow": (tensor_file({"x": tensor("F32", [2**62] * 2, 0, 8)}, bytes(8)), "overflow"),
    "empty but huge": (tensor_file({"x": tensor("F32", [0, 2**62], 0, 0)}), "too big"),
    "axes": (tensor_file({"x": tensor("F32", [1] * 100, 0, 4)}, bytes(4)), "dimension"),
    "negative": (tensor_file({"x": tensor("F32", [-2], 0, 8)}, bytes(8)), "found something else"),
    "past the end": (tensor_file({"x": F32}, bytes(4)), "found something else"),
    "rest": (tensor_file({"x": F32}, bytes(9)), "not fully covered"),
    "overlap": (tensor_file({"x": F32, "y": F32}, bytes(8)), "invalid offset"),
    "gap": (tensor_file({"x": tensor("F32", [1], 4, 8)}, bytes(8)), "invalid offset"),
    "reversed": (tensor_file({"x": tensor("F32", [2], 8, 0)}, bytes(8)), "found something else"),
    "float8": (tensor_file({"x": tensor("F8_E4M3", [2], 0, 2)}, bytes(2)), "'x' of F8_E4M3; take"),
    "complex": (tensor_file({"x": tensor("C64", [1], 0, 8)}, bytes(8)), "'x' of C64; take another"),
    "unknown": (tensor_file({"x": tensor("X", [2], 0, 8)}, bytes(8)), "found something else"),
    "metadata": (tensor_file({"__metadata__": {"a": 1}}), "found something else"),
}


@pytest.mark.parametrize("damage", TENSORS)
def test_other_tensors(saved: Path, new: Any, damage: str) -> None:
    content, message = TENSORS[damage]
    (saved / "model.safetensors").write_bytes(content)
    renew(saved)
    refuse(saved, new(1), "model.safetensors", message)


def test_foreign_tensors(saved: Path, new: Any) -> None:
    """Those of another program, in good order."""
    from safetensors.numpy import save_file

    tensors = {"bert.embeddings": np.zeros((2, 3), "float32")}
    save_file(tensors, saved / "model.safetensors", {"format": "pt"})
    renew(saved)
    refuse(
        saved,
        new(1),
        "state.json",
        f"model: expected the array 'scale', {ABSENT}",
    )


def retensor(path: Path, part: str, change: Callable[[dict[str, np.ndarray]], Any]) -> None:
    """Change the tensors of a part, what refers to them, and the checksums."""
    from safetensors.numpy import load_file, save_file

    file = path / f"{part}.safetensors"
    tensors = load_file(file)
    old = set(tensors)
    change(tensors)
    save_file(tensors, file)

    def refer(state: Any) -> None:
        entries = state["parts"][part]
        for name in old - set(tensors):
            del entries[name]
        entries.update({name: {"$array": name} for name in tensors})

    rewrite(path, refer)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (
            "model",
            lambda x: x.update(scale=x["scale"][:1], count=x["count"][None]),
            r"scale: expected shape \(2,\), got \(1,\)\n  count: expected shape \(2,\), got \(1, 2",
        ),
        (
            "model",
            lambda x: x.update(scale=x["scale"].astype("int64")),
            "scale: expected dtype float32, got int64",
        ),
        (
            "model",
            lambda x: x.update(count=x["count"] * 1.5),
            "count: expected dtype int64, got",
        ),
        (
            "model",
            lambda x: x.update(Scale=x.pop("scale")),
            "missing: scale\n  unknown: Scale",
        ),
        (
            "optimizer",
            lambda x: x.update({"scale.mean": np.zeros((9, 9))}),
            r"scale.mean: expected shape \(2,\), got \(9, 9\)",
        ),
        ("optimizer", lambda x: x.pop("scale.mean"), "missing: scale.mean"),
    ],
)
def test_what_does_not_fit(saved: Path, new: Any, part: str, change: Any, message: str) -> None:
    """The model and the optimizer know best what is wrong, and list all of it."""
    retensor(saved, part, change)
    run = new(1)
    before = run.bits
    with pytest.raises(ValueError, match=message) as caught:
        run.load(saved)
    assert caught.value.__notes__ == [f"while loading the part {part!r} of {saved}"]
    assert run.bits == before


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("model", 3),
        ("model", None),
        ("model", "scale"),
        ("model", []),
        ("optimizer", {"steps": -1, "updates": {}}),
        ("optimizer", {"steps": 1, "updates": []}),
        ("optimizer", {"steps": 1, "updates": {"x": 1}}),
        ("optimizer", 3),
        ("optimizer", [[]]),
        ("rng", 3),
        ("rng", {"seed": 1}),
        ("rng", {"seed": 1, "stream": 0, "draws": -1}),
        ("rng", {"seed": 1, "stream": 0, "draws": 2**40}),
        ("rng", {"seed": 1, "stream": 0, "draws": [1]}),
    ],
)
def test_parts_of_another_kind(saved: Path, new: Any, part: str, value: Any) -> None:
    (saved / f"{part}.safetensors").unlink(missing_ok=True)
    rewrite(saved, lambda state: state["parts"].update({part: value}))
    run = new(1)
    before = run.bits
    with pytest.raises(ValueError, match=f"{part}") as caught:  # DataError is one
        run.load(saved)
    if isinstance(caught.value, xn.DataError):
        assert str(caught.value).startswith(f"load: {saved}: {part}: expected what the state_dict")
    else:
        assert caught.value.__notes__ == [f"while loading the part {part!r} of {saved}"]
    assert run.bits == before


# What it costs

LIMITED = """if True:
    import resource, sys
    import xpnet as xn

    xn.checkpoint.load(sys.argv[1])  # imports all there is to import
    [pages] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmSize")]
    most = int(pages) * 1024 + 100 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for folder in sys.argv[2:]:
        try:
            xn.checkpoint.load(folder)
        except xn.DataError:
            print("refused")
        except BaseException as error:
            print(folder, repr(error))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_memory_is_bounded(saved: Path, new: Any) -> None:
    """With 100 MiB to spare, none of these runs out of it."""
    folders = []
    for i, (content, _) in enumerate(TENSORS.values()):
        folder = saved.with_name(f"damaged-{i}")
        new(1).save(folder)
        (folder / "model.safetensors").write_bytes(content)
        renew(folder)
        folders.append(str(folder))
    for i, (name, size) in enumerate([("state.json", 300 * MIB), ("SHA256SUMS", 300 * MIB)]):
        folder = saved.with_name(f"large-{i}")
        new(1).save(folder)
        with (folder / name).open("r+b") as file:
            file.truncate(size)  # sparse: it takes no room
        folders.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(saved), *folders],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stdout.splitlines() == ["refused"] * len(folders)


def test_large_files_are_verified_piece_by_piece(path: Path) -> None:
    checkpoint.save(path, x=np.zeros(8 * MIB, "uint8"))
    file = path / "x.safetensors"
    with file.open("r+b") as stream:
        stream.seek(4 * MIB)
        stream.write(b"\1")
    tracemalloc.start()
    try:
        with pytest.raises(xn.DataError, match=r"x\.safetensors: expected the SHA-256"):
            checkpoint.load(path)
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()
