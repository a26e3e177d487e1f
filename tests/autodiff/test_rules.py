"""Every differentiation rule against differences of the function itself, on every library."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses
from xpnet.autodiff import tape
from xpnet.autodiff.rules import MISSING, RULES, ZERO
from xpnet.standard import EXTENSIONS, FUNCTIONS

HOST = xn.get_backend("numpy").namespace()


# The cases: calls of every function, at smooth points.


@dataclass(eq=False)
class Case:
    """One call; its floating-point arrays are the variables, everything else is passed on."""

    name: str
    call: Callable[..., Any]
    inputs: tuple[Any, ...]
    refused_by: tuple[str, ...] = ()  # libraries that do not compute this call

    def __post_init__(self) -> None:
        self.variables = [n for n, x in enumerate(self.inputs) if _is_float(x)]


CASES: dict[str, list[Case]] = {}


def case(
    name: str,
    *inputs: Any,
    call: Callable[..., Any] | None = None,
    refused_by: tuple[str, ...] = (),
    **options: Any,
) -> None:
    """Enter ``xp.name(*inputs, **options)``, or another call of the function."""

    def plain(xp: Any, *inputs: Any) -> Any:
        return getattr(xp, name)(*inputs, **options)

    CASES.setdefault(name, []).append(Case(name, call or plain, inputs, refused_by))


def _is_float(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind == "f"


_random = np.random.default_rng(0)


def grid(*shape: int, start: float = 0.4) -> np.ndarray:
    """Return values 0.1 apart in random order: two grids with starts 0.05 apart never tie."""
    return np.reshape(start + 0.1 * _random.permutation(math.prod(shape)), shape)


def signed(*shape: int, start: float = 0.4) -> np.ndarray:
    """Return a grid with signs that alternate, away from 0."""
    x = grid(*shape, start=start)
    signs = np.where(np.arange(x.size) % 2, -1.0, 1.0)
    return np.reshape(signs * np.reshape(x, -1), shape)


ON_THE_LINE = (
    "abs asinh atan cos cosh exp expm1 negative positive reciprocal sin sinh square tan tanh"
)
ON_THE_HALF_LINE = "log log10 log1p log2 sqrt"
OF_TWO = "add atan2 copysign divide hypot logaddexp maximum minimum multiply subtract"

for _name in ON_THE_LINE.split():
    for _shape in ((2, 3), (), (1,), (0, 2)):
        case(_name, signed(*_shape))
for _name in ON_THE_HALF_LINE.split():
    for _shape in ((2, 3), (), (0,)):
        case(_name, grid(*_shape))
for _name in ["acos", "asin", "atanh"]:
    for _shape in ((2, 3), ()):
        case(_name, np.asarray(0.7 * signed(*_shape)))
case("acosh", grid(2, 3, start=1.4))
case("acosh", grid(start=1.4))
case("abs", signed(3), call=lambda xp, x: abs(x))
case("negative", signed(3), call=lambda xp, x: -x)
case("positive", signed(3), call=lambda xp, x: +x)

# Two arrays: equal shapes, broadcasting on either side and on both, 0-d, size 1 and empty.
_SHAPES = [
    ((2, 1), (1, 3)),
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((), (2,)),
    ((1,), (2, 1)),
    ((1,), (0, 2)),
]
for _name in OF_TWO.split():
    for _a, _b in _SHAPES:
        case(_name, signed(*_a), signed(*_b, start=0.45))
    case(_name, signed(3), 0.85)
    case(_name, -0.85, signed(3))
for _a, _b in _SHAPES:
    case("pow", grid(*_a), signed(*_b))
    case("remainder", signed(*_a), grid(*_b, start=1.75))
case("pow", grid(3), 1.7)
case("pow", 1.7, signed(3))
case("pow", 0.0, grid(3))
for _exponent in (0, 1, 2, 3, -1, 2.0, -2.0):
    case("pow", signed(3), _exponent)
case("remainder", np.array([5.0, -7.3, 3.1]), np.array([1.7, 2.2, -1.3]))
case("remainder", np.array([5.0, -7.3, 3.1]), 2.2)
case("remainder", 7.3, np.array([1.7, 2.2, -1.3]))
case("add", signed(2), call=lambda xp, x: (x + 2.0) + (2 + x))
case("subtract", signed(2), call=lambda xp, x: (x - 2.0) - (2 - x))
case("multiply", signed(2), call=lambda xp, x: (x * 2.0) * (3 * x))
case("divide", signed(2), call=lambda xp, x: (x / 2.0) / (3 / x))
case("pow", grid(2), call=lambda xp, x: (x**2.5) ** (2**x))
case("remainder", np.array([2.2, 3.3]), call=lambda xp, x: (7.9 % x) % (x % 0.9))
for _name in ["multiply", "divide", "subtract", "pow", "hypot", "logaddexp"]:  # of one array
    case(_name, grid(3), call=lambda xp, x, name=_name: getattr(xp, name)(x, x))

for _a, _b in [
    *(((2, 1, 2, 3), (2, 3, 2)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4))),
    *(((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 2)), ((2, 2, 3), (2, 3, 2))),
    *(((1, 2, 3), (2, 3, 1)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,))),
    *(((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 0, 3), (3, 2)), ((1, 1), (1, 1))),
]:
    case("matmul", signed(*_a), signed(*_b))
case("matmul", signed(2, 2), call=lambda xp, x: x @ x)
case("matmul", signed(3), call=lambda xp, x: x @ x)
case("vecdot", signed(3), signed(3))
case("vecdot", signed(2, 3), signed(3))
case(
    "vecdot",
    signed(2, 1, 3),
    signed(3, 1),
    call=lambda xp, a, b: xp.vecdot(a[:, :, :1], b[:1, ...]),
)
case("vecdot", signed(3, 2), signed(3, 1), axis=-2)
case("vecdot", signed(3), call=lambda xp, x: xp.vecdot(x, x))
case("tensordot", signed(2, 3), signed(2, 3))
case("tensordot", signed(2, 3), signed(3, 2), axes=1)
case("tensordot", signed(2), signed(3), axes=0)
case("tensordot", signed(), signed(2), axes=0)
case("tensordot", signed(2, 3, 2), signed(2, 2, 3), axes=([0, -2], [1, 2]))
case("tensordot", signed(2, 0), signed(0, 3), axes=1)
case("matrix_transpose", signed(2, 3))
case("matrix_transpose", signed(2, 1, 3))
case("matrix_transpose", signed(2, 3), call=lambda xp, x: x.T)
case("matrix_transpose", signed(2, 2, 3), call=lambda xp, x: x.mT)

_MASK = np.array([[True, False, True], [False, False, True]])
for _a, _b in [((2, 3), (2, 3)), ((3,), (2, 1)), ((), ())]:
    case("where", _MASK, signed(*_a), signed(*_b))
case("where", _MASK[:, :1], signed(2, 3), signed(3))
case("where", _MASK, signed(2, 3), 0.5)
case("where", _MASK, 0.5, signed(2, 3))
case("where", signed(4), call=lambda xp, x: xp.where(x > 0, x * x, -x))
case("where", np.zeros((0, 1), dtype=bool), signed(1), signed(0, 2))

for _name in ["sum", "mean", "max", "min", "std", "var"]:
    case(_name, signed(2, 3, 2), axis=(0, -1))
    case(_name, signed(2, 3, 2))
    case(_name, signed(2, 3, 2), axis=1)
    case(_name, signed(2, 3, 2), axis=-1, keepdims=True)
    case(_name, signed(2, 3, 2), axis=(2, 0), keepdims=True)
    case(_name, signed(3), keepdims=True)
for _name in ["sum", "mean", "max", "min"]:
    case(_name, signed())
    case(_name, signed(1, 3), axis=0)
    case(_name, signed(0, 2), axis=1)
case("sum", signed(0, 2))
case("sum", signed(0, 2), axis=0)
case("sum", signed(2, 3), call=lambda xp, x: xp.sum(x, axis=0, dtype=xp.float64))
for _name in ["std", "var"]:
    case(_name, signed(5), correction=1)
    case(_name, signed(3, 4), axis=0, correction=2, keepdims=True)
for _x in (signed(2, 3, 2), np.where(signed(2, 3, 2) > 1.2, 0.0, signed(2, 3, 2))):
    case("prod", _x)
    case("prod", _x, axis=1)
    case("prod", _x, axis=(0, -1), keepdims=True)
    case("cumulative_prod", _x, axis=1)
    case("cumulative_prod", _x, axis=-1, include_initial=True)
case("prod", signed())
case("prod", signed(0, 2), axis=0)
case("prod", signed(3), call=lambda xp, x: xp.prod(x, dtype=xp.float64))
case("cumulative_prod", np.array([0.5, 0.0, 2.0, -1.5, 0.0, 3.0, 0.7]))
case("cumulative_prod", signed(9))
case("cumulative_prod", signed(0))
case("sort", signed(5))
case("sort", signed(3, 2), axis=0, descending=True)
case("cumulative_sum", signed(4))
case("cumulative_sum", signed(2, 3), axis=0)
case("cumulative_sum", signed(2, 3), axis=-1, include_initial=True)
case("cumulative_sum", signed(1), include_initial=True)
case("cumulative_sum", signed(0, 2), axis=0)
case("cumulative_sum", signed(4), call=lambda xp, x: xp.cumulative_sum(x, dtype=xp.float64))

case("astype", signed(2), call=lambda xp, x: xp.astype(x, xp.float64))
case("astype", signed(2), call=lambda xp, x: xp.astype(x, xp.float64, copy=False))
case("asarray", signed(2), call=lambda xp, x: xp.asarray(x, dtype=xp.float64) * xp.asarray(x))
case("asarray", signed(2), call=lambda xp, x: xp.asarray(x, copy=True))
case(
    "asarray",
    signed(2),
    call=lambda xp, x: x * xp.asarray([2.0, 3.0], dtype=x.dtype, device=x.device),
)
case("broadcast_to", signed(3), (2, 3))
case("broadcast_to", signed(2, 1), (2, 2, 4))
case("broadcast_to", signed(), (2, 1))
case("broadcast_to", signed(2), (2,))
case("broadcast_to", signed(1), (2, 0))
case("broadcast_arrays", signed(2, 1), signed(3))
case("broadcast_arrays", signed(), signed(2), signed(1, 1))
case("full", signed(), call=lambda xp, x: xp.full((2, 3), x))
case("full", signed(), call=lambda xp, x: xp.full(3, x, dtype=xp.float64))
case("full", signed(), call=lambda xp, x: xp.full((), x))
case("full", signed(2), call=lambda xp, x: x * xp.full((2,), 3.0, dtype=x.dtype, device=x.device))
case("full_like", signed(2, 1), signed(), call=lambda xp, x, y: xp.full_like(x, y) * x)
case("full_like", signed(2), call=lambda xp, x: x * xp.full_like(x, 3.0))
case("meshgrid", signed(2), signed(3))
case("meshgrid", signed(2), signed(3), signed(1), indexing="ij")
case("meshgrid", signed(2))
for _name in ["unique_values", "unique_counts", "unique_inverse", "unique_all"]:
    case(
        _name,
        signed(2, 3),
        call=lambda xp, x, name=_name: xp.sort(getattr(getattr(xp, name)(x), "values", x)),
        refused_by=("array_api_strict", *(["torch"] if _name == "unique_all" else [])),
    )


def _turned(xp: Any, x: Any) -> Any:
    return xp.exp(xp.astype(x, xp.complex128) * (1 + 2j))


case("conj", signed(3), call=lambda xp, x: xp.real(xp.conj(_turned(xp, x)) * (2 - 1j)))
case("real", signed(3), call=lambda xp, x: xp.real(_turned(xp, x)))
case("imag", signed(3), call=lambda xp, x: xp.imag(_turned(xp, x)))
case("sign", signed(3), call=lambda xp, x: xp.sign(x) * x)
case("tril", signed(3, 3))
case("tril", signed(2, 2, 3), k=1)
case("tril", signed(3, 2), k=-1)
case("triu", signed(3, 3))
case("triu", signed(2, 2, 3), k=1)
case("triu", signed(3, 2), k=-1)

case("concat", signed(2, 3), signed(1, 3), call=lambda xp, a, b: xp.concat([a, b]))
case("concat", signed(2, 1), signed(2, 2), call=lambda xp, a, b: xp.concat((a, b, a), axis=-1))
case("concat", signed(2, 1), signed(3), call=lambda xp, a, b: xp.concat([a, b], axis=None))
case("concat", signed(0, 2), signed(1, 2), call=lambda xp, a, b: xp.concat([a, b], axis=0))
case("stack", signed(2), signed(2), call=lambda xp, a, b: xp.stack([a, b]))
case("stack", signed(2, 3), signed(2, 3), call=lambda xp, a, b: xp.stack((a, b, a), axis=-1))
case("stack", signed(), signed(), call=lambda xp, a, b: xp.stack([a, b]))
case("unstack", signed(3))
case("unstack", signed(2, 3), axis=-1)
case("expand_dims", signed(2, 3), axis=0)
case("expand_dims", signed(2, 3), axis=-1)
case("expand_dims", signed(), axis=0)
case("squeeze", signed(1, 2), 0)
case("squeeze", signed(2, 1), axis=-1)
case("squeeze", signed(1, 2, 1), axis=(0, -1))
case("reshape", signed(2, 3), (3, 2))
case("reshape", signed(2, 3), shape=(-1,))
case("reshape", signed(1, 1), ())
case("reshape", signed(2, 0), (0, 3))
case("reshape", signed(2, 3), (6,), copy=True)
case("flip", signed(2, 3))
case("flip", signed(2, 3), axis=-1)
case("flip", signed(2, 3, 1), axis=(0, 1))
case("moveaxis", signed(2, 3, 1), 0, -1)
case("moveaxis", signed(2, 3, 2), (0, 1), (-1, 0))
case("permute_dims", signed(2, 3, 1), (2, 0, 1))
case("permute_dims", signed(2, 3), axes=(-1, 0), refused_by=("jax",))
case("repeat", signed(2, 3), 2)
case("repeat", signed(2, 3), 3, axis=-1)
case("repeat", signed(2, 3), np.array([0, 2]), axis=0, refused_by=("array_api_strict",))
case("repeat", signed(), 2)
case("roll", signed(2, 3), 1)
case("roll", signed(2, 3), -2, axis=1)
case("roll", signed(2, 3), (1, 2), axis=(0, -1))
case("roll", signed(2, 3), shift=4, axis=0)
case("tile", signed(2, 3), (2,))
case("tile", signed(2, 1), (1, 3))
case("tile", signed(3), (2, 1, 2))
case("tile", signed(), (3,))
case("tile", signed(2), (0,))

_X = signed(4, 3)
for _key in [
    *((1, ...), (-1, ...), (..., 0), (2, 1), (-4, -3), ...),
    *((slice(1, 3), ...), (slice(None, None, 2), slice(1, None)), (slice(-3, -1), -1)),
    *((slice(1, 4, 2), ...), (slice(2, 2), ...)),
    *((None, ...), (..., None), (None, 1, None, ...), (slice(None), None, slice(None, 2))),
]:
    case("getitem", _X, call=lambda xp, x, key=_key: x[key])
for _key in [
    *((slice(None, None, -1), ...), (slice(3, 0, -2), slice(1, None)), (..., slice(-1, None, -3))),
    *((slice(None, 1, -1), None, 0), (slice(0, 3, -1), ...)),
]:
    case("getitem", _X, call=lambda xp, x, key=_key: x[key], refused_by=("torch",))
case("getitem", signed(5), call=lambda xp, x: x[1] * x[-1] + x[0])
case("getitem", signed(5), call=lambda xp, x: x[1:] * x[:-1])
case("getitem", signed(5), call=lambda xp, x: x[1::3])
case("getitem", signed(), call=lambda xp, x: x[()] * x[None])
case("getitem", signed(2, 0), call=lambda xp, x: x[:1, ...])
for _key in [(slice(9, None), ...), (slice(0, 9), 1)]:
    case("getitem", _X, call=lambda xp, x, key=_key: x[key], refused_by=("array_api_strict",))

_INDICES = np.array([2, 0, 2])
case("take", signed(4), _INDICES)
case("take", signed(3, 2), _INDICES, axis=0)
case("take", signed(2, 3), _INDICES, axis=-1)
case("take", signed(2, 3, 2), np.array([1, 1, 1, 0]), axis=1)
case("take", signed(1), np.array([0, 0]))
case("take", signed(3, 2), np.array([-1, 0, -3]), axis=-2)
case("take", signed(3, 2), np.array([], dtype="int64"), axis=0)
case("take", signed(3, 0), _INDICES, axis=0)
_ORDER = np.array([[2, 0, 2], [1, 1, 0]])
case("take_along_axis", signed(2, 3), _ORDER)
case("take_along_axis", signed(3, 2), np.array([[2, 0]]), axis=0)
for _key in [(np.array([2, 0, 2]), np.array([1, 1, -1])), (_INDICES, _INDICES)]:
    case("getitem", _X, _key[0], _key[1], call=lambda xp, x, i, j: x[i, j])
case("getitem", signed(4), _INDICES, call=lambda xp, x, i: x[i])
for _key in [(_INDICES, slice(None)), (slice(1, 3), _INDICES), (np.array([[0], [2]]), _INDICES)]:
    case("getitem", _X, call=lambda xp, x, key=_key: x[key], refused_by=("array_api_strict",))
case("getitem", _X, _X > 0.8, call=lambda xp, x, m: x[m], refused_by=("array_api_strict",))
case("getitem", _X, call=lambda xp, x: x[x > 0.8] * 2.0, refused_by=("array_api_strict",))
case("clip", signed(6), -0.55, 0.65)
case("clip", signed(6), min=0.55)
case("clip", signed(6), max=0.55)
case("clip", signed(6), None, None)
case(
    "clip",
    *(signed(2, 3), np.array([-0.55, 0.05, -1.0]), np.array([[0.65], [0.15]])),
    # The standard leaves open what a clip of one dtype by another gives.
    call=lambda xp, x, a, b: xp.clip(x, xp.astype(a, x.dtype), max=xp.astype(b, x.dtype)),
)
case("clip", signed(), -0.15, 0.15)
case("diff", signed(5))
case("diff", signed(4, 3), axis=0, n=2)
case("diff", signed(2, 3), n=0)
case("diff", signed(2, 3), signed(2, 1), call=lambda xp, x, a: xp.diff(x, n=0, prepend=a))
case("diff", signed(1, 2), axis=0)
case(
    "diff",
    *(signed(2, 3), signed(2, 1), signed(2, 2)),
    call=lambda xp, x, a, b: xp.diff(x, prepend=a, append=b),
)


ELSEWHERE = {  # their cases are in tests of their own
    *(name for names in EXTENSIONS.values() for name in names.split()),
    *("add_at", "set_at", "to_device", "from_dlpack"),
}


def test_every_function_with_a_rule_has_a_case() -> None:
    assert set(CASES) | ELSEWHERE == set(RULES) | ELSEWHERE
    assert set(CASES) & ELSEWHERE <= set(FUNCTIONS)


def test_each_function_of_the_standard_is_in_one_table() -> None:
    names = {*FUNCTIONS, *(name for names in EXTENSIONS.values() for name in names.split())}
    own = {"getitem", "add_at", "set_at", "to_device"}
    assert sorted([*RULES, *ZERO, *MISSING]) == sorted(names | own)


# What is expected: differences of the call itself, computed by NumPy in float64.

# A formula of six points is off by h^6 / 140 times the seventh derivative: less than 1e-12 here.
# Rounding adds some 1e-16 / h = 5e-14, and in the difference of differences 1e-16 / h^2 = 2.5e-11.
STEP = 2e-3
FIRST, SECOND = 1e-10, 1e-8


def difference(f: Callable[[float], Any]) -> Any:
    """Return f'(0)."""
    pairs = ((1, 45), (2, -9), (3, 1))
    return sum(c * (f(k * STEP) - f(-k * STEP)) for k, c in pairs) / (60 * STEP)


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Return what the elements of a result are weighed with before they are summed."""
    return 1.5 + np.cos(1.0 + np.arange(math.prod(shape))).reshape(shape)


def direction(shape: tuple[int, ...]) -> np.ndarray:
    return np.cos(2.0 + np.arange(math.prod(shape))).reshape(shape)


def projected(case: Case, asarray: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``f(scale, *inputs)``: the weighted sum of all that the case computes, scaled."""
    outs = _outputs(case.call(HOST, *case.inputs))
    each = [asarray(weights(out.shape)) for out in outs]

    def f(scale: Any, *inputs: Any) -> Any:
        xp = xn.array_namespace(*(x for x in (scale, *inputs) if hasattr(x, "shape")))
        results = _outputs(case.call(xp, *inputs))
        return sum(xp.sum(out * w) for out, w in zip(results, each, strict=True)) * scale

    return f


