"""How the arrays of the state lie in memory: some by columns, which makes products faster.

A layer computes ``x @ weight.T``. With weights by columns the transpose lies by rows, and BLAS
splits such a product better among threads when one side is small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from operator import is_
from typing import Any
from weakref import ref

import numpy as np

from xpnet.program.entry import Entry, Like, Var, shape_of
from xpnet.program.kernel import Kernel
from xpnet.program.operation import REDUCTIONS, operation
from xpnet.program.program import Program, references

from .memory import empty, is_aligned

__all__ = ["Whole", "by_columns"]


def by_columns(program: Program) -> frozenset[int]:
    """Return the places of a program, fused or not, to be kept by columns.

    They are weights, their moments, and what is computed from them element by element: nothing
    else than such calls and products may see these, and all of the state among them is renewed.
    """
    groups = _Groups()
    transposed: dict[int, int] = {}  # place -> that of what it is the transpose of
    weights: set[int] = set()
    fixed = {*program.inputs, *program.constants, *program.results_places}
    for old, new in zip(program.state, program.updates, strict=True):
        groups.join([old, new])
        if old == new:
            fixed.add(old)
    for entry in program.entries:
        places = references((entry.args, entry.kwargs))
        full = _elementwise(entry, program)
        if full is not None:
            groups.join(full)
        elif isinstance(entry.function, Kernel):
            fixed.update(entry.function.roles)
        elif entry.name == "matrix_transpose":
            transposed[entry.outs[0]] = places[0]
            if entry.outs[0] in program.outputs:
                fixed.update(places)
        elif entry.name == "matmul":
            second = entry.args[1]
            if isinstance(second, Var) and second.place in transposed:
                weights.add(transposed[second.place])
        else:
            fixed.update((*places, *entry.outs))
    chosen: set[int] = set()
    for weight in weights & set(program.state):
        group = groups.of(weight)
        shapes = {shape_of(program.kinds[p]) for p in group}
        if not group & fixed and len(shapes) == 1 and _is_matrix(shapes.pop()):
            chosen |= group
    return frozenset(chosen)


def _elementwise(entry: Entry, program: Program) -> list[int] | None:
    """Return the places of the arrays, all of one shape, that an entry computes with, if it does.

    Numbers are none of them.
    """
    kernel, kinds = entry.function, program.kinds
    if isinstance(kernel, Kernel):
        full = [p for p in (*kernel.inputs, *kernel.outputs) if kernel.roles[p] == "full"]
        return full if kernel.is_flat else None
    op = operation(entry, kinds)
    if op is None or op.name == "same" or op.name in REDUCTIONS:
        return None
    shapes = {p: kinds[p].shape for p in (*references(op.args), op.out) if _is_array(kinds[p])}
    return list(shapes) if len({*shapes.values()}) == 1 else None


def _is_array(kind: Any) -> bool:
    return isinstance(kind, Like) and math.prod(kind.shape) != 1


def _is_matrix(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 and min(shape) > 1


class _Groups:
    """Places, some of which belong together."""

    def __init__(self) -> None:
        self._groups: dict[int, set[int]] = {}

    def of(self, place: int) -> set[int]:
        """Return all that belong to one, itself included."""
        return self._groups.setdefault(place, {place})

    def join(self, places: Iterable[int]) -> None:
        """Let places belong together."""
        joined = set().union(*map(self.of, places))
        self._groups.update(dict.fromkeys(joined, joined))


class Whole:
    """Sees to it that arrays of the state are as loops read them.

    Parameters
    ----------
    kinds : list of (tuple of int, dtype, str, bool)
        For each the shape and dtype that it had, its order in memory, and whether the run writes
        into it. Such a one is copied the first time, and later if it has no longer the order, or
        starts elsewhere than a cache line; others would have to be copied in every run.
    """

    def __init__(self, kinds: list[tuple[tuple[int, ...], Any, str, bool]]) -> None:
        self._kinds = kinds
        self._known: list[Any] | None = None  # weak references to those that were so already

    def __call__(self, *arrays: Any) -> Any:
        """Return the arrays; copies of those that somebody has laid out otherwise."""
        if self._known and all(map(is_, [known() for known in self._known], arrays)):
            return arrays
        first = self._known is None
        whole = [_whole(x, *kind, first=first) for x, kind in zip(arrays, self._kinds, strict=True)]
        self._known = list(map(ref, whole)) if all(map(is_, whole, arrays)) else []
        return whole


def _whole(
    array: Any, shape: tuple[int, ...], dtype: Any, order: Any, is_written: bool, *, first: bool
) -> Any:
    if array.shape != shape or array.dtype != dtype:
        raise TypeError(
            f"expected an array of shape {shape} and {dtype} in a model or optimizer, as when the "
            f"step was recorded, found shape {array.shape} and {array.dtype}; it was replaced by "
            "hand, write into it instead: x[...] = new"
        )
    if not is_written:
        return np.asarray(array, order=order)
    flags = array.flags
    is_ordered = flags.f_contiguous if order == "F" else flags.c_contiguous
    if is_ordered and is_aligned(array) and not first:
        return array
    moved = empty(shape, dtype, order)
    moved[...] = array
    return moved
