"""Arrays into the selected library, and back to host memory."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.backend import discover
from xpnet.transfer import put_like

# What is given, and what it is to become: NumPy's own defaults, floats in single precision.
VALUES = {
    "float": (1.5, "float32", 1.5),
    "int": (-2, "int64", -2),
    "bool": (True, "bool", True),
    "complex": (1 + 2j, "complex64", 1 + 2j),
    "list": ([1.5, 2.5], "float32", [1.5, 2.5]),
    "empty list": ([], "float32", []),
    "ints": ([1, 2, 3], "int64", [1, 2, 3]),
    "bools": ([[True], [False]], "bool", [[True], [False]]),
    "mixed": ([1, 2.5], "float32", [1.0, 2.5]),
    "nested": ([[[1, 2]], [[3, 4]]], "int64", [[[1, 2]], [[3, 4]]]),
    "tuples": (((0.25, 0.5), (1.0, 2.0)), "float32", [[0.25, 0.5], [1.0, 2.0]]),
    "not finite": ([float("inf"), float("nan")], "float32", [np.inf, np.nan]),
}
SOURCES = ["numpy", "array_api_strict", "torch", "jax", pytest.param("cupy", marks=pytest.mark.gpu)]


class Foreign:
    """An array of a library that has no backend here, with the standard's door to the outside."""

    device = "cpu"

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value)

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return Foreign

    def __dlpack__(self, **options: Any) -> Any:
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()

    @staticmethod
    def asarray(value: Any, *, device: Any = None) -> "Foreign":
        return Foreign(value)


@pytest.fixture
def source(request: pytest.FixtureRequest) -> Any:
    """The backend that an array comes from."""
    backend = discover()[request.param]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    return backend


# asarray


@pytest.mark.parametrize("given", VALUES)
def test_numbers_and_lists(lib: Any, given: str) -> None:
    values, dtype, expected = VALUES[given]
    array = xn.asarray(values)
    host = lib.to_host(array)
    assert array.dtype == getattr(lib.xp, dtype)
    assert host.dtype == dtype
    np.testing.assert_array_equal(host, expected, strict=False)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("source", SOURCES, indirect=True)
def test_arrays_of_other_libraries(lib: Any, source: Any, dtype: str) -> None:
    host = np.array([[0, 1, 2], [3, 4, 255]]).astype(dtype)
    array = xn.asarray(source.from_host(host))
    back = lib.to_host(array)  # checks library and device
    assert array.dtype == getattr(lib.xp, dtype)
    np.testing.assert_array_equal(back, host, strict=True)


def test_what_came_from_another_library_is_a_copy(lib: Any) -> None:
    others = [discover()[name] for name in ("numpy", "array_api_strict", "torch")]
    others = [b for b in others if b is not lib.backend and b.unusable() is None]
    assert others
    for backend in others:
        original = backend.from_host(np.zeros(1024))
        array = xn.asarray(original)
        original[:] = 1.0
        assert not lib.to_host(array).any(), backend.name


def test_double_precision_is_kept_where_it_was_given(lib: Any) -> None:
    assert xn.asarray(np.ones(2)).dtype == lib.xp.float64
    assert xn.asarray(np.float64(1.0)).dtype == lib.xp.float64


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("named", [True, False], ids=["name", "object"])
def test_dtypes_by_name_and_as_objects(lib: Any, dtype: str, named: bool) -> None:
    wanted = dtype if named else getattr(lib.xp, dtype)
    for values in (np.array([0.0, 1.0]), lib.asarray([0.0, 1.0]), [0.0, 1.0], [0, 1]):
        array = xn.asarray(values, dtype=wanted)
        np.testing.assert_array_equal(
            lib.to_host(array), np.array([0, 1], dtype=dtype), strict=True
        )


@pytest.mark.parametrize("name", ["float33", "mean", ""])
def test_an_unknown_dtype(lib: Any, name: str) -> None:
    with pytest.raises(
        ValueError, match=f"{lib.backend.title} has no dtype '{name}'; expected a name such as"
    ):
        xn.asarray([1.0], dtype=name)


