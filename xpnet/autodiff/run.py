"""One call of a function that is being differentiated, and the ways back through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.autodiff.level import Level
from xpnet.autodiff.tape import TracedArray, backward, refuse_escaped
from xpnet.namespace import device_of

__all__ = ["Run", "name_of"]


class Run:
    """What is left of a call: its result, and the tape from there to the arguments.

    Parameters
    ----------
    name : str
        What messages call it.
    function, args, kwargs
        The call.
    indices : tuple of int
        The positional arguments to differentiate.
    has_aux : bool
        Whether the function returns a pair of the value and something else to hand through.
    check : callable
        ``check(value, name)`` raises if the value is not what it should be; modules are then as
        they were before the call.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        indices: tuple[int, ...],
        *,
        check: Callable[[Any, str], None],
        has_aux: bool = False,
    ) -> None:
        _check_argnums(indices, len(args), name)
        with Level(name, args, kwargs) as level:
            chosen = {
                index % len(args): level.variables(args[index], f"argument {index}")
                for index in indices
            }
            inside = [
                chosen[n].inside if n in chosen else level.constants(argument)
                for n, argument in enumerate(args)
            ]
            result = function(*inside, **{k: level.constants(v) for k, v in kwargs.items()})
            self._variables = list(chosen.values())
            self.value: Tree
            self.aux: Tree
            self.value, self.aux = _split(result, name) if has_aux else (result, None)
            check(self.value, name)
            level.succeeded = True
        self._level = level

    def depends(self, value: Any) -> bool:
        """Tell whether an array depends on what is being differentiated."""
        tape = self._level.tape
        if not isinstance(value, TracedArray) or value.tape is tape:
            return isinstance(value, TracedArray)
        if value.tape.closed or value.tape.level >= tape.level:
            refuse_escaped()
        return False

    def lower(self, value: Tree) -> Tree:
        """Return arrays as the code around the call is to see them."""
        return tree.map(self._level.lower, value)

    def one(self, value: TracedArray) -> Array:
        """Return the gradient of a number with respect to itself."""
        return self._level.below.ones((), dtype=value.dtype, device=device_of(value))

    def pull(
        self, seeds: Iterable[tuple[TracedArray, Array]], *, keep: bool = False
    ) -> tuple[Tree, ...]:
        """Return the gradient of each differentiated argument; see `tape.backward`."""
        arrived = backward(self._level.tape, seeds, self._level.leaves, keep=keep)
        return tuple(variable.collect(arrived) for variable in self._variables)


def name_of(function: Callable[..., Any]) -> str:
    """Return what messages call a function, if it is one."""
    if not callable(function):
        raise TypeError(f"autodiff: expected a function, got {type(function).__name__}")
    return str(getattr(function, "__name__", "function"))


def _check_argnums(indices: tuple[int, ...], count: int, name: str) -> None:
    for index in indices:
        if not -count <= index < count:
            raise IndexError(
                f"{name}: argnums names argument {index}, but only {count} positional arguments "
                "were given"
            )
    places = [index % count for index in indices]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"{name}: argnums names argument {place} twice")


def _split(result: Any, name: str) -> tuple[Any, Any]:
    if isinstance(result, tuple) and len(result) == 2:
        return result
    raise TypeError(
        f"{name}: with has_aux=True it must return a pair (value, aux), got {type(result).__name__}"
    )
