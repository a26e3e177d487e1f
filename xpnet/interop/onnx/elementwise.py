"""Elementwise functions as nodes; see `xpnet.interop.onnx.building.Table`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.interop.onnx.building import Graph, Table, Value

__all__ = ["ELEMENTWISE"]

Function = Callable[..., str]
ELEMENTWISE = Table()


def _floating(op: str) -> Function:
    """Return a function of real numbers that is one node; integers become real first."""

    def call(graph: Graph, out: Value, x: Value) -> str:
        return graph(op, graph.operand(x, out.dtype))

    return call


def _whole(op: str) -> Function:
    """Return a function that leaves integers as they are."""

    def call(graph: Graph, out: Value, x: Value) -> str:
        return graph(op, x) if _is_real(x) else graph.name(x)

    return call


def _arithmetic(op: str, **attributes: Any) -> Function:
    """Return a function that computes in the dtype of its result."""

    def call(graph: Graph, out: Value, *xs: Any) -> str:
        return _wide(graph, out, xs, lambda *names: graph(op, *names, **attributes))

    return call


def _wide(graph: Graph, out: Value, xs: Any, compute: Callable[..., str]) -> str:
    """Compute in the dtype of the result, or in a wider one where runtimes lack functions."""
    dtype = graph.wide(out.dtype)
    return graph.cast(compute(*graph.operands(out, xs, dtype)), dtype, out.dtype)


def _comparison(op: str, *, negated: bool = False) -> Function:
    def call(graph: Graph, out: Value, *xs: Any) -> str:
        dtype = graph.wide(graph.common(xs))
        name = graph(op, *graph.operands(out, xs, dtype))
        return graph("Not", name) if negated else name

    return call


def _logical(op: str) -> Function:
    def call(graph: Graph, out: Value, *xs: Any) -> str:
        return graph(op, *graph.operands(out, xs, "bool"))

    return call


def _bitwise(logical: str, bitwise: str) -> Function:
    def call(graph: Graph, out: Value, *xs: Any) -> str:
        op = logical if out.dtype == "bool" else bitwise
        return graph(op, *graph.operands(out, xs, out.dtype))

    return call


_FLOATING = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "log"),
    *("reciprocal", "sin", "sinh", "sqrt", "tan", "tanh"),
)
ELEMENTWISE |= {name: _floating(name.capitalize()) for name in _FLOATING}
ELEMENTWISE |= {name: _whole(name.capitalize()) for name in ("ceil", "floor", "round")}
ELEMENTWISE |= {
    "abs": _arithmetic("Abs"),
    "add": _arithmetic("Add"),
    "bitwise_and": _bitwise("And", "BitwiseAnd"),
    "bitwise_invert": _bitwise("Not", "BitwiseNot"),
    "bitwise_or": _bitwise("Or", "BitwiseOr"),
    "bitwise_xor": _bitwise("Xor", "BitwiseXor"),
    "equal": _comparison("Equal"),
    "greater": _comparison("Greater"),
    "greater_equal": _comparison("GreaterOrEqual"),
    "less": _comparison("Less"),
    "less_equal": _comparison("LessOrEqual"),
    "logical_and": _logical("And"),
    "logical_not": _logical("Not"),
    "logical_or": _logical("Or"),
    "logical_xor": _logical("Xor"),
    "minimum": _arithmetic("Min"),
    "negative": _arithmetic("Neg"),
    "not_equal": _comparison("Equal", negated=True),
    "pow": _arithmetic("Pow"),
    "sign": _arithmetic("Sign"),
    "subtract": _arithmetic("Sub"),
}


@ELEMENTWISE.add
def positive(graph: Graph, out: Value, x: Value) -> str:
    """Return the array itself, as do functions that only complex numbers need."""
    return graph.name(x)


ELEMENTWISE |= {"conj": positive, "real": positive}


@ELEMENTWISE.add
def multiply(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Leave out a factor of 1."""
    for factor, other in ((x, y), (y, x)):
        if isinstance(other, Value) and _keeps(out, other) and _is_one(factor):
            return graph.name(other)
    return _wide(graph, out, (x, y), lambda *names: graph("Mul", *names))


