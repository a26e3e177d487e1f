"""A program as a graph."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import xpnet
from xpnet.interop.onnx.building import Graph, Shape, Value
from xpnet.interop.onnx.elementwise import ELEMENTWISE
from xpnet.interop.onnx.fusing import fuse
from xpnet.interop.onnx.indexing import INDEXING
from xpnet.interop.onnx.reducing import REDUCING
from xpnet.interop.onnx.shaping import SHAPING
from xpnet.interop.onnx.tracing import Size, Traced
from xpnet.program.entry import Entry, Var
from xpnet.program.program import substitute
from xpnet.standard import DTYPES
from xpnet.transfer import to_host

__all__ = ["FUNCTIONS", "REAL", "convert"]

FUNCTIONS = ELEMENTWISE | SHAPING | INDEXING | REDUCING
_MOST = 2**31 - 1  # bytes of a file
REAL = tuple(name for name in DTYPES if not name.startswith("complex"))


def convert(
    onnx: Any,
    traced: Traced,
    name: str,
    input_names: Sequence[str],
    output_names: Sequence[str],
    opset: int,
) -> Any:
    """Return a program as a model that is checked."""
    graph = Graph(onnx, input_names[0])
    for reserved in (*input_names, *output_names):
        graph.reserve(reserved)
    converter = _Converter(traced, graph)
    inputs = [
        converter.define(place, given)
        for place, given in zip(traced.program.inputs, input_names, strict=True)
    ]
    for entry, emit in fuse(traced, opset):
        converter.call(entry, emit)
    outputs = [
        converter.end(place, given)
        for place, given in zip(traced.program.results_places, output_names, strict=True)
    ]
    graph.prune(output_names)
    made = onnx.helper.make_graph(
        graph.nodes,
        name,
        [_info(graph, x) for x in inputs],
        [_info(graph, x) for x in outputs],
        [onnx.numpy_helper.from_array(x, key) for key, x in graph.initializers.items()],
    )
    opsets = [onnx.helper.make_opsetid("", opset)]
    proto = onnx.helper.make_model(
        made,
        opset_imports=opsets,
        ir_version=onnx.helper.find_min_ir_version_for(opsets),
        producer_name="xpnet",
        producer_version=xpnet.__version__,
    )
    if proto.ByteSize() > _MOST:
        raise ValueError(
            f"onnx.export: expected a model of up to {_MOST} bytes, which is what a file can hold, "
            f"got one of {proto.ByteSize()}"
        )
    onnx.checker.check_model(proto, full_check=True)
    return proto


class _Converter:
    """Adds the calls of a program to a graph."""

    def __init__(self, traced: Traced, graph: Graph) -> None:
        self._traced, self._graph = traced, graph
        self._values: dict[int, Value] = {}

    def define(self, place: int, name: str) -> Value:
        """Say how the array at a place is called."""
        value = self._values[place] = self._blank(place)._replace(name=name)
        return value

    def call(self, entry: Entry, emit: Any) -> None:
        """Add a call of the standard, or the operator that has taken its place."""
        graph = self._graph
        graph.begin(entry.name, self._traced.marks[entry.outs[0]])
        function = emit or FUNCTIONS.get(entry.name)
        if function is None:
            graph.refuse(
                "it has no counterpart in ONNX",
                "write it with functions that docs/onnx.md lists, or leave it out of the model",
            )
        blanks = [self._blank(place) for place in entry.outs]
        args, kwargs = substitute((entry.args, entry.kwargs), self._argument)
        out: Any = blanks if entry.several else blanks[0]
        try:
            inspect.signature(function).bind(graph, out, *args, **kwargs)
        except TypeError as error:
            graph.refuse(f"{error}, in what is exported of it", "use the standard's arguments")
        made = function(graph, out, *args, **kwargs)
        for place, blank, each in zip(
            entry.outs, blanks, made if entry.several else [made], strict=True
        ):
            self._values[place] = each if isinstance(each, Value) else blank._replace(name=each)

    def end(self, place: int, name: str) -> Value:
        """Give an output its name."""
        value: Value = self._argument(Var(place))
        self._graph.end(value, name)
        return value._replace(name=name)

    def _blank(self, place: int) -> Value:
        dtype = self._traced.dtype(place)
        if dtype not in REAL:
            self._graph.refuse(f"an array has dtype {dtype}", f"use {', '.join(REAL)}")
        return Value("", dtype, self._traced.shapes[place])

    def _argument(self, var: Var) -> Any:
        """Return what stands for an array, or for a number that depends on the batch."""
        place = var.place
        if place not in self._values:
            kind = self._traced.program.kinds[place]
            if isinstance(kind, Size):
                return kind
            name, array = self._traced.state.get(place) or (
                "constant",
                self._traced.program.constants[place],
            )
            self.define(place, self._graph.add(name, to_host(array)))
        return self._values[place]


def _info(graph: Graph, x: Value) -> Any:
    return graph.onnx.helper.make_tensor_value_info(x.name, graph.code(x.dtype), _named(x.shape))


def _named(shape: Shape) -> list[int | str | None]:
    """Return lengths as the format has them: numbers, and formulas of the batch."""
    return [_formula(n) if isinstance(n, Size) else n for n in shape]


def _formula(x: Size) -> str | None:
    if x.line is None:
        return None
    slope, offset = x.line
    text = "batch" if slope == 1 else f"{slope}*batch"
    return f"{text}{offset:+}" if offset else text
