"""The table of a model: what is in it, what comes out of it, how much it holds."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from xpnet import tree
from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.nn.modes import evaluating, undisturbed
from xpnet.nn.observe import observe
from xpnet.nn.waiting import still_waiting
from xpnet.state import BUFFER, FROZEN, PARAMETER, Slot

if TYPE_CHECKING:
    from xpnet.nn.module import Module

__all__ = ["Summary", "summarize"]

_TOTALS = {
    PARAMETER: "trainable parameters",
    FROZEN: "frozen parameters",
    BUFFER: "buffers",
}


class Summary(str):
    """A text that is shown as it is at the prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def summarize(model: Module, *example_inputs: Any) -> Summary:
    """See `Module.summary`."""
    shapes: dict[str, list[str]] = {}

    def note(name: str, module: Module, output: Any) -> None:
        text = ", ".join(str(tuple(x.shape)) for x in tree.leaves(output) if hasattr(x, "shape"))
        seen = shapes.setdefault(name, [])
        if text not in seen:  # a module that is used twice may have two
            seen.append(text)

    with ExitStack() as stack:
        if example_inputs:
            stack.enter_context(still_waiting(model))
            stack.enter_context(undisturbed(model))
            stack.enter_context(evaluating(model))
            stack.enter_context(observe(model, note))
            model(*example_inputs)
        return Summary(_text(model, shapes if example_inputs else None))


def _text(model: Module, shapes: dict[str, list[str]] | None) -> str:
    modules = dict(model.modules())
    counted: set[int] = set()  # what is shared or tied counts where it comes first
    slots: list[Slot] = []
    rows = [["name", "type", "output shape", "parameters", ""]]
    for name, module in modules.items():
        waiting = module.is_waiting()
        found = [] if waiting else [x for x in module.own_slots() if id(x.array) not in counted]
        slots += found
        counted |= {id(slot.array) for slot in found}
        if not name and len(modules) > 1 and not found and not waiting:
            continue  # the title names the model
        own = [slot for slot in found if slot.role != BUFFER]
        count = f"{sum(map(_size, own)):,}" if own else ""
        remark = "frozen" if any(slot.role == FROZEN for slot in own) else ""
        rows.append(
            [
                name,
                type(module).__name__,
                " or ".join((shapes or {}).get(name, ["-"])),
                "?" if waiting else count,
                remark,
            ]
        )
    if shapes is None:
        rows = [row[:2] + row[3:] for row in rows]
    totals = [
        [title, f"{sum(map(_size, found)):,}", _bytes(found)]
        for role, title in _TOTALS.items()
        for found in [[slot for slot in slots if slot.role == role]]
    ]
    lines = [type(model).__name__, *_table(rows, right=len(rows[0]) - 2, rule=True)]
    lines += ["", *_table(totals, right=1)]
    if any(module.is_waiting() for module in modules.values()):
        lines.append("?: made by the first batch; pass one to summary")
    return "\n".join(lines)


def _table(rows: list[list[str]], *, right: int, rule: bool = False) -> list[str]:
    """Return lines with aligned columns, one to the right, and a rule below the first line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if rule:
        under = ["-" * width if head else "" for head, width in zip(rows[0], widths, strict=True)]
        rows = [rows[0], under, *rows[1:]]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        cells[right] = row[right].rjust(widths[right])
        lines.append("  ".join(cells).rstrip())
    return lines


def _size(slot: Slot) -> int:
    return math.prod(slot.array.shape)


def _bytes(slots: list[Slot]) -> str:
    size: float = sum(_size(slot) * _item_size(slot.array) for slot in slots)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.1f} {unit}" if unit != "B" else f"{size} B"
        size /= 1024
    return f"{size:.1f} GiB"


def _item_size(array: Array) -> int:
    """Return the bytes of one number."""
    xp, dtype = array_namespace(array), array.dtype
    if xp.isdtype(dtype, "bool"):
        return 1
    if xp.isdtype(dtype, "integral"):
        return int(xp.iinfo(dtype).bits) // 8
    parts = 2 if xp.isdtype(dtype, "complex floating") else 1
    return parts * int(xp.finfo(dtype).bits) // 8
