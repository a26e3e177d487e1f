"""Explaining a program: what became of the calls that were recorded."""

from __future__ import annotations

import textwrap
from collections import Counter

from xpnet.program.kernel import Kernel
from xpnet.program.program import Program
from xpnet.program.source import Printed

__all__ = ["explain"]

_WIDTH = 100


def explain(name: str, recorded: int, program: Program, printed: Printed) -> str:
    """Return how a program is run, for a person to read.

    Parameters
    ----------
    name : str
        Of the step.
    recorded : int
        How many calls were recorded.
    program : Program
        What was left of them.
    printed : Printed
        What the engine made of it.
    """
    kernels, left = printed.kernels, len(program.entries)
    inside = sum(len(kernel.entries) for _, kernel in kernels)
    alone = left - inside
    lines = [
        f"{name}: {recorded} calls recorded, {left} left after cleaning, {inside} of them in "
        f"{len(kernels)} kernel{'s' * (len(kernels) != 1)}, {alone} alone",
        f"engine: {printed.engine}",
        *printed.notes,
    ]
    if kernels:
        lines += ["", "kernels", *(_kernel(name, kernel) for name, kernel in kernels)]
    if printed.alone:
        lines += ["", "alone"]
        for (call, reason), count in Counter(printed.alone).items():
            lines.append(f"  {count} {call}: {reason}")
    return "\n".join(lines)


def _kernel(name: str, kernel: Kernel) -> str:
    rows, columns = kernel.shape
    size = f"{columns}" if kernel.is_flat else f"{rows} x {columns}"
    calls = ", ".join(op.name for op in kernel.operations if op.name != "same")
    text = f"{name} of {size}, {len(kernel.entries)} calls: {calls}"
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="    ")