def _outputs(result: Any) -> Any:
    return result if isinstance(result, (list, tuple)) else [result]


@functools.cache
def expected(case: Case) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the gradient of each variable, and of the slope of all along `direction`."""
    f = projected(case, np.asarray)
    start = {n: case.inputs[n] for n in case.variables}

    def value(moved: dict[int, np.ndarray]) -> Any:
        inputs = [moved.get(n, x) for n, x in enumerate(case.inputs)]
        return f(np.asarray(1.0), *inputs)

    def slope(moved: dict[int, np.ndarray]) -> Any:
        return difference(
            lambda t: value({n: x + t * direction(x.shape) for n, x in moved.items()})
        )

    def gradient(of: Callable[[dict[int, np.ndarray]], Any], n: int) -> np.ndarray:
        out = np.zeros_like(start[n])
        for place in np.ndindex(out.shape):
            unit = np.zeros_like(out)
            unit[place] = 1.0
            out[place] = difference(lambda t, unit=unit: of({**start, n: start[n] + t * unit}))
        return out

    first = [gradient(value, n) for n in case.variables]
    return first, [gradient(slope, n) for n in case.variables]


def on_library(lib: Any, case: Case, *dtypes: str) -> list[Any]:
    """Return a scale of 1 and the inputs as arrays of a library, the variables of `dtypes`."""
    dtype = dict(zip(case.variables, itertools.cycle(dtypes or ["float64"]), strict=False))
    arrays = [
        lib.asarray(x, dtype.get(n)) if isinstance(x, np.ndarray) else x
        for n, x in enumerate(case.inputs)
    ]
    return [lib.asarray(1.0), *arrays]


def check_first(lib: Any, case: Case) -> None:
    inputs = on_library(lib, case)
    f = projected(case, lib.asarray)
    places = tuple(n + 1 for n in case.variables)
    with lib.guard():
        together = xn.grad(f, argnums=places)(*inputs)
        # Which values a rule saves depends on which operands a gradient is wanted for.
        alone = [xn.grad(f, argnums=place)(*inputs) for place in places]
        # The function may have closed over the other arrays.
        among_raw = [
            xn.grad(lambda x, n=place: f(*inputs[:n], x, *inputs[n + 1 :]))(inputs[place])
            for place in places
        ]
    for gradients in (together, alone, among_raw):
        for gradient, truth in zip(gradients, expected(case)[0], strict=True):
            assert tuple(gradient.shape) == truth.shape
            lib.close(gradient, truth, FIRST)


def check_second(lib: Any, case: Case) -> None:
    inputs = on_library(lib, case)
    f = projected(case, lib.asarray)
    places = tuple(n + 1 for n in case.variables)
    along = [lib.asarray(direction(case.inputs[n].shape)) for n in case.variables]

    def slope(scale: Any, *inputs: Any) -> Any:
        xp = xn.array_namespace(scale)
        gradients = xn.grad(f, argnums=places)(scale, *inputs)
        return sum(xp.sum(g * d) for g, d in zip(gradients, along, strict=True))

    def slope_of_one(scale: Any, place: int, d: Any) -> Any:
        """Slope by one array, the others being closed over."""
        gradient = xn.grad(lambda x: f(scale, *inputs[1:place], x, *inputs[place + 1 :]))
        return xn.array_namespace(scale).sum(gradient(inputs[place]) * d)

    with lib.guard():
        gradients = xn.grad(slope, argnums=places)(*inputs)
        # By the scale only: the gradient that a rule gets is traced, what it saved is not.
        of_scale = xn.grad(slope)(*inputs)
        of_scale_alone = [
            xn.grad(slope_of_one)(inputs[0], place, d)
            for place, d in zip(places, along, strict=True)
        ]
    first, second = expected(case)
    for gradient, truth in zip(gradients, second, strict=True):
        size = np.max(np.abs(truth), initial=1.0)  # a second derivative may be 0
        lib.close(gradient, truth, SECOND, atol=SECOND * size)
    slopes = [np.sum(g * direction(g.shape)) for g in first]
    for given, truth in zip([of_scale, *of_scale_alone], [sum(slopes), *slopes], strict=True):
        lib.close(given, truth, SECOND, atol=SECOND)


def check_dtypes(lib: Any, case: Case) -> None:
    inputs = on_library(lib, case, "float32", "float64")
    places = tuple(n + 1 for n in case.variables)
    gradients = xn.grad(projected(case, lib.asarray), argnums=places)(*inputs)
    for gradient, place, truth in zip(gradients, places, expected(case)[0], strict=True):
        assert gradient.dtype == inputs[place].dtype
        assert tuple(gradient.shape) == truth.shape
        lib.close(gradient, truth, 3e-5)


def check_values(lib: Any, case: Case) -> None:
    """Traced, a function computes what NumPy's does, in the same dtype."""
    inputs = on_library(lib, case, "float32", "float64")

    def f(scale: Any, *inputs: Any) -> Any:
        return scale, case.call(xn.array_namespace(scale), *inputs)

    _, outs = xn.grad(f, tuple(n + 1 for n in case.variables), has_aux=True)(*inputs)
    _, *on_host = [lib.to_host(x) if hasattr(x, "device") else x for x in inputs]
    for out, truth in zip(_outputs(outs), _outputs(case.call(HOST, *on_host)), strict=True):
        assert lib.to_host(out).dtype == truth.dtype
        lib.close(out, truth, 1e-6 if truth.dtype == np.float32 else 1e-14)


