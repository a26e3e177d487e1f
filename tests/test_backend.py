"""How a backend is found and chosen, and what is said about one that cannot be used."""

import asyncio
import contextvars
import importlib
import importlib.util
import os
import platform
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import backend as selecting
from xpnet.backend import Backend, discover, registry

CPU_HINT = "To run on the CPU: XPNET_BACKEND=numpy"


class Fake(Backend):
    """Makes NumPy arrays, remembers for which device, and fails where it is told to."""

    title = "Fake"
    package = "json"  # any package that is there
    install = "pip install fake-arrays"

    def __init__(self, name: str, namespace: Any = None, devices: Any = ("fast:0", "fast:1")):
        self.name = name
        self._namespace = namespace
        self._devices = devices
        self.uploads: list[Any] = []

    def namespace(self) -> Any:
        if isinstance(self._namespace, Exception):
            raise self._namespace
        return discover()["numpy"].namespace()

    def array_types(self, library: Any) -> tuple[type, ...]:
        return ()

    def devices(self) -> list[Any]:
        if isinstance(self._devices, Exception):
            raise self._devices
        return list(self._devices)

    def from_host(self, array: Any, *, device: Any = None) -> Any:
        self.uploads.append(device)
        return array.copy()

    def to_host(self, array: Any) -> Any:
        return array.copy()


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Choose nothing, and forget what earlier tests made of the environment."""
    for name in ("XPNET_BACKEND", "XPNET_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    caches = (selecting._auto, selecting._from_environment)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    """Return a function that registers a fake backend for the length of the test."""

    def add(name: str = "fake", *, package: str = "json", priority: int | None = None, **kwargs):
        fake = Fake(name, **kwargs)
        fake.package, fake.auto_priority = package, priority
        monkeypatch.setitem(registry(), name, fake)
        return fake

    return add


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs Python afresh; folders in `path` come first on its path."""

    def run(*args: str, path: Path | None = None, **variables: str) -> Any:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("XPNET_")}
        folders = [str(path)] if path else []
        if "PYTHONPATH" in kept:
            folders.append(kept.pop("PYTHONPATH"))
        if folders:
            variables["PYTHONPATH"] = os.pathsep.join(folders)
        return subprocess.run(
            [sys.executable, *args],
            env={**kept, **variables},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes modules into a folder, which it returns."""
    folder = tmp_path / "site"

    def add(**modules: str) -> Path:
        for name, source in modules.items():
            file = folder / f"{name}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(textwrap.dedent(source), encoding="utf-8")
        return folder

    return add


@pytest.fixture
def distribution(write: Callable[..., Path]) -> Callable[..., Path]:
    """Return a function that installs a third party's package as pip would."""

    def add(entry_points: dict[str, str], **modules: str) -> Path:
        folder = write(**modules)
        info = folder / "toy-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n")
        lines = [f"{name} = {value}" for name, value in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[xpnet.backends]", *lines, ""]))
        return folder

    return add


def chosen() -> str:
    return xn.get_backend().name


# Precedence


def test_numpy_where_nobody_chooses() -> None:
    assert chosen() == "numpy"
    assert type(xn.asarray([1.0])) is np.ndarray


def test_the_environment_beats_the_default(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = register()
    monkeypatch.setenv("XPNET_BACKEND", "fake")
    assert xn.get_backend() is fake
    xn.asarray([1.0])
    assert fake.uploads == [None]


@pytest.mark.parametrize("name", ["XPNET_BACKEND", "XPNET_DEVICE"])
def test_an_empty_variable_is_as_good_as_none(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    assert chosen() == "numpy"


def test_use_backend_beats_the_environment(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setenv("XPNET_BACKEND", "fake")
    monkeypatch.setenv("XPNET_DEVICE", "fast:1")  # of the backend above, not of this one
    with xn.use_backend("numpy"):
        assert chosen() == "numpy"
    assert chosen() == "fake"


def test_arrays_passed_in_beat_every_choice(lib: Any, register: Callable[..., Fake]) -> None:
    layer, x, fake = xn.nn.Linear(2, 3), lib.asarray([[1.0, 2.0]], "float32"), register()
    with xn.use_backend("fake"):
        total = xn.value_and_grad(lambda layer, x: xn.array_namespace(x).sum(layer(x)))
        _, grads = total(layer, x)
    lib.close(grads["weight"], [[1.0, 2.0]] * 3)
    assert fake.uploads == []


def test_blocks_nest_and_restore_also_after_an_error(register: Callable[..., Fake]) -> None:
    outer, inner = register("outer"), register("inner")

    def fail() -> None:
        with xn.use_backend("inner") as entered:
            assert entered is inner
            raise KeyError(chosen())

    with xn.use_backend("outer") as entered:
        assert entered is outer
        with pytest.raises(KeyError, match="inner"):
            fail()
        assert chosen() == "outer"
    assert chosen() == "numpy"


def test_a_call_holds_from_here_on(register: Callable[..., Fake]) -> None:
    register()

    def program() -> list[str]:
        before = chosen()
        xn.use_backend("fake")
        names = [before, chosen()]
        with xn.use_backend("numpy"):
            names.append(chosen())
        return [*names, chosen()]

    assert contextvars.Context().run(program) == ["numpy", "fake", "numpy", "fake"]


def test_a_block_also_undoes_the_calls_inside_it(register: Callable[..., Fake]) -> None:
    register()
    with xn.use_backend("numpy"):
        xn.use_backend("fake")
        assert chosen() == "fake"
    assert chosen() == "numpy"


def test_threads_choose_for_themselves(register: Callable[..., Fake]) -> None:
    register()
    seen = []

    def work() -> None:
        seen.append(chosen())
        xn.use_backend("fake")
        seen.append(chosen())

    thread = threading.Thread(target=contextvars.Context().run, args=(work,))
    with xn.use_backend("numpy"):
        thread.start()
        thread.join()
        seen.append(chosen())
    assert seen == ["numpy", "fake", "numpy"]


def test_tasks_choose_for_themselves(register: Callable[..., Fake]) -> None:
    register()

    async def task(name: str) -> str:
        with xn.use_backend(name):
            await asyncio.sleep(0)  # the other one enters its block
            return chosen()

    async def both() -> list[str]:
        return list(await asyncio.gather(task("fake"), task("numpy")))

    assert asyncio.run(both()) == ["fake", "numpy"]


def test_get_backend_by_name_chooses_nothing(register: Callable[..., Fake]) -> None:
    fake = register()
    assert xn.get_backend("fake") is fake
    assert chosen() == "numpy"


# Devices


def test_where_new_arrays_are_made(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = register(devices=("fast:0", "fast:1", "fast:2"))
    monkeypatch.setenv("XPNET_BACKEND", "fake")
    xn.asarray(1.0)
    monkeypatch.setenv("XPNET_DEVICE", "fast:1")
    xn.asarray(1.0)
    xn.asarray(1.0, device="fast:2")  # an explicit argument beats all
    with xn.use_backend("fake"):  # the device of the environment is not this block's
        xn.asarray(1.0)
    with xn.use_backend("fake", "fast:0"):
        xn.asarray(1.0)
    with xn.use_backend("fake", device := object()):
        xn.asarray(1.0)
    assert fake.uploads == [None, "fast:1", "fast:2", None, "fast:0", device]


def test_an_unknown_device_lists_those_there_are(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    message = "Fake has no device 'slow:0'; it has: fast:0, fast:1"
    with pytest.raises(ValueError, match=message):
        xn.use_backend("fake", "slow:0")
    with xn.use_backend("fake"), pytest.raises(ValueError, match=message):
        xn.asarray(1.0, device="slow:0")
    monkeypatch.setenv("XPNET_BACKEND", "fake")
    monkeypatch.setenv("XPNET_DEVICE", "slow:0")
    with pytest.raises(ValueError, match=message):
        xn.asarray(1.0)


# The four causes for which a backend cannot be used

CAUSES = {
    "unknown name": (None, r"no backend is called 'fake'\. Known: .*\bnumpy\b.*, auto$"),
    "not installed": (
        {"package": "no_such_package_anywhere"},
        r"Fake is not installed\. Install: pip install fake-arrays\. " + CPU_HINT,
    ),
    "import failed": (
        {"namespace": ImportError("libfast.so.1: no such file")},
        r"Fake is installed but cannot be imported \(ImportError: libfast\.so\.1: no such file\)\. "
        r"Reinstall: pip install fake-arrays\. " + CPU_HINT,
    ),
    "no device": (
        {"devices": RuntimeError("the driver is too old")},
        r"Fake is installed but has no device to run on "
        r"\(RuntimeError: the driver is too old\)\. Check the device and its driver\. " + CPU_HINT,
    ),
}


@pytest.mark.parametrize("cause", CAUSES)
@pytest.mark.parametrize("way", ["use_backend", "get_backend", "environment"])
def test_causes_are_told_apart(
    way: str, cause: str, register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, message = CAUSES[cause]
    if broken is not None:
        register(**broken)
    ask, source = {
        "use_backend": (lambda: xn.use_backend("fake"), r"use_backend\('fake'\): "),
        "get_backend": (lambda: xn.get_backend("fake"), "backend 'fake': "),
        "environment": (lambda: xn.asarray(1.0), "XPNET_BACKEND=fake: "),
    }[way]
    if way == "environment":
        monkeypatch.setenv("XPNET_BACKEND", "fake")
    with pytest.raises(xn.BackendError, match=f"^{source}{message}") as caught:
        ask()
    assert caught.value.cause == cause
    monkeypatch.delenv("XPNET_BACKEND", raising=False)
    assert chosen() == "numpy"


def test_an_empty_list_of_devices_is_no_device(register: Callable[..., Fake]) -> None:
    register(devices=())
    with pytest.raises(xn.BackendError, match=r"no device to run on \(it found none\)") as caught:
        xn.get_backend("fake")
    assert caught.value.cause == "no device"


def test_an_error_is_not_remembered(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = register(devices=())
    monkeypatch.setenv("XPNET_BACKEND", "fake")
    with pytest.raises(xn.BackendError, match="no device"):
        xn.get_backend()
    fake._devices = ["fast:0"]
    assert xn.get_backend() is fake


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("numpy", "pip install numpy"),
        ("cupy", 'pip install "xpnet[cuda12]" (or cuda13'),
        ("torch", 'pip install "xpnet[torch]"'),
        ("jax", 'pip install "xpnet[jax]"'),
        ("array_api_strict", 'pip install "xpnet[test]"'),
    ],
)
def test_the_command_that_installs_it(
    name: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    problem = discover()[name].unusable()
    assert problem.cause == "not installed"
    assert f"is not installed. Install: {command}" in str(problem)


def test_cupy_without_a_device(python: Callable[..., Any]) -> None:
    if importlib.util.find_spec("cupy") is None:
        pytest.skip("CuPy is not installed")
    if discover()["cupy"].unusable() is None:
        pytest.skip("CuPy has a device here")
    code = """if True:
        import xpnet as xn
        try:
            xn.asarray([1.0])
        except xn.BackendError as error:
            print(error.cause, error, sep="\\n")
    """
    cause, message = python("-c", code, XPNET_BACKEND="cupy").stdout.splitlines()
    assert cause == "no device"
    assert message.startswith(
        "XPNET_BACKEND=cupy: CuPy is installed but has no device to run on (CUDARuntimeError: cuda"
    )
    assert message.endswith(f"Check the device and its driver. {CPU_HINT}")


def test_available_are_those_that_can_be_used(register: Callable[..., Fake]) -> None:
    register("good")
    register("missing", package="no_such_package_anywhere")
    register("broken", namespace=ImportError("no luck"))
    register("idle", devices=())
    names = xn.available_backends()
    assert "numpy" in names
    assert {"good", "missing", "broken", "idle"} & set(names) == {"good"}
    for name in names:
        assert xn.get_backend(name).unusable() is None


# auto


def test_auto_takes_the_first_that_can_be_used_and_says_so_once(
    register: Callable[..., Fake],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    register("never")  # has no priority
    register("second", priority=-1)
    register("first", priority=-3, devices=())
    register("absent", priority=-2, package="no_such_package_anywhere")
    monkeypatch.setenv("XPNET_BACKEND", "auto")
    monkeypatch.setenv("XPNET_DEVICE", "fast:1")
    xn.asarray([1.0])
    xn.asarray([1.0])
    with xn.use_backend("auto", "fast:0"):
        assert chosen() == "second"
    assert xn.get_backend("auto").uploads == ["fast:1", "fast:1"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "xpnet: auto chose second (first: no device; absent: not installed)\n"


def test_auto_with_nothing_to_choose_from(
    register: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in discover().values():
        monkeypatch.setattr(type(backend), "auto_priority", None)
    register(priority=1, devices=())
    with pytest.raises(xn.BackendError, match="no backend is usable; see: python -m xpnet info"):
        xn.get_backend("auto")


def test_auto_falls_back_to_the_cpu(python: Callable[..., Any]) -> None:
    code = "import xpnet as xn; print([type(xn.asarray(1.0)).__module__ for _ in range(2)])"
    done = python("-W", "error", "-c", code, XPNET_BACKEND="auto", CUDA_VISIBLE_DEVICES="")
    why = "not installed" if importlib.util.find_spec("cupy") is None else "no device"
    assert done.stdout == "['numpy', 'numpy']\n"
    assert done.stderr == f"xpnet: auto chose numpy (cupy: {why})\n"


@pytest.mark.gpu
def test_auto_takes_the_gpu(python: Callable[..., Any]) -> None:
    problem = discover()["cupy"].unusable()
    if problem is not None:
        pytest.skip(str(problem))
    code = "import xpnet as xn; print(xn.asarray(1.0).device)"
    done = python("-c", code, XPNET_BACKEND="auto", XPNET_DEVICE="cuda:0")
    assert done.stdout == "<CUDA Device 0>\n"
    assert "xpnet: auto chose cupy\n" in done.stderr


# A third party's backend

TOY = """
    # NumPy behind another array class: the least that a library has to be.
    import operator
    import sys

    import array_api_compat.numpy as xp

    __version__ = "1.0"


    class Array:
        __array_ufunc__ = None  # NumPy's operators then leave the operation to ours

        def __init__(self, value):
            self.value = xp.asarray(value)

        shape = property(lambda self: self.value.shape)
        ndim = property(lambda self: self.value.ndim)
        dtype = property(lambda self: self.value.dtype)
        device = "toybox"
        T = property(lambda self: Array(self.value.T))

        def __array_namespace__(self, *, api_version=None):
            return sys.modules[__name__]

        def __getitem__(self, key):
            return Array(self.value[unwrap(key)])


    def unwrap(x):
        if isinstance(x, (list, tuple)):
            return type(x)(map(unwrap, x))
        return x.value if isinstance(x, Array) else x


    def wrapped(function):
        def call(*args, **options):
            options.pop("device", None)
            options = {key: unwrap(x) for key, x in options.items()}
            out = function(*unwrap(args), **options)
            if isinstance(out, (list, tuple)):
                return type(out)(map(Array, out))
            return Array(out) if hasattr(out, "shape") else out

        return call


    BINARY = "add sub mul truediv floordiv mod pow matmul and_ or_ xor eq ne lt le gt ge"
    for name in BINARY.split():
        method = wrapped(getattr(operator, name))
        stem = name.strip("_")
        setattr(Array, f"__{stem}__", method)
        setattr(Array, f"__r{stem}__", lambda self, other, method=method: method(other, self))
    for name in ("neg", "invert", "abs"):
        setattr(Array, f"__{name}__", wrapped(getattr(operator, name)))
    Array.__float__ = lambda self: float(self.value)


    def __getattr__(name):
        found = getattr(xp, name)
        return wrapped(found) if callable(found) and not isinstance(found, type) else found
"""

TOY_BACKEND = """
    import xpnet as xn


    class ToyBackend(xn.Backend):
        name = "toy"
        title = "Toy"
        package = "toy"
        install = "pip install toy"

        def namespace(self):
            import toy

            return toy

        def array_types(self, library):
            return (library.Array,)

        def devices(self):
            return ["toybox"]

        def from_host(self, array, *, device=None):
            return self.namespace().Array(array.copy())

        def to_host(self, array):
            return array.value.copy()
"""


def test_a_third_party_backend_trains_a_step(
    distribution: Callable[..., Path], python: Callable[..., Any]
) -> None:
    site = distribution({"toy": "toy_backend:ToyBackend"}, toy=TOY, toy_backend=TOY_BACKEND)
    code = """if True:
        import numpy as np
        import xpnet as xn

        model = xn.nn.Sequential(xn.nn.Linear(2, 2))
        model.load_state_dict({"0.weight": np.zeros((2, 2)), "0.bias": np.zeros(2)})
        x, y = xn.asarray([[1.0, 2.0]]), xn.asarray([1])

        def loss_fn(model, x, y):
            return xn.losses.cross_entropy(model(x), y)

        loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
        xn.optim.SGD(1.0).update(model, grads)
        arrays = [x, y, loss, *grads.values(), *model.parameters().values()]
        print({type(array).__module__ for array in arrays})
        print(float(loss))
        print([xn.to_host(array).tolist() for array in model.parameters().values()])
    """
    done = python("-W", "error", "-c", code, path=site, XPNET_BACKEND="toy", XPNET_DEVICE="toybox")
    assert done.stderr == ""
    modules, loss, parameters = done.stdout.splitlines()
    assert modules == "{'toy'}"
    assert float(loss) == pytest.approx(0.6931472, rel=1e-6)  # log 2: two equal scores
    # The probabilities are 0.5, so the gradient is (0.5, -0.5) times the inputs and 1.
    assert parameters == "[[[-0.5, -1.0], [0.5, 1.0]], [-0.5, 0.5]]"


BROKEN = {
    "raises": ("broken:Backend", "raise OSError('no luck')", r"OSError: no luck"),
    "absent": ("nowhere_to_be_found:Backend", "", r"ModuleNotFoundError: No module named 'nowhere"),
    "nameless": ("broken:Backend", "x = 1", r"AttributeError: module 'broken' has no attribute"),
    "abstract": (
        "broken:Part",
        "from xpnet import Backend\nclass Part(Backend): pass",
        "TypeError: ",
    ),
    "foreign": ("broken:Backend", "class Backend: pass", "TypeError: "),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_adapter_breaks_only_itself(
    kind: str, distribution: Callable[..., Path], python: Callable[..., Any]
) -> None:
    entry, source, reason = BROKEN[kind]
    site = distribution({"broken": entry}, broken=source)
    code = """if True:
        import xpnet as xn
        print(xn.asarray(2.0))
        try:
            xn.use_backend("broken")
        except xn.BackendError as error:
            print(error.cause, error, sep=": ")
    """
    done = python("-W", "error", "-c", code, path=site)
    assert done.stderr == ""
    number, said = done.stdout.splitlines()
    assert number == "2.0"
    assert said.startswith(
        f"import failed: use_backend('broken'): the adapter '{entry}' does not load ({reason}"
    )
    assert "Reinstall or remove the package that brings it" in said


# python -m xpnet info


def report(done: subprocess.CompletedProcess[str]) -> tuple[str, str, dict[str, str]]:
    """Return the line of versions, that of the selection, and what is said of each backend."""
    assert done.returncode == 0, done.stderr
    versions, selected, *rest = done.stdout.splitlines()
    return versions, selected, dict(line.strip().split("  ", 1) for line in rest)


def test_info_on_this_machine(python: Callable[..., Any]) -> None:
    versions, selected, said = report(python("-m", "xpnet", "info"))
    assert versions.startswith(f"xpnet {xn.__version__}, Python {platform.python_version()}, ")
    assert selected == "selected: numpy"
    assert list(said) == list(registry())
    assert said["numpy"] == f"NumPy {np.__version__} on cpu"
    for name, backend in discover().items():
        problem = backend.unusable()
        if problem is None:
            version = importlib.import_module(backend.package).__version__
            assert said[name].startswith(f"{backend.title} {version} on ")
            for device in backend.devices():
                assert backend.device_name(device) in said[name]
        else:
            assert said[name] == f"not usable: {problem}"


@pytest.fixture
def shadows(write: Callable[..., Path]) -> Path:
    """Return a folder that hides the large libraries, so that `info` is quick and knows them."""
    source = "raise ImportError('hidden')"
    return write(torch=source, jax=source, cupy=source, array_api_strict=source)


def test_info_says_why_and_what_to_do(
    shadows: Path, distribution: Callable[..., Path], python: Callable[..., Any]
) -> None:
    distribution(
        {
            "toy": "toy_backend:ToyBackend",
            "lost": "toy_backend:Lost",
            "idle": "toy_backend:Idle",
            "broken": "broken:Backend",
        },
        toy=TOY,
        toy_backend=textwrap.dedent(TOY_BACKEND)
        + textwrap.dedent("""
            class Lost(ToyBackend):
                package = "no_such_package_anywhere"

            class Idle(ToyBackend):
                def devices(self):
                    return []
        """),
        broken="raise OSError('no luck')",
    )
    _, selected, said = report(python("-m", "xpnet", "info", path=shadows, XPNET_BACKEND="toy"))
    assert selected == "selected: toy"
    assert said["toy"] == "Toy 1.0 on toybox"
    assert said["numpy"].startswith("NumPy ")
    assert said["lost"] == "not usable: Toy is not installed. Install: pip install toy"
    assert said["idle"] == (
        "not usable: Toy is installed but has no device to run on (it found none). "
        "Check the device and its driver"
    )
    assert said["broken"] == (
        "not usable: the adapter 'broken:Backend' does not load (OSError: no luck). "
        "Reinstall or remove the package that brings it"
    )
    assert said["torch"] == (
        "not usable: PyTorch is installed but cannot be imported (ImportError: hidden). "
        'Reinstall: pip install "xpnet[torch]"'
    )


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"XPNET_BACKEND": "nonsense"}, "XPNET_BACKEND=nonsense: no backend is called 'nonsense'"),
        ({"XPNET_BACKEND": "torch"}, "XPNET_BACKEND=torch: PyTorch is installed but cannot be"),
        (
            {"XPNET_DEVICE": "cuda:7"},
            "XPNET_DEVICE=cuda:7: NumPy has no device 'cuda:7'; it has: cpu",
        ),
    ],
    ids=["unknown backend", "broken backend", "unknown device"],
)
def test_info_where_the_choice_cannot_be_met(
    variables: dict[str, str], reason: str, shadows: Path, python: Callable[..., Any]
) -> None:
    _, selected, said = report(python("-m", "xpnet", "info", path=shadows, **variables))
    assert selected.startswith(f"selected: none ({reason}")
    assert list(said) == list(registry())


def test_info_survives_an_adapter_that_fails(
    shadows: Path, distribution: Callable[..., Path], python: Callable[..., Any]
) -> None:
    distribution(
        {"toy": "toy_backend:ToyBackend"},
        toy="class Array: pass",  # no __version__
        toy_backend=TOY_BACKEND,
    )
    _, _, said = report(python("-m", "xpnet", "info", path=shadows))
    assert said["numpy"] == f"NumPy {np.__version__} on cpu"
    assert "toy" in said


def test_the_command_line_names_its_commands(python: Callable[..., Any]) -> None:
    done = python("-m", "xpnet", "inform")
    assert done.returncode == 2
    assert "invalid choice: 'inform'" in done.stderr
