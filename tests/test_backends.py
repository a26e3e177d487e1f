"""The adapters: arrays in and out, devices, ownership, and what they do not import."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xpnet.backend import Backend, discover, owner

NAMES = ["array_api_strict", "cupy", "jax", "numpy", "torch"]
DTYPES = ["float32", "float64", "int64", "int32", "uint8", "bool"]


def base(dtype: str) -> np.ndarray:
    """Return numbers of which each has its own bits: extremes, signs of zero and nan included."""
    if dtype == "bool":
        return np.arange(24).reshape(4, 6) % 3 == 0
    array = np.arange(24, dtype=dtype).reshape(4, 6)
    if dtype.startswith("float"):
        array[0, :4] = [np.nan, -0.0, np.inf, np.finfo(dtype).max]
    else:
        array[0, :2] = [np.iinfo(dtype).min, np.iinfo(dtype).max]
    return array


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": lambda array: array,
    "0-d": lambda array: array[0, 1].reshape(()),
    "empty": lambda array: array[:0],
    "transposed": lambda array: array.T,
    "every other": lambda array: array[::2, 1::2],
    "reversed": lambda array: array[::-1],
    "broadcast": lambda array: np.broadcast_to(array[0], (3, 6)),
    "read-only": read_only,
}


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XPNET_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def jax() -> Any:
    return pytest.importorskip("jax")


# In and out


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_round_trip(lib: Any, dtype: str, layout: str) -> None:
    host = LAYOUTS[layout](base(dtype))
    array = lib.backend.from_host(host, device=lib.device)
    assert lib.backend.owns(type(array))
    assert tuple(array.shape) == host.shape
    assert array.dtype == getattr(lib.xp, dtype)
    back = lib.to_host(array)
    assert type(back) is np.ndarray
    assert (back.shape, back.dtype) == (host.shape, host.dtype)
    assert back.tobytes() == host.tobytes()  # bit for bit: tells -0.0 from 0.0, and keeps nan


def test_from_host_copies(lib: Any) -> None:
    host = np.zeros(1024)  # so long that a library that borrows memory would borrow it
    array = lib.backend.from_host(host, device=lib.device)
    host[:] = 1.0
    assert not lib.backend.to_host(array).any()
    if lib.backend.name != "jax":  # whose arrays cannot be written to
        array[:2] = 2.0
        assert host.tolist() == [1.0] * 1024


@pytest.mark.parametrize("where", ["its device", "the default device"])
def test_to_host_copies(lib: Any, where: str) -> None:
    device = lib.device if where == "its device" else None
    array = lib.backend.from_host(np.zeros(1024), device=device)
    back = lib.backend.to_host(array)
    back[:] = 1.0  # and is writable
    assert not lib.backend.to_host(array).any()
    if lib.backend.name != "jax":
        array[:2] = 2.0
        assert back.tolist() == [1.0] * 1024


def test_to_host_of_a_view(lib: Any) -> None:
    array = lib.asarray(np.arange(6.0).reshape(2, 3))
    assert lib.to_host(array.T[1, ...]).tolist() == [1.0, 4.0]


def test_to_host_of_a_tensor_that_torch_differentiates() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([1.0, 2.0], requires_grad=True) * 2
    assert discover()["torch"].to_host(tensor).tolist() == [2.0, 4.0]


def test_synchronize_waits_for_nothing_else(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    y = x + x
    assert lib.backend.synchronize() is None
    lib.close(y, [2.0, 4.0])


@pytest.mark.parametrize("dtype", ["float64", "complex128"])
def test_jax_without_64_bits_refuses_to_lose_digits(jax: Any, dtype: str) -> None:
    code = f"""if True:
        import numpy as np, xpnet as xn
        xn.use_backend("jax")
        print(xn.asarray(np.ones(1, "float32")).dtype, xn.asarray([0.5]).dtype)
        try:
            xn.asarray(np.ones(1, "{dtype}"))
        except TypeError as error:
            print(error)
    """
    done = run(code, JAX_ENABLE_X64="0")
    assert done.stdout.splitlines() == [
        "float32 float32",
        f"JAX has no {dtype} here: set JAX_ENABLE_X64=1, or give 32-bit data",
    ]


def test_jax_without_64_bits_keeps_the_values_of_integers(jax: Any) -> None:
    code = """if True:
        import numpy as np, xpnet as xn
        xn.use_backend("jax")
        print(xn.asarray(np.array([-3, 2**31 - 1])).tolist())
        try:
            print(xn.asarray(np.array([2**40 + 5])))
        except Exception as error:
            print(type(error).__name__, error)
    """
    small, large = run(code, JAX_ENABLE_X64="0").stdout.splitlines()
    assert small == "[-3, 2147483647]"
    assert "JAX_ENABLE_X64=1" in large


# Devices


def test_devices_are_found_by_their_names(lib: Any) -> None:
    devices = lib.backend.devices()
    names = [lib.backend.device_name(device) for device in devices]
    assert len(set(names)) == len(devices) > 0
    for device, name in zip(devices, names, strict=True):
        assert lib.backend.device(name) == device
        array = lib.backend.from_host(np.ones(2, "float32"), device=device)
        assert array.device == device
        assert lib.backend.to_host(array).tolist() == [1.0, 1.0]


def test_the_first_device_is_the_default(lib: Any) -> None:
    first = lib.backend.devices()[0]
    assert lib.backend.from_host(np.ones(2, "float32")).device == first


@pytest.mark.parametrize(
    ("name", "devices"),
    [
        ("numpy", ["cpu"]),
        ("array_api_strict", ["cpu", "device1", "device2"]),
        ("torch", ["cpu"]),
        ("jax", None),
        pytest.param("cupy", ["cuda:0"], marks=pytest.mark.gpu),
    ],
)
def test_names_of_devices(name: str, devices: list[str] | None) -> None:
    backend = discover()[name]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    if devices is None:
        import jax

        devices = [f"{jax.default_backend()}:0"]
    found = [backend.device_name(device) for device in backend.devices()]
    assert found[: len(devices)] == devices


def test_jax_uploads_to_the_device_it_is_given(jax: Any) -> None:
    code = """if True:
        import numpy as np
        import xpnet as xn
        with xn.use_backend("jax", "cpu:1"):
            print(xn.asarray([1.0]).device.id, xn.asarray([1.0], device="cpu:2").device.id)
        with xn.use_backend("jax"):
            print(xn.asarray([1.0]).device.id)
    """
    done = run(code, XLA_FLAGS="--xla_force_host_platform_device_count=3", JAX_PLATFORMS="cpu")
    assert done.stdout == "1 2\n0\n"


@pytest.mark.gpu
def test_cupy_uploads_to_the_last_device() -> None:
    backend = discover()["cupy"]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    device = backend.devices()[-1]
    array = backend.from_host(np.arange(3.0), device=device)
    assert array.device == device
    assert backend.to_host(array).tolist() == [0.0, 1.0, 2.0]


# Ownership


def test_each_array_has_one_owner(lib: Any) -> None:
    kind = type(lib.asarray([1.0]))
    assert [name for name, backend in discover().items() if backend.owns(kind)] == [
        lib.backend.name
    ]
    assert owner(kind) is lib.backend


class Subclass(np.ndarray):
    """One that computes as its base class does."""


OWNED = [np.float32(1), np.int64(1), np.True_, np.ones(2).view(Subclass)]


@pytest.mark.parametrize("x", OWNED, ids=repr)
def test_numpy_owns_its_scalars_and_subclasses(x: Any) -> None:
    assert owner(type(x)) is discover()["numpy"]


@pytest.mark.parametrize("x", [1, 1.0, 1j, True, None, "x", [1.0], (), {}, memoryview(b""), print])
def test_nobody_owns_what_is_no_array(x: Any) -> None:
    assert owner(type(x)) is None


def test_jax_owns_its_tracers(jax: Any) -> None:
    owners = []

    def function(x: Any) -> Any:
        owners.append(owner(type(x)))
        return jax.numpy.sum(x)

    x = jax.numpy.ones(2)
    jax.jit(function)(x)
    jax.grad(function)(x)
    jax.vmap(function)(x)
    assert owners == [discover()["jax"]] * 3


def test_torch_owns_the_parameters_of_its_modules() -> None:
    torch = pytest.importorskip("torch")
    assert owner(type(torch.nn.Linear(1, 1).weight)) is discover()["torch"]


# What they are and what they import


def test_the_adapters_that_come_with_xpnet() -> None:
    assert set(NAMES) <= set(discover())
    for name in NAMES:
        backend = discover()[name]
        assert isinstance(backend, Backend)
        assert backend.name == name
        assert type(backend).__module__ == f"xpnet_backends.{name}"


def test_the_version_is_the_librarys(lib: Any) -> None:
    library = sys.modules[lib.backend.package]
    assert lib.backend.version() == library.__version__


@pytest.mark.parametrize("name", NAMES)
def test_the_extra_that_installs_it_exists(name: str) -> None:
    command = discover()[name].install
    extras = importlib.metadata.metadata("xpnet").get_all("Provides-Extra")
    named = command.partition("[")[2].partition("]")[0]
    assert (named in extras) if named else command == "pip install numpy"


def test_asking_for_the_owner_imports_no_library() -> None:
    code = """if True:
        import sys
        import xpnet as xn
        from xpnet.backend import discover
        class Thing: pass
        print(sorted(discover()), any(b.owns(Thing) for b in discover().values()))
        names = {name.partition(".")[0] for name in sys.modules}
        print(sorted(names & {"array_api_compat", "array_api_strict", "cupy", "jax", "torch"}))
    """
    asked, imported = run(code).stdout.splitlines()
    assert asked == f"{NAMES} False"
    assert imported == "[]"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loaded", [False, True], ids=["first import", "xpnet is loaded"])
def test_run_from_inside_the_folder(name: str, loaded: bool) -> None:
    """An adapter named like its library must not pass for it where the folder is on the path."""
    [folder] = importlib.util.find_spec("xpnet_backends").submodule_search_locations
    code = f"""if True:
        import sys
        if {loaded}:
            import xpnet.backend
            sys.modules.pop({name!r}, None)
        sys.path.insert(0, {folder!r})
        try:
            import {name}
        except ImportError as error:
            print("ImportError", error)
    """
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ImportError")
    assert "relative import" in done.stdout or not loaded
