"""Kernels as machine code: what they accept, where they are kept, and when Numba stays."""

import importlib.metadata
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, optim
from xpnet.program.loops import Argument, Loops

loops = pytest.importorskip("xpnet_backends.numpy.loops")
machine = pytest.importorskip("xpnet_backends.numpy.machine")

pytestmark = pytest.mark.usefixtures("kernels")

# Adds a column and a number to a matrix in place, and counts that in a single element.
SOURCE = """\
def kernel(rows, columns, a0, a1, a2, b0):
    for i in range(rows):
        for j in range(columns):
            a0[i, j] = a0[i, j] + a1[j] + a2
    b0[0] = b0[0] + 1
"""
ARGUMENTS = (
    Argument("a0", "float32", "full", is_written=True),
    Argument("a1", "float32", "column"),
    Argument("a2", "float64", None),
    Argument("b0", "int64", "scalar", is_written=True),
)
KERNEL = Loops(SOURCE, ARGUMENTS)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "xpnet" / "kernels"


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list that grows with every call whose arrays had to be copied."""
    calls: list[Any] = []
    original = loops._Loose.__call__

    def call(self: Any, *args: Any) -> None:
        calls.append(args)
        original(self, *args)

    monkeypatch.setattr(loops._Loose, "__call__", call)
    return calls


def anew() -> Callable[..., None]:
    """Return the kernel, as a new process does."""
    return loops.compiled.__wrapped__(KERNEL)  # type: ignore[no-any-return]


def check(kernel: Callable[..., None]) -> None:
    a, b = np.zeros((2, 3), np.float32), np.zeros((), np.int64)
    kernel(2, 3, a, np.arange(3, dtype=np.float32), 0.5, b)
    np.testing.assert_array_equal(a, [[0.5, 1.5, 2.5]] * 2)
    assert b == 1


def strided(a: Any) -> Any:
    return np.repeat(a, 2, axis=-1)[..., ::2]


def backwards(a: Any) -> Any:
    return a[::-1].copy()[::-1]


def by_columns(a: Any) -> Any:
    return np.asfortranarray(a) if a.ndim > 1 else strided(a)


def unaligned(a: Any) -> Any:
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:]
    x = memory.view(a.dtype).reshape(a.shape)
    x[...] = a
    assert not x.flags.aligned
    return x


def subclass(a: Any) -> Any:
    class Mine(np.ndarray):
        pass

    return a.view(Mine)


def unpickled(a: Any) -> Any:
    x = pickle.loads(pickle.dumps(a))
    assert x.dtype is not a.dtype
    return x


def in_another_shape(a: Any) -> Any:
    return a[None, ..., None].copy()


def swapped(a: Any) -> Any:
    return a.astype(a.dtype.newbyteorder())


COPIED = (strided, backwards, by_columns, unaligned, subclass)
TAKEN = (np.copy, unpickled, in_another_shape)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("lie", [*COPIED, *TAKEN])
def test_arrays_may_lie_anyhow(lie: Any, which: int, copied: list[Any]) -> None:
    kernel = loops.compiled(KERNEL)
    arrays = [np.ones((3, 4), np.float32), np.arange(4, dtype=np.float32)]
    arrays[which] = lie(arrays[which])
    count = np.zeros(1, np.int64)
    kernel(3, 4, *arrays, 2.0, count)
    kernel(3, 4, *arrays, 2.0, count)
    np.testing.assert_array_equal(arrays[0].reshape(3, 4), [[5, 7, 9, 11]] * 3)
    np.testing.assert_array_equal(arrays[1].reshape(4), np.arange(4))
    assert count == 2
    assert len(copied) == (2 if lie in COPIED else 0)


def test_what_is_read_may_be_read_only_and_what_is_written_may_not(copied: list[Any]) -> None:
    kernel = loops.compiled(KERNEL)
    a, x, count = np.zeros((3, 4), np.float32), np.ones(4, np.float32), np.zeros(1, np.int64)
    x.flags.writeable = False
    kernel(3, 4, a, x, 1.0, count)
    assert not copied
    a.flags.writeable = False
    with pytest.raises(ValueError, match="kernel: a0, which it writes to, is read-only"):
        kernel(3, 4, a, x, 1.0, count)
    assert (a == 2).all()
    assert count == 1


@pytest.mark.parametrize("usable", [True, False])
def test_what_cannot_be_is_refused(usable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "is_usable", lambda: usable)
    kernel = anew()
    a, x, count = np.zeros((3, 4), np.float32), np.ones(4, np.float32), np.zeros(1, np.int64)
    for arguments, message in (
        ((4, 4, a, x, 1.0, count), "expected an array of 16 elements of float32 as a0"),
        ((3, 5, a, x, 1.0, count), "expected an array of 15 elements of float32 as a0"),
        ((2, 6, a, x, 1.0, count), "expected an array of 6 elements of float32 as a1"),
        ((3, 4, a, a, 1.0, count), r"of 4 elements of float32 as a1, got \(3, 4\) of float32"),
        ((3, 4, a, x.astype("f8"), 1.0, count), "of float32 as a1, got .* of float64"),
        ((3, 4, a, swapped(x), 1.0, count), "of float32 as a1, got .* of >f4"),
        ((3, 4, a, x.view("i4"), 1.0, count), "of float32 as a1, got .* of int32"),
        ((3, 4, a, x, 1.0, count.view("u8")), "of int64 as b0, got .* of uint64"),
        ((3, 4, a, x, 1.0, np.zeros(0, "i8")), "of 1 elements of int64 as b0, got"),
        ((3, 4, a, None, 1.0, count), "as a1, got <class 'NoneType'>"),
        ((3, 4, a, 7, 1.0, count), "as a1, got <class 'int'>"),
        ((3, 4, a, x.tobytes(), 1.0, count), "as a1, got <class 'bytes'>"),
    ):
        with pytest.raises(TypeError, match=message):
            kernel(*arguments)
    for few in ((3, 4, a, x, 1.0), (3, 4, a, x, 1.0, count, count)):
        with pytest.raises(ValueError, match="argument"):
            kernel(*few)
    assert not a.any()
    assert not count


def test_a_number_that_is_none() -> None:
    kernel = loops.compiled(KERNEL)
    a, x, count = np.zeros((3, 4), np.float32), np.ones(4, np.float32), np.zeros(1, np.int64)
    with pytest.raises(TypeError, match="must be real number, not str"):
        kernel(3, 4, a, x, "1", count)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        kernel(3.0, 4, a, x, 1.0, count)
    with pytest.raises(OverflowError):
        kernel(2**64, 4, a, x, 1.0, count)
    assert not a.any()
    for number in (1, True, np.float32(1), np.int64(1), np.bool_(1)):
        kernel(3, 4, a, x, number, count)
    assert (a == 10).all()


def test_calls_leave_no_references() -> None:
    kernel = loops.compiled(KERNEL)
    a, x, count = np.zeros((3, 4), np.float32), np.ones(4, np.float32), np.zeros(1, np.int64)
    number, none = 0.125, sys.getrefcount(None)
    before = [sys.getrefcount(each) for each in (a, x, number, count)]
    for _ in range(1000):
        kernel(3, 4, a, x, number, count)
        kernel(3, 4, a[:, ::-1], x, number, count)
    assert [sys.getrefcount(each) for each in (a, x, number, count)] == before
    assert abs(sys.getrefcount(None) - none) < 500


@pytest.mark.parametrize("lie", [*COPIED, unpickled])
def test_inputs_of_a_step_may_lie_otherwise_than_when_it_was_recorded(lie: Any) -> None:
    @xn.compile
    def step(x: Any, y: Any, z: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.exp(x * y) + z, xp.sum(x - y, axis=0), xp.mean(x * z)

    x, y, z = (np.random.default_rng(n).normal(size=(6, 5)) for n in range(3))
    expected = step(x, y, z)
    with np.errstate(all="raise"):
        for arrays in ((lie(x), y, z), (x, lie(y), lie(z)), (x, y, z)):
            for a, b in zip(expected, step(*arrays), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-12)
    if lie is not subclass:
        assert step.recordings == 1
        assert "kernel" in step.source


@pytest.mark.parametrize("lie", [*COPIED, unpickled])
def test_gradients_may_lie_anyhow(lie: Any, copied: list[Any]) -> None:
    def updated(change: Any) -> Any:
        model, optimizer = nn.Linear(4, 3, rng=xn.Generator(0)), optim.Adam(0.1)
        for n in range(8):
            grads = {
                name: (change if n > 4 else np.copy)(np.full(x.shape, 0.1 + n, x.dtype))
                for name, x in model.state_dict().items()
            }
            optimizer.update(model, grads)
        return model.state_dict()

    with xn.use_backend("numpy"):
        expected = updated(np.copy)
        assert not copied
        for name, x in updated(lie).items():
            np.testing.assert_allclose(x, expected[name], rtol=1e-6)
    assert bool(copied) == (lie in COPIED and lie is not subclass)


def files(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == kind)


def test_source_and_machine_code_are_kept(empty_folder: Path) -> None:
    check(anew())
    [source], [code] = files(empty_folder, ".py"), files(empty_folder, ".o")
    assert "    for i in range(rows):\n        for j in range(columns):\n" in source.read_text()
    text, before = source.read_text(), (source.stat().st_mtime_ns, code.stat().st_mtime_ns)
    check(anew())
    assert before == (source.stat().st_mtime_ns, code.stat().st_mtime_ns)
    source.write_text(text.replace("+ a2", "- a2"))
    code.unlink()
    check(anew())
    assert source.read_text() == text
    assert len(list(empty_folder.iterdir())) == 2


def test_damaged_machine_code_is_not_run(empty_folder: Path) -> None:
    check(anew())
    [code] = files(empty_folder, ".o")
    whole = code.read_bytes()
    for damaged in (whole[:-100], whole[:10], b"", whole[:500] + b"?" + whole[501:]):
        code.write_bytes(damaged)
        check(anew())
        assert len(code.read_bytes()) == len(whole)


def test_machine_code_of_another_kernel_is_not_run(empty_folder: Path) -> None:
    check(anew())
    [code] = files(empty_folder, ".o")
    other = Loops(SOURCE.replace("+ a2", "- a2"), ARGUMENTS)
    loops.compiled.__wrapped__(other)
    [others] = set(files(empty_folder, ".o")) - {code}
    code.write_bytes(others.read_bytes())
    check(anew())
    assert code.read_bytes() != others.read_bytes()


def test_machine_code_of_another_machine_is_not_run(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(anew())
    machine.key.cache_clear()
    before = machine.key()
    monkeypatch.setenv("NUMBA_OPT", "2")
    machine.key.cache_clear()
    assert machine.key() != before
    check(anew())
    machine.key.cache_clear()
    assert len(files(empty_folder, ".o")) == 2
    assert len(files(empty_folder, ".py")) == 1


def test_a_folder_that_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check(anew())
    monkeypatch.setattr(machine, "is_usable", lambda: False)
    check(anew())


def test_a_file_that_cannot_be_replaced_leaves_no_other(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*paths: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "replace", refuse)
    check(anew())
    assert list(empty_folder.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="the home is another variable there")
def test_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    check(anew())


def test_what_needs_numba_while_it_runs_stays_with_it(empty_folder: Path) -> None:
    source = "def kernel(rows, columns, a0):\n    if rows < 1:\n        raise ValueError(columns)\n"
    raises = Loops(f"{source}    a0[0] = rows\n", (Argument("a0", "float64", "scalar", True),))
    x = np.zeros(1)
    for _ in range(2):
        kernel = loops.compiled.__wrapped__(raises)
        kernel(3, 1, x)
        assert x[0] == 3
        assert isinstance(kernel, loops._Loose)
        with pytest.raises(ValueError, match="7"):
            kernel(0, 7, x)
    [code] = files(empty_folder, ".o")
    assert len(code.read_bytes()) == 32
    assert sum(kernel.kernel.stats.cache_hits.values()) == 1


def test_where_arrays_are_kept_otherwise_numba_stays(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usable = machine.is_usable.__wrapped__
    assert usable()
    for owner, name, other in (
        (sys.implementation, "name", "pypy"),
        (machine, "_DTYPE", 16),
        (machine._Array, "flags", machine._Array.base),
        (machine, "key", lambda: importlib.metadata.version("none such")),
    ):
        with monkeypatch.context() as context:
            context.setattr(owner, name, other)
            assert not usable()
    monkeypatch.setattr(machine, "is_usable", lambda: False)
    kernel = anew()
    check(kernel)
    assert isinstance(kernel, loops._Loose)


SCRIPT = """
import os, sys
import numpy as np
import xpnet as xn
from xpnet import nn, optim

