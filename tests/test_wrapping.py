"""The wrapped array and namespace, seen through autodiff: attributes, operators and refusals."""

from __future__ import annotations

import operator
import re
from typing import Any

import array_api_compat
import numpy as np
import pytest

import xpnet as xn
from xpnet.autodiff.tape import TracedArray
from xpnet.standard import CONSTANTS, DTYPES, FUNCTIONS, OPERATORS
from xpnet.wrapping import WrappedArray, wrap_namespace

ns = xn.array_namespace


def inside(x: Any, look: Any) -> Any:
    """Return what `look` says of `x` while it is being differentiated."""
    seen = []

    def f(traced: Any) -> Any:
        assert isinstance(traced, TracedArray)
        seen.append(look(traced))
        return ns(traced).sum(traced * 0.0)

    xn.grad(f)(x)
    return seen[0]


def numbers(traced: Any) -> Any:
    return xn.to_host(xn.stop_gradient(traced))


# Attributes.


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 2)])
def test_shape_dtype_and_device(lib: Any, shape: tuple[int, ...]) -> None:
    x = lib.asarray(np.ones(shape), "float32")
    with lib.guard():
        seen = inside(x, lambda x: (x.shape, x.ndim, x.size, x.dtype, x.device))
    assert (tuple(seen[0]), *seen[1:]) == (
        *(shape, len(shape), int(np.prod(shape)), lib.xp.float32, x.device),
    )
    assert type(seen[2]) is int


def test_transposes(lib: Any) -> None:
    values = np.arange(6.0).reshape(2, 3)

    def look(x: Any) -> Any:
        return [x.T, x.mT, ns(x).stack([x, x]).mT]

    seen = inside(lib.asarray(values), look)
    for given, truth in zip(seen, [values.T, values.T, np.stack([values.T] * 2)], strict=True):
        np.testing.assert_array_equal(numbers(given), truth)


@pytest.mark.parametrize("shape", [(), (2,), (1, 2, 3)])
def test_transpose_of_other_than_two_dimensions(lib: Any, shape: tuple[int, ...]) -> None:
    x = lib.asarray(np.ones(shape))
    match = rf"\.T takes 2-D arrays, got shape {re.escape(str(shape))}; use xp\.permute_dims"
    with pytest.raises(ValueError, match=match):
        inside(x, lambda x: x.T)


def test_to_device(lib: Any) -> None:
    x = lib.asarray([1.0])
    device = lib.backend.devices()[0]

    def f(x: Any) -> Any:
        moved = x.to_device(device)
        assert moved.device == device
        return ns(x).sum((moved * moved).to_device(x.device) * x)

    lib.close(xn.grad(f)(x), [3.0])


def test_length_and_iteration(lib: Any) -> None:
    x = lib.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

    def look(x: Any) -> Any:
        rows = list(x)
        assert all(isinstance(row, TracedArray) for row in rows)
        assert [tuple(row.shape) for row in rows] == [(2,)] * 3
        return [float(xn.stop_gradient(row[0])) for row in rows]

    assert inside(x, look) == [1.0, 3.0, 5.0]
    if lib.name == "array_api_strict":
        pytest.skip("array-api-strict: its arrays have no length")
    assert inside(x, len) == 3


def test_iteration_over_0_d(lib: Any) -> None:
    with pytest.raises(TypeError, match="0-d"):
        inside(lib.asarray(1.0), list)


@pytest.mark.parametrize("value", [0.0, 2.0])
def test_truth_and_integers(lib: Any, value: float) -> None:
    x = lib.asarray(value)
    assert inside(x, bool) is bool(value)
    assert inside(x, int) == int(value)
    assert inside(x, lambda x: bool(x > 1)) is (value > 1)
    assert inside(x, lambda x: "abc"[ns(x).astype(x, ns(x).int64)]) == "abc"[int(value)]
    assert inside(x, lambda x: range(3)[ns(x).argmin(ns(x).stack([x, x - 1.0]))]) == 1