@ELEMENTWISE.add
def divide(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Leave out a divisor of 1."""
    if isinstance(x, Value) and _keeps(out, x) and _is_one(y):
        return graph.name(x)
    return graph("Div", *graph.operands(out, (x, y), out.dtype))


@ELEMENTWISE.add
def maximum(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Return the larger ones; of an array and 0 they are its rectified elements."""
    for number, other in ((x, y), (y, x)):
        is_zero = not isinstance(number, Value) and number == 0
        if is_zero and isinstance(other, Value) and _keeps(out, other) and _is_real(other):
            return graph("Relu", other)
    return _wide(graph, out, (x, y), lambda *names: graph("Max", *names))


@ELEMENTWISE.add
def clip(graph: Graph, out: Value, x: Value, min: Any = None, max: Any = None) -> str:
    """Clip; bounds that are arrays need two nodes."""
    if not any(isinstance(bound, Value) for bound in (min, max)) and _is_real(x):
        bounds = [None if b is None else graph.operand(b, x.dtype) for b in (min, max)]
        return graph("Clip", x, *bounds)
    for op, bound in (("Max", min), ("Min", max)):
        if bound is not None:
            x = Value(_arithmetic(op)(graph, out, x, bound), out.dtype, out.shape)
    return graph.name(x)


@ELEMENTWISE.add
def where(graph: Graph, out: Value, condition: Value, x: Any, y: Any) -> str:
    """Choose; between two that are the same there is nothing to choose."""
    if x == y and isinstance(x, Value) and _keeps(out, x):
        return graph.name(x)
    dtype = {"uint64": "int64"}.get(out.dtype, graph.wide(out.dtype))
    names = graph.operands(out, (x, y), dtype, beside=(condition,))
    return graph.cast(graph("Where", condition, *names), dtype, out.dtype)


@ELEMENTWISE.add
def square(graph: Graph, out: Value, x: Value) -> str:
    """Multiply by itself."""
    return multiply(graph, out, x, x)


@ELEMENTWISE.add
def trunc(graph: Graph, out: Value, x: Value) -> str:
    """Round towards zero."""
    if not _is_real(x):
        return graph.name(x)
    return graph("Mul", graph("Sign", x), graph("Floor", graph("Abs", x)))


@ELEMENTWISE.add
def isnan(graph: Graph, out: Value, x: Value) -> str:
    """Integers are not."""
    return graph("IsNaN", graph.operand(x, _real(x)))


@ELEMENTWISE.add
def isinf(graph: Graph, out: Value, x: Value) -> str:
    """Integers are not."""
    return graph("IsInf", graph.operand(x, _real(x)))


@ELEMENTWISE.add
def isfinite(graph: Graph, out: Value, x: Value) -> str:
    """Neither nan nor infinite."""
    return graph("Not", graph("Or", isnan(graph, out, x), isinf(graph, out, x)))


@ELEMENTWISE.add
def signbit(graph: Graph, out: Value, x: Value) -> str:
    """Tell -0 from 0 by its reciprocal."""
    zero = graph.constant(0, x.dtype)
    return graph("Or", graph("Less", x, zero), graph("Less", graph("Reciprocal", x), zero))


@ELEMENTWISE.add
def copysign(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Give one the sign of the other."""
    a, b = graph.operands(out, (x, y), out.dtype)
    size, negative = graph("Abs", a), signbit(graph, out, Value(b, out.dtype, ()))
    return graph("Where", negative, graph("Neg", size), size)


@ELEMENTWISE.add
def expm1(graph: Graph, out: Value, x: Value) -> str:
    """Compute ``tanh(x / 2) (exp(x) + 1)``, which loses no digits near 0."""
    name, one = graph.operand(x, out.dtype), graph.constant(1, out.dtype)
    half = graph("Tanh", graph("Mul", name, graph.constant(0.5, out.dtype)))
    return graph("Mul", half, graph("Add", graph("Exp", name), one))


@ELEMENTWISE.add
def log1p(graph: Graph, out: Value, x: Value) -> str:
    """Compute ``log(u) x / (u - 1)`` of ``u = 1 + x`` near 0, where u has lost digits of x."""
    name, one = graph.operand(x, out.dtype), graph.constant(1, out.dtype)
    u = graph("Add", name, one)
    log = graph("Log", u)
    near = graph("Mul", log, graph("Div", name, graph("Sub", u, one)))
    near = graph("Where", graph("Equal", u, one), name, near)
    return graph("Where", graph("Greater", name, one), log, near)


def _log(base: float) -> Function:
    def call(graph: Graph, out: Value, x: Value) -> str:
        scale = graph.constant(1 / math.log(base), out.dtype)
        return graph("Mul", graph("Log", graph.operand(x, out.dtype)), scale)

    return call


ELEMENTWISE |= {"log2": _log(2), "log10": _log(10)}


@ELEMENTWISE.add
def logaddexp(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Compute ``max(x, y) + log1p(exp(-|x - y|))``; equal ones may be infinite."""
    a, b = graph.operands(out, (x, y), out.dtype)
    apart = graph("Where", graph("Equal", a, b), graph.constant(0, out.dtype), graph("Sub", a, b))
    e = Value(graph("Exp", graph("Neg", graph("Abs", apart))), out.dtype, out.shape)
    return graph("Add", graph("Max", a, b), log1p(graph, out, e))


@ELEMENTWISE.add
def hypot(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Divide by the larger one first, lest its square overflow."""
    a, b = (graph("Abs", name) for name in graph.operands(out, (x, y), out.dtype))
    one, high, low = graph.constant(1, out.dtype), graph("Max", a, b), graph("Min", a, b)
    ratio = graph("Where", graph("Equal", low, high), one, graph("Div", low, high))
    return graph("Mul", high, graph("Sqrt", graph("Add", graph("Mul", ratio, ratio), one)))


@ELEMENTWISE.add
def remainder(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Return what is left, with the sign of the divisor."""
    return _wide(graph, out, (x, y), lambda a, b: _remainder(graph, out, a, b))


@ELEMENTWISE.add
def floor_divide(graph: Graph, out: Value, x: Any, y: Any) -> str:
    """Divide what leaves no remainder."""

    def compute(a: str, b: str) -> str:
        ratio = graph("Div", graph("Sub", a, _remainder(graph, out, a, b)), b)
        return graph("Round", ratio) if _is_real(out) else ratio

    return _wide(graph, out, (x, y), compute)


def _remainder(graph: Graph, out: Value, a: str, b: str) -> str:
    if not _is_real(out):
        return graph("Mod", a, b)
    zero = graph.constant(0, out.dtype)
    rest = graph("Mod", a, b, fmod=1)  # with the sign of a
    opposite = graph("Less", graph("Mul", graph("Sign", rest), graph("Sign", b)), zero)
    return graph("Where", opposite, graph("Add", rest, b), rest)


def _keeps(out: Value, x: Value) -> bool:
    """Tell whether a result has the dtype and the shape of an argument."""
    return (out.dtype, out.shape) == (x.dtype, x.shape)


def _is_one(x: Any) -> bool:
    return (x.fill if isinstance(x, Value) else x) in (1,)


def _is_real(x: Value) -> bool:
    return x.dtype.startswith("float")


def _real(x: Value) -> str:
    return x.dtype if _is_real(x) else "float32"