def run():
    xn.seed(0)
    model, optimizer = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)), optim.Adam(0.1)

    def loss_fn(model, x):
        return xn.array_namespace(x).mean(model(x) ** 2)

    @xn.compile
    def step(model, optimizer, x):
        loss, grads = xn.value_and_grad(loss_fn)(model, x)
        optimizer.update(model, grads)
        return loss

    for _ in range(3):
        loss = step(model, optimizer, np.ones((5, 4), np.float32))
    return float(loss), step.source.count("kernel")

first = run()
child = os.fork() if hasattr(os, "fork") else None
assert run() == first
if child == 0:
    os._exit(0)
if child is not None:
    assert os.waitpid(child, 0)[1] == 0
print(*first, "numba" in sys.modules)
"""


def test_processes(empty_folder: Path) -> None:
    """Two compile at the same time; a third one, and its child, do without Numba."""
    paths = os.pathsep.join([str(Path(xn.__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT]  # of os.fork

    def start() -> Any:
        pipes: Any = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, env=environment, text=True, **pipes)

    def finish(process: Any) -> list[str]:
        out, err = process.communicate()
        assert process.returncode == 0, err
        assert not err
        return out.split()  # type: ignore[no-any-return]

    both = [start(), start()]
    first, second = map(finish, both)
    assert first == second
    assert int(first[1]) > 2
    assert first[2] == "True"
    assert finish(start()) == [*first[:2], "False"]
