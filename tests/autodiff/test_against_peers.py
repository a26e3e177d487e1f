"""Every differentiation rule against the gradients of PyTorch and JAX, on random calls.

One table holds, for each function that has a rule, how a call of it is drawn: shapes, dtypes,
options, and values away from the points where the derivative is a matter of convention. The
peers compute the same call with their own gradients. Our arrays are NumPy's: the rules are the
same for every library.
"""

from __future__ import annotations

import functools
import inspect
import math
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import xpnet as xn
from xpnet import scatter
from xpnet.autodiff import rules, tape
from xpnet.autodiff.rules import RULES
from xpnet.standard import EXTENSIONS

HOST = xn.get_backend("numpy").namespace()

# What is drawn.

REAL = ("float64", "float32")
COMPLEX = ("complex128", "complex64")
ANY = (*REAL, *COMPLEX)
SHAPES: list[tuple[int, ...]] = [(2, 3), (), (4,), (0, 2), (1, 3), (2, 1, 3)]
FILLED: list[tuple[int, ...]] = [(2, 3), (4,), (1, 3), (2, 2, 3)]  # with something to reduce
PAIRS: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    *(((2, 3), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((), (2,)), ((2, 2, 1), (3,))),
    *(((1,), (0, 2)), ((1, 1), ()), ((4,), (1,))),
]


@dataclass
class Call:
    """A drawn call: its floating-point arrays are the variables, the others are passed on."""

    function: Callable[..., Any]  # of a namespace and the inputs
    inputs: tuple[Any, ...]
    peer: Callable[..., Any] | None = None  # where the peers write the same function otherwise
    refused_by: str = ""  # peers that do not compute this call, or by another convention


