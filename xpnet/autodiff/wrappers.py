"""What stands in for each function of the standard in the differentiable namespace.

One maker for each way a function takes its arrays and gives its results. The closures are made
once for each array library; what they do at every call is all the overhead there is, so they are
written out rather than composed. Their counterparts in `xpnet.autodiff.pulls` read the entries
that they write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpnet.aliasing import OUTSIDE, share
from xpnet.autodiff.pulls import (
    NOTHING,
    pull_elementwise,
    pull_many,
    pull_missing,
    pull_one,
    pull_output,
    pull_several,
    pull_two,
)
from xpnet.autodiff.rules import MISSING, RULES, ZERO, Composed, Many, One, Several, Two
from xpnet.autodiff.tape import CONSTANT, TracedArray, highest_tape, lowered, place, raw, strip
from xpnet.errors import TracedArrayError
from xpnet.namespace import dtype_kind, is_array
from xpnet.standard import CHAPTERS, RESULTS
from xpnet.wrapping import WrappedNamespace, is_writable, map_argument

__all__ = ["make"]

ELEMENTWISE = frozenset(CHAPTERS["elementwise"].split())
SCALARS = frozenset({bool, int, float, complex})
PLAIN = SCALARS | {str, type(None), type(...)}  # options that hold no array


def make(
    namespace: WrappedNamespace, cls: type[Any], name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the differentiable stand-in for `function`; see `xpnet.wrapping.wrap_namespace`."""
    rule = RULES.get(name)
    if name == "getitem":
        return make_getitem(cls, function, rule)
    if isinstance(rule, One):
        if name in ELEMENTWISE and not rule.options and not rule.view:
            return make_elementwise(cls, function, rule)
        return make_one(cls, function, rule)
    if isinstance(rule, Two):
        return (make_where if name == "where" else make_two)(cls, function, rule)
    if isinstance(rule, Many):
        return make_many(cls, function, rule)
    if isinstance(rule, Several):
        return make_several(cls, name, function, rule)
    if isinstance(rule, Composed):
        return make_composed(namespace, function, rule)
    if name in ZERO:
        return make_zero(cls, name, function)
    if name in MISSING:
        return make_missing(cls, name, function)
    raise KeyError(f"xp.{name} is in none of the tables of xpnet.autodiff.rules")


def make_elementwise(cls: type[Any], function: Callable[..., Any], rule: One) -> Callable[..., Any]:
    """Wrap ``function(x)``, whose result has the shape and the kind of its argument."""
    new, (pull, save_x, save_out, *_) = object.__new__, rule

    def call(x: Any, /) -> Any:
        if type(x) is not cls:
            x = cls(x, CONSTANT, -1)
        value = x.value
        below = function(value) if type(value) is not cls else call(value)
        out = new(cls)
        out.value = below
        out.tape = tape = x.tape
        if tape is CONSTANT:
            out.index = -1
            return out
        out.index = len(tape)
        tape.append(
            (
                pull_elementwise,
                pull,
                x.index,
                below if save_out else None,
                value if save_x else None,
            )
        )
        return out

    return call


def make_one(cls: type[Any], function: Callable[..., Any], rule: One) -> Callable[..., Any]:
    """Wrap ``function(x, ...)``: only `x` is differentiated, the rest are options."""
    new, (pull, save_x, save_out, _, arrays, view, casts) = object.__new__, rule
    copies = casts  # astype copies unless it is told not to

    def call(x: Any, /, *args: Any, **options: Any) -> Any:
        if type(x) is not cls:
            x = cls(x, CONSTANT, -1)
            x.group = OUTSIDE
        if arrays:
            args = _values(args)
            options = {key: _values(option) for key, option in options.items()}
        value = x.value
        below = (function if type(value) is not cls else call)(value, *args, **options)
        tape = x.tape
        if casts and (args or "dtype" in options) and not dtype_kind(below):
            below, tape = raw(below), CONSTANT  # a cast to integers, through which nothing flows
        out = new(cls)
        out.value = below
        out.tape = tape
        if view and not options.get("copy", copies):
            share(x, out)
        if tape is CONSTANT:
            out.index = -1
            return out
        out.index = len(tape)
        tape.append(
            (
                pull_one,
                pull,
                x.index,
                below if save_out else None,
                value if save_x else None,
                value.shape,
                value.dtype,
                args,
                options,
            )
        )
        return out

    return call


