"""Reductions, sorting and products of matrices as nodes; see `Table`."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from typing import Any

from xpnet.interop.onnx.building import Graph, Table, Value
from xpnet.interop.onnx.shaping import HIGHEST, axes_of
from xpnet.interop.onnx.tracing import Size

__all__ = ["REDUCING"]

Function = Callable[..., Any]
REDUCING = Table()


def _reduction(op: str) -> Function:
    """Return a reduction; integers are reduced in 64 bits."""

    def call(
        graph: Graph,
        out: Value,
        x: Value,
        *,
        axis: Any = None,
        keepdims: bool = False,
        dtype: Any = None,
    ) -> str:
        within = _accumulator(out)
        name = _reduce(graph, op, graph.operand(x, within), axis, keepdims)
        return graph.cast(name, within, out.dtype)

    return call


def _accumulator(out: Value) -> str:
    """Return the dtype in which elements are summed."""
    return out.dtype if out.dtype.startswith("float") else "int64"


def _reduce(graph: Graph, op: str, name: str, axis: Any, keepdims: bool) -> str:
    if axis == ():
        return name
    axes = None if axis is None else [axis] if isinstance(axis, int) else list(axis)
    return graph(op, name, axes, keepdims=int(keepdims))


REDUCING |= {
    "sum": _reduction("ReduceSum"),
    "prod": _reduction("ReduceProd"),
    "max": _reduction("ReduceMax"),
    "min": _reduction("ReduceMin"),
    "mean": _reduction("ReduceMean"),
}


def _truth(op: str) -> Function:
    """Return a reduction of what is not zero."""

    def call(
        graph: Graph, out: Value, x: Value, *, axis: Any = None, keepdims: bool = False
    ) -> str:
        dtype = "int64" if out.dtype != "bool" else "int32"
        truth = graph.cast(graph.operand(x, "bool"), "bool", dtype)
        return graph.cast(_reduce(graph, op, truth, axis, keepdims), dtype, out.dtype)

    return call


REDUCING |= {
    "all": _truth("ReduceMin"),
    "any": _truth("ReduceMax"),
    "count_nonzero": _truth("ReduceSum"),
}


@REDUCING.add
def var(
    graph: Graph,
    out: Value,
    x: Value,
    *,
    axis: Any = None,
    correction: float = 0,
    keepdims: bool = False,
) -> str:
    """Take the mean first, then that of the squared deviations from it."""
    name = graph.operand(x, out.dtype)
    deviation = graph("Sub", name, _reduce(graph, "ReduceMean", name, axis, True))
    square = graph("Mul", deviation, deviation)
    if not correction:
        return _reduce(graph, "ReduceMean", square, axis, keepdims)
    lengths = [x.shape[a] for a in axes_of(axis, x.shape)]
    number = math.prod(n for n in lengths if isinstance(n, int))
    count = graph.constant(number, out.dtype)
    for n in lengths:
        if isinstance(n, Size):
            count = graph("Mul", count, graph.operand(n, out.dtype))
    count = graph("Sub", count, graph.constant(correction, out.dtype))
    return graph("Div", _reduce(graph, "ReduceSum", square, axis, keepdims), count)


@REDUCING.add
def std(graph: Graph, out: Value, x: Value, **kwargs: Any) -> str:
    """Return the root of the variance."""
    return graph("Sqrt", var(graph, out, x, **kwargs))


def _extreme(op: str) -> Function:
    def call(
        graph: Graph, out: Value, x: Value, *, axis: int | None = None, keepdims: bool = False
    ) -> str:
        name = graph.operand(x, graph.wide(x.dtype))
        if axis is None:
            name = graph(op, graph("Reshape", name, [-1]), axis=0, keepdims=0)
            name = graph("Reshape", name, [1] * len(x.shape)) if keepdims else name
        else:
            name = graph(op, name, axis=axis, keepdims=int(keepdims))
        return graph.cast(name, "int64", out.dtype)

    return call


REDUCING |= {"argmax": _extreme("ArgMax"), "argmin": _extreme("ArgMin")}


def _sorted(which: int) -> Function:
    """Return a function that sorts, or tells the order; ties stay in their order."""

    def call(
        graph: Graph,
        out: Value,
        x: Value,
        *,
        axis: int = -1,
        descending: bool = False,
        stable: bool = True,
    ) -> str:
        axis %= len(x.shape)
        dtype = graph.wide(x.dtype)
        count, largest = [x.shape[axis]], int(descending)
        name = graph.operand(x, dtype)
        found = graph.several(2, "TopK", name, count, axis=axis, largest=largest)
        return graph.cast(found[which], (dtype, "int64")[which], out.dtype)

    return call


REDUCING |= {"sort": _sorted(0), "argsort": _sorted(1)}


@REDUCING.add
def cumulative_sum(
    graph: Graph,
    out: Value,
    x: Value,
    *,
    axis: int | None = None,
    include_initial: bool = False,
    dtype: Any = None,
) -> str:
    """Sum along an axis, step by step."""
    axis = (axis or 0) % len(x.shape)
    within = _accumulator(out)
    name = graph("CumSum", graph.operand(x, within), graph.size(axis))
    if include_initial:
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        name = graph("Concat", graph("Expand", graph.constant(0, within), shape), name, axis=axis)
    return graph.cast(name, within, out.dtype)


@REDUCING.add
def diff(
    graph: Graph,
    out: Value,
    x: Value,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Any = None,
    append: Any = None,
) -> str:
    """Subtract neighbours along an axis."""
    parts = [graph.name(part) for part in (prepend, x, append) if part is not None]
    name = parts[0] if len(parts) == 1 else graph("Concat", *parts, axis=axis)
    for _ in range(n):
        ends = [graph("Slice", name, [a], [b], [axis]) for a, b in ((1, HIGHEST), (0, -1))]
        name = graph("Sub", *ends)
    return name


# Products


@REDUCING.add
def matmul(graph: Graph, out: Value, x: Value, y: Value) -> str:
    """Multiply matrices."""
    dtype = graph.wide(out.dtype)
    names = [graph.operand(each, dtype) for each in (x, y)]
    return graph.cast(graph("MatMul", *names), dtype, out.dtype)


@REDUCING.add
def vecdot(graph: Graph, out: Value, x: Value, y: Value, *, axis: int = -1) -> str:
    """Multiply, and sum along an axis."""
    within = _accumulator(out)
    product = graph("Mul", *(graph.operand(each, within) for each in (x, y)))
    return graph.cast(_reduce(graph, "ReduceSum", product, axis, False), within, out.dtype)


@REDUCING.add
def tensordot(graph: Graph, out: Value, x: Value, y: Value, *, axes: Any = 2) -> str:
    """Sum products over axes of both."""
    n, m = len(x.shape), len(y.shape)
    pairs = (range(n - axes, n), range(axes)) if isinstance(axes, int) else axes
    ours = list(string.ascii_lowercase[:n])
    theirs = list(string.ascii_lowercase[n : n + m])
    summed = set()
    for a, b in zip(*pairs, strict=True):
        theirs[b] = ours[a]
        summed.add(ours[a])
    left = [letter for letter in (*ours, *theirs) if letter not in summed]
    equation = f"{''.join(ours)},{''.join(theirs)}->{''.join(left)}"
    within = _accumulator(out)
    names = [graph.operand(each, within) for each in (x, y)]
    return graph.cast(graph("Einsum", *names, equation=equation), within, out.dtype)


@REDUCING.add
def outer(graph: Graph, out: Value, x: Value, y: Value) -> str:
    """Multiply all pairs."""
    a, b = (graph.operand(each, out.dtype) for each in (x, y))
    return graph("Mul", graph("Unsqueeze", a, [1]), graph("Unsqueeze", b, [0]))


@REDUCING.add
def vector_norm(
    graph: Graph, out: Value, x: Value, *, axis: Any = None, keepdims: bool = False, ord: Any = 2
) -> str:
    """Those of orders 1, 2 and infinity."""
    if ord not in (1, 2, math.inf):
        graph.refuse(f"a norm of order {ord}", "write it out")
    name = graph.operand(x, out.dtype)
    if ord == math.inf:
        return _reduce(graph, "ReduceMax", graph("Abs", name), axis, keepdims)
    return _reduce(graph, f"ReduceL{int(ord)}", name, axis, keepdims)
