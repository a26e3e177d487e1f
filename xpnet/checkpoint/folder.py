"""A folder of files that is replaced as a whole, and verified before it is used."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from xpnet.errors import DataError

__all__ = [
    "STATE",
    "TENSORS",
    "check_folder",
    "discard",
    "read",
    "read_limited",
    "replace_file",
    "verify",
    "write",
]

STATE = "state.json"
TENSORS = ".safetensors"
_SUMS = "SHA256SUMS"
_NAME = r"state\.json|[A-Za-z_][A-Za-z0-9_]*\.safetensors"  # leads to no other folder
_LINE = re.compile(rf"([0-9a-f]{{64}}) [ *]({_NAME})\n")
_OURS = re.compile(rf"{_SUMS}|{_NAME}")
_CHUNK = 2**20  # bytes
_MOST_SUMS = 2**20
_MOST_TRIES = 20
_CURE = "the checkpoint is damaged or not one of xpnet; take another one"

_writing: set[str] = set()  # temporary folders of this process that are in use

Result = TypeVar("Result")


# Writing


def write(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Write a folder of these files, with their checksums, in the place of `path`."""
    old = _old(path)
    _check_removable("save", path)
    _check_removable("save", old)
    _sweep(path)
    new = _temporary(path)
    _writing.add(new.name)
    try:
        _fill(new, files)
        if _exists(path):
            if _exists(old):  # from a process that was killed after its second rename,
                _sync(path.parent)  # which may not have reached the disk
                _discard(old, path)
            os.rename(path, old)
        os.rename(new, path)
        _sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            if _exists(old) and not _exists(path):
                os.rename(old, path)
        _remove(new)
        raise
    finally:
        _writing.discard(new.name)
    with contextlib.suppress(OSError):  # what is wanted is there; the next one tries again
        if _exists(old):
            _discard(old, path)


def check_folder(where: str, path: Path) -> None:
    """Refuse a file in a folder that does not exist, before anything is computed."""
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{where}: expected a file in a folder that exists, got {path}; make the folder "
            f"{path.parent} first"
        )


def replace_file(path: Path, content: bytes) -> None:
    """Write one file in the place of `path`; at any moment the old or the new one is there."""
    new = _temporary(path)
    try:
        _write_file(new, content)
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
    _sync(path.parent)


def discard(path: Path) -> None:
    """Remove a checkpoint, if there is one; a part of it is never seen under its name."""
    both = _old(path), path  # in this order: the old one would be read if the other were missing
    for folder in both:
        _check_removable("remove", folder)
    _sweep(path)
    for folder in both:
        if _exists(folder):
            _discard(folder, path)


def _old(path: Path) -> Path:
    return path.with_name(f"{path.name}.old")


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")


def _exists(path: Path) -> bool:
    """Whether there is anything, be it a broken link; not knowing is an error here."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return False
    return True


def _check_removable(where: str, path: Path) -> None:
    """Refuse to remove anything but an empty folder or a checkpoint."""
    if not _exists(path):
        return
    if path.is_symlink():
        found = "a symbolic link"
    elif not path.is_dir():
        found = "a file"
    else:
        names = os.listdir(path)
        others = [name for name in names if not _is_ours(path / name)]
        if not names or (not others and {STATE, _SUMS} <= set(names)):
            return
        found = f"a folder that holds {', '.join(sorted(others or names)[:3])}"
    raise FileExistsError(
        f"{where}: expected a checkpoint or nothing at {path}, found {found}; choose another path, "
        "or move it away"
    )


def _is_ours(file: Path) -> bool:
    return bool(_OURS.fullmatch(file.name)) and stat.S_ISREG(os.lstat(file).st_mode)


def _fill(folder: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Make a folder of these files, on the disk when this returns."""
    os.mkdir(folder)
    sums = ""
    for name, content in files:
        _write_file(folder / name, content)
        sums += f"{hashlib.sha256(content).hexdigest()}  {name}\n"
    _write_file(folder / _SUMS, sums.encode())
    _sync(folder)


