"""The matrices that are kept by columns, because products with them are faster that way.

A layer computes ``x @ weight.T``. With weights by columns the transpose lies by rows, and BLAS
splits such a product better among threads when one side is small.
"""

from __future__ import annotations

from collections.abc import Iterable

from xpnet.program.kernel import Kernel
from xpnet.program.program import Program, references
from xpnet.program.record import Like, Var

__all__ = ["by_columns"]


def by_columns(program: Program) -> frozenset[int]:
    """Return the places of a fused program to be kept by columns.

    They are weights, their moments, and what is computed from them element by element: nothing
    else than flat kernels and products may see these, and all of the state among them is renewed.
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
        kernel, places = entry.function, references((entry.args, entry.kwargs))
        if isinstance(kernel, Kernel):
            full = [p for p in (*kernel.inputs, *kernel.outputs) if kernel.roles[p] == "full"]
            groups.join(full)
            if not kernel.is_flat:
                fixed.update(full)
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
        shapes = {like.shape if isinstance(like := program.kinds[p], Like) else () for p in group}
        if not group & fixed and len(shapes) == 1 and _is_matrix(shapes.pop()):
            chosen |= group
    return frozenset(chosen)


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
