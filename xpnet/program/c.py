"""What kernels are made of in CUDA C: dtypes, numbers, formulas and reductions."""

from __future__ import annotations

import math
from typing import Any

from xpnet.program.formulas import COMPARISONS, FORMULAS

__all__ = ["CTYPES", "PRELUDE", "formula", "literal"]

CTYPES = {
    "bool": "bool",
    "float32": "float",
    "float64": "double",
    "int32": "int",
    "int64": "long long",
    "uint32": "unsigned int",
    "uint8": "unsigned char",
}
# Signed numbers that overflow are undefined in C; unsigned ones do what is expected.
_UNSIGNED = {"int": "unsigned int", "long long": "unsigned long long"}
_OVERFLOWING = frozenset(
    {"add", "bitwise_left_shift", "multiply", "negative", "square", "subtract"}
)
_TRUTHS = frozenset({"isnan", "logical_and", "logical_not", "logical_or"})
_FORMULAS = {
    **FORMULAS,
    "logical_and": "{0} && {1}",
    "logical_not": "!{0}",
    "logical_or": "{0} || {1}",
    "maximum": "({0} > {1} || {0} != {0}) ? {0} : {1}",
    "minimum": "({0} < {1} || {0} != {0}) ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
}
_BOUNDED = {"maximum": "{0} <= {1} ? {1} : {0}", "minimum": "{0} >= {1} ? {1} : {0}"}


def formula(name: str, out: str, operands: list[tuple[str, str | None]], bounded: bool) -> str:
    """Return the expression of an elementwise function.

    Parameters
    ----------
    name : str
        Of the standard.
    out : str
        The C type of the result.
    operands : list of (str, str or None)
        Expressions and their C types; None for a number, which is converted to what it meets.
    bounded : bool
        Whether the second operand is a number other than nan.
    """
    types = [ctype for _, ctype in operands if ctype is not None]
    given = [ctype for _, ctype in operands]
    wanted: list[str | None]
    if name in COMPARISONS:
        wanted = [_common(types, [x for x, ctype in operands if ctype is None])] * len(given)
    elif name in _TRUTHS:
        wanted = given
    elif name == "where":
        wanted = [given[0], out, out]
    else:
        wanted = [_UNSIGNED.get(out, out) if name in _OVERFLOWING else out] * len(given)
    if name == "bitwise_left_shift":
        wanted[1] = out
    if name == "bitwise_invert" and out == "bool":
        name = "logical_not"
    if name == "abs":
        name = "abs of float" if out in ("float", "double") else "abs of int"
    text = _ABS.get(name) or (_BOUNDED if bounded and name in _BOUNDED else _FORMULAS)[name]
    return text.format(*(_cast(x, t, w, out) for (x, t), w in zip(operands, wanted, strict=True)))


_ABS = {"abs of float": "fabs({0})", "abs of int": "{0} < 0 ? -{0} : {0}"}


def _common(types: list[str], numbers: list[str]) -> str:
    """Return the type in which arrays of some types and numbers are compared."""
    if len(set(types)) == 1 and (types[0] in ("float", "double") or not numbers):
        return types[0]
    whole = all(number.strip("(-L)").isdigit() for number in numbers)
    return "long long" if whole and not {"float", "double"} & set(types) else "double"


def _cast(expression: str, given: str | None, wanted: str | None, out: str) -> str:
    if given == wanted or wanted is None:
        return expression
    if given is None and wanted == _UNSIGNED.get(out):  # a double below zero has no unsigned value
        expression = f"({out}){expression}"
    return f"({wanted}){expression}"


def literal(x: Any) -> str:
    """Return a number that is written in the source."""
    if isinstance(x, bool):
        return str(x).lower()
    if isinstance(x, int):
        return f"({x})" if abs(x) < 2**31 else f"({x}LL)"
    if math.isfinite(x):
        return f"({x!r})"
    return "NAN_" if math.isnan(x) else "(INF)" if x > 0 else "(-INF)"


# `reduce` works among threads with consecutive numbers, a multiple of 32; `down` among those with
# the same threadIdx.x, and its result is for the first of them. Both always add in the same order.
PRELUDE = (
    """\
#define INF __longlong_as_double(0x7ff0000000000000LL)
#define NAN_ __longlong_as_double(0x7ff8000000000000LL)

struct Sum {
    template <class T> __device__ T operator()(T a, T b) const { return a + b; }
};

struct Max {
    template <class T> __device__ T operator()(T a, T b) const { return MAXIMUM; }
};

struct Min {
    template <class T> __device__ T operator()(T a, T b) const { return MINIMUM; }
};

template <class T, class F> __device__ T reduce(T x, F f, unsigned int me, unsigned int threads) {
    for (int n = 16; n > 0; n /= 2) x = f(x, __shfl_xor_sync(0xffffffffu, x, n));
    if (threads > 32) {
        __shared__ T parts[32];
        __syncthreads();
        if (me % 32 == 0) parts[me / 32] = x;
        __syncthreads();
        x = parts[0];
        for (unsigned int n = 1; n < threads / 32; ++n) x = f(x, parts[n]);
    }
    return x;
}

template <class T> __device__ T down(T x) {
    __shared__ T parts[32][32];
    __syncthreads();
    parts[threadIdx.y][threadIdx.x] = x;
    __syncthreads();
    for (unsigned int n = 1; n < blockDim.y && threadIdx.y == 0; ++n) x += parts[n][threadIdx.x];
    return x;
}

// Whether all other blocks have come here before; what they had written is then seen.
__device__ bool is_last(unsigned int* ticket, unsigned int blocks) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) last = atomicInc(ticket, blocks - 1) == blocks - 1;
    __syncthreads();
    __threadfence();
    return last;
}
"""
).replace("MAXIMUM", _FORMULAS["maximum"].format("a", "b"))
PRELUDE = PRELUDE.replace("MINIMUM", _FORMULAS["minimum"].format("a", "b"))