@pytest.mark.parametrize("convert", [float, complex])
def test_number_of_a_constant(lib: Any, convert: Any) -> None:
    x = lib.asarray(3.0)
    assert inside(x, lambda x: convert(xn.stop_gradient(x))) == 3.0
    assert inside(x, lambda x: convert(ns(x).floor(x))) == 3.0
    with pytest.raises(xn.TracedArrayError, match=rf"{convert.__name__}\(x\) of an array that is"):
        inside(x, convert)


def test_truth_of_several_values_is_the_librarys_error(lib: Any) -> None:
    with pytest.raises((ValueError, RuntimeError, TypeError), match=r"ambiguous|0 dimensions"):
        inside(lib.asarray([1.0, 2.0]), bool)


def test_repr(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    assert inside(x, repr) == f"traced({x!r})"
    assert inside(x, str) == f"traced({x!r})"


def test_hash(lib: Any) -> None:
    with pytest.raises(TypeError, match="unhashable type: 'TracedArray'"):
        inside(lib.asarray(1.0), hash)


@pytest.mark.parametrize("name", ["sum", "reshape"])
def test_method_of_a_library(lib: Any, name: str) -> None:
    match = (
        rf"traced\({lib.xp.__name__}\) arrays have no attribute '{name}': .*, "
        rf"with xp = xn\.array_namespace\(x\); write xp\.{name}\(x\)$"
    )
    with pytest.raises(AttributeError, match=match):
        inside(lib.asarray([1.0]), lambda x: getattr(x, name)())


def test_attribute_that_is_no_function_either(lib: Any) -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'flat': .*array_namespace\(x\)$"):
        inside(lib.asarray([1.0]), lambda x: x.flat)


# Operators.

STEMS = {name.strip("_") for name in OPERATORS} - {"abs", "invert", "neg", "pos"}
ARITHMETIC = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"]
COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
BITS = ["and", "or", "xor", "lshift", "rshift"]


def test_every_operator_of_the_standard_is_there() -> None:
    """Table 3 of the standard: 7 arithmetic, 1 matrix, 5 of bits, 6 comparisons, 4 of one array."""
    assert {*ARITHMETIC, *COMPARISONS, *BITS, "matmul"} == STEMS
    traced = inside(np.ones(1), type)
    for stem in STEMS:
        assert hasattr(traced, f"__{stem}__")
        if stem not in COMPARISONS:
            assert hasattr(traced, f"__r{stem}__")
            assert hasattr(traced, f"__i{stem}__")
    for method in ("__abs__", "__invert__", "__neg__", "__pos__", "__getitem__"):
        assert hasattr(traced, method)


def python_operator(stem: str) -> Any:
    return getattr(operator, f"__{stem}__")


@pytest.mark.parametrize("stem", [*ARITHMETIC, *COMPARISONS])
def test_operator_on_floats(lib: Any, stem: str) -> None:
    a, b = np.asarray([2.0, 3.0, 7.0]), np.asarray([3.0, 3.0, 2.0])
    apply = python_operator(stem)

    def look(x: Any) -> Any:
        y = ns(x).asarray(lib.asarray(b))
        return [apply(x, y), apply(y, x), apply(x, 3.0), apply(3.0, x)]

    truths = [apply(a, b), apply(b, a), apply(a, 3.0), apply(3.0, a)]
    for given, truth in zip(inside(lib.asarray(a), look), truths, strict=True):
        np.testing.assert_allclose(numbers(given), truth, rtol=1e-15)


@pytest.mark.parametrize("stem", BITS)
def test_operator_on_integers(lib: Any, stem: str) -> None:
    a, b = np.asarray([5, 6, 12]), np.asarray([1, 3, 2])
    apply = python_operator(stem)

    def look(x: Any) -> Any:
        xp = ns(x)
        left, right = xp.asarray(lib.asarray(a, None)), xp.asarray(lib.asarray(b, None))
        return [apply(left, right), apply(left, 2), apply(2, left), ~left]

    truths = [apply(a, b), apply(a, 2), apply(2, a), ~a]
    for given, truth in zip(inside(lib.asarray(1.0), look), truths, strict=True):
        np.testing.assert_array_equal(numbers(given), truth)


@pytest.mark.parametrize("apply", [operator.neg, operator.pos, operator.abs])
def test_operator_on_one_array(lib: Any, apply: Any) -> None:
    a = np.asarray([2.0, -3.0])
    np.testing.assert_array_equal(numbers(inside(lib.asarray(a), apply)), apply(a))


def test_matrix_product(lib: Any) -> None:
    a, b = np.asarray([[1.0, 2.0]]), np.asarray([[3.0], [4.0]])

    def look(x: Any) -> Any:
        y = ns(x).asarray(lib.asarray(b))
        return [x @ y, y @ x]

    first, second = (numbers(array) for array in inside(lib.asarray(a), look))
    assert first.tolist() == [[11.0]]
    assert second.tolist() == [[3.0, 6.0], [4.0, 8.0]]


# Functions of the library itself.


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.sum(x),
        lambda x: np.where(np.asarray([True]), x, 0.0),
        lambda x: np.concatenate([x, np.ones(1)]),
        lambda x: np.linalg.norm(x),
    ],
    ids=["sum", "where", "concatenate", "norm"],
)
@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_function_of_numpy(lib: Any, call: Any, request: Any) -> None:
    name = request.node.callspec.id.split("-")[-1]
    module, path = (r"numpy\.linalg", r"linalg\.norm") if name == "norm" else ("numpy", name)
    match = (
        rf"{name} of {module} was called on a traced\(array_api_compat\.numpy\) array, which it "
        rf"would not differentiate\. Call xp\.{path} with xp = xn\.array_namespace\(x\)"
    )
    with pytest.raises(xn.TracedArrayError, match=match):
        inside(lib.asarray([1.0]), call)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_ufunc_of_numpy(lib: Any) -> None:
    """NumPy raises by itself: only with ``__array_ufunc__ = None`` does ``raw + traced`` defer."""
    with pytest.raises(TypeError, match="operand 'TracedArray' does not support ufuncs"):
        inside(lib.asarray([1.0]), lambda x: np.add(x, 1.0))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.asarray(x),
        lambda x: np.array([x, x]),
        lambda x: np.asarray(x, dtype="float32"),
    ],
    ids=["asarray", "list", "dtype"],
)
@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_conversion_to_an_ordinary_array(lib: Any, call: Any) -> None:
    match = (
        r"a traced\(array_api_compat\.numpy\) array cannot become an ordinary array, which would "
        r"lose its gradient\. .*; for the numbers alone, xn\.to_host\(xn\.stop_gradient\(x\)\)"
    )
    with pytest.raises(xn.TracedArrayError, match=match):
        inside(lib.asarray([1.0]), call)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_export_of_an_array(lib: Any) -> None:
    with pytest.raises(xn.TracedArrayError, match=r"from_dlpack\(x\) of an array that is being"):
        inside(lib.asarray([1.0]), np.from_dlpack)
    constant = inside(lib.asarray([1.0]), lambda x: np.from_dlpack(ns(x).ones(2)))
    assert constant.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("call", [lambda torch, x: torch.sum(x), lambda torch, x: torch.exp(x)])
