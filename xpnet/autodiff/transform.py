"""Functions of functions: ``grad`` and ``value_and_grad``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from xpnet import tree
from xpnet._typing import Array
from xpnet.autodiff.level import Level
from xpnet.autodiff.tape import Tape, TracedArray, backward, refuse_escaped
from xpnet.namespace import array_namespace, is_array

__all__ = ["grad", "value_and_grad"]


def value_and_grad(
    function: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
) -> Callable[..., tuple[Any, Any]]:
    """Return a function that computes the value of `function` and its gradient.

    Parameters
    ----------
    function : callable
        Takes arrays, nested lists, tuples and dicts of arrays, and modules, and returns a real
        floating-point array of shape ``()``. It is written with functions of
        ``xn.array_namespace(...)`` and Python's operators.
    argnums : int or tuple of int, optional
        The positional arguments to differentiate, by default the first.
    has_aux : bool, optional
        Whether `function` returns a pair of the value and something else to hand through.

    Returns
    -------
    callable
        Takes the arguments of `function` and returns ``(value, gradient)``, or
        ``((value, aux), gradient)``. The gradient has the structure of the argument, and each
        array the shape, dtype and device of the one it belongs to; for a `Module` it is a dict
        from the dotted name of each trainable parameter to its gradient. With a tuple of
        `argnums` it is a tuple.

    Raises
    ------
    TypeError
        If a differentiated argument is not a floating-point array or holds one that is not, if
        the value is not an array, or if arrays of two libraries meet.
    ValueError
        If the value does not have shape ``()``, or `argnums` names an argument twice.
    IndexError
        If an argument that `argnums` names is not there.

    Notes
    -----
    Inside, all arrays that can be reached through the arguments are traced; nothing else is
    changed. A module gets its own arrays back afterwards whatever happens, and if `function`
    raises, its buffers are what they were; so it must not be used by another thread meanwhile.
    The gradients may share memory with each other: copy one before you write to it.

    Examples
    --------
    >>> import xpnet as xn
    >>> def energy(x):
    ...     xp = xn.array_namespace(x)
    ...     return xp.sum(xp.sqrt(1 + x**2))
    >>> value, gradient = xn.value_and_grad(energy)(xn.asarray([0.0, 0.75]))
    >>> round(float(value), 6)
    2.25
    >>> gradient
    array([0. , 0.6], dtype=float32)
    """
    indices = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    name = f"grad of {getattr(function, '__name__', 'function')}"

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        _check_argnums(indices, len(args), name)
        with Level(name, args, kwargs) as level:
            inside = list(args)
            variables = [level.variables(args[index], f"argument {index}") for index in indices]
            for index, variable in zip(indices, variables, strict=True):
                inside[index] = variable.inside
            inside = [level.constants(argument) for argument in inside]
            result = function(*inside, **{k: level.constants(v) for k, v in kwargs.items()})
            value, aux = _split(result, name) if has_aux else (result, None)
            _check_value(value, name)
            level.succeeded = True
        arrived = _run_back(level.tape, value, level.leaves)
        gradients = tuple(variable.collect(arrived) for variable in variables)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        value = level.lower(value)
        return ((value, tree.map(level.lower, aux)) if has_aux else value), gradient

    return wrapper


def grad(
    function: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """Return a function that computes the gradient of `function`.

    Parameters
    ----------
    function, argnums, has_aux
        See `value_and_grad`.

    Returns
    -------
    callable
        Takes the arguments of `function` and returns its gradient, or ``(gradient, aux)``.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `value_and_grad`.

    Examples
    --------
    >>> import xpnet as xn
    >>> float(xn.grad(lambda x: x**3)(xn.asarray(2.0)))
    12.0

    Gradients of gradients are taken the same way:

    >>> float(xn.grad(xn.grad(lambda x: x**3))(xn.asarray(2.0)))
    12.0
    """
    both = value_and_grad(function, argnums, has_aux=has_aux)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


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


def _check_value(value: Any, name: str) -> None:
    if not is_array(value):
        raise TypeError(
            f"{name}: it must return an array, got {type(value).__name__}. A Python "
            "number has lost its gradient: keep the loss an array until grad has returned"
        )
    if value.shape != ():
        raise ValueError(
            f"{name}: it must return one number, an array of shape (), got shape "
            f"{tuple(value.shape)}; reduce it with xp.sum or xp.mean"
        )
    if not array_namespace(value).isdtype(value.dtype, "real floating"):
        raise TypeError(
            f"{name}: it must return a real floating-point array, got dtype {value.dtype}"
        )


def _run_back(tape: Tape, value: Array, leaves: int) -> list[Array | None]:
    """Return what arrives at each leaf; nothing does where the value does not depend on any."""
    if not isinstance(value, TracedArray) or value.tape is not tape:
        if isinstance(value, TracedArray) and value.tape.closed:
            refuse_escaped()
        return [None] * leaves
    xp = value.namespace.wrapped_namespace if tape.level == 1 else value.namespace
    return backward(tape, [(value, xp.ones_like(value.value))], leaves)
