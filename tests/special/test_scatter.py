"""Sums at repeated positions, on every library and by the form that needs no backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import special
from xpnet.scatter import add_at, add_at_twin

X = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(("indices", "axis"), [([2, 0, 2], 0), ([-1, 3, 1], 1), ([], -1)])
def test_values(lib: Any, indices: Any, axis: int) -> None:
    indices = np.asarray(indices, dtype="int64")
    values = 1.0 + np.cos(np.arange(np.take(X, indices, axis=axis).size))
    values = values.reshape(np.take(X, indices, axis=axis).shape)
    truth = X.copy()
    np.add.at(truth, (slice(None),) * (axis % 2) + (indices,), values)
    x, i, v = lib.asarray(X), lib.asarray(indices, None), lib.asarray(values)
    with lib.guard():
        given = special.scatter_add(x, i, v, axis=axis)
    lib.close(given, truth, 1e-15)
    lib.close(x, X)
    xn.check_gradient(lambda x, v: special.scatter_add(x, i, v, axis=axis), x, v)
    # The counterpart of take: each is the transpose of the other.
    w = lib.asarray(np.sin(X))
    xp = lib.xp
    left = xp.sum(special.scatter_add(x * 0.0, i, v, axis=axis) * w)
    lib.close(left, float(lib.to_host(xp.sum(xp.take(w, i, axis=axis) * v))), 1e-14)


def test_broadcasting_and_dtype(lib: Any) -> None:
    x, i = lib.asarray([[1.0, 2.0]], "float32"), lib.asarray([0, 0], None)
    given = special.scatter_add(x, i, lib.asarray(0.5))
    assert lib.to_host(given).dtype == "float32"
    lib.close(given, [[2.0, 3.0]], 1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_backend_and_twin(lib: Any, dtype: str) -> None:
    x = lib.asarray(np.arange(4.0), dtype)
    values, positions = lib.asarray([1.0, 2.0, 4.0], dtype), lib.asarray([3, 1, 3], None)
    truth = np.asarray([0.0, 3.0, 2.0, 8.0])
    for function in (add_at, add_at_twin):
        given = function(lib.backend.copy(x), values, positions)
        assert lib.to_host(given).dtype == dtype
        lib.close(given, truth, 1e-7)
    empty = lib.asarray([], dtype), lib.asarray([], "int64")
    lib.close(add_at(lib.backend.copy(x), *empty), np.arange(4.0), 1e-7)


def test_an_infinity_stays_where_it_is(lib: Any) -> None:
    x, v = lib.asarray([1.0, 2.0]), lib.asarray([float("inf")])
    lib.close(special.scatter_add(x, lib.asarray([0], None), v), [float("inf"), 2.0])
    lib.close(add_at_twin(lib.backend.copy(x), v, lib.asarray([0], None)), [float("inf"), 2.0])


def test_wrong_shape(lib: Any) -> None:
    with pytest.raises((ValueError, RuntimeError)):
        special.scatter_add(lib.asarray([1.0]), lib.asarray([0], None), lib.asarray([1.0, 2.0]))