def test_function_of_torch(call: Any) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="must be Tensor, not TracedArray"):
        inside(torch.ones(2), lambda x: call(torch, x))


def test_function_of_jax() -> None:
    pytest.importorskip("jax")
    import jax.numpy as jnp

    with pytest.raises(TypeError, match="TracedArray"):
        inside(jnp.ones(2), lambda x: jnp.exp(x))


def test_xpnet_conversions(lib: Any) -> None:
    x = lib.asarray([1.0])
    with pytest.raises(TypeError, match=r"to_host: .*TracedArray; .*xn\.stop_gradient\(x\)"):
        inside(x, xn.to_host)
    host = inside(x, lambda x: xn.to_host(xn.stop_gradient(x)))
    assert type(host) is np.ndarray
    assert host.tolist() == [1.0]
    with pytest.raises(TypeError, match=r"a traced array stays in its library; use xp\.asarray"):
        inside(x, xn.asarray)


# The namespace.


def test_array_namespace_of_traced_arrays(lib: Any) -> None:
    x = lib.asarray([1.0])

    def look(traced: Any) -> Any:
        xp = ns(traced)
        assert ns(x, traced) is xp
        assert ns(traced, None, 2.0, x) is xp
        assert traced.__array_namespace__() is xp
        assert traced.__array_namespace__(api_version="2024.12") is xp
        assert array_api_compat.array_namespace(traced) is xp
        assert array_api_compat.array_namespace(traced, traced * 2.0, 1.0) is xp
        return xp

    xp = inside(x, look)
    assert xp.wrapped_namespace is lib.xp
    assert xp.__name__ == f"traced({lib.xp.__name__})"
    assert repr(xp) == f"<namespace traced({lib.xp.__name__})>"
    assert inside(x, ns) is xp  # one for each library, not one for each gradient
    assert ns(x) is lib.xp


