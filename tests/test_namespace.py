"""Which namespace arrays answer to, and what is said of things that answer to none."""

import types
from collections.abc import Iterator
from typing import Any

import array_api_compat
import numpy as np
import pytest

import xpnet as xn
from xpnet import namespace
from xpnet.backend import discover, owner
from xpnet.namespace import is_array


class Foreign:
    """An array of a library that has no backend here: NumPy's values behind another class."""

    device = "cpu"

    def __init__(self, value: Any) -> None:
        self.value = np.asarray(value)

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return FOREIGN


FOREIGN = types.SimpleNamespace(__name__="foreign", sqrt=lambda x: Foreign(np.sqrt(x.value)))


class Nameless(Foreign):
    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return NAMELESS


NAMELESS = types.SimpleNamespace()


@pytest.fixture
def other(lib: Any) -> Iterator[Any]:
    """An array of another library than `lib`, both on their default devices."""
    if lib.backend.name == "numpy":
        backend = discover()["array_api_strict"]
        problem = backend.unusable()
        if problem is not None:
            pytest.skip(str(problem))
        return backend.from_host(np.ones(1))
    return np.ones(1)


# The namespace


def test_it_is_the_librarys(lib: Any) -> None:
    x, y = lib.asarray([1.0]), lib.asarray([[2]], None)
    assert xn.array_namespace(x) is array_api_compat.array_namespace(x)
    assert xn.array_namespace(x, y) is lib.xp


def test_scalars_and_none_are_passed_over(lib: Any) -> None:
    x = lib.asarray([1.0])
    assert xn.array_namespace(None, 1, 2.0, 1j, True, x, None, 0.5) is lib.xp


def test_scalars_of_numpy_are_its_arrays() -> None:
    assert xn.array_namespace(np.float32(1), np.ones(2)) is discover()["numpy"].namespace()


def test_traced_arrays_answer_to_the_traced_namespace(lib: Any) -> None:
    raw, seen = lib.asarray([2.0]), []

    def function(x: Any) -> Any:
        calls = [(x,), (x, raw), (raw, x), (None, raw, 1.0, x), (x, xn.stop_gradient(x))]
        seen.extend(xn.array_namespace(*arrays) for arrays in calls)
        return seen[0].sum(x)

    xn.grad(function)(raw)
    assert len(set(map(id, seen))) == 1
    assert seen[0].wrapped_namespace is lib.xp
    assert xn.array_namespace(raw) is lib.xp


def test_a_library_without_a_backend_answers_for_itself() -> None:
    x = Foreign([4.0])
    assert xn.array_namespace(x, 1.0, Foreign(1.0)) is FOREIGN
    assert xn.array_namespace(x).sqrt(x).value.tolist() == [2.0]
    assert is_array(x)


# What has none


def test_no_array_at_all() -> None:
    with pytest.raises(TypeError, match="expected at least one array, got nothing"):
        xn.array_namespace()
    with pytest.raises(TypeError, match="expected at least one array, got NoneType, float, bool"):
        xn.array_namespace(None, 1.0, True)


@pytest.mark.parametrize(
    ("x", "name"),
    [
        ([1.0], "list"),
        ((1.0,), "tuple"),
        ("array", "str"),
        ({}, "dict"),
        (range(2), "range"),
        (np, "module"),
        (np.float32, "type"),
        (Foreign, "type"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_no_array_is_named(x: Any, name: str) -> None:
    message = f"array_namespace: expected arrays, got {name}; make an array of it first"
    for arrays in [(x,), (np.ones(1), x), (x, np.ones(1))]:
        with pytest.raises(TypeError, match=message):
            xn.array_namespace(*arrays)


def test_two_libraries_are_both_named(lib: Any, other: Any) -> None:
    x = lib.asarray([1.0])
    for arrays in [(x, other), (1.0, other, x)]:
        with pytest.raises(TypeError, match="arrays of two libraries: ") as caught:
            xn.array_namespace(*arrays)
        for array in arrays[-2:]:
            assert owner(type(array)).title in str(caught.value)
        assert "bring them to one library first, for example with xn.asarray" in str(caught.value)


def test_two_libraries_are_refused_inside_grad(lib: Any, other: Any) -> None:
    def function(x: Any) -> Any:
        return xn.array_namespace(x, other).sum(x)

    with pytest.raises(TypeError, match=r"arrays of two libraries: \S+ \(traced\) and \w"):
        xn.grad(function)(lib.asarray([1.0]))


def test_a_library_without_a_backend_is_named_too() -> None:
    with pytest.raises(TypeError, match="two libraries: foreign and NumPy"):
        xn.array_namespace(Foreign(1.0), np.ones(1))


def test_a_namespace_needs_no_name() -> None:
    """The standard gives a namespace functions and dtypes, but no ``__name__``."""
    with pytest.raises(TypeError, match=r"two libraries: .* and NumPy"):
        xn.array_namespace(Nameless(1.0), np.ones(1))


# Is it an array?


def test_arrays_are_arrays(lib: Any) -> None:
    seen = []

    def function(x: Any) -> Any:
        seen.append(is_array(x))
        return x

    xn.grad(function)(lib.asarray(1.0))
    assert is_array(lib.asarray([1.0]))
    assert seen == [True]


@pytest.mark.parametrize("x", [None, 1, 1.0, 1j, True, [1.0], (), "x", {}, np, np.ndarray, Foreign])
def test_other_things_are_not(x: Any) -> None:
    assert not is_array(x)


# The cache


def test_a_class_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fresh(np.ndarray):
        pass

    asked = []

    def owner(kind: type) -> Any:
        asked.append(kind)
        return discover()["numpy"]

    monkeypatch.setattr(namespace, "owner", owner)
    arrays = [np.ones(1).view(Fresh) for _ in range(3)]
    found = {id(xn.array_namespace(array)) for array in arrays}
    assert found == {id(discover()["numpy"].namespace())}
    assert asked == [Fresh]


def test_the_cache_tells_libraries_apart(lib: Any, other: Any) -> None:
    x = lib.asarray([1.0])
    for _ in range(2):
        assert xn.array_namespace(x) is lib.xp
        assert xn.array_namespace(other) is not lib.xp
        assert not is_array([x])
