"""A folder is replaced as a whole: whatever fails, and whenever, one whole state can be read."""

import builtins
import contextlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import xpnet as xn
from xpnet import checkpoint, nn
from xpnet.checkpoint import folder
from xpnet.errors import DataError

NAMES = ("mkdir", "open", "close", "fsync", "rename", "unlink", "rmdir", "listdir", "lstat", "stat")


class Crash(BaseException):
    """The process is killed."""


def write(path: Path, state: str) -> None:
    folder.write(path, [(folder.STATE, state.encode()), ("model.safetensors", state.encode() * 9)])


def read(path: Path) -> str:
    """Return the state, after checking that all files are of the same one."""

    def reader(found: Path) -> str:
        names = folder.verify(found)
        assert names == {folder.STATE, "model.safetensors"}
        state, model = (folder.read_limited(found / name, 100) for name in sorted(names)[::-1])
        assert model == state * 9
        return state.decode()

    return folder.read(path, reader)


@contextlib.contextmanager
def failing(at: int, error: BaseException, *, forever: bool) -> Iterator[list[str]]:
    """Let the call number `at` into the file system raise, and perhaps all after it.

    A file is opened, half of what is written to it arrives, and it is closed: three calls. Yields
    the names of the calls made so far.
    """
    calls: list[str] = []

    def count(name: str) -> None:
        calls.append(name)
        if len(calls) == at or (forever and len(calls) > at):
            raise error

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count(name)
            return function(*args, **kwargs)

        return call

    class File:
        def __init__(self, *args: Any) -> None:
            count("open file")
            self.file = builtins.open(*args)  # noqa: SIM115

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *args: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, content: bytes) -> None:
            self.file.write(content[: len(content) // 2])
            count("write")
            self.file.write(content[len(content) // 2 :])

    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(folder, "open", File, raising=False)
        yield calls


# The situations in which a new state is written: what is there, and what can be read of it


def fresh(path: Path) -> str | None:
    return None


def replacing(path: Path) -> str | None:
    write(path, "old")
    return "old"


def between_the_renames(path: Path) -> str | None:
    """A process was killed before its second rename."""
    write(path, "lost")
    path.rename(f"{path}.tmp-4194305-00000000")  # there are no processes of such numbers
    other = path.with_name("other than this one")
    write(other, "old")
    other.rename(f"{path}.old")
    return "old"


def before_the_removal(path: Path) -> str | None:
    """A process was killed after its second rename."""
    write(path, "old")  # first, since it cleans up
    other = path.with_name("other than this one")
    write(other, "older")
    other.rename(f"{path}.old")
    return "old"


def while_removing(path: Path) -> str | None:
    write(path, "old")
    other = path.with_name("other than this one")
    write(other, "older")
    (other / "model.safetensors").unlink()
    other.rename(f"{path}.tmp-{os.getpid()}-00000000")  # a number that was used before
    return "old"


def empty(path: Path) -> str | None:
    path.mkdir()
    return None


SITUATIONS = [fresh, replacing, between_the_renames, before_the_removal, while_removing, empty]


def situations() -> Any:
    return pytest.mark.parametrize("situation", SITUATIONS, ids=lambda f: f.__name__)


def calls_needed(path: Path, situation: Any) -> int:
    """Return how many calls into the file system a write needs that nothing disturbs."""
    other = path.with_name("other")
    situation(other)
    with failing(0, Crash(), forever=False) as calls:
        write(other, "new")
    return len(calls)


def found(path: Path) -> str | None:
    try:
        return read(path)
    except (FileNotFoundError, ValueError):
        assert not (path / folder.STATE).exists()  # nothing, or an empty folder
        return None


@situations()
def test_a_write_that_nothing_disturbs(path: Path, situation: Any) -> None:
    situation(path)
    write(path, "new")
    assert read(path) == "new"
    assert os.listdir(path.parent) == [path.name]  # leftovers are gone


@situations()
def test_killed_at_every_call(path: Path, situation: Any) -> None:
    """There is the old state or the new one, and the next write cleans up."""
    seen = []
    for at in range(1, calls_needed(path, situation) + 1):
        here = path.with_name(f"{path.name}-{at}")
        before = situation(here)
        with failing(at, Crash(), forever=True), contextlib.suppress(Crash):
            write(here, "new")
        seen.append(found(here))
        assert seen[-1] in (before, "new")
        write(here, "next")
        assert read(here) == "next"
        assert siblings(here) == set()
    assert seen == sorted(seen, key=lambda state: state == "new")  # once new, always new
    assert {before, "new"} == set(seen)


@pytest.mark.parametrize("situation", [fresh, replacing])
def test_killed_at_every_call_twice(path: Path, situation: Any) -> None:
    """There is the state of before, or one of the two that were written."""
    for first, second in itertools.product(range(5, 40, 3), range(5, 50, 4)):
        here = path.with_name(f"{path.name}-{first}-{second}")
        states = {situation(here), "new", "newer"}
        for at, state in ((first, "new"), (second, "newer")):
            before = found(here)
            with failing(at, Crash(), forever=True), contextlib.suppress(Crash):
                write(here, state)
            assert found(here) in (before, state)
        assert found(here) in states
        assert len(siblings(here)) <= 3
        write(here, "next")
        assert read(here) == "next"
        assert siblings(here) == set()


@situations()
def test_a_disk_that_fails_at_every_call(path: Path, situation: Any) -> None:
    """The old state stays, and there is no litter; or the new one is there."""
    outcomes = []
    for at in range(1, calls_needed(path, situation) + 1):
        here = path.with_name(f"{path.name}-{at}")
        before = situation(here)
        leftovers = siblings(here)
        raised = False
        with failing(at, OSError("the disk is full"), forever=False):
            try:
                write(here, "new")
            except OSError as error:
                raised = str(error) == "the disk is full"
        litter = siblings(here) - leftovers
        if raised and found(here) == before:
            assert litter == set()
        elif raised:  # the new state is there, but it may not have reached the disk
            assert found(here) == "new"
            assert litter <= {f"{here.name}.old"}
        else:  # only removing what is not needed may fail in silence
            assert found(here) == "new"
            assert len(litter) <= 1
        outcomes.append((found(here), raised))
        write(here, "next")
        assert read(here) == "next"
        assert siblings(here) == set()
    assert outcomes.count(("new", True)) == 3  # the folder above cannot be flushed
    assert outcomes.count((before, True)) > 10


def siblings(path: Path) -> set[str]:
    return {name for name in os.listdir(path.parent) if name.startswith(f"{path.name}.")}


def test_what_is_flushed_when(path: Path) -> None:
    """Two files, their checksums and their folder before the rename, the folder above after it."""
    with failing(0, Crash(), forever=False) as calls:
        write(path, "new")
    order = [call for call in calls if call in ("write", "fsync", "rename")]
    assert order == [*["write", "fsync"] * 3, "fsync", "rename", "fsync"]


# What is never removed


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda path: path.write_text("notes"), "a file"),
        (lambda path: path.symlink_to("nowhere"), "a symbolic link"),
        (lambda path: path.symlink_to("other"), "a symbolic link"),
        (lambda path: fill(path, "notes.txt"), "a folder that holds notes.txt"),
        (lambda path: fill(path, "model.safetensors"), "a folder that holds model.safetensors"),
        (lambda path: fill(path, "state.json"), "a folder that holds state.json"),
        (
            lambda path: fill(path, "state.json", "SHA256SUMS", ".notes"),
            r"a folder that holds \.notes",
        ),
        (
            lambda path: fill(path, "state.json", "SHA256SUMS", "config.json", "a", "b"),
            r"a folder that holds a, b, config\.json;",
        ),
        (
            lambda path: fill(path, "state.json", "SHA256SUMS", "x.safetensors/notes"),
            r"a folder that holds x\.safetensors",
        ),
    ],
)
@pytest.mark.parametrize("where", ["last", "last.old"])
def test_what_is_no_checkpoint(path: Path, make: Any, found: str, where: str) -> None:
    write(path.with_name("other"), "other")
    write(path.with_name("last"), "old")
    target = path.with_name(where)
    if target.exists():
        target.rename(path.with_name("moved"))
    make(target)
    before = listing(path.parent)
    message = f"save: expected a checkpoint or nothing at {re.escape(str(target))}, found {found}"
    with pytest.raises(FileExistsError, match=message):
        write(path, "new")
    assert listing(path.parent) == before


def fill(path: Path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("mine")


def listing(path: Path) -> dict[str, Any]:
    """Return everything below a folder."""
    return {
        str(entry.relative_to(path)): (
            os.readlink(entry)
            if entry.is_symlink()
            else None
            if entry.is_dir()
            else entry.read_bytes()
        )
        for entry in path.rglob("*")
    }


def test_leftovers_of_others_stay(path: Path) -> None:
    names = [
        f"last.tmp-{os.getppid()}-00000000",  # a process that is running
        "last.tmp-1-00000000",  # one that belongs to somebody else, perhaps
        "last.tmp-4194305-0000000",
        "last.tmp-4194305-000000000",
        "last.tmp--00000000",
        "xlast.tmp-4194305-00000000",
        "other.tmp-4194305-00000000",
        "last.tmp",
    ]
    for name in names:
        fill(path.with_name(name), "state.json")
    fill(path.with_name("last.tmp-4194305-00000001"), "notes.txt")
    path.with_name("last.tmp-4194305-00000002").write_text("mine")
    gone = ["last.tmp-4194305-00000003", "last.tmp-9999999999-00000000"]
    for name in gone:
        fill(path.with_name(name), "state.json")
    before = listing(path.parent)
    write(path, "new")
    after = listing(path.parent)
    assert {name.partition("/")[0] for name in before.keys() - after.keys()} == set(gone)
    assert (
        after.items() >= {k: v for k, v in before.items() if not k.startswith(tuple(gone))}.items()
    )


def test_a_write_within_a_write(path: Path) -> None:
    """As by a signal handler: both are whole, and the outer one is the last to be done."""

    def files() -> Iterator[tuple[str, bytes]]:
        yield folder.STATE, b"outer"
        write(path, "inner")
        assert read(path) == "inner"
        yield "model.safetensors", b"outer" * 9

    folder.write(path, files())
    assert read(path) == "outer"
    assert os.listdir(path.parent) == [path.name]


def test_an_error_of_what_is_to_be_written(path: Path) -> None:
    def files() -> Iterator[tuple[str, bytes]]:
        yield folder.STATE, b"new"
        raise ValueError("too large")

    write(path, "old")
    with pytest.raises(ValueError, match="too large"):
        folder.write(path, files())
    assert read(path) == "old"
    assert os.listdir(path.parent) == [path.name]


# Several processes

# For each line that it gets, it forks a process that does nothing but save states from that
# number on: only one has to import anything.
SAVER = """if True:
    import itertools, os, sys
    import numpy as np
    import xpnet as xn

    def save(i):
        model.load_state_dict({"weight": np.full((20, 30), 1.0 * i), "bias": np.full(20, 1.0 * i)})
        rng.draws = i
        xn.checkpoint.save(sys.argv[1], model, rng=rng, i=i, more=[np.full(9, i)] * (i % 3))

    model, rng = xn.nn.Linear(30, 20), xn.Generator(0)
    save(0)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            for i in itertools.count(int(line)):
                save(i)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)
"""


class Saver:
    """A process that saves for as long as it is let."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-c", SAVER, str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    @contextlib.contextmanager
    def saving(self, start: int) -> Iterator[None]:
        """Let it save states from number `start` on, and kill it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{start}\n")
        child = int(self.process.stdout.readline())
        try:
            yield
        finally:
            os.kill(child, signal.SIGKILL)
            assert self.process.stdout.readline() == "gone\n"


@pytest.fixture
def saver(path: Path) -> Iterator[Saver]:
    pytest.importorskip("safetensors")
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked")
    saver = Saver(path)
    yield saver
    saver.process.communicate(timeout=60)  # ends its input, and thereby the process
    assert saver.process.returncode == 0


def check(path: Path) -> int:
    """Load what `SAVER` saves, and return the number of the state that all of it is of."""
    model, rng = nn.Linear(30, 20), xn.Generator(0)
    state = checkpoint.load(path, model, rng=rng)
    i = state["i"]
    assert rng.draws == i
    assert len(state["more"]) == i % 3
    for array in [*model.parameters().values(), *state["more"]]:
        assert (array == i).all()
    return int(i)


def test_killed_at_fifty_random_moments(path: Path, saver: Saver) -> None:
    moments = random.Random(0)
    last, went_on = 0, 0
    with saver.saving(1):
        wait_for(lambda: check(path) >= 5)
        began = time.perf_counter()
        wait_for(lambda: check(path) >= 20)
        some = 0.02 + 2 * (time.perf_counter() - began)  # seconds: a start and some of them
    last = check(path)
    for _ in range(50):
        with saver.saving(last + 1):
            time.sleep(moments.uniform(0, some))
        found = check(path)
        assert found >= last  # never a state older than what could be read before
        assert len(siblings(path)) <= 2
        went_on += found > last
        last = found
    assert went_on > 0
    checkpoint.save(path, i=0)
    assert os.listdir(path.parent) == [path.name]


def test_a_reader_meanwhile(path: Path, saver: Saver) -> None:
    """Each load gives all of one state, and none of them is older than the one before."""
    found: list[int] = []

    def enough() -> bool:
        found.append(check(path))
        return len(found) >= 100 and len(set(found)) > 20

    with saver.saving(1):
        wait_for(enough)
    assert found == sorted(found)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait at most a minute, which is long even where many tests share a processor."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it took too long"


def test_a_reader_that_is_always_late(path: Path) -> None:
    write(path, "0")
    states = iter(range(1, 1000))

    def reader(found: Path) -> str:
        state = (found / folder.STATE).read_text()
        write(path, str(next(states)))
        return state

    message = "expected a checkpoint that stays for as long as it takes to read it, found another"
    with pytest.raises(DataError, match=message):
        folder.read(path, reader)
    assert next(states) < 50


# Other systems


def test_where_folders_cannot_be_flushed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where signal 0 ends a process, so that nobody's leftovers are touched."""
    fill(path.with_name("last.tmp-4194305-00000000"), "state.json")
    for name in ("kill", "open"):
        monkeypatch.setattr(os, name, pytest.fail)
    monkeypatch.setattr(folder.os, "name", "nt")
    try:
        folder.write(path, [(folder.STATE, b"new")])
    finally:
        monkeypatch.undo()
    assert siblings(path) == {"last.tmp-4194305-00000000"}
    assert folder.verify(path) == {folder.STATE}


# Removing


def test_removed(path: Path) -> None:
    checkpoint.save(path, epoch=1)
    checkpoint.remove(path)
    checkpoint.remove(path)  # nothing happens where nothing is
    assert list(path.parent.iterdir()) == []


@situations()
def test_removed_with_what_killed_processes_left(path: Path, situation: Any) -> None:
    """It is whole or not there, whenever the removal is killed, and never older."""
    other = path.with_name("other")
    situation(other)
    with failing(0, Crash(), forever=False) as calls:
        checkpoint.remove(other)
    assert os.listdir(path.parent) == []
    for at in range(1, len(calls) + 1):
        here = path.with_name(f"{path.name}-{at}")
        before = situation(here)
        with failing(at, Crash(), forever=True), contextlib.suppress(Crash):
            checkpoint.remove(here)
        assert found(here) in (before, None)
        checkpoint.remove(here)
        assert os.listdir(path.parent) == []


def test_only_a_checkpoint_is_removed(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match=r"remove: expected a checkpoint .*thesis\.txt"):
        checkpoint.remove(path)
    assert (path / "thesis.txt").exists()
