"""Each function of the standard that has a counterpart, as users write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xpnet import special
from xpnet.interop.onnx import converting

F32 = np.zeros(6, "float32")
F64 = np.zeros(6, "float64")
GRID = np.zeros((3, 4), "float32")
BYTES = np.full(6, 250, "uint8")
INTS = np.full(6, 9, "int64")

# Name in the table -> functions of xp and one batch, whose rows are of float32 unless it says else.
CASES: dict[str, list[Any]] = {
    "abs": [lambda xp, x: abs(x), (lambda xp, x: xp.abs(x - 4), INTS)],
    "acos": [lambda xp, x: xp.acos(xp.tanh(x))],
    "acosh": [lambda xp, x: xp.acosh(1 + x * x)],
    "add": [
        lambda xp, x: x + 1,
        lambda xp, x: 0.5 + x,
        (lambda xp, x: x + x, BYTES),
        (lambda xp, x: x + 1, F64),
        lambda xp, x: x + x.shape[0],
        lambda xp, x: x[:, :1] + xp.zeros((x.shape[0], 5), dtype=x.dtype),
        lambda xp, x: xp.ones_like(x[:, :3]) + xp.zeros_like(x[:, :1]),
    ],
    "add_at": [lambda xp, x: special.scatter_add(x, xp.asarray([0, 2, 0]), x[:, :3], axis=1)],
    "all": [lambda xp, x: xp.all(x > -1, axis=1), lambda xp, x: xp.all(x > -9)],
    "any": [lambda xp, x: xp.any(x > 1, axis=-1, keepdims=True), (lambda xp, x: xp.any(x), INTS)],
    "arange": [
        lambda xp, x: xp.arange(x.shape[0]),
        lambda xp, x: x + xp.arange(6, dtype=x.dtype),
        lambda xp, x: xp.arange(1, 3 * x.shape[0] + 1, 2, dtype=xp.int32),
        lambda xp, x: xp.arange(x.shape[0], dtype=xp.float32),
    ],
    "argmax": [lambda xp, x: xp.argmax(x, axis=1), lambda xp, x: xp.argmax(x)],
    "argmin": [
        lambda xp, x: xp.argmin(x, axis=0, keepdims=True),
        (lambda xp, x: xp.argmin(x, keepdims=True), BYTES),
    ],
    "argsort": [
        lambda xp, x: xp.argsort(x, axis=1),
        (lambda xp, x: xp.argsort(x, axis=0, stable=True), INTS),
        (lambda xp, x: xp.argsort(x, axis=1, descending=True), INTS),
    ],
    "asarray": [
        lambda xp, x: xp.asarray(x) * 2,
        lambda xp, x: xp.asarray(x, dtype=xp.float64),
        lambda xp, x: x / xp.asarray(x.shape[0], dtype=x.dtype),
        lambda xp, x: xp.asarray([x.shape[0], 3, x.shape[0] - 1], dtype=xp.int32),
        lambda xp, x: x + xp.asarray([[0.5]], dtype=x.dtype),
    ],
    "asin": [lambda xp, x: xp.asin(xp.tanh(x))],
    "asinh": [lambda xp, x: xp.asinh(x)],
    "astype": [
        lambda xp, x: xp.astype(x, xp.int32),
        (lambda xp, x: xp.astype(x, xp.float32) / 255, BYTES),
        lambda xp, x: xp.astype(x > 0, xp.uint8),
    ],
    "atan": [lambda xp, x: xp.atan(x)],
    "atanh": [lambda xp, x: xp.atanh(0.9 * xp.tanh(x))],
    "bitwise_and": [lambda xp, x: (x > 0) & (x < 1), (lambda xp, x: x & 3, INTS)],
    "bitwise_invert": [lambda xp, x: ~(x > 0), (lambda xp, x: ~x, BYTES)],
    "bitwise_or": [lambda xp, x: (x > 1) | (x < -1), (lambda xp, x: x | 4, INTS)],
    "bitwise_xor": [lambda xp, x: (x > 1) ^ (x > 0), (lambda xp, x: x ^ x[:, :1], BYTES)],
    "broadcast_arrays": [lambda xp, x: xp.broadcast_arrays(x[:, :1], x)[0]],
    "broadcast_to": [
        lambda xp, x: xp.broadcast_to(x[:, :1], x.shape),
        lambda xp, x: xp.broadcast_to(x[:1], x.shape),
        lambda xp, x: xp.broadcast_to(xp.asarray(2.0, dtype=x.dtype), x.shape),
        lambda xp, x: xp.broadcast_to(xp.zeros_like(x[:, :1]), x.shape),
    ],
    "ceil": [lambda xp, x: xp.ceil(x), (lambda xp, x: xp.ceil(x), INTS)],
    "clip": [
        lambda xp, x: xp.clip(x, -0.5, 0.5),
        lambda xp, x: xp.clip(x, 0.1),
        lambda xp, x: xp.clip(x, x[:, :1], None),
        (lambda xp, x: xp.clip(x, 2, 7), INTS),
    ],
    "concat": [
        lambda xp, x: xp.concat([x, x[:, 1:]], axis=1),
        lambda xp, x: xp.concat([x, x]),
        lambda xp, x: xp.concat((x, xp.astype(x, xp.float64)), axis=None),
    ],
    "conj": [lambda xp, x: xp.conj(x) + 1],
    "copysign": [lambda xp, x: xp.copysign(x, x[:, ::-1]), lambda xp, x: xp.copysign(2.0, x)],
    "cos": [lambda xp, x: xp.cos(x)],
    "cosh": [lambda xp, x: xp.cosh(x)],
    "count_nonzero": [
        (lambda xp, x: xp.count_nonzero(x, axis=1), BYTES),
        lambda xp, x: xp.count_nonzero(x > 0),
    ],
    "cumulative_sum": [
        lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True),
        (lambda xp, x: xp.cumulative_sum(x, axis=0), BYTES),
    ],
    "diff": [lambda xp, x: xp.diff(x, n=2), lambda xp, x: xp.diff(x, axis=1, prepend=x[:, :1])],
    "divide": [
        lambda xp, x: x / 3,
        lambda xp, x: 1 / (1 + x * x),
        (lambda xp, x: x / 7, F64),
        lambda xp, x: xp.sum(x, axis=0) / x.shape[0],
    ],
    "empty": [lambda xp, x: 0 * xp.isfinite(xp.empty_like(x))],
    "equal": [
        (lambda xp, x: x == 3, INTS),
        lambda xp, x: x == xp.max(x, axis=1, keepdims=True),
        (lambda xp, x: x == 2.5, INTS),
        (lambda xp, x: (x > 3) == (x > 4), INTS),
    ],
    "exp": [lambda xp, x: xp.exp(x)],
    "expand_dims": [
        lambda xp, x: xp.expand_dims(x, axis=1),
        lambda xp, x: xp.expand_dims(x, axis=-1),
        lambda xp, x: x + xp.expand_dims(xp.zeros_like(x), axis=1),
    ],
    "expm1": [
        lambda xp, x: xp.expm1(x),
        lambda xp, x: xp.expm1(1e-4 * x),
        lambda xp, x: xp.expm1(30 * x),
    ],
    "flip": [lambda xp, x: xp.flip(x, axis=1), lambda xp, x: xp.flip(x)],
    "floor": [lambda xp, x: xp.floor(x), (lambda xp, x: xp.floor(x), INTS)],
    "floor_divide": [
        lambda xp, x: x // 0.3,
        (lambda xp, x: (x - 5) // 3, INTS),
        (lambda xp, x: x // 7, BYTES),
    ],
    "full": [
        lambda xp, x: xp.full((x.shape[0], 2), 3.5, dtype=x.dtype),
        lambda xp, x: xp.full_like(x, 2.0) + x,
        lambda xp, x: xp.full(x.shape, x.shape[0]),
    ],
    "getitem": [
        lambda xp, x: x[:, 1:],
        lambda xp, x: x[:2] - x[:1],
        lambda xp, x: x[..., None],
        lambda xp, x: x[:, 0],
        lambda xp, x: x[:, -1],
        lambda xp, x: x[:, ::-2],
        lambda xp, x: x[None, :, 2:4],
        lambda xp, x: x[0],
        lambda xp, x: x[-1, ..., 1:],
        lambda xp, x: x[: x.shape[0] // 1 - 1],
        lambda xp, x: x[x.shape[0] - 1],
        lambda xp, x: x[::-1, 2],
        lambda xp, x: x[xp.asarray([0, -1, 0])],
        lambda xp, x: x[:, xp.asarray([[0, 5], [2, 2]])],
        lambda xp, x: x[1:, None, xp.argmax(x[0], axis=0)],
        (lambda xp, x: x[:, 1, None, 2:, None], GRID),
        (lambda xp, x: x[:, -1:, 3], GRID),
    ],
    "greater": [lambda xp, x: x > 0.5, (lambda xp, x: x > 3, BYTES)],
    "greater_equal": [lambda xp, x: x <= 0.5],
    "hypot": [lambda xp, x: xp.hypot(x, x[:, :1])],
    "isfinite": [lambda xp, x: xp.isfinite(_odd(xp, x)), (lambda xp, x: xp.isfinite(x), INTS)],
    "isinf": [lambda xp, x: xp.isinf(_odd(xp, x))],
    "isnan": [lambda xp, x: xp.isnan(_odd(xp, x))],
    "less": [lambda xp, x: x < x[:, :1]],
    "less_equal": [lambda xp, x: x <= 0.5],
    "log": [lambda xp, x: xp.log(xp.abs(x)), (lambda xp, x: xp.log(1 + x * x), F64)],
    "log10": [lambda xp, x: xp.log10(1 + x * x)],
    "log1p": [lambda xp, x: xp.log1p(x * x), lambda xp, x: xp.log1p(1e-4 * x)],
    "log2": [lambda xp, x: xp.log2(1 + x * x)],
    "logaddexp": [lambda xp, x: xp.logaddexp(x, x[:, :1]), lambda xp, x: xp.logaddexp(99 * x, 1.0)],
    "logical_and": [lambda xp, x: xp.logical_and(x > 0, x < 1)],
    "logical_not": [lambda xp, x: xp.logical_not(x > 0)],
    "logical_or": [lambda xp, x: xp.logical_or(x > 1, x < -1)],
    "logical_xor": [lambda xp, x: xp.logical_xor(x > 1, x > 0)],
    "matmul": [
        lambda xp, x: xp.matmul(x, x.T),
        (lambda xp, x: x @ xp.matrix_transpose(x), GRID),
        lambda xp, x: x.T @ x / 100,
        (lambda xp, x: x @ x.T, INTS),
        lambda xp, x: x @ x[0],
        lambda xp, x: x @ xp.ones((6, 1), dtype=x.dtype) + xp.arange(5, dtype=x.dtype),
    ],
    "matrix_transpose": [lambda xp, x: x.T, (lambda xp, x: x.mT, GRID)],
    "max": [lambda xp, x: xp.max(x, axis=1), (lambda xp, x: xp.max(x), BYTES)],
    "maximum": [
        lambda xp, x: xp.maximum(x, 0.5),
        lambda xp, x: xp.maximum(0.0, x),
        (lambda xp, x: xp.maximum(x, 0), INTS),
        lambda xp, x: xp.maximum(x[:, :1], xp.zeros_like(x)),
    ],
    "mean": [
        lambda xp, x: xp.mean(x, axis=1, keepdims=True),
        lambda xp, x: x - xp.mean(x, axis=0),
        lambda xp, x: xp.mean(x),
    ],
    "min": [lambda xp, x: xp.min(x, axis=(0, 1)), lambda xp, x: xp.min(x, axis=-1)],
    "minimum": [lambda xp, x: xp.minimum(x, x[:, :1])],
    "moveaxis": [
        (lambda xp, x: xp.moveaxis(x, 0, -1), GRID),
        (lambda xp, x: xp.moveaxis(x, (0, 2), (1, 0)), GRID),
    ],
    "multiply": [lambda xp, x: x * x, (lambda xp, x: 2 * x, BYTES), lambda xp, x: 1 * x],
    "negative": [lambda xp, x: -x, (lambda xp, x: -x, INTS)],
    "not_equal": [(lambda xp, x: x != 3, BYTES)],
    "ones": [
        lambda xp, x: xp.ones(x.shape, dtype=x.dtype),
        lambda xp, x: xp.ones_like(x) + x,
        lambda xp, x: xp.ones((x.shape[0], x.shape[0])),
    ],
    "outer": [lambda xp, x: xp.linalg.outer(x[0], x[:, 0])],
    "permute_dims": [(lambda xp, x: xp.permute_dims(x, (2, 0, 1)), GRID)],
    "positive": [lambda xp, x: +x],
    "pow": [lambda xp, x: x**2, lambda xp, x: 2**x, (lambda xp, x: x**3, BYTES)],
    "prod": [lambda xp, x: xp.prod(x, axis=1), (lambda xp, x: xp.prod(x, axis=1), INTS)],
    "real": [lambda xp, x: xp.real(x) - 1],
    "reciprocal": [lambda xp, x: xp.reciprocal(1 + x * x)],
    "remainder": [
        lambda xp, x: x % 0.3,
        lambda xp, x: x % -0.3,
        (lambda xp, x: (x - 5) % 3, INTS),
        (lambda xp, x: x % 7, BYTES),
    ],
    "repeat": [
        lambda xp, x: xp.repeat(x, 3, axis=1),
        lambda xp, x: xp.repeat(x, 2),
        lambda xp, x: xp.repeat(x[:1], x.shape[0], axis=0),
    ],
    "reshape": [
        (lambda xp, x: xp.reshape(x, (x.shape[0], -1)), GRID),
        (lambda xp, x: xp.reshape(x, (x.shape[0], 2, 6)), GRID),
        (lambda xp, x: xp.reshape(x, (-1, 4)), GRID),
        (lambda xp, x: xp.reshape(x, (x.shape[0] * 3, 2, 2)), GRID),
        lambda xp, x: xp.reshape(x @ x.T, (-1,)),
        lambda xp, x: xp.reshape(x, (1, x.shape[0], 6)),
        lambda xp, x: xp.reshape(x[:, None] * x[None], (x.shape[0], x.shape[0], 3, 2)),
        lambda xp, x: xp.reshape(xp.ones_like(x), (-1, 2)),
        lambda xp, x: xp.reshape(x[1:, None] * x[None, 1:], (6, x.shape[0] - 1, x.shape[0] - 1)),
        lambda xp, x: xp.reshape(x[:, :0], (0, x.shape[0])),
        lambda xp, x: xp.reshape(x[::2, None] * x[None], (x[::2].shape[0], 2, -1)),
        (lambda xp, x: xp.reshape(x[:, None] * x[None], (x.shape[0], -1, 4)), GRID),
    ],
    "roll": [
        lambda xp, x: xp.roll(x, 2, axis=1),
        lambda xp, x: xp.roll(x, (-1, 3), axis=(1, 0)),
        lambda xp, x: xp.roll(x, 1),
    ],
    "round": [lambda xp, x: xp.round(x * 4)],
    "set_at": [
        lambda xp, x: _set(xp, x, (slice(None), 0), 5.0),
        lambda xp, x: _set(xp, x, 0, x[-1]),
        lambda xp, x: _set(xp, x, (slice(None), slice(1, 3)), x[:, :1]),
    ],
    "sign": [lambda xp, x: xp.sign(x), (lambda xp, x: xp.sign(x - 4), INTS)],
    "signbit": [lambda xp, x: xp.signbit(0 * x)],
    "sin": [lambda xp, x: xp.sin(x)],
    "sinh": [lambda xp, x: xp.sinh(x)],
    "sort": [
        lambda xp, x: xp.sort(x, axis=1, descending=True),
        (lambda xp, x: xp.sort(x, axis=0), BYTES),
    ],
    "sqrt": [lambda xp, x: xp.sqrt(x * x + 1)],
    "square": [lambda xp, x: xp.square(x)],
    "squeeze": [
        lambda xp, x: xp.squeeze(x[:, :1], axis=1),
        lambda xp, x: xp.squeeze(x[:, None, :1], axis=(1, -1)),
    ],
    "stack": [lambda xp, x: xp.stack([x, -x], axis=1), lambda xp, x: xp.stack((x, x), axis=-1)],
    "std": [lambda xp, x: xp.std(x, axis=1)],
    "subtract": [lambda xp, x: 1 - x, lambda xp, x: x - x[:, :1]],
    "sum": [
        lambda xp, x: xp.sum(x, axis=1),
        (lambda xp, x: xp.sum(x), BYTES),
        (lambda xp, x: xp.sum(x, axis=-1, dtype=xp.float32), INTS),
        lambda xp, x: xp.sum(x, axis=()),
        lambda xp, x: xp.sum(x, axis=(0, 1), keepdims=True),
    ],
    "take": [
        lambda xp, x: xp.take(x, xp.asarray([1, 0]), axis=1),
        lambda xp, x: xp.take(x[0], xp.asarray([1, 0, -1])),
        lambda xp, x: xp.take(x[0], xp.argmax(x, axis=1), axis=0),
    ],
    "take_along_axis": [
        lambda xp, x: xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1),
        lambda xp, x: xp.take_along_axis(x, xp.asarray([[0, 1]]), axis=1),
        lambda xp, x: xp.take_along_axis(x, xp.argmax(x, axis=1, keepdims=True), axis=-1),
    ],
    "tan": [lambda xp, x: xp.tan(0.1 * x)],
    "tanh": [lambda xp, x: xp.tanh(x), (lambda xp, x: xp.tanh(x), F64)],
    "tensordot": [
        (lambda xp, x: xp.tensordot(x, xp.ones((3, 4, 2), dtype=x.dtype)), GRID),
        (lambda xp, x: xp.tensordot(x, x, axes=((1, 2), (1, 2))), GRID),
        lambda xp, x: xp.tensordot(x, xp.asarray([1.0, 2.0], dtype=x.dtype), axes=0),
    ],
    "tile": [lambda xp, x: xp.tile(x, (1, 2)), lambda xp, x: xp.tile(x, (3, 1, 1))],
    "to_device": [lambda xp, x: x.to_device(x.device) + 1],
    "tril": [(lambda xp, x: xp.tril(x), GRID), lambda xp, x: xp.tril(x, k=-1)],
    "triu": [(lambda xp, x: xp.triu(x, k=1), GRID)],
    "trunc": [lambda xp, x: xp.trunc(3 * x), (lambda xp, x: xp.trunc(x), INTS)],
    "unstack": [(lambda xp, x: xp.unstack(x, axis=1)[2], GRID)],
    "var": [
        lambda xp, x: xp.var(x, axis=1, correction=1),
        lambda xp, x: xp.var(x, axis=0),
        (lambda xp, x: xp.var(x, axis=(0, 2), keepdims=True, correction=1.5), GRID),
    ],
    "vecdot": [lambda xp, x: xp.vecdot(x, x), (lambda xp, x: xp.vecdot(x, x, axis=-2), GRID)],
    "vector_norm": [
        lambda xp, x: x / xp.linalg.vector_norm(x, axis=-1, keepdims=True),
        lambda xp, x: xp.linalg.vector_norm(x, ord=1, axis=1),
        lambda xp, x: xp.linalg.vector_norm(x, ord=xp.inf),
    ],
    "where": [
        lambda xp, x: xp.where(x > 0, x, 0.0),
        lambda xp, x: xp.where(x > 0, x > 1, x < -1),
        (lambda xp, x: xp.where(x > 3, x, 0), BYTES),
        lambda xp, x: xp.where(x > 0, xp.ones_like(x), xp.zeros_like(x)),
        lambda xp, x: xp.where(x[:, :1] > 0, x, x),
        lambda xp, x: xp.where(x[:, :1] > 0, xp.zeros_like(x), 1.0),
    ],
    "zeros": [lambda xp, x: xp.zeros(x.shape, dtype=xp.int32)],
}


def _set(xp: Any, x: Any, key: Any, value: Any) -> Any:
    y = x + 0
    y[key] = value
    return y


def _odd(xp: Any, x: Any) -> Any:
    return xp.where(x > 1, xp.nan, xp.where(x < -1, -xp.inf, x))


def _cases() -> list[Any]:
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case, F32)), id=f"{name}-{n}")
        for name, cases in CASES.items()
        for n, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("function", "row"), _cases())
def test_a_function_of_the_standard(check: Any, function: Any, row: np.ndarray) -> None:
    check(function, row)


def test_each_function_that_is_mapped_has_a_case() -> None:
    assert set(converting.FUNCTIONS) == set(CASES)
