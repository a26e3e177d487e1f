"""The graph while it is built: nodes, constants, and lengths that depend on the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import numpy as np

from xpnet._typing import HostArray
from xpnet.errors import ExportError
from xpnet.interop.onnx.recording import Mark
from xpnet.interop.onnx.tracing import BATCHES, Size
from xpnet.standard import EXTENSIONS, FUNCTIONS

__all__ = ["Graph", "Shape", "Table", "Value"]

Shape = tuple[int | Size, ...]
Function = TypeVar("Function", bound=Callable[..., Any])


class Table(dict[str, Callable[..., Any]]):
    """What adds the nodes of each function of the standard, by its name.

    It takes the graph, what the result is to be (dtype and shape; a list if there are several), and
    the arguments of the function, arrays among them as values; it returns the name of the result.
    """

    def add(self, function: Function) -> Function:
        """Put a function under its own name."""
        self[function.__name__] = function
        return function


# In which dtype those are computed that few functions of a runtime have.
_WIDE = {
    **dict.fromkeys(("bool", "int8", "uint8", "int16", "uint16"), "int32"),
    "uint32": "int64",
}


class Value(NamedTuple):
    """An array of the graph.

    Attributes
    ----------
    name : str
        Its name; "" for one that is still to be computed, or that is the same number everywhere.
    dtype : str
        By the standard's name.
    shape : tuple of int and Size
        Its lengths.
    fill : number, optional
        What it is everywhere, if it is no more than that.
    """

    name: str
    dtype: str
    shape: Shape
    fill: Any = None


class Graph:
    """Nodes and constants, each once.

    Attributes
    ----------
    nodes : list of NodeProto
        In the order in which they are computed.
    initializers : dict from str to array
        Constants and the state of the model, on the host.
    """

    def __init__(self, onnx: Any, batch: str) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: dict[str, HostArray] = {}
        self._batch = batch  # the input whose first axis it is
        self._known: dict[Any, str] = {}
        self._names: set[str] = set()
        self._final: dict[str, str] = {}  # what became an output: its name before -> that
        self._call, self.mark = "", Mark("", "")

    def begin(self, call: str, mark: Mark) -> None:
        """Say to which call of the program the next nodes belong."""
        self._call, self.mark = call, mark

    def refuse(self, what: str, cure: str) -> NoReturn:
        """Raise for a call that cannot be exported, naming its line."""
        raise ExportError(f"onnx.export: {_shown(self._call)}, at {self.mark.line}: {what}; {cure}")

    def reserve(self, name: str) -> str:
        """Return a name that is not taken yet, such as this one."""
        stem, n = name, 0
        while name in self._names:
            n += 1
            name = f"{stem}_{n}"
        self._names.add(name)
        return name

    def __call__(self, op: str, *inputs: Any, **attributes: Any) -> str:
        """Add a node with one output, and return its name; the same is not added twice.

        Inputs are names, values, or lists of integers, which become constants.
        """
        names = [self.input(x) for x in inputs]
        key = op, tuple(names), repr(attributes)
        if key not in self._known:
            (self._known[key],) = self._add(op, names, 1, attributes)
        return self._known[key]

    def several(self, count: int, op: str, *inputs: Any, **attributes: Any) -> list[str]:
        """Add a node with several outputs, and return their names."""
        return self._add(op, [self.input(x) for x in inputs], count, attributes)

    def _add(self, op: str, names: list[str], count: int, attributes: dict[str, Any]) -> list[str]:
        module = self.mark.module
        name = self.reserve(f"{module}/{op}" if module else op)
        outputs = [name] if count == 1 else [self.reserve(f"{name}:{n}") for n in range(count)]
        self.nodes.append(self.onnx.helper.make_node(op, names, outputs, name, **attributes))
        return outputs

    def input(self, x: Any) -> str:
        """Return the name of something that a node takes."""
        if isinstance(x, Value):
            return self.name(x)
        if isinstance(x, (list, tuple)):
            return self.lengths(x)
        return "" if x is None else str(x)

    def name(self, x: Value) -> str:
        """Return the name of a value, after making an array of one that is a number so far."""
        if x.fill is None or x.name:
            return x.name
        if not x.shape:
            return self.constant(x.fill, x.dtype)
        return self("Expand", self.constant(x.fill, x.dtype), x.shape)

    def constant(self, array: Any, dtype: str) -> str:
        """Return the name of a constant."""
        array = np.asarray(array, dtype=dtype)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._known:
            shown = str(array.tolist()) if array.size < 5 else "constant"
            self._known[key] = self.add(shown, array)
        return self._known[key]

    def add(self, name: str, array: HostArray) -> str:
        """Return the name of an initializer that is added."""
        name = self.reserve(name)
        self.initializers[name] = array
        return name

    def end(self, x: Value, name: str) -> None:
        """Give an array the name of an output; one that has a name for good is copied."""
        old = self.name(x)
        nodes = [node for node in self.nodes if old in node.output]
        if not nodes or old in self._final:
            old = self._final.get(old, old)
            self.nodes.append(self.onnx.helper.make_node("Identity", [old], [name], name))
            return
        self._final[old] = name
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if each == old else each for each in names]

    def prune(self, outputs: Sequence[str]) -> None:
        """Leave out nodes and constants that no output needs."""
        needed = set(outputs)
        kept = []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                kept.append(node)
                needed |= set(node.input)
        self.nodes = kept[::-1]
        self.initializers = {name: x for name, x in self.initializers.items() if name in needed}

    # Lengths

    def lengths(self, shape: Sequence[int | Size]) -> str:
        """Return a vector of lengths."""
        if not any(isinstance(x, Size) for x in shape):
            return self.constant(shape, "int64")
        parts: list[str] = []
        numbers: list[int] = []
        for x in shape:
            if isinstance(x, Size):
                parts += [self.constant(numbers, "int64")] * bool(numbers) + [self._length(x)]
                numbers = []
            else:
                numbers.append(x)
        parts += [self.constant(numbers, "int64")] * bool(numbers)
        return parts[0] if len(parts) == 1 else self("Concat", *parts, axis=0)

    def _length(self, x: Size) -> str:
        """Return a vector of one length that depends on the batch."""
        if x.line is None:
            self.refuse(
                f"a number is {x.numbers} for batches of {BATCHES} rows, which is not linear",
                "write a length that the others determine as -1",
            )
        slope, offset = x.line
        name = self("Shape", self._batch, start=0, end=1)
        name = name if slope == 1 else self("Mul", name, [slope])
        return name if offset == 0 else self("Add", name, [offset])

    def size(self, x: int | Size) -> str:
        """Return a length as an array without axes."""
        if isinstance(x, int):
            return self.constant(x, "int64")
        return self("Squeeze", self._length(x), [0])

    def reshape(self, x: Any, old: Shape, new: Shape) -> str:
        """Return an array in another shape."""
        if old == new:
            return self.input(x)
        # 0 stands for the length in the same place, -1 for what is left: but that cannot be told
        # where another length is 0, so of several that depend on the batch all are computed.
        sizes = [a for a in new if isinstance(a, Size)]
        kept = [0 if a in sizes and old[n : n + 1] == (a,) else a for n, a in enumerate(new)]
        left = sum(a in sizes for a in kept)
        if 0 in new or left > 1 or (left and len(sizes) > 1 and all(a.line for a in sizes)):
            return self("Reshape", x, new, allowzero=1)
        return self("Reshape", x, [-1 if a in sizes else a for a in kept])

    # Dtypes

    def code(self, dtype: str) -> int:
        """Return the number of a dtype in the format."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def cast(self, x: str, old: str, new: str) -> str:
        """Return an array in another dtype."""
        return x if old == new else self("Cast", x, to=self.code(new))

    def wide(self, dtype: str) -> str:
        """Return the dtype to compute in, for arithmetic of this one."""
        return _WIDE.get(dtype, dtype)

    def operands(
        self, out: Value, xs: Sequence[Any], dtype: str, *, beside: Sequence[Any] = ()
    ) -> list[str]:
        """Return arguments of an elementwise function as arrays of one dtype that broadcast."""
        arrays = [x for x in (*xs, *beside) if isinstance(x, Value)]
        full = any(x.fill is None and x.shape == out.shape for x in arrays)
        return [self.operand(x, dtype, scalar=full) for x in xs]

    def operand(self, x: Any, dtype: str, *, scalar: bool = False) -> str:
        """Return an argument as an array of a dtype, without axes if that is enough."""
        if isinstance(x, Size):
            return self.cast(self.size(x), "int64", dtype)
        if not isinstance(x, Value):
            return self.constant(x, dtype)
        if x.fill is not None and (scalar or not x.shape):
            return self.constant(x.fill, dtype)
        return self.cast(self.name(x), x.dtype, dtype)

    def common(self, xs: Sequence[Any]) -> str:
        """Return the dtype in which arrays, and numbers among them, are compared."""
        dtypes = [np.dtype(x.dtype) for x in xs if isinstance(x, Value)]
        if any(isinstance(x, float) for x in xs) and not any(dtype.kind == "f" for dtype in dtypes):
            dtypes.append(np.dtype("float64"))
        return str(np.result_type(*dtypes))


def _shown(function: str) -> str:
    """Return what the user calls a function, which may be one of an extension."""
    found = [name for name, functions in EXTENSIONS.items() if function in functions.split()]
    return ".".join(["xp", *([] if function in FUNCTIONS else found), function])