def test_inner_levels_meet_the_same_namespace(lib: Any) -> None:
    found = []

    def inner(x: Any) -> Any:
        found.append(ns(x))
        return x * x

    def outer(x: Any) -> Any:
        found.append(ns(x))
        return xn.grad(inner)(x)

    xn.grad(outer)(lib.asarray(1.0))
    assert found[0] is found[1]


def test_constants_and_dtypes_are_those_of_the_library(lib: Any) -> None:
    xp = inside(lib.asarray(1.0), ns)
    for name in DTYPES:
        assert getattr(xp, name) is getattr(lib.xp, name)
    assert (xp.pi, xp.e, xp.inf, xp.newaxis) == (np.pi, np.e, np.inf, None)
    assert np.isnan(xp.nan)
    assert {"pi", "e", "inf", "nan", "newaxis"} == set(CONSTANTS)


def test_every_function_of_the_standard_is_there(lib: Any) -> None:
    xp = inside(lib.asarray(1.0), ns)
    for name in FUNCTIONS:
        assert hasattr(xp, name) == hasattr(lib.xp, name)
        if hasattr(xp, name):
            assert getattr(xp, name).__name__ == name
    assert xp.__array_namespace_info__().default_dtypes()


@pytest.mark.parametrize("name", ["einsum", "add_"])
def test_name_outside_of_the_standard(lib: Any, name: str) -> None:
    match = (
        rf"traced\({lib.xp.__name__}\) has no '{name}': it has the functions of the Array API "
        "standard, linalg and fft included, and only those run on every library"
    )
    with pytest.raises(AttributeError, match=match):
        inside(lib.asarray(1.0), lambda x: getattr(ns(x), name))


class Old:
    """A library that is older than some of the standard."""

    __name__ = "old_library"
    pi = np.pi
    float64 = np.float64

    @staticmethod
    def exp(x: Any) -> Any:
        return np.exp(x)


def test_library_without_some_functions() -> None:
    def make(namespace: Any, cls: Any, name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            return name, function(*args)

        return call

    xp = wrap_namespace(Old(), WrappedArray, "wrapped(old)", make)
    assert xp.exp(0.0) == ("exp", 1.0)
    assert (xp.pi, xp.float64) == (np.pi, np.float64)
    with pytest.raises(AttributeError, match="old_library has no function 'sin'"):
        _ = xp.sin
    with pytest.raises(AttributeError, match="has no 'complex64'"):
        _ = xp.complex64


def test_wrapping_calls_the_maker_with_functions_and_operators() -> None:
    class Noted(WrappedArray):
        __slots__ = ()

    def make(namespace: Any, cls: Any, name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            return name, function, args

        return call

    xp = wrap_namespace(Old(), Noted, "wrapped(old)", make)
    assert issubclass(xp.array, Noted)
    x = xp.array()
    assert x + 2 == ("add", operator.add, (x, 2))
    assert 2 - x == ("subtract", operator.sub, (2, x))
    assert x[1] == ("getitem", operator.getitem, (x, 1))
    assert -x == ("negative", operator.neg, (x,))
