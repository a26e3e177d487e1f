"""Gradients given by hand, and gradients stopped."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

from xpnet import tree
from xpnet._typing import Array, Namespace, Tree
from xpnet.aliasing import share
from xpnet.autodiff.pulls import Like, accumulate
from xpnet.autodiff.tape import CONSTANT, TracedArray, highest_tape, place, raw, strip
from xpnet.errors import TracedArrayError
from xpnet.namespace import dtype_kind, is_array

__all__ = ["custom_gradient", "stop_gradient"]


CLOSURE = (
    "is called with ordinary arrays in the place of those that are being differentiated; pass it "
    "what it closes over, if that is differentiated too, as positional arguments"
)


def custom_gradient(function: Callable[..., tuple[Array, Callable[[Array], Any]]]) -> Any:
    """Give a function's gradient by hand.

    Parameters
    ----------
    function : callable
        ``function(*args, **kwargs)`` returns ``(value, vjp)``: an array, and a function that
        takes the gradient that arrives at the value and returns the gradient of the argument,
        or a tuple with one for each positional argument. In place of a gradient, None is zero,
        and a function of no arguments is called if that gradient is needed. Arrays to be
        differentiated are positional, and not inside of lists or dicts, nor closed over; they
        arrive as ordinary arrays, which it must not write to. Write both in Array API
        code and the result can be differentiated again; `function` is then called once for each
        level, so it must draw no random numbers.

    Returns
    -------
    callable
        Takes the same arguments and returns the value.

    Raises
    ------
    TypeError
        If an array that is being differentiated is passed by keyword or inside of a container,
        or if `function` does not return an array and a function (when called), or ``vjp``
        something else than arrays (when a gradient is taken).
    ValueError
        If ``vjp`` returns the wrong number of gradients, or one of the wrong shape (when a
        gradient is taken).

    Examples
    --------
    log(1 + exp(x)), whose derivative computed term by term is inf / inf for large x:

    >>> import xpnet as xn
    >>> @xn.custom_gradient
    ... def softplus(x):
    ...     xp = xn.array_namespace(x)
    ...     value = xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))
    ...     return value, lambda grad: grad / (1 + xp.exp(-x))
    >>> float(xn.grad(softplus)(xn.asarray(1000.0)))
    1.0
    """
    name = getattr(function, "__name__", "function")

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Array:
        traced = [x for x in args if isinstance(x, TracedArray)]
        if kwargs or len(traced) < len(args):
            hidden = [x for x in args if isinstance(x, (list, tuple, dict))]
            _refuse_differentiated(name, "by keyword", kwargs)
            _refuse_differentiated(name, "inside of a container", hidden)
            traced += [x for x in kwargs.values() if isinstance(x, TracedArray)]
        if not traced:
            return _pair(name, function(*args, **kwargs))[0]  # any number will do here
        tape = highest_tape(args)
        values = [strip(tape, x) for x in args]
        options = {key: strip(tape, x) for key, x in kwargs.items()}
        try:
            out, vjp = _pair(name, function(*values, **options))
        except TypeError as error:
            error.add_note(f"{name} {CLOSURE}")
            raise
        if not is_array(out):
            raise TypeError(f"{name}: its value must be an array, got {type(out).__name__}")
        if isinstance(out, TracedArray) and out.tape is not CONSTANT:
            if tape is CONSTANT:
                return out  # differentiated by what it closes over, as any function is
            if out.tape.level >= tape.level:
                raise TracedArrayError(f"{name} {CLOSURE}")
        if tape.level > 1:  # the levels below must meet the given gradient too
            out = wrapper(*values, **options)
        result = type(traced[0])(out, tape, -1 if tape is CONSTANT else len(tape))
        for x in traced:
            share(x, result)  # for all that is known
        if tape is CONSTANT:
            return result
        if not dtype_kind(out):
            raise TypeError(
                f"{name}: a function with a custom gradient must return a floating-point array, "
                f"got dtype {out.dtype}; convert it with xp.astype"
            )
        parents = [place(tape, x) for x in args]
        likes = [
            None if n < 0 else Like(x.shape, x.dtype) for n, x in zip(parents, args, strict=True)
        ]
        tape.append((_pull_custom, vjp, name, parents, likes))
        return result

    with contextlib.suppress(TypeError, ValueError):  # not every callable has a signature
        shown = inspect.signature(function).replace(return_annotation="Array")
        vars(wrapper)["__signature__"] = shown
    return wrapper


def _refuse_differentiated(name: str, where: str, arguments: Tree) -> None:
    """Refuse differentiated arrays where no gradient could be returned for them."""
    for x in tree.leaves(arguments):
        if isinstance(x, TracedArray) and x.tape is not CONSTANT:
            raise TracedArrayError(
                f"{name}: an array that is being differentiated was passed {where}; "
                "a function with a custom gradient takes those as positional arguments"
            )


def _pair(name: str, result: Any) -> tuple[Array, Callable[[Array], Any]]:
    """Return what a function with a custom gradient returned, once it is what it should be."""
    if isinstance(result, tuple) and len(result) == 2:
        value, vjp = result
        if callable(vjp):
            return value, vjp
    raise TypeError(
        f"{name}: a function with a custom gradient must return (value, vjp), an array and a "
        f"function, got {type(result).__name__}"
    )


def _pull_custom(xp: Namespace, grad: Array, entry: tuple[Any, ...], grads: list[Any]) -> None:
    """Pull a gradient back through a function that brought its own rule."""
    _, vjp, name, parents, likes = entry
    parts = vjp(grad)
    parts = parts if isinstance(parts, tuple) else (parts,)
    if len(parts) != len(parents):
        raise ValueError(
            f"the custom gradient of {name} returned {len(parts)} gradients for "
            f"{len(parents)} positional arguments; return one for each, None for zero"
        )
    for parent, like, part in zip(parents, likes, parts, strict=True):
        gradient = part() if callable(part) and parent >= 0 else part
        if parent < 0 or gradient is None:
            continue
        if not is_array(gradient):
            raise TypeError(
                f"the custom gradient of {name} is a {type(gradient).__name__}; "
                "return an array, or None for zero"
            )
        if gradient.shape != like.shape:
            raise ValueError(
                f"the custom gradient of {name} has shape {tuple(gradient.shape)} for an argument "
                f"of shape {tuple(like.shape)}; they must be equal"
            )
        accumulate(xp, grads, parent, gradient, like.shape, like.dtype)


def stop_gradient(x: Tree) -> Tree:
    """Return `x` as a constant, through which no gradient flows.

    Parameters
    ----------
    x : array, or nested list, tuple or dict of arrays
        Anything that is not a traced array passes through unchanged.

    Returns
    -------
    same structure
        The same values.

    Examples
    --------
    >>> import xpnet as xn
    >>> float(xn.grad(lambda x: x * xn.stop_gradient(x))(xn.asarray(3.0)))
    3.0
    """

    def stop(leaf: Any) -> Any:
        if not isinstance(leaf, TracedArray):
            return leaf
        stopped = type(leaf)(raw(leaf), CONSTANT, -1)
        share(leaf, stopped)
        return stopped

    return tree.map(stop, x)
