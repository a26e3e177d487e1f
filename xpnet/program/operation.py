"""Operations: what the entries of a program do that a kernel can do, under common names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpnet.program.entry import Entry, Var, shape_of
from xpnet.program.program import references

__all__ = ["REDUCTIONS", "Operation", "operation"]

# The names under which operators are recorded, as functions of the standard.
_OPERATORS = {
    **{name: name for name in ("abs", "add")},
    "and_": "bitwise_and",
    "eq": "equal",
    "ge": "greater_equal",
    "gt": "greater",
    "invert": "bitwise_invert",
    "le": "less_equal",
    "lshift": "bitwise_left_shift",
    "lt": "less",
    "mul": "multiply",
    "ne": "not_equal",
    "neg": "negative",
    "or_": "bitwise_or",
    "pow": "pow",
    "rshift": "bitwise_right_shift",
    "sub": "subtract",
    "truediv": "divide",
    "xor": "bitwise_xor",
}
_ELEMENTWISE = frozenset(
    {
        *("abs", "add", "bitwise_and", "bitwise_invert", "bitwise_left_shift", "bitwise_or"),
        *("bitwise_right_shift", "bitwise_xor", "divide", "equal", "exp", "expm1", "greater"),
        *("greater_equal", "isnan", "less", "less_equal", "log", "log1p", "logical_and"),
        *("logical_not", "logical_or", "maximum", "minimum", "multiply", "negative", "not_equal"),
        *("reciprocal", "sqrt", "square", "subtract", "tanh", "where"),
    }
)
# Functions that hand each element on, to an array of another shape or dtype.
_SAME = frozenset({"astype", "broadcast_to", "expand_dims", "getitem", "reshape", "squeeze"})
REDUCTIONS = frozenset({"max", "mean", "min", "sum"})


class Operation(NamedTuple):
    """What an entry of a kernel does, under the names of the standard.

    Attributes
    ----------
    name : str
        An elementwise function, a reduction, or ``"same"``.
    args : tuple
        Places and numbers.
    out : int
        Where the result goes.
    axes : frozenset of int
        Those that a reduction runs over, from 0.
    """

    name: str
    args: tuple[Any, ...]
    out: int
    axes: frozenset[int] = frozenset()

    @property
    def places(self) -> list[int]:
        """The places among `args`."""
        return [x.place for x in self.args if type(x) is Var]


def operation(entry: Entry, kinds: Sequence[Any]) -> Operation | None:
    """Return what a kernel would do for an entry, or None if none can."""
    if len(entry.outs) != 1:
        return None
    [out], args = entry.outs, entry.args
    name = _OPERATORS.get(entry.name, entry.name)
    if name == "pow" and len(args) == 2 and type(args[1]) is int and args[1] == 2:
        name, args = "square", args[:1]
    if name in _ELEMENTWISE and not entry.kwargs and all(map(_is_scalar, args)):
        return Operation(name, args, out)
    if name == "full" and len(args) == 2 and isinstance(args[1], Var):
        return Operation("astype", args[1:], out)
    if not args or not isinstance(args[0], Var):
        return None
    like = kinds[args[0].place]
    if name in _SAME and len(references((args, entry.kwargs))) == 1:
        if name == "getitem" and not _keeps_all(args[1], shape_of(like), shape_of(kinds[out])):
            return None
        same = getattr(like, "dtype", None) == kinds[out].dtype
        return Operation("same" if same else "astype", args[:1], out)
    if name in REDUCTIONS and len(args) == 1 and set(entry.kwargs) <= {"axis", "keepdims"}:
        axis, ndim = entry.kwargs.get("axis"), len(like.shape)
        chosen = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        return Operation(name, args, out, frozenset(n % ndim for n in chosen) if ndim else _NONE)
    return None


_NONE: frozenset[int] = frozenset()


def _is_scalar(x: Any) -> bool:
    fits = type(x) is int and -(2**63) <= x < 2**63
    return fits or isinstance(x, Var) or type(x) in (bool, float)


def _keeps_all(key: Any, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Tell whether indexing leaves every element where it was, in the order of rows."""
    keys = key if isinstance(key, tuple) else (key,)
    plain = all(
        k in (None, Ellipsis) if not isinstance(k, (int, slice)) else _step(k) == 1 for k in keys
    )
    return plain and 0 < math.prod(before) == math.prod(after)


def _step(key: int | slice) -> Any:
    return 1 if isinstance(key, int) or key.step is None else key.step
