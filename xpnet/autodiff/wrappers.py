"""What stands in for each function of the standard in the differentiable namespace.

One maker for each way a function takes its arrays: one array (`make_one`), two (`make_two`), a
list (`make_many`); then the functions whose derivative is zero, those that have no rule yet and
raise when a gradient reaches them, and those composed of other functions. The closures are made
once for each array library; what they do at every call is all the overhead there is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules import COMPOSED, MANY, ONE, TWO, ZERO, Rule
from xpnet.autodiff.tape import CONSTANT, Like, TracedArray, accumulate, raw, refuse_escaped
from xpnet.errors import MissingRuleError, TracedArrayError
from xpnet.wrapping import WrappedNamespace

__all__ = ["make"]

# Functions of one array whose options can ask for another kind of dtype.
CASTS = frozenset({"astype", "sum", "cumulative_sum"})
SCALARS = frozenset({bool, int, float, complex})


def make(
    namespace: WrappedNamespace, cls: type[Any], name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the differentiable stand-in for `function`; see `xpnet.wrapping.wrap_namespace`."""
    if name in ONE:
        return make_one(cls, function, ONE[name], casts=name in CASTS)
    if name in TWO:
        return _with_leading(cls, function, TWO[name])
    if name in MANY:
        return make_many(cls, function, MANY[name])
    if name in ZERO:
        return make_zero(cls, function)
    if name in COMPOSED:
        return make_composed(namespace, cls, function, COMPOSED[name])
    return make_missing(cls, name, function)


def make_one(
    cls: type[Any], function: Callable[..., Any], rule: Rule, *, casts: bool
) -> Callable[..., Any]:
    """Wrap ``function(x, ...)``: only `x` is differentiated, the rest are plain options."""
    save_x, save_out = "x" in rule.saves, "out" in rule.saves

    def call(x: Any, /, *args: Any, **options: Any) -> Any:
        if type(x) is not cls:
            x = cls(x, CONSTANT, -1)
        tape, value = x.tape, x.value
        if args:
            args = _map(_option, args)
        if options:
            options = {key: _map(_option, option) for key, option in options.items()}
        below = call if type(value) is cls else function
        out = below(value, *args, **options)
        if tape is CONSTANT:
            return cls(out, CONSTANT, -1)
        if casts and (args or "dtype" in options) and not _is_floating(cls, out):
            return cls(raw(out), CONSTANT, -1)  # a cast to integers, through which nothing flows
        operand = value if save_x else (value.shape, value.dtype)
        tape.append(
            (pull_one, rule.pull, x.index, out if save_out else None, operand, args, options)
        )
        return cls(out, tape, len(tape) - 1)

    return call


def pull_one(xp: Namespace, grad: Array, entry: tuple[Any, ...], grads: list[Any]) -> None:
    """Pull a gradient back through a function of one array."""
    _, rule, parent, out, x, args, options = entry
    if type(x) is tuple:
        x = Like(*x)
    accumulate(xp, grads, parent, rule(xp, grad, out, x, *args, **options), x)


