"""NumPy's engine where Numba is installed: kernels as compiled loops, products by NumPy."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np

from xpnet.program.entry import Entry, Like, Var
from xpnet.program.fuse import fuse
from xpnet.program.integers import check, met
from xpnet.program.kernel import Kernel
from xpnet.program.loops import print_loops
from xpnet.program.operation import REDUCTIONS, Operation, operation
from xpnet.program.plan import Kind
from xpnet.program.program import Program, references
from xpnet.program.source import Printed

from .. import pip_install  # noqa: TID252 - see there
from .engine import Planned
from .loops import Unavailable, compiled

__all__ = ["Unavailable", "print_fused", "unavailable"]

# NumPy computes these with vector instructions, compiled loops one by one.
_SLOW = frozenset({"exp", "expm1", "log", "log1p", "tanh"})
_LONG = 128  # elements, from which on NumPy's largest one is found faster
_MANY = 16_384  # elements, from which on that costs more than another pass over memory
_DTYPES = frozenset(map(np.dtype, ("bool", "u1", "i4", "u4", "i8", "f4", "f8")))


def unavailable() -> str | None:
    """Return why kernels cannot be compiled here, or None if they can."""
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return "NUMBA_DISABLE_JIT is set"
    if importlib.util.find_spec("numba") is None:  # it is imported when something is compiled
        return f"Numba is not installed; {pip_install('fast')}"
    return None


def print_fused(program: Program) -> Printed:
    """Return source that calls compiled kernels, and NumPy for what is left.

    Raises
    ------
    Unavailable
        If a kernel was never compiled before, and Numba cannot do so.
    """
    program = _by_rows(program)
    fused = fuse(program, _obstacle)
    for entry in fused.program.entries:
        if isinstance(entry.function, Kernel):
            for place in entry.outs:
                program.kinds[place] = _made(program.kinds[place])
    printed = _Fused(fused.program).print()
    printed.alone = fused.alone
    return printed


def _by_rows(program: Program) -> Program:
    """Return a program whose state and results lie in memory by rows, as kernels write them."""
    kinds = list(program.kinds)
    computed = [
        entry.outs[0]
        for entry in program.entries
        if (op := operation(entry, kinds)) is not None and op.name != "same"
    ]
    for place in (*program.state, *computed):
        kinds[place] = _made(kinds[place])
    return program._replace(kinds=kinds)


def _made(like: Any) -> Any:
    """Return what an array is like if a kernel writes it."""
    return like.by_rows() if isinstance(like, Like) and like.strides is not None else like


def _obstacle(kernel: Kernel) -> str | None:
    """Return why NumPy shall do what a kernel does, or None."""
    if kernel.shape == (1, 1):
        return "single numbers are no work for loops"
    return next(filter(None, (_obstacle_in(kernel, op) for op in kernel.operations)), None)


def _obstacle_in(kernel: Kernel, op: Operation) -> str | None:
    places, size = (*references(op.args), op.out), kernel.shape[0] * kernel.shape[1]
    for place in places:
        like = kernel.kinds[place]
        if isinstance(like, Like):
            if like.dtype not in _DTYPES:
                return f"{like.dtype} is not compiled"
            spread = not any(like.strides)  # one number, seen as many
            if kernel.roles[place] == "full" and not (spread or like.is_contiguous):
                return "its elements do not follow one another in memory"
    if op.name == "astype" and kernel.kinds[op.out].dtype.kind == "u":
        return "it depends on the machine what becomes of negative numbers"
    if op.name in REDUCTIONS:
        x, out = places
        before, after = kernel.kinds[x].dtype, kernel.kinds[out].dtype
        if before.kind != "f" or before != after:
            return "only floating-point numbers of one dtype are reduced"
        long = kernel.shape[1] > _LONG or (kernel.roles[out] == "scalar" and size > _LONG)
        if op.name in ("max", "min") and kernel.roles[out] != "column" and long:
            return "NumPy compares so many elements several at once"
    elif op.name in _SLOW and kernel.roles[op.out] == "full" and size > _MANY:
        return "NumPy computes it with vector instructions, which matters for so many elements"
    return None


class _Fused(Planned):
    """Prints calls of kernels with the arrays that they write to."""

    engine = "NumPy, and kernels that Numba compiles"

    def print(self) -> Printed:
        """See `Printer.print`."""
        self._kernels: list[tuple[str, Kernel]] = []
        printed = super().print()
        printed.kernels = self._kernels
        return printed

    def beginning(self) -> list[str]:
        """See `Planned.beginning`; kernels would cut off integers, so those are checked."""
        checks = [
            f"{self.bind('check', check(dtype, len(places)))}"
            f"({', '.join(self.names[place] for place in places)})"
            for dtype, places in met(kernel for _, kernel in self._kernels).items()
        ]
        return [*checks, *super().beginning()]

    def _seen_whole(self) -> frozenset[int]:
        """See `Planned._seen_whole`: kernels read and write rows or all of an array."""
        kernels = [e.function for e in self.program.entries if isinstance(e.function, Kernel)]
        full = {
            place for kernel in kernels for place, role in kernel.roles.items() if role == "full"
        }
        full |= {self.plan.donated[place] for place in full if place in self.plan.donated}
        arrays = {p for p in full if getattr(self.program.kinds[p], "type", None) is np.ndarray}
        return super()._seen_whole() | arrays

    def statement(self, entry: Entry) -> str | None:
        """See `Printer.statement`."""
        kernel = entry.function
        if not isinstance(kernel, Kernel):
            return super().statement(entry)
        for out in entry.outs:
            if out in self.plan.donated:
                self.names[out] = self.names[self.plan.donated[out]]
        over = {
            out: x for out in kernel.outputs for x in kernel.inputs if self.plan.is_over(out, x)
        }
        loops = print_loops(kernel, over)
        name = self.bind("kernel", compiled(loops))
        self._kernels.append((name, kernel))
        arguments = [*kernel.inputs, *(out for out in kernel.outputs if out not in over)]
        operands = [self._argument(kernel, place, over) for place in arguments]
        for argument in loops.arguments[len(arguments) :]:
            room = np.empty(kernel.shape[1], argument.dtype)
            self.plan.buffers.append(room.nbytes)  # which are told
            operands.append(self.bind("room", room))
        return f"{name}({', '.join([*map(str, kernel.shape), *operands])})"

    def literal(self, x: Any) -> str:
        """See `Printer.literal`: kernels leave numbers in arrays, of which views could be made."""
        printed = super().literal(x)
        return f"{printed}[()]" if isinstance(x, Var) and self._is_boxed(x.place) else printed

    def _is_boxed(self, place: int) -> bool:
        """Tell whether one of NumPy's scalars is computed into an array."""
        kind = getattr(self.program.kinds[place], "type", np.ndarray)
        return kind is not np.ndarray and place in self.plan.places

    def _argument(self, kernel: Kernel, place: int, over: dict[int, int]) -> str:
        """Return an array as the kernel expects it."""
        like, name = self.program.kinds[place], self.names[place]
        if not isinstance(like, Like):
            return name
        if like.type is not np.ndarray:
            return f"{name}[()]" if self._is_boxed(place) and place in kernel.inputs else name
        if place in self.turned:
            fixed = self.fixed.get(place)
            return f"{name}.T" if fixed is None else self.bind(f"{name}_", fixed.T)
        if like.is_contiguous or place in kernel.outputs or place in over.values():
            return name
        return f"{self.bind('whole', np.ascontiguousarray)}({name})"

    def _kind(self, entry: Entry) -> Kind:
        return "buffer" if isinstance(entry.function, Kernel) else super()._kind(entry)

    def _over(self, entry: Entry, out: int) -> list[int]:
        if isinstance(entry.function, Kernel):
            return entry.function.overwritable(out)
        return super()._over(entry, out)
