"""What is one operator of ONNX though it is several calls of the standard.

A pattern is the program of one of our own functions or layers, recorded like any other; where the
program of a model has the same calls, the operator takes their place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet import special
from xpnet.backend import host, use_backend
from xpnet.interop.onnx.building import Graph, Value
from xpnet.interop.onnx.tracing import Traced
from xpnet.nn import LayerNorm, Module, elu, gelu, leaky_relu
from xpnet.program.clean import clean
from xpnet.program.entry import Entry, Var
from xpnet.program.keys import value_key
from xpnet.program.program import Program, references
from xpnet.program.record import Recording
from xpnet.transfer import to_host

__all__ = ["fuse"]

_SETTING = 0.8341905  # stands for any number
_CREATION = ("full", "ones", "zeros")


class _Pattern(NamedTuple):
    """Calls, and the operator that takes their place.

    Attributes
    ----------
    program : Program
        With the arrays that the operator takes as inputs.
    op : str
        The operator.
    attributes : dict
        Of it; "axis" and the name of the setting are replaced by what is found.
    dtypes : tuple of str
        Those for which runtimes have it.
    fits : callable
        Tells, of the result and the arrays that the operator would take, whether it is the same.
    setting : str
        The attribute that is any number in the calls.
    opset : int
        The first that has the operator.
    """

    program: Program
    op: str
    attributes: dict[str, Any]
    dtypes: tuple[str, ...]
    fits: Callable[..., bool]
    setting: str
    opset: int

    def emit(self, graph: Graph, out: Value, *inputs: Value, **found: Any) -> str:
        """Add the node."""
        if isinstance(found.get("axis"), tuple):  # the last ones
            found["axis"] = found["axis"][0]
        return graph(self.op, *inputs, **self.attributes | found)


def fuse(traced: Traced, opset: int) -> list[tuple[Entry, Callable[..., Any] | None]]:
    """Return the calls that are needed, each with the function that adds it, if it is fused."""
    program = traced.program
    made = {out: entry for entry in program.entries for out in entry.outs}
    needed = set(program.results_places)
    found: list[tuple[Entry, Callable[..., Any] | None]] = []
    for entry in reversed(program.entries):
        if not needed & set(entry.outs):
            continue
        emit = None
        for pattern in _patterns():
            match = _Match(traced, made, pattern)
            if opset >= pattern.opset and match.finds(Var(entry.outs[0])):
                emit, entry = pattern.emit, entry._replace(args=match.inputs, kwargs=match.settings)
                break
        needed |= set(references((entry.args, entry.kwargs)))
        found.append((entry, emit))
    return found[::-1]


class _Match:
    """A comparison of a pattern with the calls that lead to a place."""

    def __init__(self, traced: Traced, made: dict[int, Entry], pattern: _Pattern) -> None:
        self._traced, self._made, self._pattern = traced, made, pattern
        self._own = {out: entry for entry in pattern.program.entries for out in entry.outs}
        self._bound: dict[int, Var] = {}
        self.settings: dict[str, Any] = {}

    @property
    def inputs(self) -> tuple[Var, ...]:
        """What the operator takes."""
        return tuple(self._bound[place] for place in self._pattern.program.inputs)

    def finds(self, root: Var) -> bool:
        """Tell whether the calls are those of the pattern."""
        if not self._same(self._pattern.program.results, root):
            return False
        dtypes = {self._traced.dtype(var.place) for var in (root, *self.inputs)}
        shapes = (self._traced.shapes[var.place] for var in (root, *self.inputs))
        return (
            len(dtypes) == 1
            and dtypes <= set(self._pattern.dtypes)
            and self._pattern.fits(*shapes, **self._pattern.attributes | self.settings)
        )

    def _same(self, a: Any, b: Any, key: str = "") -> bool:
        if isinstance(a, Var):
            return isinstance(b, Var) and self._same_array(a, b)
        if isinstance(b, Var):
            return False
        if key == "axis":
            return type(a) is type(b) and self.settings.setdefault(key, b) == b
        if isinstance(a, float) and a == _SETTING:
            found = self.settings.setdefault(self._pattern.setting, b)
            return isinstance(b, float) and found == b
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(map(self._same, a, b))
        if a is None or isinstance(a, (bool, int, float, str)):
            return value_key(a) == value_key(b)
        return True  # a dtype or a device

    def _same_array(self, a: Var, b: Var) -> bool:
        program, place = self._pattern.program, a.place
        if place in program.constants:
            number = float(program.constants[place].flat[0])
            return bool(_fill(self._traced.program, self._made, b) == number)
        if place in self._bound or place in program.inputs:
            return self._bound.setdefault(place, b) == b
        ours, theirs = self._own[place], self._made.get(b.place)
        if theirs is None or ours.name != theirs.name or ours.kwargs.keys() != theirs.kwargs.keys():
            return False
        self._bound[place] = b
        return self._same(ours.args, theirs.args) and all(
            self._same(x, theirs.kwargs[key], key) for key, x in ours.kwargs.items()
        )


def _fill(program: Program, made: dict[int, Entry], var: Var) -> Any:
    """Return the number that all elements of an array are, if it is plain to see."""
    if var.place in program.constants:
        array = to_host(program.constants[var.place])
        return array.flat[0] if array.size and (array == array.flat[0]).all() else None
    entry = made.get(var.place)
    if entry is None or entry.name not in _CREATION:
        return None
    return entry.args[1] if entry.name == "full" else float(entry.name == "ones")


@functools.cache
def _patterns() -> tuple[_Pattern, ...]:
    """Return all patterns, those first that contain others."""
    xp = host().namespace()

    def pattern(
        function: Callable[..., Any],
        op: str,
        *more: tuple[int, ...],
        dtypes: tuple[str, ...] = ("float32",),
        fits: Callable[..., bool] = lambda *shapes, **settings: True,
        setting: str = "",
        opset: int = 18,
        **attributes: Any,
    ) -> _Pattern:
        with Recording(xp) as recording:
            arrays = [recording.wrap(xp.ones(shape, dtype=xp.float32)) for shape in ((4, 3), *more)]
            for slot in function.slots() if isinstance(function, Module) else ():
                recording.enter([slot])
                arrays.append(slot.array)
            result = recording.reference(function(*arrays[: 1 + len(more)]))
            places = [array.place for array in arrays]
        program = clean(Program.of(recording, [], places, result, []))
        return _Pattern(program, op, attributes, dtypes, fits, setting, opset)

    both = ("float32", "float64")
    with use_backend(host().name):
        norm = LayerNorm(3, eps=_SETTING)
    return (
        pattern(
            lambda x, w, b: x @ w.T + b, "Gemm", (5, 3), (5,), dtypes=both, fits=_gemm, transB=1
        ),
        pattern(lambda x, w, b: x @ w + b, "Gemm", (3, 5), (5,), dtypes=both, fits=_gemm, transB=0),
        pattern(lambda x, w: x @ w.T, "Gemm", (5, 3), dtypes=both, fits=_gemm, transB=1),
        pattern(norm, "LayerNormalization", fits=_normalizes, setting="epsilon"),
        pattern(gelu, "Gelu", opset=20),
        pattern(lambda x: gelu(x, approximate="tanh"), "Gelu", opset=20, approximate="tanh"),
        pattern(special.erf, "Erf"),
        pattern(lambda x: elu(x, alpha=_SETTING), "Elu", setting="alpha"),
        pattern(lambda x: leaky_relu(x, negative_slope=_SETTING), "LeakyRelu", setting="alpha"),
        pattern(special.softplus, "Softplus"),
        pattern(special.expit, "Sigmoid", dtypes=both),
        pattern(special.softmax, "Softmax", dtypes=both),
        pattern(special.log_softmax, "LogSoftmax", dtypes=both),
    )


def _gemm(out: Any, x: Any, w: Any, bias: Any = (), *, transB: int) -> bool:  # noqa: N803
    """Tell whether two matrices are multiplied, and what is added does not enlarge the product."""
    return len(x) == len(w) == 2 and out == (x[0], w[1 - transB])


def _normalizes(out: Any, x: Any, weight: Any, bias: Any, *, axis: Any, **settings: Any) -> bool:
    """Tell whether the last axes are normalized, and scaled element by element."""
    return bool(axis == tuple(range(-len(axis), 0)) and weight == bias == x[-len(axis) :])
