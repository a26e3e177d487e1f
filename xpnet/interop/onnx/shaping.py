"""Functions that make, move and join elements, as nodes; see `Table`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet.interop.onnx.building import Graph, Shape, Table, Value
from xpnet.interop.onnx.tracing import Size

__all__ = ["HIGHEST", "LOWEST", "SHAPING", "axes_of"]

SHAPING = Table()
# As bounds of slices: as far as the array goes.
LOWEST = -(2**63)
HIGHEST = 2**63 - 1


# Creation and dtypes


@SHAPING.add
def full(graph: Graph, out: Value, shape: Any, fill_value: Any, **kwargs: Any) -> Value | str:
    """Stay a number as long as that is enough."""
    if isinstance(fill_value, (Value, Size)):
        return graph("Expand", graph.operand(fill_value, out.dtype), out.shape)
    return out._replace(fill=fill_value)


@SHAPING.add
def zeros(graph: Graph, out: Value, *args: Any, **kwargs: Any) -> Value:
    """See `full`."""
    return out._replace(fill=0)


@SHAPING.add
def ones(graph: Graph, out: Value, *args: Any, **kwargs: Any) -> Value:
    """See `full`."""
    return out._replace(fill=1)


SHAPING["empty"] = zeros


@SHAPING.add
def arange(
    graph: Graph, out: Value, start: Any, stop: Any = None, step: Any = 1, **kwargs: Any
) -> str:
    """Count in 64 bits."""
    start, stop = (0, start) if stop is None else (start, stop)
    dtype = out.dtype if out.dtype.startswith("float") else "int64"
    bounds = [graph.operand(x, dtype) for x in (start, stop, step)]
    return graph.cast(graph("Range", *bounds), dtype, out.dtype)


@SHAPING.add
def astype(graph: Graph, out: Value, x: Value, *args: Any, **kwargs: Any) -> str:
    """Convert."""
    return graph.operand(x, out.dtype)


SHAPING["to_device"] = astype


@SHAPING.add
def asarray(graph: Graph, out: Value, x: Any, **kwargs: Any) -> str:
    """Convert; a list has lengths that depend on the batch, else it would be a constant."""
    if isinstance(x, Value) or not isinstance(x, (list, tuple)):
        return graph.operand(x, out.dtype)
    if not all(isinstance(n, (int, Size)) for n in x):
        graph.refuse("a list of something else than lengths", "use xp.stack")
    return graph.cast(graph.lengths(x), "int64", out.dtype)


@SHAPING.add
def broadcast_to(graph: Graph, out: Value, x: Value, *args: Any, **kwargs: Any) -> Value | str:
    """Repeat along axes of length 1."""
    if x.fill is not None:
        return out._replace(fill=x.fill)
    return graph.name(x) if x.shape == out.shape else graph("Expand", x, out.shape)


@SHAPING.add
def broadcast_arrays(graph: Graph, outs: list[Value], *xs: Value) -> list[Value | str]:
    """See `broadcast_to`."""
    return [broadcast_to(graph, out, x) for out, x in zip(outs, xs, strict=True)]


@SHAPING.add
def tril(graph: Graph, out: Value, x: Value, *, k: Any = 0) -> str:
    """Keep what is below a diagonal."""
    return graph("Trilu", x, graph.size(k), upper=0)


@SHAPING.add
def triu(graph: Graph, out: Value, x: Value, *, k: Any = 0) -> str:
    """Keep what is above a diagonal."""
    return graph("Trilu", x, graph.size(k), upper=1)


# Manipulation


@SHAPING.add
def reshape(graph: Graph, out: Value, x: Value, *args: Any, **kwargs: Any) -> Value | str:
    """Keep the order of the elements."""
    return out._replace(fill=x.fill) if x.fill is not None else graph.reshape(x, x.shape, out.shape)


@SHAPING.add
def expand_dims(graph: Graph, out: Value, x: Value, axis: Any = 0) -> Value | str:
    """Add an axis, or several."""
    axes = sorted(n % len(out.shape) for n in ((axis,) if isinstance(axis, int) else axis))
    return out._replace(fill=x.fill) if x.fill is not None else graph("Unsqueeze", x, axes)


@SHAPING.add
def squeeze(graph: Graph, out: Value, x: Value, axis: Any) -> str:
    """Remove axes of length 1."""
    axes = sorted(n % len(x.shape) for n in ((axis,) if isinstance(axis, int) else axis))
    return graph("Squeeze", x, axes)


@SHAPING.add
def permute_dims(graph: Graph, out: Value, x: Value, axes: Sequence[int]) -> str:
    """Reorder the axes."""
    order = [axis % len(x.shape) for axis in axes]
    return graph.name(x) if order == sorted(order) else graph("Transpose", x, perm=order)


@SHAPING.add
def matrix_transpose(graph: Graph, out: Value, x: Value) -> str:
    """Swap the last two axes."""
    n = len(x.shape)
    return permute_dims(graph, out, x, (*range(n - 2), n - 1, n - 2))


@SHAPING.add
def moveaxis(graph: Graph, out: Value, x: Value, source: Any, destination: Any) -> str:
    """Move some axes, and keep the order of the others."""
    n = len(x.shape)
    pairs = [
        [a % n for a in ((axis,) if isinstance(axis, int) else axis)]
        for axis in (source, destination)
    ]
    order = [axis for axis in range(n) if axis not in pairs[0]]
    for old, new in sorted(zip(*pairs, strict=True), key=lambda pair: pair[1]):
        order.insert(new, old)
    return permute_dims(graph, out, x, order)


@SHAPING.add
def concat(graph: Graph, out: Value, xs: Sequence[Value], *, axis: int | None = 0) -> str:
    """Join along an axis."""
    names = [graph.operand(x, out.dtype) for x in xs]
    if axis is None:
        names, axis = [graph("Reshape", name, [-1]) for name in names], 0
    return graph("Concat", *names, axis=axis)


@SHAPING.add
def stack(graph: Graph, out: Value, xs: Sequence[Value], *, axis: int = 0) -> str:
    """Join along a new axis."""
    axis %= len(out.shape)
    names = [graph("Unsqueeze", graph.operand(x, out.dtype), [axis]) for x in xs]
    return graph("Concat", *names, axis=axis)


@SHAPING.add
def unstack(graph: Graph, outs: list[Value], x: Value, *, axis: int = 0) -> list[str]:
    """Return what is along an axis, each by itself."""
    return [graph("Gather", x, graph.size(n), axis=axis) for n in range(len(outs))]


@SHAPING.add
def flip(graph: Graph, out: Value, x: Value, *, axis: Any = None) -> str:
    """Reverse the order along axes."""
    axes = axes_of(axis, x.shape)
    ends = [HIGHEST] * len(axes), [LOWEST] * len(axes)
    return graph("Slice", x, *ends, axes, [-1] * len(axes))


@SHAPING.add
def roll(graph: Graph, out: Value, x: Value, shift: Any, *, axis: Any = None) -> str:
    """Move the elements along axes, those at the end to the beginning."""
    if axis is None:
        flat = graph("Reshape", x, [-1])
        cut = graph("Mod", [_negative(shift)], graph("Shape", flat))
        ends = graph("Slice", flat, cut, [HIGHEST]), graph("Slice", flat, [0], cut)
        return graph.reshape(graph("Concat", *ends, axis=0), (), out.shape)
    shifts, axes = ((n,) if isinstance(n, (int, Size)) else n for n in (shift, axis))
    for n, a in zip(shifts, axes, strict=True):
        cut = graph("Mod", [_negative(n)], [x.shape[a]])
        ends = graph("Slice", x, cut, [HIGHEST], [a]), graph("Slice", x, [0], cut, [a])
        x = x._replace(name=graph("Concat", *ends, axis=a))
    return graph.name(x)


def _negative(x: int | Size) -> int | Size:
    return Size(tuple(-n for n in x.numbers)) if isinstance(x, Size) else -x


@SHAPING.add
def tile(graph: Graph, out: Value, x: Value, repetitions: Sequence[Any]) -> str:
    """Repeat the whole along axes."""
    more = len(repetitions) - len(x.shape)
    if more > 0:
        x = x._replace(name=graph("Unsqueeze", x, list(range(more))))
    return graph("Tile", x, [1] * -more + list(repetitions))


@SHAPING.add
def repeat(graph: Graph, out: Value, x: Value, repeats: Any, *, axis: int | None = None) -> str:
    """Repeat each element."""
    shape, name = x.shape, graph.name(x)
    if axis is None:
        name, shape, axis = graph("Reshape", x, [-1]), out.shape, 0
    axis %= len(shape)
    each: list[Any] = [1] * (len(shape) + 1)
    each[axis + 1] = repeats
    name = graph("Tile", graph("Unsqueeze", name, [axis + 1]), each)
    return graph.reshape(name, (), out.shape)


def axes_of(axis: Any, shape: Shape) -> list[int]:
    """Return axes as a list of numbers that are not negative."""
    if axis is None:
        return list(range(len(shape)))
    return [n % len(shape) for n in ((axis,) if isinstance(axis, int) else axis)]
