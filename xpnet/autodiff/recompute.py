"""Gradients that compute the function again instead of storing what is between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from xpnet import tree
from xpnet._typing import Array, Namespace, Tree
from xpnet.aliasing import share
from xpnet.autodiff.custom import CLOSURE
from xpnet.autodiff.pulls import accumulate
from xpnet.autodiff.run import Run
from xpnet.autodiff.tape import CONSTANT, TracedArray, highest_tape, place, strip
from xpnet.errors import TracedArrayError
from xpnet.namespace import is_array
from xpnet.state import PARAMETER, Slot, Stateful

__all__ = ["checkpoint"]


def checkpoint(function: Callable[..., Array]) -> Callable[..., Array]:
    """Return `function`, to be computed again on the way back instead of storing what is between.

    This trades time for memory: of a chain of blocks that are each wrapped so, only what goes
    from block to block is kept, and the inside of one block at a time.

    Parameters
    ----------
    function : callable
        A module, or a function of arrays, trees of arrays and modules that returns one array.
        Modules that it uses are arguments or closed over, or it is one itself.

    Returns
    -------
    callable
        Takes the same arguments and returns the same array.

    Raises
    ------
    TypeError
        If the function does not return an array (when called inside of `xpnet.grad`).
    TracedArrayError
        If it closes over an array that is being differentiated.

    Notes
    -----
    Computing again draws the same random numbers, and writes to no buffer.

    References
    ----------
    .. [1] T. Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174, 2016.

    Examples
    --------
    >>> import xpnet as xn
    >>> block = xn.autodiff.checkpoint(lambda x: x * x * x)
    >>> float(xn.grad(block)(xn.asarray(2.0)))
    12.0
    """
    from xpnet.random.generator import replayed, watched  # which needs this package

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Array:
        call = ((function, args, kwargs),)
        reached = {id(x): x for x in [*tree.leaves(call), *_closed_over(function)]}
        modules = [x for x in reached.values() if isinstance(x, Stateful)]
        slots = [slot for module in modules for slot in module.slots()]
        held = [slot.array for slot in slots]
        arrays = [x for x in tree.leaves(call) if is_array(x)]
        tape = highest_tape([*arrays, *held])
        if tape is CONSTANT:
            return function(*args, **kwargs)

        below = [strip(tape, x) for x in held]
        values = [strip(tape, x) for x in arrays]
        with watched() as draws, _holding(slots, below, written=True):
            try:
                out = _call(call, values, checkpoint)
            except TypeError as error:
                error.add_note(f"checkpoint: the function {CLOSURE}")
                raise
        if isinstance(out, TracedArray) and out.tape.level >= tape.level:
            raise TracedArrayError(f"checkpoint: the function {CLOSURE}")
        if not is_array(out):
            raise TypeError(
                f"checkpoint: the function must return an array, got {type(out).__name__}"
            )

        # Gradients go to the arrays on this tape: arguments, and parameters by module and name.
        places = {n: place(tape, x) for n, x in enumerate(arrays)}
        moving = {n: parent for n, parent in places.items() if parent >= 0}
        named = [
            {s.name: place(tape, s.array) for s in module.slots() if s.role == PARAMETER}
            for module in modules
        ]

        def again(variables: list[Array], _: list[Stateful], others: list[Array]) -> Array:
            each, rest = iter(variables), iter(others)
            moved = [next(each) if n in moving else next(rest) for n in range(len(values))]
            return _call(call, moved, lambda function: function)

        def pull(xp: Namespace, grad: Array, entry: Any, grads: list[Any]) -> None:
            variables = [values[n] for n in moving]
            others = [x for n, x in enumerate(values) if n not in moving]
            with replayed(draws), _holding(slots, below):
                run = Run(
                    *("checkpoint", again, (variables, modules, others), {}, (0, 1)),
                    check=lambda value, name: None,
                )
                seeds = [(run.value, grad)] if run.depends(run.value) else []
                ours, theirs = run.pull(seeds)
            for parent, x in zip(moving.values(), ours, strict=True):
                accumulate(xp, grads, parent, x, x.shape, x.dtype)
            for parents, of_module in zip(named, theirs, strict=True):
                for name, x in of_module.items():
                    if parents[name] >= 0:
                        accumulate(xp, grads, parents[name], x, x.shape, x.dtype)

        tape.append((pull,))
        traced = [x for x in [*arrays, *held] if isinstance(x, TracedArray)]
        result = type(traced[0])(out, tape, len(tape) - 1)
        for x in traced:
            share(x, result)  # for all that is known
        return result

    return wrapper


def _closed_over(function: Callable[..., Any]) -> list[Any]:
    """Return what a function closes over, or the object whose method it is."""
    cells = getattr(function, "__closure__", None) or ()
    return [getattr(function, "__self__", None), *(cell.cell_contents for cell in cells)]


def _call(call: Tree, arrays: list[Array], around: Callable[..., Any]) -> Any:
    """Make a call with other arrays in the place of its own."""
    each = iter(arrays)
    ((function, args, kwargs),) = tree.map(lambda x: next(each) if is_array(x) else x, call)
    return around(function)(*args, **kwargs)


@contextmanager
def _holding(slots: list[Slot], arrays: list[Array], *, written: bool = False) -> Iterator[None]:
    """Hold other arrays in slots for a while; with `written` keep what is written meanwhile."""
    before = [slot.array for slot in slots]
    for slot, array in zip(slots, arrays, strict=True):
        slot.put(array)
    try:
        yield
    finally:
        for slot, array, was in zip(slots, arrays, before, strict=True):
            if not written or slot.array is array:
                slot.put(was)
            elif not isinstance(slot.array, TracedArray):
                slot.put(type(was)(slot.array, CONSTANT, -1))
