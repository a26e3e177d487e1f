"""Arrays into the selected library, and back to host memory."""

import array
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import transfer
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


@pytest.mark.parametrize("kind", [bool, int, float, complex])
def test_the_dtype_of_python(lib: Any, kind: type) -> None:
    with pytest.raises(TypeError, match=f"expected a dtype, .* got Python's {kind.__name__}"):
        xn.asarray([1.0], dtype=kind)


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


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_arrays_that_compute_otherwise(lib: Any) -> None:
    """The product of two matrices is another one than the standard's, and a mask would be lost."""
    host = np.array([[1.0, 2.0], [3.0, 4.0]])
    matrix, masked = np.asmatrix(host), np.ma.masked_array(host, host > 2)
    array = xn.asarray(matrix)
    np.testing.assert_array_equal(lib.to_host(array * array), host * host)
    message = r"xn\.asarray: expected an array without gaps, got a MaskedArray.* x\.filled\(value\)"
    with pytest.raises(TypeError, match=message):
        xn.asarray(masked)
    for x in (matrix, masked):
        message = f"expected arrays, got {type(x).__name__}; make an array of it"
        with pytest.raises(TypeError, match=f"mse_loss: {message}"):
            xn.losses.mse_loss(x, x)
        with pytest.raises(TypeError, match=f"array_namespace: {message}"):
            xn.nn.ReLU()(x)


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


class Held:
    """Something with an array in it, of which a subclass offers a way out."""

    def __init__(self, array: Any) -> None:
        self.array = array


class ByDLPack(Held):
    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class ByArray(Held):
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array


class ByInterface(Held):
    __array_interface__ = property(lambda self: self.array.__array_interface__)


class Reachable(ByDLPack):
    """On a graphics card, which the library reaches."""

    def __dlpack_device__(self) -> Any:
        return 2, 0


class OutOfReach(Reachable):
    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("of a graphics card")


class KnownToCUDA(Held):
    __cuda_array_interface__ = property(lambda self: self.array.__array_interface__)


def frame(package: str, kind: str) -> Callable[[Any], Any]:
    """Return what makes a data frame, or one of its columns."""

    def make(x: Any) -> Any:
        library = pytest.importorskip(package)
        if kind == "Series":
            return library.Series(x[:, 0].copy())
        return library.DataFrame({name: x[:, i].copy() for i, name in enumerate("ab")})

    return make


# Each holds the elements of a matrix of doubles, in one of these dtypes.
TYPED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "DLPack": (ByDLPack, "float64"),
    "DLPack of integers": (lambda x: ByDLPack(x.astype("int16")), "int16"),
    "__array__": (ByArray, "float64"),
    "__array__ of singles": (lambda x: ByArray(x.astype("float32")), "float32"),
    "__array_interface__": (ByInterface, "float64"),
    "memoryview": (memoryview, "float64"),
    "memoryview that cannot be written to": (lambda x: memoryview(x).toreadonly(), "float64"),
    "array.array of doubles": (lambda x: array.array("d", x[:, 0]), "float64"),
    "array.array of shorts": (lambda x: array.array("h", map(int, x[:, 0])), "int16"),
    "bytearray": (lambda x: bytearray(map(int, x[:, 0])), "uint8"),
    "read-only": (lambda x: np.frombuffer(x.tobytes()).reshape(x.shape), "float64"),
    "every other row": (lambda x: np.repeat(x, 2, axis=0)[::2], "float64"),
    "backwards": (lambda x: x[::-1].copy()[::-1], "float64"),
    "of columns": (np.asfortranarray, "float64"),
    "the other byte order": (lambda x: x.astype(x.dtype.newbyteorder("S")), "float64"),
    "0-d": (lambda x: x[0, 0].reshape(()), "float64"),
    "empty": (lambda x: x[:0], "float64"),
    "pandas.Series": (frame("pandas", "Series"), "float64"),
    "pandas.DataFrame": (frame("pandas", "DataFrame"), "float64"),
    "polars.Series": (frame("polars", "Series"), "float64"),
    "polars.DataFrame": (frame("polars", "DataFrame"), "float64"),
}


@pytest.mark.parametrize("given", TYPED)
def test_what_has_a_dtype_keeps_it(lib: Any, given: str) -> None:
    make, dtype = TYPED[given]
    host = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    thing = make(host)
    expected = np.asarray(make(host).array if isinstance(thing, Held) else thing).astype(dtype)
    given_by_name = xn.asarray(thing, dtype="float32")
    np.testing.assert_array_equal(
        lib.to_host(given_by_name), expected.astype("float32"), strict=True
    )
    np.testing.assert_array_equal(lib.to_host(xn.asarray(thing)), expected, strict=True)
    assert getattr(xn.asarray(thing).dtype, "isnative", True)


