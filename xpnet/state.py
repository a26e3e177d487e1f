"""State is slots: where the arrays of a module or an optimizer are kept, in one walk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Self
from weakref import ref

from xpnet._typing import Array
from xpnet.namespace import REAL, has_dtype, is_array

__all__ = [
    "BUFFER",
    "FROZEN",
    "PARAMETER",
    "Reference",
    "Role",
    "Slot",
    "Stateful",
    "are_of_a_kind",
    "changes",
    "living",
    "mismatches",
]

Role = Literal["parameter", "frozen", "buffer"]
PARAMETER: Role = "parameter"  # trained: `value_and_grad` differentiates, optimizers update
FROZEN: Role = "frozen"  # a parameter that is held fixed
BUFFER: Role = "buffer"  # belongs to the state, is written by the forward pass


class Slot(NamedTuple):
    """One place where an array is kept: ``owner[key]``."""

    name: str
    owner: dict[str, Any]
    key: str
    role: Role

    @property
    def array(self) -> Array:
        """What is kept here now."""
        return self.owner[self.key]

    def put(self, array: Array) -> None:
        """Keep `array` here instead."""
        self.owner[self.key] = array


class Reference(ref["Stateful"]):
    """A weak reference that equals those to the same object, whatever `==` says of objects."""

    __slots__ = ("_id",)
    _id: int

    def __init__(self, x: Stateful, callback: Callable[[Any], object] | None = None) -> None:
        self._id = id(x)  # the rest was done when it was made

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Reference):
            return self is other
        return self._id == other._id and self() is other() is not None


class _Changes:
    """Counts the changes to modules and optimizers that are none of an array's values."""

    count = 0


class _Living:
    """All modules and optimizers there are, of which threads may make more meanwhile."""

    def __init__(self) -> None:
        self._refs: set[Reference] = set()

    def add(self, x: Stateful) -> None:
        """Add one for as long as it is there."""
        self._refs.add(Reference(x, self._refs.discard))

    def __iter__(self) -> Iterator[Stateful]:
        for each in [reference() for reference in list(self._refs)]:
            if each is not None:
                yield each


changes = _Changes()
living = _Living()


class Stateful:
    """An object whose arrays differentiation, compilation and checkpoints can reach.

    Attributes
    ----------
    hosted : frozenset of str
        Names of attributes that Python reads before every step, also of a compiled one.
    counted : frozenset of str
        Names of dicts that change nowhere but where `changes` counts it.
    """

    __slots__ = (
        "__dict__",
        "__weakref__",
        "known_state",
    )  # the last, for `state_of`, is not copied
    hosted: frozenset[str] = frozenset()
    counted: frozenset[str] = frozenset()
    known_state: Any

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note that it is there."""
        self = super().__new__(cls)
        object.__setattr__(self, "known_state", None)
        living.add(self)
        changes.count += 1
        return self

    def __getstate__(self) -> dict[str, Any]:
        return vars(self)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.hosted:
            changes.count += 1
        object.__setattr__(self, name, value)

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """Yield every slot once, dotted names starting with `prefix`.

        An array in two slots (a tied parameter) is yielded twice, as one and the same object.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no slots()")


def mismatches(
    expected: Mapping[str, Array],
    given: Mapping[str, Any],
    *,
    fits: Callable[[Array, Array], bool] = lambda array, like: True,
) -> str:
    """Say, a line each, which names are missing or unknown and which arrays do not fit.

    Parameters
    ----------
    expected : mapping from str to array
        For each name an array of the right shape and dtype.
    given : mapping
        What is to be checked.
    fits : callable, optional
        Compares the dtypes of an array and the expected one.

    Returns
    -------
    str
        Empty if all is well; else each line starts with a line break.
    """
    problems = [f"missing: {name}" for name in expected if name not in given]
    problems += [f"unknown: {name}" for name in given if name not in expected]
    for name, like in expected.items():
        if name not in given:
            continue
        array = given[name]
        if not is_array(array):
            problems.append(f"{name}: expected an array, got {type(array).__name__}")
        elif tuple(array.shape) != tuple(like.shape):
            shapes = f"expected shape {tuple(like.shape)}, got {tuple(array.shape)}"
            problems.append(f"{name}: {shapes}")
        elif not fits(array, like):
            problems.append(f"{name}: expected dtype {like.dtype}, got {array.dtype}")
    return "".join(f"\n  {problem}" for problem in problems)


def are_of_a_kind(array: Array, like: Array) -> bool:
    """Tell whether both or neither of two arrays have real floating-point numbers."""
    return has_dtype(array, REAL) == has_dtype(like, REAL)
