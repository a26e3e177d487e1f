"""Functions of functions: ``grad`` and ``value_and_grad``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from xpnet.autodiff.run import Run, name_of
from xpnet.namespace import REAL, dtype_kind, is_array

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
    name = f"grad of {name_of(function)}"

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        run = Run(name, function, args, kwargs, indices, has_aux=has_aux, check=_check_value)
        value = run.value
        seeds = [(value, run.one(value))] if run.depends(value) else []
        gradients = run.pull(seeds)
        gradient = gradients[0] if isinstance(argnums, int) else gradients
        value = run.lower(value)
        return ((value, run.lower(run.aux)) if has_aux else value), gradient

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

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


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
    if dtype_kind(value) != REAL:
        raise TypeError(
            f"{name}: it must return a real floating-point array, got dtype {value.dtype}"
        )