def make_two(cls: type[Any], function: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    """Wrap ``function(a, b, ...)`` of two arrays, one of which may be a Python scalar."""
    # What must be kept depends on which of the two a gradient is wanted for.
    saves = [
        (name in rule.saves_a, name in rule.saves_b, name in rule.saves_a + rule.saves_b)
        for name in ("a", "b", "out")
    ]
    (a_for_a, a_for_b, a_both), (b_for_a, b_for_b, b_both), (out_for_a, out_for_b, out_both) = saves

    def call(a: Any, b: Any, /, **options: Any) -> Any:
        index_a = index_b = -1
        if type(a) is cls:
            tape, value_a, value_b = a.tape, a.value, b
            index_a = a.index
            if type(b) is cls:
                other = b.tape
                if other is tape:
                    value_b, index_b = b.value, b.index
                elif other is CONSTANT:
                    value_b = b.value
                elif other.level == tape.level:
                    refuse_escaped()
                elif other.level > tape.level:
                    tape, value_b, index_b, index_a = other, b.value, b.index, -1
                    if a.tape is not CONSTANT:
                        value_a = a
        elif type(b) is cls:
            tape, value_a, value_b, index_b = b.tape, a, b.value, b.index
        else:
            tape, value_a, value_b = CONSTANT, a, b
        if tape.level > 1:  # what is below is traced, and so is what it meets
            value_a = a.value if index_a >= 0 else _lifted(cls, a)
            value_b = b.value if index_b >= 0 else _lifted(cls, b)
        if options:
            options = {key: _map(_option, option) for key, option in options.items()}
        below = call if type(value_a) is cls or type(value_b) is cls else function
        out = below(value_a, value_b, **options)
        if tape is CONSTANT:
            return cls(out, CONSTANT, -1)
        if index_a < 0:
            keep_a, keep_b, keep_out = a_for_b, b_for_b, out_for_b
        elif index_b < 0:
            keep_a, keep_b, keep_out = a_for_a, b_for_a, out_for_a
        else:
            keep_a, keep_b, keep_out = a_both, b_both, out_both
        if not keep_a and type(value_a) not in SCALARS:
            value_a = (value_a.shape, value_a.dtype)
        if not keep_b and type(value_b) not in SCALARS:
            value_b = (value_b.shape, value_b.dtype)
        saved = out if keep_out else None
        tape.append((pull_two, rule.pull, index_a, index_b, saved, value_a, value_b, options))
        return cls(out, tape, len(tape) - 1)

    return call


def pull_two(xp: Namespace, grad: Array, entry: tuple[Any, ...], grads: list[Any]) -> None:
    """Pull a gradient back through a function of two arrays."""
    _, rule, index_a, index_b, out, a, b, options = entry
    if type(a) is tuple:
        a = Like(*a)
    if type(b) is tuple:
        b = Like(*b)
    grad_a, grad_b = rule(xp, grad, out, a, b, index_a >= 0, index_b >= 0, **options)
    if index_a >= 0:
        accumulate(xp, grads, index_a, grad_a, a)
    if index_b >= 0:
        accumulate(xp, grads, index_b, grad_b, b)


def _with_leading(cls: type[Any], function: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    """Wrap a function of two arrays, or of an option and two arrays, such as ``where``."""
    if not rule.leading:
        return make_two(cls, function, rule)
    inner = make_two(cls, lambda a, b, **option: function(option[rule.leading], a, b), rule)
    return lambda option, a, b, /: inner(a, b, **{rule.leading: option})


def make_many(cls: type[Any], function: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    """Wrap ``function([x, ...], ...)`` of a list of arrays, none of whose values are saved."""

    def call(arrays: Sequence[Any], /, **options: Any) -> Any:
        tape = highest_tape(arrays)
        values = [strip(tape, x) for x in arrays]
        below = call if any(type(value) is cls for value in values) else function
        out = below(values, **options)
        if tape is CONSTANT:
            return cls(out, CONSTANT, -1)
        parents = [place(tape, x) for x in arrays]
        likes = [Like(value.shape, value.dtype) for value in values]
        tape.append((pull_many, rule.pull, parents, likes, options))
        return cls(out, tape, len(tape) - 1)

    return call


def pull_many(xp: Namespace, grad: Array, entry: tuple[Any, ...], grads: list[Any]) -> None:
    """Pull a gradient back through a function of a list of arrays."""
    _, rule, parents, likes, options = entry
    for parent, like, part in zip(parents, likes, rule(xp, grad, likes, **options), strict=True):
        if parent >= 0:
            accumulate(xp, grads, parent, part, like)


def make_zero(cls: type[Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function whose derivative is zero wherever it has one: its result is a constant."""

    def call(*args: Any, **options: Any) -> Any:
        options = {key: _map(raw, option) for key, option in options.items()}
        return _wrap(cls, CONSTANT, function(*_map(raw, args), **options))

    return call


def make_composed(
    namespace: WrappedNamespace,
    cls: type[Any],
    function: Callable[..., Any],
    composed: Callable[..., Any],
) -> Callable[..., Any]:
    """Wrap a function that is written in terms of others of the namespace."""

    def call(*args: Any, **options: Any) -> Any:
        return composed(namespace, function, *args, **options)

    return call


def make_missing(cls: type[Any], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function without a rule: it computes, and raises when a gradient reaches it."""

    def call(*args: Any, **options: Any) -> Any:
        arrays = [x for x in _flatten((args, tuple(options.values()))) if type(x) is cls]
        tape = highest_tape(arrays)
        stripped = _map(lambda x: strip(tape, x), args)
        options = {key: _map(lambda x: strip(tape, x), option) for key, option in options.items()}
        nested = any(type(strip(tape, x)) is cls for x in arrays)
        out = (call if nested else function)(*stripped, **options)
        return _wrap(cls, tape, out, entry=(pull_missing, name))

    return call


def pull_missing(xp: Namespace, grad: Array, entry: tuple[Any, ...], grads: list[Any]) -> None:
    """Refuse to pull a gradient back through a function that has no rule."""
    raise MissingRuleError(
        f"a gradient reached xp.{entry[1].strip('_')}, which has no differentiation rule. Write it "
        "with functions that have one, give its gradient with xn.custom_gradient, or keep the "
        "gradient out with xn.stop_gradient"
    )


def highest_tape(arrays: Sequence[Any]) -> Any:
    """Return the tape of the highest level among `arrays`."""
    highest = CONSTANT
    for x in arrays:
        if isinstance(x, TracedArray) and x.tape is not highest:
            if x.tape.level == highest.level:
                refuse_escaped()
            if x.tape.level > highest.level:
                highest = x.tape
    return highest


def strip(tape: Any, x: Any) -> Any:
    """Return `x` one level below `tape`; constants stay traced as long as anything is."""
    if isinstance(x, TracedArray) and (x.tape is tape or (x.tape is CONSTANT and tape.level < 2)):
        return x.value
    return x


def place(tape: Any, x: Any) -> int:
    """Return the place of `x` on `tape`, or -1."""
    return x.index if isinstance(x, TracedArray) and x.tape is tape else -1


def _is_floating(cls: type[Any], x: Any) -> bool:
    return bool(cls.namespace.isdtype(x.dtype, ("real floating", "complex floating")))


def _lifted(cls: type[Any], x: Any) -> Any:
    """Return an operand of another level as a traced array; a Python scalar stays as it is."""
    return x if type(x) is cls or type(x) in SCALARS else cls(x, CONSTANT, -1)


def _map(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply `function` to an argument, or to the members of a list or tuple of arguments."""
    if type(x) in (list, tuple):
        return type(x)(_map(function, member) for member in x)
    return function(x)


def _flatten(x: Any) -> list[Any]:
    return [leaf for y in x for leaf in _flatten(y)] if type(x) in (list, tuple) else [x]


def _option(x: Any) -> Any:
    """Return what a function is to get as an option: an index, a condition, a number of repeats."""
    if isinstance(x, TracedArray) and x.tape is not CONSTANT:
        raise TracedArrayError(
            "an array that is being differentiated was given as an option, where its gradient "
            "would be lost; pass xn.stop_gradient(x) if that is meant"
        )
    return raw(x)


def _wrap(cls: type[Any], tape: Any, out: Any, entry: Any = None) -> Any:
    """Wrap every array in the result of a function; what is not an array passes through."""
    if isinstance(out, list):
        return [_wrap(cls, tape, member, entry) for member in out]
    if isinstance(out, tuple):
        members = [_wrap(cls, tape, member, entry) for member in out]
        return type(out)(*members) if hasattr(out, "_fields") else tuple(members)
    if type(out) is not cls and not (hasattr(out, "shape") and hasattr(out, "device")):
        return out
    if tape is CONSTANT or not _is_floating(cls, out):
        return out if type(out) is cls else cls(out, CONSTANT, -1)
    tape.append(entry)
    return cls(out, tape, len(tape) - 1)