def make_getitem(cls: type[Any], function: Callable[..., Any], rule: Any) -> Callable[..., Any]:
    """Wrap ``x[key]``, which is a view unless the key holds arrays."""
    pick = make_one(cls, function, rule)

    def call(x: Any, key: Any, /) -> Any:
        out = pick(x, key)
        if (type(key) in PLAIN or not _holds_array(key)) and is_writable(out):
            share(x, out)
            out.origin = x, key
        return out

    return call


def make_two(cls: type[Any], function: Callable[..., Any], rule: Two) -> Callable[..., Any]:
    """Wrap ``function(a, b, ...)`` of two arrays, one of which may be a Python scalar."""
    new, pull = object.__new__, rule.pull
    # What must be kept depends on which of the two a gradient is wanted for.
    a_for_a, b_for_a, out_for_a = (name in rule.saves_a for name in ("a", "b", "out"))
    a_for_b, b_for_b, out_for_b = (name in rule.saves_b for name in ("a", "b", "out"))
    a_for_either, b_for_either = a_for_a or a_for_b, b_for_a or b_for_b
    out_for_either = out_for_a or out_for_b

    def call(a: Any, b: Any, option: Any = NOTHING) -> Any:
        if type(a) is cls:
            tape, value_a, index_a = a.tape, a.value, a.index  # -1 for a constant
            if type(b) is cls:
                value_b, index_b = b.value, b.index
                if b.tape is not tape:
                    if tape is CONSTANT:
                        tape = b.tape
                    elif b.tape is not CONSTANT:
                        tape = highest_tape((a, b))
            else:
                value_b, index_b = b, -1
        elif type(b) is cls:
            tape, value_a, index_a, value_b, index_b = b.tape, a, -1, b.value, b.index
        else:
            tape, value_a, index_a, value_b, index_b = CONSTANT, a, -1, b, -1
        if option is not NOTHING:
            option = _values(option)
        if tape.level > 1:  # what is below is traced, and so is what it meets
            value_a, index_a = lowered(cls, tape, a)
            value_b, index_b = lowered(cls, tape, b)
            below = call(value_a, value_b, option)
        elif option is NOTHING:
            below = function(value_a, value_b)
        else:
            below = function(value_a, value_b, option)
        out = new(cls)
        out.value = below
        out.tape = tape
        if tape is CONSTANT:
            out.index = -1
            return out
        if index_a >= 0 <= index_b:
            if not a_for_either:
                value_a = (value_a.shape, value_a.dtype)
            if not b_for_either:
                value_b = (value_b.shape, value_b.dtype)
            if not out_for_either:
                below = None
        elif index_b < 0:
            if not a_for_a:
                value_a = (value_a.shape, value_a.dtype)
            if not b_for_a and type(value_b) not in SCALARS:
                value_b = (value_b.shape, value_b.dtype)
            if not out_for_a:
                below = None
        else:
            if not a_for_b and type(value_a) not in SCALARS:
                value_a = (value_a.shape, value_a.dtype)
            if not b_for_b:
                value_b = (value_b.shape, value_b.dtype)
            if not out_for_b:
                below = None
        out.index = len(tape)
        tape.append((pull_two, pull, index_a, index_b, below, value_a, value_b, option))
        return out

    return call


def make_where(cls: type[Any], function: Callable[..., Any], rule: Two) -> Callable[..., Any]:
    """Wrap ``where``, whose condition comes before the two arrays."""
    choose = make_two(cls, lambda a, b, condition: function(condition, a, b), rule)
    return lambda condition, a, b, /: choose(a, b, _condition(condition))


def make_many(cls: type[Any], function: Callable[..., Any], rule: Many) -> Callable[..., Any]:
    """Wrap ``function([x, ...], ...)`` of a list of arrays, none of whose values are saved."""

    def call(arrays: Sequence[Any], /, **options: Any) -> Any:
        tape = highest_tape(arrays)
        values = [strip(tape, x) for x in arrays]
        nested = any(type(value) is cls for value in values)
        below = (call if nested else function)(values, **options)
        if tape is CONSTANT:
            return cls(below, CONSTANT, -1)
        parents = [place(tape, x) for x in arrays]
        likes = [(value.shape, value.dtype) for value in values]
        tape.append((pull_many, rule.pull, parents, likes, options))
        return cls(below, tape, len(tape) - 1)

    return call


