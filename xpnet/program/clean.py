"""Cleaning a program: what is computed twice, never used, undone, or the same in every run."""

from __future__ import annotations

from typing import Any

from xpnet import tree
from xpnet.namespace import is_array
from xpnet.program.entry import Entry, Var
from xpnet.program.keys import value_key
from xpnet.program.program import Program, references, substitute

__all__ = ["clean"]


def clean(program: Program) -> Program:
    """Return a program that computes the same with fewer entries."""
    return _without_dead(_without_repeated(_fold(program)))


# What depends on the shape of its argument alone, not on its values.
_LIKE = frozenset({"empty_like", "full_like", "ones_like", "zeros_like"})


def _fold(program: Program) -> Program:
    """Make constants of what depends on neither state, inputs nor host numbers.

    One number in the shape of an array stays a call: it takes no time, and kernels see through it.
    """
    constants = dict(program.constants)
    kept: list[Entry] = []
    spread: dict[int, Entry] = {}
    for entry in program.entries:
        args = entry.args
        if entry.name in _LIKE and args[0].place not in constants:
            like = program.kinds[args[0].place]
            empty = program.base.empty(like.shape, dtype=like.dtype, device=like.device)
            args = (empty, *args[1:])
        if not all(place in constants for place in references((args, entry.kwargs))):
            kept.append(entry)
            continue
        if entry.name == "broadcast_to":
            spread[entry.outs[0]] = entry
        args, kwargs = (
            substitute(x, lambda var: constants[var.place]) for x in (args, entry.kwargs)
        )
        results = [x for x in tree.leaves(entry.function(*args, **kwargs)) if is_array(x)]
        constants.update(zip(entry.outs, results, strict=True))
    used = {place for entry in kept for place in references((entry.args, entry.kwargs))}
    views = [entry for place, entry in spread.items() if place in used]
    for entry in views:
        del constants[entry.outs[0]]
    return program._replace(entries=views + kept, constants=constants)


def _without_repeated(program: Program) -> Program:
    """Compute once what is computed twice of the same."""
    same: dict[int, int] = {}
    seen: dict[Any, tuple[int, ...]] = {}
    kept: list[Entry] = []
    transposed: dict[int, int] = {}  # place -> that of what it is the transpose of

    def current(var: Var) -> Var:
        return Var(same.get(var.place, var.place))

    for entry in program.entries:
        args, kwargs = substitute(entry.args, current), substitute(entry.kwargs, current)
        transposes = entry.name == "matrix_transpose"  # `.T` is recorded as one, too
        if transposes:
            undone = transposed.get(args[0].place)
            if undone is not None:  # the transpose of a transpose
                same[entry.outs[0]] = undone
                continue
            transposed[entry.outs[0]] = args[0].place
        name = "transpose" if transposes else (entry.name, id(entry.function))
        key = _key((name, args, tuple(sorted(kwargs.items()))))
        before = seen.get(key) if key is not None else None
        if before is not None:
            same.update(zip(entry.outs, before, strict=True))
            continue
        if key is not None:
            seen[key] = entry.outs
        kept.append(entry._replace(args=args, kwargs=kwargs))
    return program._replace(
        entries=kept,
        results=substitute(program.results, current),
        updates=[same.get(place, place) for place in program.updates],
    )


def _key(x: Any) -> Any:
    """Return something hashable that is equal for equal arguments, or None."""
    try:
        hash(made := _hashable(x))
    except TypeError:
        return None
    return made


def _hashable(x: Any) -> Any:
    if isinstance(x, Var):
        return x
    if isinstance(x, (list, tuple)):
        return (type(x), *map(_hashable, x))
    if type(x) is slice:
        return ("slice", *map(_hashable, (x.start, x.stop, x.step)))
    return value_key(x)  # 1, 1.0 and True are equal, but do not promote alike


def _without_dead(program: Program) -> Program:
    """Leave out what nothing depends on."""
    needed = set(program.outputs)
    kept = []
    for entry in reversed(program.entries):
        if needed & set(entry.outs):
            kept.append(entry)
            needed |= set(references((entry.args, entry.kwargs)))
    constants = {place: array for place, array in program.constants.items() if place in needed}
    return program._replace(entries=kept[::-1], constants=constants)
