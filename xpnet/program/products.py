"""Products and what follows them at once: a vector added to each row, and no negative numbers."""

from __future__ import annotations

from typing import Any

from xpnet.program.entry import Entry, Like, Var
from xpnet.program.operation import operation
from xpnet.program.program import Program, evaluate, references

__all__ = ["Product", "join_epilogues"]


class Product:
    """A product of matrices and its epilogue, as one call of ``(x, w)`` or ``(x, w, bias)``.

    Attributes
    ----------
    entries : list of Entry
        The calls that it stands for.
    inputs : list of int
        The places of its operands.
    relu : bool
        Whether negative numbers become zero.
    """

    __name__ = "product"  # in a printed program

    def __init__(self, entries: list[Entry], inputs: list[int]) -> None:
        self.entries, self.inputs = entries, inputs
        self.relu = len(entries) > 2

    def __call__(self, *arrays: Any) -> Any:
        """Compute it with the functions that were recorded, one by one."""
        values = dict(zip(self.inputs, arrays, strict=True))
        evaluate(self.entries, values)
        return values[self.entries[-1].outs[0]]


def join_epilogues(program: Program, *, relu: bool) -> Program:
    """Return a program in which products of matrices are calls of `Product`.

    Parameters
    ----------
    program : Program
        As `xpnet.program.clean` leaves it.
    relu : bool
        Whether ``maximum(x, 0)`` may be part of an epilogue.
    """
    uses: dict[int, list[int]] = {}
    for n, entry in enumerate(program.entries):
        for place in references((entry.args, entry.kwargs)):
            uses.setdefault(place, []).append(n)
    for place in program.outputs:
        uses.setdefault(place, []).append(-1)
    made: dict[int, Entry | None] = {}  # under the number of the last of its entries
    for n, entry in enumerate(program.entries):
        if entry.name != "matmul" or len(entry.args) != 2 or not _is_matrices(entry, program.kinds):
            continue
        inputs, numbers = references(entry.args), [n]
        following = _only(uses, entry)
        bias = None if following is None else _bias(program, following, entry.outs[0])
        if bias is not None and following is not None:
            inputs, numbers = [*inputs, bias], [n, following]
            after = _only(uses, program.entries[following])
            if relu and after is not None and _is_relu(program, after):
                numbers.append(after)
        entries = [program.entries[number] for number in numbers]
        made |= dict.fromkeys(numbers)
        product = Product(entries, inputs)
        made[numbers[-1]] = Entry("product", product, tuple(map(Var, inputs)), {}, entries[-1].outs)
    kept = [made.get(n, entry) for n, entry in enumerate(program.entries)]
    return program._replace(entries=[entry for entry in kept if entry is not None])


def _is_matrices(entry: Entry, kinds: list[Any]) -> bool:
    likes = [kinds[place] for place in (*references(entry.args), *entry.outs)]
    return len(likes) == 3 and all(len(like.shape) == 2 for like in likes)


def _only(uses: dict[int, list[int]], entry: Entry) -> int | None:
    """Return the number of the only entry that uses a result, if there is one."""
    found = uses.get(entry.outs[0], [])
    return found[0] if len(found) == 1 and found[0] >= 0 else None


def _bias(program: Program, n: int, product: int) -> int | None:
    """Return the place of a vector that an entry adds to each row of a product."""
    entry, like = program.entries[n], program.kinds[product]
    op = operation(entry, program.kinds)
    places = references(entry.args)
    if op is None or op.name != "add" or len(places) != 2:
        return None
    [other] = [place for place in places if place != product] or [product]
    given = program.kinds[other]
    fits = isinstance(given, Like) and given.shape in (like.shape[1:], (1, like.shape[1]))
    same = fits and given.dtype == like.dtype and program.kinds[op.out].shape == like.shape
    return other if same else None


def _is_relu(program: Program, n: int) -> bool:
    op = operation(program.entries[n], program.kinds)
    return (
        op is not None
        and op.name == "maximum"
        and type(op.args[1]) in (int, float)
        and (op.args[1] == 0)
    )