def make_several(
    cls: type[Any], name: str, function: Callable[..., Any], rule: Several
) -> Callable[..., Any]:
    """Wrap ``function(x, ...)`` that returns several arrays: one entry, and one for each result."""
    fields = RESULTS.get(name)

    def call(x: Any, /, **options: Any) -> Any:
        if type(x) is not cls:
            x = cls(x, CONSTANT, -1)
            x.group = OUTSIDE
        tape, value = x.tape, x.value
        below = (function if type(value) is not cls else call)(value, **options)
        index = len(tape)
        if tape is CONSTANT:
            outs = [cls(out, CONSTANT, -1) for out in below]
        else:
            saved = tuple(below) if rule.saves_outs else None
            operand = value if rule.saves_x else None
            shape, dtype = value.shape, value.dtype
            tape.append((pull_several, rule.pull, x.index, saved, operand, shape, dtype, options))
            tape.extend((pull_output, index, place, len(below)) for place in range(len(below)))
            outs = [cls(out, tape, index + 1 + place) for place, out in enumerate(below)]
        if rule.view:
            for out in outs:
                share(x, out)
        return tuple(outs) if fields is None else fields(*outs)

    return call


def make_composed(
    namespace: WrappedNamespace, function: Callable[..., Any], rule: Composed
) -> Callable[..., Any]:
    """Wrap a function that is written in terms of others of the namespace."""
    composed = rule.function

    def call(*args: Any, **options: Any) -> Any:
        return composed(namespace, function, *args, **options)

    return call


def make_zero(cls: type[Any], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function whose derivative is zero wherever it has one: its result is a constant."""

    def call(*args: Any, **options: Any) -> Any:
        args = tuple([x if type(x) in PLAIN else map_argument(raw, x) for x in args])
        if options:
            options = {key: map_argument(raw, option) for key, option in options.items()}
        out = function(*args, **options)
        return cls(out, CONSTANT, -1) if is_array(out) else _constant(cls, name, out)

    def elementwise(*args: Any) -> Any:
        values = [
            (x.value if type(x.value) is not cls else raw(x)) if type(x) is cls else x for x in args
        ]
        return cls(function(*values), CONSTANT, -1)

    return elementwise if name in ELEMENTWISE else call


def make_missing(cls: type[Any], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function without a derivative: it computes, and raises when a gradient arrives."""

    def call(*args: Any, **options: Any) -> Any:
        tapes: dict[int, tuple[Any, Any]] = {}  # each level, and which argument reaches it
        for where, argument in [*enumerate(args), *options.items()]:
            for x in _flatten(argument):
                while isinstance(x, TracedArray):
                    tapes.setdefault(x.tape.level, (x.tape, where))
                    x = x.value
        options = {key: map_argument(raw, option) for key, option in options.items()}
        out = _constant(cls, name, function(*map_argument(raw, args), **options))
        for level in sorted(tapes.keys() - {CONSTANT.level}):
            out = _trap(cls, out, name, *tapes[level])
        return out

    return call


def _trap(cls: type[Any], x: Any, name: str, tape: Any, where: int | str) -> Any:
    """Put the result of a function on `tape`, where a gradient that arrives at it will raise."""
    if isinstance(x, (list, tuple)):
        return type(x)([_trap(cls, member, name, tape, where) for member in x])
    if not dtype_kind(x):
        return x
    tape.append((pull_missing, name, where))
    return cls(x if tape.level > 1 else x.value, tape, len(tape) - 1)


def _flatten(x: Any) -> list[Any]:
    return [leaf for y in x for leaf in _flatten(y)] if type(x) in (list, tuple) else [x]


def _holds_array(key: Any) -> bool:
    if isinstance(key, tuple):
        return any(_holds_array(k) for k in key)
    return isinstance(key, list) or getattr(key, "shape", ()) != ()


def _values(x: Any) -> Any:
    """Return an option without tracing: an index, a number of repeats, a tolerance."""
    if type(x) is slice:
        return slice(raw(x.start), raw(x.stop), raw(x.step))
    if type(x) is tuple or type(x) is list:
        return type(x)([_values(member) for member in x])
    return raw(x)


def _condition(x: Any) -> Any:
    """Return what arrays are to be chosen by, without tracing."""
    if isinstance(x, TracedArray) and x.tape is not CONSTANT:
        raise TracedArrayError(
            "an array that is being differentiated was given as a condition, where its gradient "
            "would be lost; compare it with something, or pass xn.stop_gradient(x)"
        )
    return raw(x)


def _constant(cls: type[Any], name: str, out: Any) -> Any:
    """Wrap every array in the result of a function; what is not an array passes through."""
    if isinstance(out, list):
        return [_constant(cls, name, member) for member in out]
    if isinstance(out, tuple):
        members = [_constant(cls, name, member) for member in out]
        return RESULTS[name](*members) if name in RESULTS else tuple(members)
    return cls(out, CONSTANT, -1) if is_array(out) else out