def _write_file(file: Path, content: bytes) -> None:
    with open(file, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _discard(folder: Path, path: Path) -> None:
    """Remove what stands for `path`, under a name that the next writer of `path` cleans up."""
    temporary = _temporary(path)
    os.rename(folder, temporary)
    _remove(temporary)


def _remove(temporary: Path) -> None:
    """Remove a temporary folder, unless somebody has put other things into it, if it can be."""
    with contextlib.suppress(OSError):
        files = [temporary / name for name in os.listdir(temporary)]
        if all(map(_is_ours, files)):
            for file in files:
                os.unlink(file)
            os.rmdir(temporary)


def _sweep(path: Path) -> None:
    """Remove the temporary folders of processes that were killed."""
    pattern = re.compile(re.escape(path.name) + r"\.tmp-([0-9]{1,10})-[0-9a-f]{8}")
    for name in os.listdir(path.parent):
        match = pattern.fullmatch(name)
        if match and name not in _writing and not _is_running(int(match[1])):
            _remove(path.with_name(name))


def _is_running(process: int) -> bool:
    """Whether there is another process of this number."""
    if process == os.getpid():  # as in a container that was started again
        return False
    if os.name == "nt":  # where os.kill ends the process, so nothing is known
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


# Reading


def read(path: Path, reader: Callable[[Path], Result]) -> Result:
    """Return what `reader` finds in the folder, of one and the same state of it.

    Another process may replace the folder meanwhile; then `reader` starts again.
    """
    for _ in range(_MOST_TRIES):
        folder = _find(path)
        before = _identity(folder)
        try:
            result = reader(folder)
        except (DataError, FileNotFoundError):
            if before is not None and _identity(folder) == before:
                raise
        else:
            if _identity(folder) == before:
                return result
    raise DataError(
        f"load: {path}: expected a checkpoint that stays for as long as it takes to read it, found "
        f"another one {_MOST_TRIES} times; save less often, or read a copy"
    )


def _find(path: Path) -> Path:
    """Return the folder, or what it was before a process was killed between two renames."""
    for found in (path, _old(path), path):  # the last, should another process be between them
        if found.exists():
            return found
    raise FileNotFoundError(
        f"load: expected a checkpoint at {path}, found nothing; correct the path"
    )


def _identity(folder: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(folder)
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns


def verify(folder: Path) -> set[str]:
    """Return the names of all files of a folder after comparing each with its checksum."""
    if not folder.is_dir():
        raise DataError(f"load: {folder}: expected the folder of a checkpoint, found a file")
    sums = folder / _SUMS
    try:
        lines = read_limited(sums, _MOST_SUMS).decode("ascii").splitlines(keepends=True)
    except UnicodeDecodeError:
        lines = []
    matches = [_LINE.fullmatch(line) for line in lines]
    found = {match[2]: match[1] for match in matches if match}
    if len(found) < len(lines) or STATE not in found:
        raise DataError(
            f"load: {sums}: expected a checksum, two spaces and a name in each line, one of them "
            f"{STATE}, found something else; {_CURE}"
        )
    for name, digest in found.items():
        if (actual := _digest(folder / name)) != digest:
            raise DataError(
                f"load: {folder / name}: expected the SHA-256 {digest} that {_SUMS} gives, found "
                f"{actual}; {_CURE}"
            )
    return set(found)


def read_limited(file: Path, most: int) -> bytes:
    """Return the content of a file of at most so many bytes."""
    _check_is_file(file)
    with open(file, "rb") as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise DataError(f"load: {file}: expected at most {most} bytes, found more; {_CURE}")
    return content


def _digest(file: Path) -> str:
    _check_is_file(file)
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _check_is_file(file: Path) -> None:
    """Refuse what leads out of the folder, and what may never end."""
    try:
        mode = os.lstat(file).st_mode
    except FileNotFoundError as error:
        raise DataError(f"load: {file}: expected this file, found none; {_CURE}") from error
    if not stat.S_ISREG(mode):
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
        raise DataError(f"load: {file}: expected a file, found {kind}; {_CURE}")