def check_all(check: Callable[[Any, Case], None], lib: Any, name: str) -> None:
    cases = [each for each in CASES[name] if lib.name not in each.refused_by]
    # JAX compiles anew for each call and shape, which takes it 0.1 s.
    for each in cases[:1] if lib.name == "jax" else cases:
        try:
            check(lib, each)
        except Exception as error:
            error.add_note(f"in {each}")
            raise


@pytest.mark.parametrize("name", sorted(CASES))
def test_value(lib: Any, name: str) -> None:
    check_all(check_values, lib, name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradient(lib: Any, name: str) -> None:
    check_all(check_first, lib, name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_order(lib: Any, name: str) -> None:
    if lib.name == "jax":
        pytest.skip("JAX compiles each call anew, which takes long; test_transform.py nests there")
    check_all(check_second, lib, name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_gradient_has_the_dtype_of_its_array(lib: Any, name: str) -> None:
    check_all(check_dtypes, lib, name)


@xn.custom_gradient
def cos_with_wrong_slope(x: Any) -> Any:
    xp = xn.array_namespace(x)
    return xp.cos(x), lambda grad: -1.0005 * grad * xp.sin(x)


@xn.custom_gradient
def sin_with_wrong_slope(x: Any) -> Any:
    xp = xn.array_namespace(x)
    return xp.sin(x), lambda grad: 1.0005 * grad * xp.cos(x)


@xn.custom_gradient
def sin_with_wrong_second_slope(x: Any) -> Any:
    return xn.array_namespace(x).sin(x), lambda grad: grad * cos_with_wrong_slope(x)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_the_check_finds_a_rule_that_is_off_by_a_two_thousandth(lib: Any) -> None:
    wrong = Case("sin", lambda xp, x: sin_with_wrong_slope(x), (signed(3),))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_first(lib, wrong)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_the_check_finds_a_second_derivative_that_is_off_by_a_two_thousandth(lib: Any) -> None:
    wrong = Case("sin", lambda xp, x: sin_with_wrong_second_slope(x), (signed(3),))
    check_first(lib, wrong)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_second(lib, wrong)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
@pytest.mark.parametrize("name", ["exp", "multiply", "sum", "take", "matmul", "where", "prod"])
def test_the_check_finds_a_rule_of_the_table_that_is_off(
    lib: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule is replaced in a namespace that is made anew."""
    factor, rule = [1.0], RULES[name]

    def off(*args: Any, **options: Any) -> Any:
        gradient = rule.pull(*args, **options)
        if isinstance(gradient, tuple):
            return tuple(g if g is None else g * factor[0] for g in gradient)
        return gradient * factor[0]

    monkeypatch.setattr(
        tape, "traced_namespace", functools.cache(tape.traced_namespace.__wrapped__)
    )
    monkeypatch.setitem(RULES, name, rule._replace(pull=off))
    check_first(lib, CASES[name][0])
    factor[0] = 1.0005
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        check_first(lib, CASES[name][0])


# Conventions where there is no derivative, and points where a naive formula loses the digits.

INF, NAN = math.inf, math.nan


def at_points(*values: Any) -> Any:
    """Parametrize by name, call, inputs and the gradients of all inputs."""
    names = [name for name, *_ in values]
    return pytest.mark.parametrize(("call", "inputs", "truths"), [v[1:] for v in values], ids=names)


@at_points(
    ("abs", lambda xp, x: xp.abs(x), [[-2.0, 0.0, 3.0]], [[-1.0, 0.0, 1.0]]),
    (
        *("maximum", lambda xp, a, b: xp.maximum(a, b)),
        *([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0]], [[0.5, 0.0, 1.0], [0.5, 1.0, 0.0]]),
    ),
    (
        *("minimum", lambda xp, a, b: xp.minimum(a, b)),
        *([[1.0, 2.0, 3.0], [1.0, 5.0, 0.0]], [[0.5, 1.0, 0.0], [0.5, 0.0, 1.0]]),
    ),
    ("maximum of a number", lambda xp, x: xp.maximum(x, 0.0), [[0.0, 1.0]], [[0.5, 1.0]]),
    ("maximum with itself", lambda xp, x: xp.maximum(x, x), [[3.0]], [[1.0]]),
    ("clip", lambda xp, x: xp.clip(x, 0.0, 1.0), [[0.0, 0.5, 1.0]], [[0.5, 1.0, 0.5]]),
    ("max", lambda xp, x: xp.max(x), [[3.0, 1.0, 3.0]], [[0.5, 0.0, 0.5]]),
    ("min", lambda xp, x: xp.min(x), [[3.0, 1.0, 1.0, 1.0]], [[0.0, *[1 / 3] * 3]]),
    (
        *("max along an axis", lambda xp, x: xp.max(x, axis=1)),
        *([[[2.0, 2.0], [1.0, 4.0]]], [[[0.5, 0.5], [0.0, 1.0]]]),
    ),
    (
        *("max along two", lambda xp, x: xp.max(x, axis=(0, -1), keepdims=True)),
        *([[[[2.0, 2.0]], [[1.0, 2.0]]]], [[[[1 / 3, 1 / 3]], [[0.0, 1 / 3]]]]),
    ),
    (
        *("std", lambda xp, x: xp.std(x, axis=1)),
        *([[[2.0, 2.0], [1.0, 3.0]]], [[[0.0, 0.0], [-0.5, 0.5]]]),
    ),
    (
        *("hypot", lambda xp, a, b: xp.hypot(a, b)),
        *([[0.0, 0.0], [0.0, -3.0]], [[0.0, 0.0], [0.0, -1.0]]),
    ),
    (
        *("pow", lambda xp, a, b: xp.pow(a, b)),
        *(
            [[0.0, 0.0, 0.0, 2.0], [0.0, 1.0, 2.0, 0.0]],
            [[0.0, 1.0, 0.0, 0.0], [0, 0, 0, math.log(2)]],
        ),
    ),
    ("pow of 0", lambda xp, x: x**0, [[0.0, 2.0]], [[0.0, 0.0]]),
    ("pow of 1", lambda xp, x: x**1, [[0.0, 2.0]], [[1.0, 1.0]]),
    ("pow of 2.0", lambda xp, x: x**2.0, [[0.0, -2.0]], [[0.0, -4.0]]),
    ("pow of a negative number", lambda xp, x: x**3, [[-2.0]], [[12.0]]),
    (
        *("logaddexp", lambda xp, a, b: xp.logaddexp(a, b)),
        *([[-INF, -INF, 2.0], [-INF, 1.0, -INF]], [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]),
    ),
    ("logaddexp at inf", lambda xp, a, b: xp.logaddexp(a, b), [[INF], [1.0]], [[1.0], [0.0]]),
    (
        *("copysign", lambda xp, a, b: xp.copysign(a, b)),
        *([[1.0, -2.0, 0.0, -0.0], [-0.0, 0.0, -1.0, -1.0]], [[-1.0, -1.0, -1.0, 1.0], [0.0] * 4]),
    ),
    (
        *("where", lambda xp, a, b: xp.where(a > 0, a, b)),
        *([[1.0, -1.0], [NAN, 3.0]], [[1.0, 0.0], [0.0, 1.0]]),
    ),
)
def test_convention(lib: Any, call: Any, inputs: Any, truths: Any) -> None:
    arrays = [lib.asarray(x) for x in inputs]

    def f(*arrays: Any) -> Any:
        xp = xn.array_namespace(*arrays)
        return xp.sum(call(xp, *arrays))

    with lib.guard():
        gradients = xn.grad(f, argnums=tuple(range(len(arrays))))(*arrays)
    for gradient, truth in zip(gradients, truths, strict=True):
        lib.close(gradient, truth, 1e-15)


AVERAGES = {
    "mean": lambda xp, x: xp.mean(x * x),
    "mean of rows": lambda xp, x: xp.sum(xp.mean(xp.stack([x, -x]) ** 2, axis=-1)),
    "var": lambda xp, x: xp.var(x),
    "std": lambda xp, x: xp.std(x),
    "cross_entropy": lambda xp, x: losses.cross_entropy(
        xp.stack([x, -x], axis=-1), xp.zeros(x.shape, dtype=xp.int32, device=x.device)
    ),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_of_more_elements_than_half_precision_can_count(lib: Any, name: str) -> None:
    if not hasattr(lib.xp, "float16"):
        pytest.skip(f"{lib.name} has no float16")

    def gradient(dtype: Any) -> Any:
        x = lib.xp.astype(lib.asarray(np.linspace(-1.0, 1.0, 100_003)), dtype)
        grad = xn.grad(lambda x: 1024 * AVERAGES[name](xn.array_namespace(x), x))(x)
        assert grad.dtype == dtype
        return lib.to_host(grad).astype("float64")

    expected = gradient(lib.xp.float64)
    half = float(np.finfo(np.float16).eps)
    np.testing.assert_allclose(
        gradient(lib.xp.float16), expected, rtol=0, atol=4 * half * np.max(np.abs(expected))
    )


@pytest.mark.parametrize("n", [7, 65_504, 65_505, 100_003])
def test_a_mean_divides_once_where_its_number_of_elements_fits(n: int) -> None:
    grad = xn.grad(lambda x: xn.array_namespace(x).mean(x))(np.ones(n, np.float32))
    np.testing.assert_array_equal(grad, np.full(n, np.float32(1) / np.float32(n)), strict=True)


def test_the_mixed_second_derivative_of_pow_at_exponent_0(lib: Any) -> None:
    """D a^b = b a^(b-1) da, whose derivative by b at 0 is 1 / a."""
    power = xn.grad(lambda a, b: xn.array_namespace(a, b).pow(a, b))
    mixed = xn.grad(lambda b, a: power(a, b))(lib.asarray(0.0), lib.asarray(4.0))
    lib.close(mixed, 0.25, 1e-15)


_NEAR_1 = 1 - 2.0**-40
_TO_1 = 2.0**-40


@at_points(
    (
        *(
            "tanh in float32",
            lambda xp, x: xp.tanh(x),
            [np.float32([1e-3, 8.0, -8.0, 40.0, 100.0])],
        ),
        [[1 / math.cosh(x) ** 2 for x in (1e-3, 8, 8, 40, 100)]],
    ),
    ("expm1", lambda xp, x: xp.expm1(x), [np.float32([-20.0])], [[math.exp(-20)]]),
    (
        *("logaddexp", lambda xp, a, b: xp.logaddexp(a, b), [[1e4, -1e4], [1e4, -9999.0]]),
        [[0.5, 1 / (1 + math.e)], [0.5, math.e / (1 + math.e)]],
    ),
    (
        *("logaddexp in float32", lambda xp, a, b: xp.logaddexp(a, b)),
        *(
            [np.float32([1e4]), np.float32([1e4 - 1])],
            [[math.e / (1 + math.e)], [1 / (1 + math.e)]],
        ),
    ),
    ("hypot", lambda xp, a, b: xp.hypot(a, b), [[3e307], [4e307]], [[0.6], [0.8]]),
    ("atan2", lambda xp, a, b: xp.atan2(a, b), [[3e300], [4e300]], [[1.6e-301], [-1.2e-301]]),
    ("asinh", lambda xp, x: xp.asinh(x), [[1e300]], [[1e-300]]),
    ("acosh", lambda xp, x: xp.acosh(x), [[1e300]], [[1e-300]]),
    ("asin", lambda xp, x: xp.asin(x), [[-_NEAR_1]], [[1 / math.sqrt(_TO_1 * (2 - _TO_1))]]),
    ("acos", lambda xp, x: xp.acos(x), [[_NEAR_1]], [[-1 / math.sqrt(_TO_1 * (2 - _TO_1))]]),
    ("atanh", lambda xp, x: xp.atanh(x), [[_NEAR_1]], [[1 / (_TO_1 * (2 - _TO_1))]]),
    ("log1p", lambda xp, x: xp.log1p(x), [[-_NEAR_1]], [[1 / _TO_1]]),
    (
        *("std", lambda xp, x: xp.std(x), [[1e8 + 1, 1e8 + 2, 1e8 + 3]]),
        [[-1 / math.sqrt(6), 0.0, 1 / math.sqrt(6)]],
    ),
)
def test_digits_are_kept(lib: Any, call: Any, inputs: Any, truths: Any) -> None:
    dtype = np.asarray(inputs[0]).dtype.name
    arrays = [lib.asarray(x, dtype) for x in inputs]

    def f(*arrays: Any) -> Any:
        xp = xn.array_namespace(*arrays)
        return xp.sum(call(xp, *arrays))

    gradients = xn.grad(f, argnums=tuple(range(len(arrays))))(*arrays)
    for gradient, truth in zip(gradients, truths, strict=True):
        rtol = 1e-6 if dtype == "float32" else 1e-14
        # Element by element: a small slope next to a large one counts as much.
        np.testing.assert_allclose(lib.to_host(gradient), truth, rtol=rtol, atol=1e-44)


# Functions whose derivative is zero, and those that have no rule.

CALLS: dict[str, Callable[..., Any]] = {
    "all": lambda xp, x: xp.all(x, axis=0),
    "any": lambda xp, x: xp.any(x),
    "arange": lambda xp, x: xp.arange(x[0], x[1]),
    "argmax": lambda xp, x: xp.argmax(x),
    "argmin": lambda xp, x: xp.argmin(x, axis=0),
    "argsort": lambda xp, x: xp.argsort(x, descending=True),
    "bitwise_and": lambda xp, x: (x > 0) & (x < 1),
    "bitwise_invert": lambda xp, x: ~(x > 0),
    "bitwise_left_shift": lambda xp, x: xp.argsort(x) << 1,
    "bitwise_or": lambda xp, x: (x > 0) | (x < 1),
    "bitwise_right_shift": lambda xp, x: xp.argsort(x) >> 1,
    "bitwise_xor": lambda xp, x: (x > 0) ^ (x < 1),
    "broadcast_shapes": lambda xp, x: xp.broadcast_shapes(x.shape, (2, 1)),
    "can_cast": lambda xp, x: xp.can_cast(x.dtype, xp.float32),
    "ceil": lambda xp, x: xp.ceil(x),
    "count_nonzero": lambda xp, x: xp.count_nonzero(x),
    "empty": lambda xp, x: xp.empty((0,), dtype=x.dtype, device=x.device),
    "empty_like": lambda xp, x: xp.isnan(xp.empty_like(x)) & False,
    "equal": lambda xp, x: x == 0.5,
    "eye": lambda xp, x: xp.eye(2, dtype=x.dtype, device=x.device),
    "finfo": lambda xp, x: xp.finfo(x.dtype).bits,
    "floor": lambda xp, x: xp.floor(x),
    "floor_divide": lambda xp, x: x // 2.0,
    "greater": lambda xp, x: x > 0.5,
    "greater_equal": lambda xp, x: x >= 0.5,
    "iinfo": lambda xp, x: xp.iinfo(xp.int32).bits,
    "isdtype": lambda xp, x: xp.isdtype(x.dtype, "real floating"),
    "isfinite": lambda xp, x: xp.isfinite(x),
    "isin": lambda xp, x: xp.isin(xp.argsort(x), xp.argsort(x)[1:]),
    "isinf": lambda xp, x: xp.isinf(x),
    "isnan": lambda xp, x: xp.isnan(x),
    "less": lambda xp, x: x < 0.5,
    "less_equal": lambda xp, x: x <= 0.5,
    "linspace": lambda xp, x: xp.linspace(x[0], x[1], 3),
    "logical_and": lambda xp, x: xp.logical_and(x > 0, x < 1),
    "logical_not": lambda xp, x: xp.logical_not(x > 0),
    "logical_or": lambda xp, x: xp.logical_or(x > 0, x < 1),
    "logical_xor": lambda xp, x: xp.logical_xor(x > 0, x < 1),
    "nextafter": lambda xp, x: xp.nextafter(x, x + 1.0),
    "nonzero": lambda xp, x: xp.nonzero(x > 0),
    "not_equal": lambda xp, x: x != 0.5,
    "ones": lambda xp, x: xp.ones(x.shape, dtype=x.dtype, device=x.device),
    "ones_like": lambda xp, x: xp.ones_like(x),
    "result_type": lambda xp, x: xp.result_type(x, xp.float32),
    "round": lambda xp, x: xp.round(x),
    "searchsorted": lambda xp, x: xp.searchsorted(x, x, side="right"),
    "signbit": lambda xp, x: xp.signbit(x),
    "trunc": lambda xp, x: xp.trunc(x),
    "zeros": lambda xp, x: xp.zeros((2,), dtype=x.dtype, device=x.device),
    "zeros_like": lambda xp, x: xp.zeros_like(x),
}
WITHOUT_RULE = sorted(MISSING & set(FUNCTIONS))
# With array-api-strict in its strictest mode these are switched off.
DATA_DEPENDENT = {"nonzero"}


def test_every_function_without_a_rule_is_called() -> None:
    assert sorted(CALLS) == sorted((ZERO | MISSING) & set(FUNCTIONS))


@pytest.mark.parametrize("name", sorted(ZERO & set(FUNCTIONS)))
def test_zero_derivative(lib: Any, name: str) -> None:
    if lib.name == "array_api_strict" and name in DATA_DEPENDENT:
        pytest.skip("array-api-strict: data-dependent shapes are switched off")
    call, values = CALLS[name], np.asarray([-1.25, 0.25, 2.25])
    for here, beside in zip(*(_outputs(call(HOST, values + h)) for h in (0.0, 1e-3)), strict=True):
        np.testing.assert_array_equal(here, beside)  # so the derivative is zero indeed
    x = lib.asarray(values)

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        result = call(xp, x)
        parts = [part for part in _outputs(result) if hasattr(part, "device")]
        return sum((xp.sum(xp.astype(p, x.dtype)) for p in parts), start=xp.sum(x * x)), result

    gradient, result = xn.grad(f, has_aux=True)(x)
    lib.close(gradient, [-2.5, 0.5, 4.5], 1e-15)
    for given, truth in zip(_outputs(result), _outputs(call(lib.xp, x)), strict=True):
        if hasattr(truth, "device"):
            np.testing.assert_array_equal(lib.to_host(given), lib.to_host(truth))
        else:
            assert given == truth


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_no_gradient_passes_through_integers(lib: Any, dtype: str) -> None:
    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(xp.astype(xp.astype(x, getattr(xp, dtype)), x.dtype) * x)

    truncated = [2.0, 0.0] if dtype == "int64" else [1.0, 1.0]
    lib.close(xn.grad(f)(lib.asarray([2.5, 0.75])), truncated, 1e-15)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
@pytest.mark.parametrize("name", WITHOUT_RULE)
def test_function_without_a_rule_raises_when_a_gradient_reaches_it(lib: Any, name: str) -> None:
    x = lib.asarray([0.5, 2.5, -1.5])
    call = CALLS[name]

    def f(x: Any, used: bool) -> Any:
        xp = xn.array_namespace(x)
        result = call(xp, x)
        return xp.sum(_outputs(result)[0] if used else x * x), result

    gradient, result = xn.grad(f, has_aux=True)(x, False)
    lib.close(gradient, [1.0, 5.0, -3.0], 1e-15)
    for given, truth in zip(_outputs(result), _outputs(call(lib.xp, x)), strict=True):
        np.testing.assert_array_equal(lib.to_host(given), truth)
    with pytest.raises(
        xn.MissingRuleError, match=rf"a gradient reached argument \S+ of xp\.{name},"
    ):
        xn.grad(f, has_aux=True)(x, True)


def test_gradient_reaches_a_function_without_a_rule_at_the_outer_level_only(lib: Any) -> None:
    def scaled(y: Any, x: Any) -> Any:
        return y * xn.array_namespace(y).sum(xn.array_namespace(y).nextafter(x, x + 1.0))

    x, y = lib.asarray([2.0, 3.0]), lib.asarray(5.0)
    lib.close(xn.grad(scaled)(y, x), 5.0, 1e-15)
    lib.close(xn.grad(lambda y: y * xn.grad(scaled)(y, x))(y), 5.0, 1e-15)
    with pytest.raises(xn.MissingRuleError, match=r"a gradient reached argument 0 of xp\.next"):
        xn.grad(lambda x: xn.grad(scaled)(y, x))(x)


def test_differentiated_array_as_an_option(lib: Any) -> None:
    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(xp.where(x, 1.0, x))

    with pytest.raises(xn.TracedArrayError, match="was given as a condition, where its gradient"):
        xn.grad(f)(lib.asarray([1.0]))


def test_broadcast_arrays_of_shapes_that_do_not_fit(lib: Any) -> None:
    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(xp.broadcast_arrays(x, xp.zeros((2, 2)))[0])

    with pytest.raises(ValueError, match=r"shapes \(3,\), \(2, 2\) do not broadcast together"):
        xn.grad(f)(lib.asarray([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(("value", "dtype"), [(True, "bool"), (3, "int64"), (-0.0, "float64")])
def test_full_like_of_a_number(lib: Any, value: Any, dtype: str) -> None:
    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(x), xp.full_like(x, value, dtype=getattr(xp, dtype))

    _, filled = xn.grad(f, has_aux=True)(lib.asarray([1.0, 2.0]))
    host = lib.to_host(filled)
    assert host.dtype == dtype
    assert host.tolist() == [value, value]
    assert math.copysign(1.0, host[0]) == math.copysign(1.0, value)
