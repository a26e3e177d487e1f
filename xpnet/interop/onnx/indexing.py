"""Functions that select elements, and write to some, as nodes; see `Table`."""

from __future__ import annotations

from typing import Any

from xpnet.interop.onnx.building import Graph, Table, Value
from xpnet.interop.onnx.shaping import HIGHEST, LOWEST
from xpnet.interop.onnx.tracing import Size

__all__ = ["INDEXING"]

INDEXING = Table()


@INDEXING.add
def take(graph: Graph, out: Value, x: Value, indices: Value, *, axis: int | None = None) -> str:
    """Select along an axis."""
    return graph("Gather", x, _indices(graph, indices), axis=axis or 0)


@INDEXING.add
def take_along_axis(graph: Graph, out: Value, x: Value, indices: Value, *, axis: int = -1) -> str:
    """Select along an axis, for each place of the others; axes of length 1 are repeated."""
    axis %= len(x.shape)
    name = _indices(graph, indices)
    if indices.shape != out.shape:
        name = graph("Expand", name, out.shape)
    broad = (*out.shape[:axis], x.shape[axis], *out.shape[axis + 1 :])
    source = graph.name(x) if x.shape == broad else graph("Expand", x, broad)
    return graph("GatherElements", source, name, axis=axis)


def _indices(graph: Graph, indices: Value) -> str:
    return graph.operand(indices, indices.dtype if indices.dtype == "int32" else "int64")


@INDEXING.add
def getitem(graph: Graph, out: Value, x: Value, key: Any) -> str:
    """Slice first, then select by an array, then remove and add axes."""
    keys = [key] if isinstance(key, Value) or not isinstance(key, tuple) else list(key)
    named = [k for k in keys if k is not None and k is not ...]
    rest = [slice(None)] * (len(x.shape) - len(named))
    at = next((n for n, k in enumerate(keys) if k is ...), len(keys))
    keys[at : at + 1] = rest
    arrays = [k for k in named if isinstance(k, Value)]
    numbers = [k for k in named if isinstance(k, (int, Size))]
    if len(arrays) > 1 or (arrays and numbers):
        graph.refuse("an index of several arrays, or of arrays and numbers", "use xp.take")
    name, bounds, removed, added = graph.name(x), [], [], []
    place = axis = 0  # in the result before axes are added, and in x
    selected: tuple[str, int] | None = None
    for k in keys:
        if k is None:
            added.append(place)
            place += 1
            continue
        if isinstance(k, Value):
            selected = _indices(graph, k), axis
            place += len(k.shape)
        elif isinstance(k, slice):
            if k != slice(None):
                bounds.append((axis, *_bounds(k)))
            place += 1
        else:
            bounds.append((axis, k, _after(k), 1))
            removed.append(axis)
        axis += 1
    if len(numbers) == len(bounds) == 1:
        name = graph("Gather", name, graph.size(numbers[0]), axis=removed[0])
    elif bounds:
        axes, starts, stops, steps = map(list, zip(*bounds, strict=True))
        name = graph("Slice", name, starts, stops, axes, steps)
        name = graph("Squeeze", name, removed) if removed else name
    if selected is not None:
        name = graph("Gather", name, selected[0], axis=selected[1])
    return graph("Unsqueeze", name, added) if added else name


def _bounds(k: slice) -> tuple[Any, Any, Any]:
    """Return start, stop and step of a slice, none of them None."""
    step = 1 if k.step is None else k.step
    first, last = (HIGHEST, LOWEST) if step < 0 else (0, HIGHEST)
    return first if k.start is None else k.start, last if k.stop is None else k.stop, step


def _after(k: Any) -> Any:
    """Return where a slice of one element ends."""
    if isinstance(k, Size):
        return Size(tuple(n + 1 for n in k.numbers))
    return HIGHEST if k == -1 else k + 1


@INDEXING.add
def set_at(graph: Graph, out: Value, x: Value, values: Any, key: Any) -> str:
    """Scatter to the places that the key selects of all, counted row by row."""
    total = graph("Size", x)
    zero, one = graph.constant(0, "int64"), graph.constant(1, "int64")
    places = graph("Reshape", graph("Range", zero, total, one), graph("Shape", x))
    chosen = getitem(graph, out, Value(places, "int64", x.shape), key)
    name = graph.operand(values, x.dtype)
    flat = [
        graph("Reshape", each, [-1])
        for each in (x, chosen, graph("Expand", name, graph("Shape", chosen)))
    ]
    return graph("Reshape", graph("ScatterElements", *flat), graph("Shape", x))


@INDEXING.add
def add_at(graph: Graph, out: Value, x: Value, values: Any, positions: Value) -> str:
    """Add to elements of a vector."""
    where = graph("Unsqueeze", graph.operand(positions, "int64"), [1])
    name = graph("Expand", graph.operand(values, x.dtype), positions.shape)
    return graph("ScatterND", x, where, name, reduction="add")