@pytest.mark.parametrize("name", ["DLPack", "__array__", "__array_interface__", "memoryview"])
def test_what_is_no_array_is_copied(lib: Any, name: str) -> None:
    host = np.zeros(1024)  # so long that a library that borrows memory would borrow it
    array = xn.asarray(TYPED[name][0](host))
    host[:] = 1.0
    assert not lib.to_host(array).any()
    if lib.backend.name != "jax":  # whose arrays cannot be written to
        array[:2] = 2.0
        assert host.tolist() == [1.0] * 1024


@pytest.mark.parametrize("source", SOURCES, indirect=True)
def test_arrays_go_in_and_out_by_dlpack(lib: Any, source: Any) -> None:
    host = np.array([[1.5, 2.5], [3.5, 4.5]])
    array = xn.asarray(ByDLPack(source.from_host(host)))
    np.testing.assert_array_equal(lib.to_host(array), host, strict=True)
    if source.name == lib.backend.name != "array_api_strict":  # its device is a pretended one
        np.testing.assert_array_equal(np.from_dlpack(array), host, strict=True)


REFUSED: dict[str, Callable[[], Any]] = {
    "text": lambda: np.array(["a"]),
    "objects": lambda: np.array([None]),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "a structure": lambda: np.zeros(2, "f4,i4"),
    "bytes": lambda: b"ab",
    "a scalar of text": lambda: np.str_("a"),
    "a set": lambda: {1.0},
    "a generator": lambda: (x for x in [1.0]),
    "a class": lambda: np.ndarray,
    "bfloat16": lambda: np.zeros(2, pytest.importorskip("ml_dtypes").bfloat16),
    "bfloat16 of JAX": lambda: pytest.importorskip("jax").numpy.zeros(2, "bfloat16"),
    "a frame of text": lambda: pytest.importorskip("pandas").DataFrame({"a": ["x"]}),
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_holds_no_numbers_is_refused(lib: Any, given: str) -> None:
    thing = REFUSED[given]()
    if given == "bfloat16 of JAX" and lib.backend.name == "jax":
        assert xn.asarray(thing) is thing
        return
    message = r"^xn\.asarray: expected .*data frame, .*, got \w+ that would become an array of"
    with pytest.raises(TypeError, match=message):
        xn.asarray(thing)


@pytest.mark.parametrize("kind", [OutOfReach, KnownToCUDA], ids=lambda kind: kind.__name__)
def test_memory_that_the_library_does_not_reach(lib: Any, kind: type[Held]) -> None:
    message = (
        f"^xn.asarray: {lib.backend.title} cannot read a {kind.__name__}, which is in the memory of"
        r" a device \(.*\); select a library of that device with xn.use_backend$"
    )
    with pytest.raises(TypeError, match=message):
        xn.asarray(kind(np.ones(2)))


@pytest.mark.parametrize("lib", ["numpy", "array_api_strict"], indirect=True)
def test_memory_of_a_device_is_read_by_the_library_itself(
    lib: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "_on_host", None)
    host = np.zeros(4)
    array = xn.asarray(Reachable(host), dtype="float32")
    host[:] = 1.0
    np.testing.assert_array_equal(lib.to_host(array), np.zeros(4, "float32"), strict=True)


def test_tensors_of_pytorch(lib: Any) -> None:
    torch = pytest.importorskip("torch")
    traced = torch.ones(2, requires_grad=True) * 2
    flagged = torch.tensor([1 + 2j, 3 - 4j]).conj()
    half = torch.ones(2, dtype=torch.bfloat16)
    if lib.backend.name == "torch":
        assert all(xn.asarray(x) is x for x in (traced, flagged, half))
        traced, flagged = (xn.asarray(xn.to_host(x)) for x in (traced, flagged))
    else:
        with pytest.raises(TypeError, match=r"^xn\.asarray: .*BFloat16; convert the Tensor first"):
            xn.asarray(half)
    np.testing.assert_array_equal(lib.to_host(xn.asarray(traced)), np.full(2, 2, "float32"))
    expected = np.array([1 - 2j, 3 + 4j], "complex64")
    np.testing.assert_array_equal(lib.to_host(xn.asarray(flagged)), expected, strict=True)
    np.testing.assert_array_equal(xn.to_host(torch.tensor([1 + 2j]).conj().imag), [-2.0])


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32"), np.dtype(">f4")], ids=repr)
def test_dtypes_of_another_library(lib: Any, dtype: Any) -> None:
    expected = np.asarray([1, 2], "float32")
    found = xn.asarray([1, 2], dtype=dtype)
    np.testing.assert_array_equal(lib.to_host(found), expected, strict=True)
    assert xn.nn.Linear(3, 2, dtype=dtype).weight.dtype == found.dtype


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