class Source:
    """Draws one call."""

    def __init__(self, data: Any) -> None:
        self.data = data
        self.random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))

    def pick(self, options: Any) -> Any:
        return self.data.draw(st.sampled_from(list(options)))

    def array(
        self,
        shape: tuple[int, ...],
        dtype: str = "float64",
        domain: str = "line",
        start: float = 0.4,
    ) -> np.ndarray:
        """Return values 0.1 apart in random order: starts 0.05 apart never tie.

        On the "line" their signs are random, on the "half" line they are positive, in "unit" they
        lie in (-1, 1). Of complex numbers both parts are of this kind, the imaginary one on the
        line, so that they keep away from 0 and from the branch cuts.
        """
        n = math.prod(shape)
        x = start + 0.1 * self.random.permutation(n)
        if domain == "unit":
            x *= 0.95 / np.max(x, initial=1.0)
        if domain != "half":
            x *= self.random.choice([-1.0, 1.0], size=n)
        x = x.reshape(shape)
        if dtype in COMPLEX:
            x = x + 1j * self.array(shape, start=start)
        return np.asarray(x, dtype=dtype)

    def options(self, **given: Any) -> dict[str, Any]:
        """Return options out of pairs of a value and the default, which half of the calls omit."""
        return {
            key: value
            for key, (value, default) in given.items()
            if value != default or self.pick([True, False])
        }

    def mixed(self, dtypes: tuple[str, ...]) -> tuple[str, str]:
        """Return two dtypes, which need not be the same."""
        return self.pick(dtypes), self.pick(dtypes)

    def weights(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Return a cotangent."""
        w = self.random.uniform(0.5, 1.5, shape) * self.random.choice([-1.0, 1.0], shape)
        if np.dtype(dtype).kind == "c":
            w = w + 1j * self.random.uniform(0.5, 1.5, shape)
        return np.asarray(w, dtype=dtype)


def subsets(ndim: int) -> list[Any]:
    """Return axes to reduce: none given, one from either end, several, all."""
    each: list[Any] = [None, *range(-ndim, ndim)]
    if ndim > 1:
        each += [(0, -1), (-1, 0), tuple(range(ndim))]
    if ndim > 2:
        each += [(1, 2), (-2,), (2, 0)]
    return each


# The table.

TABLE: dict[str, Callable[[Source], Call]] = {}


def row(names: str) -> Callable[[Any], Any]:
    """Enter how a call of each function is drawn; the function gets the name if it asks for it."""

    def enter(draw: Any) -> Any:
        for name in names.split():
            assert name not in TABLE
            named = "name" in inspect.signature(draw).parameters
            TABLE[name] = functools.partial(draw, name=name) if named else draw
        return draw

    return enter


@row(
    "asinh atan cos cosh exp expm1 log log1p log2 log10 negative positive reciprocal sin sinh "
    "sqrt square tan tanh acos asin acosh atanh abs sign"
)
def one_array(s: Source, name: str) -> Call:
    dtype = s.pick(ANY)
    domain, start = "line", 0.4
    if dtype in REAL:
        if name in ("log", "log1p", "log2", "log10", "sqrt", "acosh"):
            domain = "half"
        if name in ("acos", "asin", "atanh"):
            domain = "unit"
        if name == "acosh":
            start = 1.4
    x = s.array(s.pick(SHAPES), dtype, domain, start)
    # JAX takes the sign of a complex number for a constant, and has the slope of acosh with the
    # wrong sign left of the imaginary axis.
    refused = "jax" if name in ("sign", "acosh") and dtype in COMPLEX else ""
    return Call(lambda xp, x: getattr(xp, name)(x), (x,), refused_by=refused)


@row("conj imag real")
def parts(s: Source, name: str) -> Call:
    x = s.array(s.pick(SHAPES), s.pick(COMPLEX))
    return Call(lambda xp, x: getattr(xp, name)(x), (x,))


OPERATORS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
}


@row("add subtract multiply divide pow")
def arithmetic(s: Source, name: str) -> Call:
    shape_a, shape_b = s.pick(PAIRS)
    dtype_a, dtype_b = s.mixed(ANY)
    domain = "half" if name == "pow" else "line"  # a negative number has no power by a real one
    a = s.array(shape_a, dtype_a, domain)
    b = s.array(shape_b, dtype_b, start=0.45)
    function = functools.partial(_call, name)
    form = s.pick(["function", "operator", "integers", 2, 3, 1.7, -2.5, 0, 1, 0.5])
    if form == "function":
        return Call(function, (a, b))
    if form == "operator":
        return Call(lambda xp, a, b: OPERATORS[name](a, b), (a, b))
    if form == "integers":
        whole = s.random.integers(1, 4, shape_b)
        return Call(function, s.pick([(a, whole), (whole, a)]))
    number = form or (0 if name in ("pow", "add") else 0.5)
    if s.pick([True, False]):
        if number in (2, 3):
            a = s.array(shape_a, dtype_a)
        return Call(lambda xp, a: OPERATORS[name](a, number), (a,))
    number = abs(number) or 0.5
    return Call(lambda xp, b: OPERATORS[name](number, b), (b,))


def _call(name: str, xp: Any, *inputs: Any) -> Any:
    return getattr(xp, name)(*inputs)


@row("atan2 copysign hypot logaddexp maximum minimum")
def two_real(s: Source, name: str) -> Call:
    shape_a, shape_b = s.pick(PAIRS)
    dtype_a, dtype_b = s.mixed(REAL)
    a, b = s.array(shape_a, dtype_a), s.array(shape_b, dtype_b, start=0.45)
    if s.pick([False, True]):
        a, b = b, a
    return Call(functools.partial(_call, name), (a, b))


@row("remainder")
def remainder(s: Source) -> Call:
    shape_a, shape_b = s.pick(PAIRS)
    dtype_a, dtype_b = s.mixed(REAL)
    # The quotient keeps 0.1 away from the whole numbers, where the remainder jumps.
    a = s.random.integers(-6, 6, shape_a) + s.random.uniform(0.2, 0.8, shape_a)
    b = s.random.choice([1.0, -1.0, 2.0, -2.0], shape_b)
    return Call(lambda xp, a, b: xp.remainder(a, b), (a.astype(dtype_a), b.astype(dtype_b)))


@row("clip")
def clip(s: Source) -> Call:
    shape, other = s.pick([((2, 3), (3,)), ((2, 3), (2, 1)), ((4,), ()), ((), ()), ((0, 2), (2,))])
    dtype = s.pick(REAL)
    x = s.array(shape, dtype)
    form = s.pick(["both", "min", "max", "arrays", "array and number", "none"])
    if form == "both":
        return Call(lambda xp, x: xp.clip(x, -0.55, 0.65), (x,))
    if form == "min":
        return Call(lambda xp, x: xp.clip(x, min=0.65), (x,))
    if form == "max":
        return Call(lambda xp, x: xp.clip(x, max=-0.55), (x,))
    if form == "none":
        return Call(lambda xp, x: xp.clip(x, None, None), (x,), lambda xp, x: x * 1.0)
    low = s.array(other, dtype, "half", start=-0.85)
    if form == "array and number":
        return Call(
            lambda xp, x, low: xp.clip(x, low, 0.75),
            (x, low),
            lambda xp, x, low: xp.minimum(xp.maximum(x, low), xp.asarray(0.75)),
        )
    high = s.array(other, dtype, "half", start=0.25)
    return Call(
        lambda xp, x, low, high: xp.clip(x, low, high),
        (x, low, high),
        lambda xp, x, low, high: xp.minimum(xp.maximum(x, low), high),
    )


@row("sum mean max min")
def reduction(s: Source, name: str) -> Call:
    dtype = s.pick(REAL if name in ("max", "min") else ANY)
    shape = s.pick([*FILLED, ()])
    axis, keepdims = s.pick(subsets(len(shape))), s.pick([False, True])
    options = s.options(axis=(axis, None), keepdims=(keepdims, False))
    if name == "sum" and s.pick([False, False, True]):
        shape, options = s.pick([((0, 2), {}), ((0, 2), {"axis": 0}), ((2, 0), {"axis": (0, 1)})])
    return in_dtype(s, name, s.array(shape, dtype), options)


def in_dtype(s: Source, name: str, x: np.ndarray, options: Any) -> Call:
    """Return the call, a sum or product at times in a wider dtype."""
    dtype = x.dtype.name
    wider = {"float32": ["float64", "complex128"], "float64": ["complex128"]}.get(dtype, [])
    summing = name in ("sum", "prod", "cumulative_sum", "cumulative_prod")
    wide = s.pick([None, dtype, *wider]) if summing else None

    def call(xp: Any, x: Any) -> Any:
        given = {} if wide is None else {"dtype": getattr(xp, wide)}
        return getattr(xp, name)(x, **options, **given)

    def peer(xp: Any, x: Any) -> Any:
        cast = x if wide is None else xp.astype(x, getattr(xp, wide))
        return getattr(xp, name)(cast, **options)

    return Call(call, (x,), peer)


@row("var std")
def spread(s: Source, name: str) -> Call:
    shape = s.pick([(2, 3), (4,), (3, 3, 2)])
    correction = s.pick([0.0, 1.0, 0.5, 1])
    options = s.options(
        axis=(s.pick(subsets(len(shape))), None),
        correction=(correction, 0.0),
        keepdims=(s.pick([False, True]), False),
    )

    return Call(
        lambda xp, x: getattr(xp, name)(x, **options),
        (s.array(shape, s.pick(ANY)),),
        refused_by="torch" if correction == 0.5 else "",  # it takes whole ones
    )


@row("prod")
def prod(s: Source, name: str) -> Call:
    dtype, shape = s.pick(ANY), s.pick([*FILLED, (), (0, 2), (2, 0)])
    options = s.options(
        axis=(s.pick(subsets(len(shape))), None), keepdims=(s.pick([False, True]), False)
    )
    return in_dtype(s, name, with_zeros(s, s.array(shape, dtype)), options)


def with_zeros(s: Source, x: np.ndarray) -> np.ndarray:
    """Put none, one or several zeros into an array."""
    flat = x.reshape(-1).copy()
    flat[s.random.permutation(x.size)[: s.pick([0, 1, 2, 3])]] = 0
    return flat.reshape(x.shape)


@row("cumulative_sum cumulative_prod")
def cumulative(s: Source, name: str) -> Call:
    dtype, shape = s.pick(ANY), s.pick([*FILLED, (7,), (0, 2), (2, 0), (1,)])
    ndim = len(shape)
    options = {"axis": s.pick([*([None] if ndim == 1 else []), *range(-ndim, ndim)])}
    if s.pick([False, True]):
        options["include_initial"] = True
    x = s.array(shape, dtype)
    if name == "cumulative_prod":
        x = with_zeros(s, x)
    return in_dtype(s, name, x, options)


# Creation, casting.


@row("tril triu")
def triangle(s: Source, name: str) -> Call:
    x, k = s.array(s.pick([(3, 3), (2, 3), (2, 3, 2), (0, 2)]), s.pick(ANY)), s.pick([0, 1, -1, 3])
    options = s.options(k=(k, 0))
    return Call(lambda xp, x: getattr(xp, name)(x, **options), (x,))


@row("asarray")
def asarray(s: Source) -> Call:
    x = s.array(s.pick([(), (2,), (0, 2)]), s.pick(REAL))
    y = s.array(x.shape, x.dtype.name, start=0.45)
    dtype = s.pick(["float64", "complex128"])
    form = s.pick(["list", "nested", "dtype", "copy", "same"])
    if form == "list":
        return Call(lambda xp, x, y: xp.asarray([x, y, x]), (x, y), stacked)
    if form == "nested":
        return Call(
            lambda xp, x, y: xp.asarray([[x, y], [y, y]]),
            (x, y),
            lambda xp, x, y: xp.stack([xp.stack([x, y]), xp.stack([y, y])]),
        )
    if form == "dtype":
        return Call(
            lambda xp, x: xp.asarray(x, dtype=getattr(xp, dtype)),
            (x,),
            lambda xp, x: xp.astype(x, getattr(xp, dtype)),
        )
    copy = True if form == "copy" else None
    return Call(lambda xp, x: xp.asarray(x, copy=copy), (x,), lambda xp, x: x * 1.0)


def stacked(xp: Any, x: Any, y: Any) -> Any:
    return xp.stack([x, y, x])


@row("from_dlpack")
def from_dlpack(s: Source) -> Call:
    x = s.array(s.pick(SHAPES), s.pick(ANY))
    return Call(lambda xp, x: xp.from_dlpack(x), (x,), lambda xp, x: x * 1.0)


@row("full full_like")
def full(s: Source, name: str) -> Call:
    value, shape = s.array((), s.pick(ANY)), s.pick([(2, 3), (), (0, 2), 3])
    dtype = s.pick([value.dtype.name, "complex128"])

    def call(xp: Any, value: Any) -> Any:
        if name == "full":
            return xp.full(shape, value, dtype=getattr(xp, dtype))
        return xp.full_like(xp.zeros(shape), value, dtype=getattr(xp, dtype))

    def peer(xp: Any, value: Any) -> Any:
        return value * xp.ones(shape, dtype=getattr(xp, dtype))

    return Call(call, (value,), peer)


@row("meshgrid")
def meshgrid(s: Source) -> Call:
    dtype, options = s.pick(ANY), s.options(indexing=(s.pick(["xy", "ij"]), "xy"))
    arrays = tuple(
        s.array((n,), dtype, start=start)
        for n, start in zip(s.pick([(2, 3), (4,), (2, 3, 1)]), (0.4, 0.45, 0.5), strict=False)
    )
    return Call(lambda xp, *arrays: xp.meshgrid(*arrays, **options), arrays)


@row("astype")
def astype(s: Source) -> Call:
    old, new = s.pick(
        [*[(a, b) for a in REAL for b in ANY], *[(a, b) for a in COMPLEX for b in COMPLEX]]
    )
    return Call(lambda xp, x: xp.astype(x, getattr(xp, new)), (s.array(s.pick(SHAPES), old),))


@row("broadcast_to")
def broadcast_to(s: Source) -> Call:
    old, new = s.pick(
        [((3,), (2, 3)), ((2, 1), (2, 2, 4)), ((), (2, 1)), ((1,), (2, 0)), ((2,), (2,))]
    )
    return Call(lambda xp, x: xp.broadcast_to(x, new), (s.array(old, s.pick(ANY)),))


@row("broadcast_arrays")
def broadcast_arrays(s: Source) -> Call:
    a, b = s.pick(PAIRS)
    dtype_a, dtype_b = s.mixed(ANY)
    inputs = (s.array(a, dtype_a), s.array(b, dtype_b, start=0.45))
    return Call(lambda xp, a, b: list(xp.broadcast_arrays(a, b)), inputs)


# Moving elements about.


@row("concat stack")
def joined(s: Source, name: str) -> Call:
    dtype_a, dtype_b = s.mixed(ANY)
    if name == "stack":
        shape = s.pick([(2, 3), (), (0, 2), (4,)])
        shapes, axes = (shape, shape), range(-len(shape) - 1, len(shape) + 1)
    else:
        *shapes, axes = s.pick(
            [
                *(((2, 3), (1, 3), (0, -2, None)), ((2, 1), (2, 2), (1, -1, None))),
                *(((0, 2), (1, 2), (0,)), ((4,), (3,), (0, -1, None))),
            ]
        )
    options = s.options(axis=(s.pick(axes), 0))
    inputs = (s.array(shapes[0], dtype_a), s.array(shapes[1], dtype_b, start=0.45))
    if s.pick([False, True]):
        return Call(lambda xp, a, b: getattr(xp, name)([a, b, a], **options), inputs)
    return Call(lambda xp, a, b: getattr(xp, name)((a, b), **options), inputs)


@row("unstack")
def unstack(s: Source) -> Call:
    shape, axis = s.pick([((3,), 0), ((2, 3), -1), ((2, 3), 0), ((2, 1, 3), 1), ((2, 1, 3), -3)])
    options = s.options(axis=(axis, 0))
    return Call(lambda xp, x: xp.unstack(x, **options), (s.array(shape, s.pick(ANY)),))


@row("expand_dims")
def expand_dims(s: Source) -> Call:
    shape = s.pick(SHAPES)
    axis = s.pick(range(-len(shape) - 1, len(shape) + 1))
    return Call(lambda xp, x: xp.expand_dims(x, axis=axis), (s.array(shape, s.pick(ANY)),))


@row("squeeze")
def squeeze(s: Source) -> Call:
    shape, axis = s.pick([((1, 2), 0), ((2, 1), -1), ((1, 2, 1), (0, -1)), ((1, 0), 0), ((1,), 0)])
    return Call(lambda xp, x: xp.squeeze(x, axis=axis), (s.array(shape, s.pick(ANY)),))


@row("reshape")
def reshape(s: Source) -> Call:
    old, new = s.pick(
        [((2, 3), (3, 2)), ((2, 3), (-1,)), ((1, 1), ()), ((2, 0), (0, 3)), ((4,), (2, 1, -1))]
    )
    return Call(lambda xp, x: xp.reshape(x, new), (s.array(old, s.pick(ANY)),))


@row("flip")
def flip(s: Source) -> Call:
    shape = s.pick(FILLED)
    axis = s.pick(subsets(len(shape)))
    return Call(lambda xp, x: xp.flip(x, axis=axis), (s.array(shape, s.pick(ANY)),))


@row("moveaxis")
def moveaxis(s: Source) -> Call:
    source, target = s.pick([(0, -1), (-1, 0), (1, 2), ((0, 1), (-1, 0)), ((0, 1, 2), (1, 2, 0))])
    x = s.array((2, 3, 4), s.pick(ANY))
    return Call(lambda xp, x: xp.moveaxis(x, source, target), (x,))


@row("permute_dims")
def permute_dims(s: Source) -> Call:
    axes = s.pick([(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1), (-1, 0, 1), (1, -1, -3)])
    x = s.array((2, 3, 4), s.pick(ANY))
    # JAX counts axes from the front only.
    return Call(
        lambda xp, x: xp.permute_dims(x, axes),
        (x,),
        lambda xp, x: xp.permute_dims(x, tuple(axis % 3 for axis in axes)),
    )


@row("matrix_transpose")
def matrix_transpose(s: Source) -> Call:
    x = s.array(s.pick([(2, 3), (2, 1, 3), (0, 2), (2, 2, 3)]), s.pick(ANY))
    if s.pick([False, True]):
        return Call(lambda xp, x: x.mT, (x,))
    return Call(lambda xp, x: xp.matrix_transpose(x), (x,))


@row("roll")
def roll(s: Source) -> Call:
    shift, axis = s.pick(
        [(1, None), (-2, None), (-2, 1), (4, 0), ((1, 2), (0, -1)), ((1, -1), (1, 1)), (1, -2)]
    )
    x = s.array(s.pick([(2, 3), (2, 0), (3, 2)]), s.pick(ANY))
    return Call(lambda xp, x: xp.roll(x, shift, axis=axis), (x,))


@row("tile")
def tile(s: Source) -> Call:
    shape, times = s.pick(
        [
            *(((2, 3), (2,)), ((2, 1), (1, 3)), ((3,), (2, 1, 2)), ((), (3,)), ((2,), (0,))),
            *(((2, 3), (3, 2)), ((2, 2, 3), (2, 1)), ((2,), ())),
        ]
    )
    return Call(lambda xp, x: xp.tile(x, times), (s.array(shape, s.pick(ANY)),))


@row("repeat")
def repeat(s: Source) -> Call:
    shape, axis = s.pick(
        [((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((4,), None), ((), None), ((0, 2), 1)]
    )
    n = math.prod(shape) if axis is None else shape[axis]
    x = s.array(shape, s.pick(ANY))
    if s.pick([False, True]) and n:
        repeats = s.random.integers(0, 4, n)
        return Call(
            lambda xp, x, *_: xp.repeat(x, repeats, axis=axis),
            (x,),
            functools.partial(_repeat, repeats, axis),
        )
    times = s.pick([2, 1, 3, 0])
    return Call(lambda xp, x: xp.repeat(x, times, axis=axis), (x,))


def _repeat(repeats: np.ndarray, axis: int | None, xp: Any, x: Any) -> Any:
    """Repeat by taking; independent of how a peer wants `repeats` to be given."""
    if axis is None:
        x, axis = xp.reshape(x, (-1,)), 0
    return xp.take(x, xp.asarray(np.repeat(np.arange(len(repeats)), repeats)), axis=axis)


@row("diff")
def diff(s: Source) -> Call:
    shape, axis = s.pick([((4,), -1), ((3, 2), 0), ((2, 2, 3), -1), ((1, 2), 0), ((2, 3, 2), 1)])
    n = s.pick([1, 2, 0])
    ends = s.pick([(), ("prepend",), ("append",), ("prepend", "append")])
    dtype = s.pick(ANY)
    place = axis % len(shape)
    end = (*shape[:place], 2, *shape[place + 1 :])
    arrays = [s.array(end, dtype, start=0.45 + 0.01 * k) for k in range(len(ends))]

    options = s.options(axis=(axis, -1), n=(n, 1))

    def call(xp: Any, x: Any, *given: Any) -> Any:
        return xp.diff(x, **options, **dict(zip(ends, given, strict=True)))

    return Call(call, (s.array(shape, dtype), *arrays))


# Picking, choosing, writing.

KEYS: list[Any] = [
    *((1, ...), (-1, ...), (..., 0), (2, 1), (-4, -3), ..., slice(1, 3), 2, -1, (slice(None), 1)),
    *((slice(1, 3), ...), (slice(None, None, 2), slice(1, None)), (slice(-3, -1), -1)),
    *((slice(1, 4, 2), ...), (slice(2, 2), ...), (slice(9, None), ...), (slice(0, 9), 1)),
    *((None, ...), (..., None), (None, 1, None, ...), (slice(None), None, slice(None, 2))),
    # Steps backwards, which PyTorch does not take.
    *((slice(None, None, -1), ...), (slice(3, 0, -2), slice(1, None)), (..., slice(-1, None, -3))),
    *((slice(None, 1, -1), None, 0), (slice(0, 3, -1), ...)),
    # Arrays, in which an element may be named twice.
    *(
        np.array([2, 0, 2]),
        np.array([[1, -1], [1, 1]]),
        (np.array([2, 0, 2]), np.array([1, 1, -1])),
    ),
    *((np.array([[0], [3]]), np.array([0, 2])), (slice(1, 3), np.array([2, 0, 2]))),
    *((np.array([1, 1]), slice(None, 2)), (np.array([1, 1]), 0), np.array([], dtype=int)),
    *((np.array([0, 3, 0]), None), (..., np.array([0, 0])), np.array(1)),
    # Masks.
    np.array([[True, False, True], [False] * 3, [True] * 3, [False, True, False]]),
    *(np.array([True, False, True, True]), (slice(None), np.array([False, True, True]))),
    np.zeros((4, 3), dtype=bool),
]


def _backwards(key: Any) -> bool:
    keys = key if isinstance(key, tuple) else (key,)
    return any(isinstance(k, slice) and (k.step or 1) < 0 for k in keys)


@row("getitem")
def getitem(s: Source) -> Call:
    key = KEYS[s.pick(range(len(KEYS)))]
    x = s.array((4, 3), s.pick(ANY))
    return Call(lambda xp, x: x[key], (x,), refused_by="torch" if _backwards(key) else "")


@row("take")
def take(s: Source) -> Call:
    shape, axis = s.pick(
        [((4,), 0), ((3, 2), 0), ((2, 3), -1), ((2, 4, 2), 1), ((3, 2), -2), ((4,), None)]
    )
    n = shape[axis or 0]
    indices = s.random.integers(0, n, s.pick([3, 0, 5]))
    options = {} if axis is None else {"axis": axis}
    return Call(
        lambda xp, x, i: xp.take(x, i, **options),
        (s.array(shape, s.pick(ANY)), indices),
        lambda xp, x, i: xp.take(x, i, axis=axis or 0),
    )


@row("take_along_axis")
def take_along_axis(s: Source) -> Call:
    shape, axis, counts = s.pick(
        [
            ((2, 3, 2), -1, (2, 3, 1)),
            ((2, 3), -1, (2, 4)),
            ((3, 2), 0, (2, 2)),
            ((4,), 0, (3,)),
            ((2, 3, 2), 1, (2, 1, 2)),
        ]
    )
    indices = s.random.integers(0, shape[axis], counts)
    options = s.options(axis=(axis, -1))
    return Call(
        lambda xp, x, i: xp.take_along_axis(x, i, **options),
        (s.array(shape, s.pick(ANY)), indices),
    )


@row("where")
def where(s: Source) -> Call:
    a, b = s.pick(PAIRS)
    shape = np.broadcast_shapes(a, b)
    mask = s.random.integers(0, 2, s.pick([shape, shape[-1:]])).astype(bool)
    dtype_a, dtype_b = s.mixed(ANY)
    x, y = s.array(a, dtype_a), s.array(b, dtype_b, start=0.45)
    form = s.pick(["arrays", "number on the right", "number on the left"])
    if form == "number on the right":
        return Call(lambda xp, m, x: xp.where(m, x, 0.5), (mask, x))
    if form == "number on the left":
        return Call(lambda xp, m, y: xp.where(m, -2.0, y), (mask, y))
    common = np.result_type(dtype_a, dtype_b, "float64").name  # PyTorch does not promote here

    def peer(xp: Any, m: Any, x: Any, y: Any) -> Any:
        dtype = getattr(xp, common)
        return xp.where(m, xp.astype(x, dtype), xp.astype(y, dtype))

    return Call(lambda xp, m, x, y: xp.where(m, x, y), (mask, x, y), peer)


@row("set_at")
def set_at(s: Source) -> Call:
    key, shape = s.pick(
        [
            *((1, (3,)), ((slice(1, 3), slice(None)), (2, 3)), ((slice(1, 3), 1), (2,))),
            *(((..., 0), ()), ((slice(None), slice(None, None, 2)), (2,)), (..., (4, 3))),
            *(((slice(1, 2), slice(None)), (1, 1)), ((slice(None, 2), slice(None)), (2, 1))),
        ]
    )

    def ours(xp: Any, x: Any, y: Any) -> Any:
        x = x * 1.0
        x[key] = y
        return x

    def peer(xp: Any, x: Any, y: Any) -> Any:
        if hasattr(x, "at"):
            return x.at[key].set(y)
        x = x.clone()
        x[key] = y
        return x

    dtype = s.pick(ANY)
    return Call(ours, (s.array((4, 3), dtype), s.array(shape, dtype, start=0.45)), peer)


@row("add_at")
def add_at(s: Source) -> Call:
    n = s.pick([3, 0, 6])
    positions, dtype = s.random.integers(0, 4, n), s.pick(ANY)

    def ours(xp: Any, x: Any, y: Any) -> Any:
        return scatter.add_at(x * 1.0, y, xp.asarray(positions))

    def peer(xp: Any, x: Any, y: Any) -> Any:
        if hasattr(x, "at"):
            return x.at[positions].add(y)
        return x.index_add(0, xp.asarray(positions), y)

    return Call(ours, (s.array((4,), dtype), s.array((n,), dtype, start=0.45)), peer)


@row("sort")
def sort(s: Source) -> Call:
    shape, axis = s.pick([((4,), -1), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), 1), ((0, 2), 0)])
    options = {"axis": axis, "descending": s.pick([False, True]), "stable": s.pick([True, False])}
    return Call(lambda xp, x: xp.sort(x, **options), (s.array(shape, s.pick(REAL)),))


@row("unique_all unique_counts unique_inverse unique_values")
def unique(s: Source, name: str) -> Call:
    def ours(xp: Any, x: Any) -> Any:
        found = getattr(xp, name)(x)
        return xp.sort(getattr(found, "values", found))

    x = s.array(s.pick([(2, 3), (4,), (), (1,)]), s.pick(REAL))
    # Of values that are all different these are the values in order.
    return Call(ours, (x,), lambda xp, x: xp.sort(xp.reshape(x, (-1,))))


# Products.


@row("matmul")
def matmul(s: Source) -> Call:
    a, b = s.pick(
        [
            *(((2, 3), (3, 4)), ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2))),
            *(((2, 2, 3), (3, 2)), ((2, 3), (2, 3, 2)), ((2, 1, 2, 3), (2, 3, 2))),
            *(((1, 2, 3), (2, 3, 1)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((2, 1, 3), (4, 3, 2))),
            *(((2, 0), (0, 3)), ((0, 3), (3, 2)), ((2, 0, 3), (3, 2)), ((1, 1), (1, 1))),
        ]
    )
    if len(a) == 3 and len(b) == 3 and a[0] != b[0] and 1 not in (a[0], b[0]):
        a = (1, *a[1:])
    dtype = s.pick(ANY)
    x, y = s.array(a, dtype), s.array(b, dtype, start=0.45)
    if s.pick([False, True]):
        return Call(lambda xp, x, y: x @ y, (x, y))
    return Call(lambda xp, x, y: xp.matmul(x, y), (x, y))


@row("vecdot")
def vecdot(s: Source) -> Call:
    a, b, axis = s.pick(
        [
            *(((3,), (3,), -1), ((2, 3), (3,), -1), ((2, 1, 3), (4, 3), -1), ((3, 2), (3, 1), -2)),
            *(((0,), (0,), -1), ((2, 3), (2, 3), -1)),
        ]
    )
    dtype = s.pick(ANY)
    x, y = s.array(a, dtype), s.array(b, dtype, start=0.45)
    options = s.options(axis=(axis, -1))
    return Call(
        lambda xp, x, y: xp.vecdot(x, y, **options),
        (x, y),
        lambda xp, x, y: xp.sum(xp.conj(x) * y, axis=axis),
    )


@row("tensordot")
def tensordot(s: Source) -> Call:
    a, b, axes = s.pick(
        [
            *(((2, 3), (2, 3), 2), ((2, 3), (3, 2), 1), ((2,), (3,), 0), ((), (2,), 0)),
            *(((2, 3, 2), (2, 2, 3), ([0, -2], [1, 2])), ((2, 0), (0, 3), 1)),
            *(((2, 3, 4), (4, 3, 2), ([2, 1], [0, 1])), ((2, 3), (2, 4), ([0], [-2]))),
        ]
    )
    dtype = s.pick(ANY)
    x, y = s.array(a, dtype), s.array(b, dtype, start=0.45)
    options = s.options(axes=(axes, 2))
    return Call(lambda xp, x, y: xp.tensordot(x, y, **options), (x, y))


ELSEWHERE = {  # compared with their peers in a test of their own
    *(name for names in EXTENSIONS.values() for name in names.split()),
    "to_device",  # PyTorch and JAX have one device on most machines
}


def test_every_rule_is_in_the_table() -> None:
    assert sorted(set(TABLE) | ELSEWHERE) == sorted(set(RULES) | ELSEWHERE)


# The comparison.


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, (list, tuple)) else [result]


def loss(xp: Any, outs: list[Any], weights: list[Any]) -> Any:
    """Return the sum of the real parts of all that was computed, each weighed."""
    total = 0.0
    for out, w in zip(outs, weights, strict=True):
        weighed = xp.sum(out * w)
        total = total + (xp.real(weighed) if xp.isdtype(w.dtype, "complex floating") else weighed)
    return total


def is_variable(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype.kind in "fc"


def wide(x: np.ndarray) -> np.ndarray:
    """Return the same numbers in double precision: a peer's rounding is not to count."""
    return x.astype("complex128" if x.dtype.kind == "c" else "float64") if is_variable(x) else x


def ours(call: Call, places: tuple[int, ...], weights: list[np.ndarray]) -> list[Any]:
    def f(*inputs: Any) -> Any:
        xp = xn.array_namespace(*inputs)
        each = [xp.asarray(w) for w in weights]
        return loss(xp, outputs(call.function(xp, *inputs)), each)

    return list(xn.grad(f, argnums=places)(*call.inputs))


def of_torch(
    call: Call, places: tuple[int, ...], weights: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return PyTorch's values, and its gradients in the convention of JAX and ours."""
    import array_api_compat.torch as xp
    import torch

    inputs = [torch.tensor(wide(x).copy()) for x in call.inputs]
    for place in places:
        inputs[place].requires_grad_(True)
    outs = outputs((call.peer or call.function)(xp, *inputs))
    total = loss(xp, outs, [torch.tensor(wide(w)) for w in weights])
    variables = [inputs[place] for place in places]
    if total.requires_grad:
        gradients = torch.autograd.grad(total, variables, allow_unused=True, materialize_grads=True)
    else:  # it depends on none of them
        gradients = [torch.zeros_like(x) for x in variables]
    return (
        [out.detach().resolve_conj().resolve_neg().numpy() for out in outs],
        [g.conj().resolve_conj().resolve_neg().numpy() for g in gradients],
    )


def of_jax(
    call: Call, places: tuple[int, ...], weights: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return JAX's values and gradients, compiled in a hurry."""
    import jax
    import jax.numpy as xp

    inputs = [wide(x) for x in call.inputs]

    def f(variables: list[Any], weights: list[Any]) -> Any:
        given = dict(zip(places, variables, strict=True))
        outs = outputs(
            (call.peer or call.function)(
                xp, *(given.get(n, xp.asarray(x)) for n, x in enumerate(inputs))
            )
        )
        return loss(xp, outs, weights), outs

    both = jax.jit(
        jax.grad(f, has_aux=True), compiler_options={"xla_backend_optimization_level": 0}
    )
    gradients, outs = both([inputs[place] for place in places], [wide(w) for w in weights])
    return [np.asarray(out) for out in outs], [np.asarray(g) for g in gradients]


def tolerance(arrays: list[np.ndarray]) -> float:
    """Return the relative error to allow.

    An element of a gradient is a sum of at most as many terms as the largest array has elements,
    each rounded a few times, in the narrowest of the dtypes.
    """
    unit = max(float(np.finfo(x.dtype).eps) for x in arrays if is_variable(x))
    return 16 * unit * (4 + max(x.size for x in arrays))


def compare(peer: Any, name: str, data: Any) -> None:
    """Draw a call and compare its values and gradients with those of a peer."""
    source = Source(data)
    call = TABLE[name](source)
    outs = [np.asarray(out) for out in outputs(call.function(HOST, *call.inputs))]
    weights = [source.weights(out.shape, out.dtype) for out in outs]
    every = tuple(n for n, x in enumerate(call.inputs) if is_variable(x))
    # What a rule saves depends on which gradients are wanted.
    places = source.pick([every, *((n,) for n in every if len(every) > 1)])
    gradients = ours(call, places, weights)
    for place, gradient in zip(places, gradients, strict=True):
        x = call.inputs[place]
        assert isinstance(gradient, (np.ndarray, np.generic))
        assert (gradient.shape, gradient.dtype) == (x.shape, x.dtype)
        assert gradient.device == x.device
    if peer.__name__.removeprefix("of_") in call.refused_by:
        return
    values, truths = peer(call, places, weights)
    rtol = tolerance([*call.inputs, *outs])
    largest = max(float(np.max(np.abs(w), initial=0.0)) for w in weights)
    for out, value in zip(outs, values, strict=True):
        close(out, value, rtol, 0.0)
    for gradient, truth in zip(gradients, truths, strict=True):
        close(gradient, truth, rtol, largest)


def close(actual: Any, expected: Any, rtol: float, size: float) -> None:
    """Assert equality relative to the largest number of all, or to `size`, since terms cancel."""
    size = max(size, float(np.max(np.abs(expected), initial=0.0)))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * size)


def drawn(max_examples: int) -> settings:
    """Draw the same calls each time; failing ones are not made simpler, which takes JAX long."""
    return settings(
        derandomize=True, deadline=None, max_examples=max_examples, phases=[Phase.generate]
    )


@pytest.mark.parametrize("name", sorted(TABLE))
@drawn(40)
@given(data=st.data())
def test_gradients_are_those_of_torch(name: str, data: Any) -> None:
    pytest.importorskip("torch")
    compare(of_torch, name, data)


@pytest.mark.parametrize("name", sorted(TABLE))
@drawn(2)  # JAX compiles each anew, which takes it 0.1 s
@given(data=st.data())
def test_gradients_are_those_of_jax(name: str, data: Any) -> None:
    pytest.importorskip("jax")
    compare(of_jax, name, data)


# Mixed dtypes, where promotion is undone.


def gradients_of(function: Callable[..., Any], *inputs: np.ndarray) -> list[Any]:
    """Return the gradients of the real part of what ``function(xp, *inputs)`` returns."""
    places = tuple(n for n, x in enumerate(inputs) if is_variable(x))

    def f(*inputs: Any) -> Any:
        xp = xn.array_namespace(*inputs)
        total = xp.sum(function(xp, *inputs))
        return xp.real(total) if xp.isdtype(total.dtype, "complex floating") else total

    return list(xn.grad(f, argnums=places)(*inputs))


def same(gradients: list[Any], *truths: np.ndarray) -> None:
    """Assert equal values, shapes and dtypes."""
    for gradient, truth in zip(gradients, truths, strict=True):
        assert gradient.dtype == truth.dtype
        assert gradient.shape == truth.shape
        np.testing.assert_array_equal(gradient, truth)


@pytest.mark.parametrize("wider", [np.float64, np.complex128])
def test_promotion_is_undone(wider: Any) -> None:
    x, y = np.array([2.0, 4.0], dtype=np.float32), np.array([1 / 3, 3.0], dtype=wider)
    gradients = gradients_of(lambda xp, x, y: x * y, x, y)
    same(gradients, np.array([1 / 3, 3.0], dtype=np.float32), x.astype(wider))
    gradients = gradients_of(lambda xp, x, y: y - x, x, y)
    same(gradients, -np.ones_like(x), np.ones_like(y))


@pytest.mark.parametrize("dtype", COMPLEX)
def test_a_real_operand_of_a_complex_one_gets_the_real_part(dtype: str) -> None:
    x, z = np.array([[2.0], [4.0]]), np.array([3.0 - 4.0j, 1.0 + 2.0j], dtype=dtype)
    gradients = gradients_of(lambda xp, x, z: x * z, x, z)
    same(gradients, np.full((2, 1), 4.0), np.array([6.0, 6.0], dtype=dtype))
    gradients = gradients_of(lambda xp, x, z: xp.where(x > 3, x, z), x, z)
    same(gradients, np.array([[0.0], [2.0]]), np.array([1.0, 1.0], dtype=dtype))
    gradients = gradients_of(lambda xp, x, z: xp.concat([x[:, 0], z]) * 1j, x, z)
    same(gradients, np.zeros((2, 1)), np.array([1j, 1j], dtype=dtype))


def test_integers_beside_numbers() -> None:
    n, x = np.array([[2], [3]]), np.array([0.5, 4.0], dtype=np.float32)
    same(gradients_of(lambda xp, n, x: n * x, n, x), np.array([5.0, 5.0], dtype=np.float32))
    same(gradients_of(lambda xp, n, x: x**n, n, x), np.array([1.75, 56.0], dtype=np.float32))
    same(gradients_of(lambda xp, n, x: xp.sum(n) / x, n, x), np.float32([-20.0, -0.3125]))
    same(gradients_of(lambda xp, n, x: xp.where(n > 2, n, x), n, x), np.float32([1.0, 1.0]))


# Conventions: ours, where the peers differ from us or from each other.


CONVENTIONS: dict[str, tuple[Callable[..., Any], list[Any], list[Any]]] = {
    # As both peers, but that PyTorch's clamp passes the whole gradient on at a bound.
    "maximum": (lambda xp, a, b: xp.maximum(a, b), [[1.0, 2.0], [1.0, 1.0]], [[0.5, 1], [0.5, 0]]),
    "minimum": (lambda xp, a, b: xp.minimum(a, b), [[1.0, 2.0], [1.0, 1.0]], [[0.5, 0], [0.5, 1]]),
    "clip": (lambda xp, x: xp.clip(x, -1.0, 1.0), [[-1.0, 0.0, 1.0, 2.0]], [[0.5, 1.0, 0.5, 0.0]]),
    "max": (lambda xp, x: xp.max(x), [[2.0, 0.0, 2.0, 2.0, 2.0]], [[0.25, 0, 0.25, 0.25, 0.25]]),
    "min along": (
        *(lambda xp, x: xp.min(x, axis=0), [[[1.0, 2.0], [1.0, 3.0]]]),
        [[[0.5, 1.0], [0.5, 0.0]]],
    ),
    # JAX gives 1.
    "abs at 0": (lambda xp, x: xp.abs(x), [[0.0, -0.0]], [[0.0, 0.0]]),
    "abs of complex 0": (lambda xp, x: xp.abs(x), [[0j, 3 + 4j]], [[0.0, 0.6 - 0.8j]]),
    # JAX gives 0.5, PyTorch nan.
    "hypot at 0": (lambda xp, a, b: xp.hypot(a, b), [[0.0], [0.0]], [[0.0], [0.0]]),
    # JAX gives nan.
    "std at 0": (lambda xp, x: xp.std(x), [[3.0, 3.0, 3.0]], [[0.0, 0.0, 0.0]]),
    # Each keeps its own, as in both peers.
    "sort of equal values": (
        *(lambda xp, x: xp.sort(x) * xp.asarray([1.0, 2.0, 4.0, 8.0]), [[5.0, 3.0, 5.0, 3.0]]),
        [[4.0, 1.0, 8.0, 2.0]],
    ),
    "descending sort of equal values": (
        lambda xp, x: xp.sort(x, descending=True) * xp.asarray([1.0, 2.0, 4.0, 8.0]),
        *([[5.0, 3.0, 5.0, 3.0]], [[1.0, 4.0, 2.0, 8.0]]),
    ),
    # The peers have no gradient.
    "unique picks the first": (
        lambda xp, x: xp.unique_values(x) * xp.asarray([1.0, 2.0]),
        *([[5.0, 3.0, 5.0, 3.0]], [[2.0, 1.0, 0.0, 0.0]]),
    ),
    "unique of nan": (lambda xp, x: xp.unique_values(x)[:2], [[5.0, math.nan, 3.0]], [[1, 0, 1]]),
    # JAX gives 0 for all; x / |x| turns with x, by i y / |x| at a point on the real axis.
    "sign of complex": (
        lambda xp, x: xp.sign(x) * xp.asarray([1.0, 1j, 1j]),
        *([[2 + 0j, 2 + 0j, -4 + 0j]], [[0.0, 0.5j, 0.25j]]),
    ),
    "sign": (lambda xp, x: xp.sign(x), [[-2.0, 0.0, 3.0]], [[0.0, 0.0, 0.0]]),
}


@pytest.mark.parametrize("name", CONVENTIONS)
def test_our_convention(name: str) -> None:
    function, inputs, truths = CONVENTIONS[name]
    arrays = [np.asarray(x) for x in inputs]
    for gradient, truth in zip(gradients_of(function, *arrays), truths, strict=True):
        np.testing.assert_allclose(gradient, truth, rtol=1e-15, atol=1e-16)


# The comparison sees a rule that is off by a two-thousandth.


def scaled(rule: Any, by: float) -> Any:
    """Return a rule whose gradients are off by a factor."""
    if isinstance(rule, rules.Composed):
        function = rule.function

        def off(xp: Any, *args: Any, **options: Any) -> Any:
            out = function(xp, *args, **options)
            return out * by - xn.stop_gradient(out) * (by - 1)

        return rule._replace(function=off)
    pull = rule.pull

    def off_pull(*args: Any, **options: Any) -> Any:
        gradient = pull(*args, **options)
        if isinstance(gradient, (tuple, list)):
            return [g if g is None else g * by for g in gradient]
        return gradient * by

    return rule._replace(pull=off_pull)


def a_call_differs(name: str, peer: Any) -> None:
    """Compare some calls; raises AssertionError where one differs."""

    @drawn(12)
    @given(data=st.data())
    def check(data: Any) -> None:
        compare(peer, name, data)

    check()


# One of each kind: of one array, of two, of a list, with options, composed.
WRONG = ["exp", "multiply", "concat", "sum", "take", "matmul", "where", "tensordot", "sort"]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    a_call_differs(name, of_torch)
    fresh = functools.cache(tape.traced_namespace.__wrapped__)
    monkeypatch.setattr(tape, "traced_namespace", fresh)
    monkeypatch.setitem(RULES, name, scaled(RULES[name], 1.0))
    a_call_differs(name, of_torch)  # nothing but the factor is found
    fresh.cache_clear()
    monkeypatch.setitem(RULES, name, scaled(RULES[name], 1.0005))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        a_call_differs(name, of_torch)


def test_a_wrong_rule_is_caught_by_jax_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    monkeypatch.setattr(
        tape, "traced_namespace", functools.cache(tape.traced_namespace.__wrapped__)
    )
    monkeypatch.setitem(RULES, "sin", scaled(RULES["sin"], 1.0005))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        a_call_differs("sin", of_jax)


# Complex numbers on every library.


def six_points(f: Callable[[float], Any]) -> Any:
    """Return f'(0) by differences: off by 1e-12 here, and by rounding."""
    step = 2e-3
    pairs = ((1, 45), (2, -9), (3, 1))
    return sum(c * (f(k * step) - f(-k * step)) for k, c in pairs) / (60 * step)


Z = np.array([[0.7 + 0.4j, -0.5 + 0.9j, 0.6 - 0.8j]])
V = np.array([[0.9 - 0.3j, 0.8 + 0.5j, 0.4 + 1.1j]])

_OF_Z = (
    "abs real imag conj exp expm1 log log1p sqrt square reciprocal sign sin cos tan asin acos atan "
    "sinh cosh tanh asinh acosh atanh sum prod mean"
)
_OF_TWO = "multiply divide pow vecdot"
OF_COMPLEX: dict[str, Callable[..., Any]] = {
    **{
        name: functools.partial(lambda name, xp, z, v: getattr(xp, name)(z), name)
        for name in _OF_Z.split()
    },
    **{
        name: functools.partial(lambda name, xp, z, v: getattr(xp, name)(z, v), name)
        for name in _OF_TWO.split()
    },
    "cumulative_sum": lambda xp, z, v: xp.cumulative_sum(z, axis=1),
    "cumulative_prod": lambda xp, z, v: xp.cumulative_prod(z, axis=1),
    "matmul": lambda xp, z, v: xp.matmul(z, xp.matrix_transpose(v)),
    "where": lambda xp, z, v: xp.where(xp.real(z) > 0, z * v, xp.conj(z)),
    "a real one between": lambda xp, z, v: z * xp.sum(xp.abs(v)) + xp.real(z) * xp.imag(v),
}
ON_JAX = {"multiply", "abs", "exp", "real"}  # what JAX, which compiles anew, is asked for


def at(function: Callable[..., Any], asarray: Callable[..., Any]) -> Callable[..., Any]:
    """Return the real number ``f(z, v)`` to differentiate."""
    shape = np.shape(function(HOST, Z, V))
    count = np.arange(math.prod(shape)).reshape(shape)
    weights = asarray(1.5 + np.cos(1.0 + count) + 1j * np.sin(2.0 + count))

    def f(z: Any, v: Any) -> Any:
        xp = xn.array_namespace(z, v)
        return xp.real(xp.sum(function(xp, z, v) * weights))

    return f


def numerically(f: Callable[..., Any]) -> list[np.ndarray]:
    """Return dL/dx - i dL/dy for each element of z and of v."""
    found = []
    for n in range(2):
        gradient = np.zeros_like(Z)
        for place in np.ndindex(Z.shape):

            def moved(t: complex, n: int = n, place: Any = place) -> Any:
                inputs = [Z.copy(), V.copy()]
                inputs[n][place] += t
                return f(*inputs)

            gradient[place] = six_points(moved) - 1j * six_points(lambda t: moved(1j * t))
        found.append(gradient)
    return found


def sloped(f: Callable[..., Any], along: list[Any]) -> Callable[..., Any]:
    """Return the real number ``s(z, v)``, the slope of `f` in a direction."""

    def slope(z: Any, v: Any) -> Any:
        xp = xn.array_namespace(z, v)
        gradients = xn.grad(f, argnums=(0, 1))(z, v)
        return xp.real(sum(xp.sum(g * d) for g, d in zip(gradients, along, strict=True)))

    return slope


ALONG = [Z[:, ::-1] * (0.3 + 0.7j), V * (0.6 - 0.5j)]


@functools.cache
def complex_truths(name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the gradients, and those of the slope along a direction, by differences alone."""
    f = at(OF_COMPLEX[name], np.asarray)

    def slope(z: np.ndarray, v: np.ndarray) -> Any:
        dz, dv = ALONG
        return six_points(lambda t: f(z + t * dz, v + t * dv))

    return numerically(f), numerically(slope)


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_complex_numbers(lib: Any, name: str) -> None:
    if lib.name == "jax" and name not in ON_JAX:
        pytest.skip("JAX compiles each call anew, which takes long; it is compared as a peer")
    z, v = lib.asarray(Z, "complex128"), lib.asarray(V, "complex128")
    f = at(OF_COMPLEX[name], lambda w: lib.asarray(w, "complex128"))
    first, second = complex_truths(name)
    with lib.guard():
        gradients = xn.grad(f, argnums=(0, 1))(z, v)
    for gradient, truth in zip(gradients, first, strict=True):
        assert gradient.dtype == z.dtype
        lib.close(gradient, truth, 1e-10, atol=1e-10)
    along = [lib.asarray(d, "complex128") for d in ALONG]
    with lib.guard():
        gradients = xn.grad(sloped(f, along), argnums=(0, 1))(z, v)
    for gradient, truth in zip(gradients, second, strict=True):
        lib.close(gradient, truth, 2e-8, atol=2e-8)


@pytest.mark.parametrize(
    ("call", "truth"),
    [
        (lambda xp, z: xp.abs(z) ** 2, 6 - 8j),  # 2 conj(z)
        (lambda xp, z: xp.real(z), 1.0),
        (lambda xp, z: xp.imag(z), -1j),
        (lambda xp, z: xp.real(xp.conj(z)), 1.0),
        (lambda xp, z: xp.imag(xp.conj(z)), 1j),
        (lambda xp, z: xp.real(z * z), 6 + 8j),  # f'(z) of a holomorphic f
        (lambda xp, z: xp.imag(z * z), 8 - 6j),  # -i f'(z)
        (lambda xp, z: xp.real(1 / z), -1 / (3 + 4j) ** 2),
        (lambda xp, z: xp.real(xp.log(z)), 1 / (3 + 4j)),
        (lambda xp, z: xp.abs(z), 0.6 - 0.8j),  # conj(z) / |z|
        (lambda xp, z: xp.real(xp.sign(z)), (16 + 12j) / 125),  # (y^2 + i x y) / |z|^3
    ],
    ids=["abs2", "re", "im", "re conj", "im conj", "re z2", "im z2", "1/z", "log", "abs", "sign"],
)
def test_the_convention_for_complex_numbers(lib: Any, call: Any, truth: complex) -> None:
    """DL/dx - i dL/dy at 3 + 4i, in closed form."""
    if lib.name == "jax":
        pytest.skip("JAX compiles each call anew, which takes long; it is compared as a peer")
    z = lib.asarray(3 + 4j, "complex128")
    lib.close(xn.grad(lambda z: call(xn.array_namespace(z), z))(z), truth, 1e-14, atol=1e-15)


# Deep graphs.


def test_a_graph_of_a_hundred_thousand_operations() -> None:
    def f(x: Any) -> Any:
        for _ in range(50_000):
            x = x + 1e-5 * x
        return x

    began = time.perf_counter()
    gradient = xn.grad(f)(np.asarray(1.0))
    assert time.perf_counter() - began < 20  # a second or less; the square of that would be days
    np.testing.assert_allclose(gradient, 1.00001**50_000, rtol=1e-10)


def test_memory_is_freed_on_the_way_back() -> None:
    """What a rule saved is let go as soon as the walk has passed it."""
    saved: list[Any] = []
    alive: list[int] = []

    @xn.custom_gradient
    def look(x: Any) -> Any:
        def pull(grad: Any) -> Any:
            alive.append(sum(each() is not None for each in saved))
            return grad

        return x, pull

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        for _ in range(20):
            x = look(xp.sin(x))
            saved.append(weakref.ref(x.value))
        return xp.sum(x * x)

    xn.grad(f)(np.linspace(0.0, 1.0, 1000))
    assert len(alive) == 20
    # The k-th look comes before the k-th sine from the end is passed; what follows it is gone.
    assert alive == list(range(alive[0], alive[0] - 20, -1))
    assert alive[0] <= 20
    assert alive[-1] <= 1


def test_second_derivative_of_a_loop_of_a_thousand() -> None:
    def f(x: Any) -> Any:
        for _ in range(1000):
            x = x - 1e-3 * (x * x)
        return x

    x, first, second = 0.9, 1.0, 0.0  # the same recurrence, its derivatives by hand
    for _ in range(1000):
        first, second = (
            first - 2e-3 * x * first,
            second - 2e-3 * (first * first + x * second),
        )
        x = x - 1e-3 * x * x
    slope = xn.grad(f)
    np.testing.assert_allclose(slope(np.asarray(0.9)), first, rtol=1e-12)
    np.testing.assert_allclose(xn.grad(slope)(np.asarray(0.9)), second, rtol=1e-11)