def test_jax_without_64_bits_refuses_a_dtype_it_does_not_have() -> None:
    pytest.importorskip("jax")
    code = """if True:
        import xpnet as xn
        xn.use_backend("jax")
        try:
            print(xn.asarray([0.5], dtype="float64").dtype)
        except TypeError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "JAX_ENABLE_X64=1" in done.stdout


@pytest.mark.parametrize("values", [None, "1.5", ["1.5"], {"a": 1.0}, [None], print], ids=repr)
def test_what_is_no_number_is_refused(lib: Any, values: Any) -> None:
    message = rf"xn\.asarray: expected .*numbers.*, got .*{type(values).__name__}"
    with pytest.raises(TypeError, match=message):
        xn.asarray(values)


def test_an_integer_that_no_dtype_holds_is_refused(lib: Any) -> None:
    with pytest.raises((TypeError, OverflowError), match=r"xn\.asarray|too large"):
        xn.asarray(2**70)


def test_a_ragged_list_is_refused(lib: Any) -> None:
    with pytest.raises(ValueError, match="inhomogeneous shape"):
        xn.asarray([[1.0], [2.0, 3.0]])


def test_nothing_is_copied_that_need_not_be(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0], "float32")
    assert xn.asarray(x) is x
    assert xn.asarray(x, device=x.device) is x
    if lib.backend.name != "jax":  # astype makes another object there
        assert xn.asarray(x, dtype="float32", device=lib.device) is x


def test_a_traced_array_is_refused(lib: Any) -> None:
    message = "xn.asarray: a traced array stays in its library; use xp.asarray"
    with pytest.raises(TypeError, match=message):
        xn.grad(xn.asarray)(lib.asarray(1.0))
    with pytest.raises(TypeError, match="cannot become an ordinary array"):
        xn.grad(lambda x: xn.asarray([x, x]))(lib.asarray(1.0))


def test_an_array_without_a_backend() -> None:
    array = xn.asarray(Foreign([1.0, 2.0]))
    np.testing.assert_array_equal(array, np.array([1.0, 2.0]), strict=True)


def test_moves_between_devices() -> None:
    strict = pytest.importorskip("array_api_strict")
    first, second = strict.Device("device1"), strict.Device("device2")
    x = strict.ones(2, dtype=strict.float32, device=first)
    with xn.use_backend("array_api_strict"):
        assert xn.asarray(x) is x  # no device was chosen
        for device in (second, "device2"):
            moved = xn.asarray(x, device=device)
            assert moved.device == second
            assert xn.to_host(moved).tolist() == [1.0, 1.0]
    with xn.use_backend("array_api_strict", "device2"):
        assert xn.asarray(x).device == second
        assert xn.asarray([1.0]).device == second
        assert xn.asarray(x, device="device1") is x
        assert xn.asarray(x, device="cpu").device == strict.ones(1).device
    assert x.device == first


# to_host


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_to_host(lib: Any, dtype: str) -> None:
    expected = np.array([[0, 1], [2, 3]]).astype(dtype)
    host = xn.to_host(lib.asarray(expected, dtype))
    assert type(host) is np.ndarray
    np.testing.assert_array_equal(host, expected, strict=True)


def test_to_host_shares_no_memory(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    xn.to_host(x)[:] = 3.0
    lib.close(x, [1.0, 2.0])


def test_to_host_of_a_scalar_of_numpy() -> None:
    host = xn.to_host(np.float32(1.5))
    assert type(host) is np.ndarray
    assert (host.shape, host.dtype, float(host)) == ((), "float32", 1.5)


@pytest.mark.parametrize(
    "x", [1.0, None, [1.0], "x", Foreign([1.0])], ids=lambda x: type(x).__name__
)
def test_to_host_of_what_is_no_array(x: Any) -> None:
    with pytest.raises(TypeError, match=f"^to_host: expected an array, got {type(x).__name__}$"):
        xn.to_host(x)


def test_to_host_of_a_traced_array(lib: Any) -> None:
    message = "to_host: expected an array, got TracedArray; .* pass xn.stop_gradient"
    with pytest.raises(TypeError, match=message):
        xn.grad(lambda x: xn.to_host(x))(lib.asarray(1.0))


def test_the_cure_for_a_traced_array_cures(lib: Any) -> None:
    """What the message above tells the user to do works."""
    seen = []

    def function(x: Any) -> Any:
        seen.append(xn.to_host(xn.stop_gradient(x)))
        return x * x

    gradient = xn.grad(function)(lib.asarray(3.0))
    lib.close(gradient, 6.0)
    assert seen[0] == 3.0


# put_like


def test_put_like_goes_where_the_other_is(lib: Any) -> None:
    like = lib.asarray([1.0])
    with xn.use_backend("numpy"):  # is not asked
        array = put_like(np.array([3, 4]), like)
    np.testing.assert_array_equal(lib.to_host(array), np.array([3, 4]), strict=True)


def test_put_like_asks_a_library_without_a_backend() -> None:
    array = put_like(np.array([3, 4]), Foreign([1.0]))
    assert type(array) is Foreign
    assert array.value.tolist() == [3, 4]


def test_doubles_become_singles_on_the_host(lib: Any) -> None:
    """A library without float64 takes float64 data if float32 is asked for."""
    array = xn.asarray(np.asarray([0.5, 3.0]) / 2, dtype="float32")
    assert lib.to_host(array).dtype == np.float32


def test_numpy_has_one_device() -> None:
    with pytest.raises(ValueError, match="NumPy has no device 'cuda:0'; it has: cpu"):
        xn.nn.Linear(1, 1, device="cuda:0")
