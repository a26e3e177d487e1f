"""Products with the Jacobian and with the Hessian, which never build either."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.autodiff.level import Level
from xpnet.autodiff.run import Run, name_of
from xpnet.autodiff.tape import CONSTANT, TracedArray, backward, raw
from xpnet.autodiff.transform import grad
from xpnet.errors import TracedArrayError
from xpnet.namespace import dtype_kind, is_array

__all__ = ["Call", "hvp", "jvp", "linearized", "pulled_back", "vjp"]


def vjp(function: Callable[..., Any], *args: Any, has_aux: bool = False) -> Any:
    """Compute the value of a function, and how gradients are pulled back through it.

    Parameters
    ----------
    function : callable
        Takes what `xpnet.grad` allows, and returns a floating-point array of any shape, or a
        nested list, tuple or dict of them.
    *args : array, tree of arrays or Module
        The point; all are differentiated.
    has_aux : bool, optional
        Whether `function` returns a pair of the value and something else to hand through.

    Returns
    -------
    value : array or tree of arrays
        What `function` returns.
    pullback : callable
        ``pullback(cotangent)`` takes a gradient for each array of the value, in the structure of
        the value, and returns a tuple with the gradient of each argument: the product of the
        cotangent with the Jacobian. It can be called more than once.
    aux
        Only with `has_aux`.

    Raises
    ------
    TypeError
        If an argument or the value holds something else than floating-point arrays.
    ValueError
        If a cotangent does not have the structure, shape or dtype of the value (by `pullback`).
    TracedArrayError
        If the cotangent is differentiated on the outside of a point that is not (by `pullback`);
        take the `vjp` inside of what differentiates it.

    Notes
    -----
    The pullback keeps the arguments and what was computed from them, and no copies: do not write
    to them, or update a model, before it was called for the last time.

    Examples
    --------
    >>> import xpnet as xn
    >>> value, pullback = xn.vjp(lambda x: x**2, xn.asarray([1.0, 2.0]))
    >>> pullback(xn.asarray([1.0, 10.0]))
    (array([ 2., 40.], dtype=float32),)
    """
    call = Call(f"vjp of {name_of(function)}", function, args, {}, tuple(range(len(args))))
    run, pullback = pulled_back(call, has_aux=has_aux)
    value = run.lower(run.value)
    return (value, pullback, run.lower(run.aux)) if has_aux else (value, pullback)


class Call(NamedTuple):
    """A call, what messages call it, and which arguments are differentiated."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    indices: tuple[int, ...]


def pulled_back(
    call: Call, *, has_aux: bool = False
) -> tuple[Run, Callable[[Tree], tuple[Tree, ...]]]:
    """Make a call; return it, and the function that pulls gradients back through it."""
    run = Run(*call, has_aux=has_aux, check=_check_arrays)

    def pullback(cotangent: Tree) -> tuple[Tree, ...]:
        seeds = [
            (out, _below(call.name, out, given))
            for out, given in _alike(call.name, "cotangent", run.value, cotangent)
            if run.depends(out)
        ]
        return run.pull(seeds, keep=True)

    return run, pullback


class Linear(NamedTuple):
    """A call: its value, how gradients are pulled back through it and tangents pushed forward."""

    value: Tree
    pull: Callable[[Tree], tuple[Tree, ...]]
    push: Callable[[tuple[Any, ...]], Tree]


def linearized(call: Call) -> Linear:
    """Make a call.

    The push is the transpose of the pullback, which is linear in the cotangent: the walk back is
    itself recorded, at a cotangent of zeros, and walked back once for each tangent.
    """
    with Level(call.name, call.args, call.kwargs) as level:
        run, pullback = pulled_back(
            call._replace(
                args=tuple(level.constants(x) for x in call.args),
                kwargs={key: level.constants(x) for key, x in call.kwargs.items()},
            )
        )
        value = tree.map(level.lower, run.lower(run.value))
        cotangent = tree.map(lambda y: level.leaf(level.below.zeros_like(y)), value)
        pulled = pullback(cotangent)
        level.succeeded = True

    def push(tangents: tuple[Any, ...]) -> Tree:
        seeds = [
            (out, _below(call.name, out, given))
            for out, given in _alike(call.name, "tangent", pulled, tangents)
            if isinstance(out, TracedArray) and out.tape is level.tape
        ]
        arrived = backward(level.tape, seeds, level.leaves, keep=True)
        return tree.map(lambda leaf: level.gradient(arrived, leaf), cotangent)

    def pull(cotangent: Tree) -> tuple[Tree, ...]:
        return tuple(tree.map(level.lower, gradient) for gradient in pullback(cotangent))

    return Linear(value, pull, push)


def jvp(
    function: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Tree, Tree]:
    """Compute the value of a function, and its derivative along a direction.

    Parameters
    ----------
    function : callable
        See `vjp`.
    primals : tuple
        Its arguments, all of which are differentiated.
    tangents : tuple
        The direction: for each argument an array or tree of its structure, shapes and dtypes;
        for a Module a dict of arrays by dotted name.

    Returns
    -------
    value : array or tree of arrays
        What `function` returns.
    tangent : same structure
        The derivative of the value: the product of the Jacobian with the direction.

    Raises
    ------
    TypeError
        See `vjp`.
    ValueError
        If the tangents do not have the structure, shapes or dtypes of the arguments.

    Examples
    --------
    >>> import xpnet as xn
    >>> x, v = xn.asarray([1.0, 2.0]), xn.asarray([1.0, 10.0])
    >>> xn.jvp(lambda x: x**2, (x,), (v,))
    (array([1., 4.], dtype=float32), array([ 2., 40.], dtype=float32))
    """
    indices = tuple(range(len(primals)))
    call = Call(f"jvp of {name_of(function)}", function, tuple(primals), {}, indices)
    linear = linearized(call)
    return linear.value, linear.push(tuple(tangents))


def hvp(
    function: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Tree, ...]:
    """Compute the product of the Hessian with a direction.

    Parameters
    ----------
    function : callable
        Returns a real floating-point array of shape ``()``, see `xpnet.grad`.
    primals : tuple
        Its arguments, all of which are differentiated.
    tangents : tuple
        The direction, see `jvp`.

    Returns
    -------
    tuple
        For each argument its part of the product.

    Raises
    ------
    TypeError, ValueError
        See `xpnet.grad` and `jvp`.

    Notes
    -----
    The Hessian is symmetric, so the gradient is pulled back by the direction: two walks back, and
    none forward.

    Examples
    --------
    >>> import xpnet as xn
    >>> x, v = xn.asarray([1.0, 2.0]), xn.asarray([1.0, 10.0])
    >>> xn.hvp(lambda x: x[0] ** 2 * x[1], (x,), (v,))
    (array([24.,  2.], dtype=float32),)
    """
    _, pullback = vjp(grad(function, argnums=tuple(range(len(primals)))), *primals)
    product: tuple[Tree, ...] = pullback(tuple(tangents))
    return product


def _check_arrays(value: Tree, name: str) -> None:
    for y in tree.leaves(value):
        if not is_array(y):
            raise TypeError(
                f"{name}: it must return arrays, got {type(y).__name__}. A Python number has lost "
                "its gradient: keep it an array, or return it with has_aux=True"
            )
        if not dtype_kind(y):
            raise TypeError(
                f"{name}: it must return floating-point arrays, got dtype {y.dtype}; return others "
                "with has_aux=True"
            )


def _alike(name: str, what: str, expected: Tree, given: Tree) -> list[tuple[Any, Any]]:
    """Return the leaves of `expected` with those of `given`, once they are alike."""
    try:
        pairs = list(tree.pairs(expected, given))
    except ValueError as error:
        raise ValueError(f"{name}: the {what} has another structure: {error}") from None
    for x, y in pairs:
        if not is_array(y):
            raise TypeError(f"{name}: expected arrays as {what}, got {type(y).__name__}")
        if tuple(x.shape) != tuple(y.shape) or x.dtype != y.dtype:
            raise ValueError(
                f"{name}: expected a {what} of shape {tuple(x.shape)} and dtype {x.dtype}, got "
                f"{tuple(y.shape)} and {y.dtype}"
            )
    return pairs


def _below(name: str, out: TracedArray, x: Array) -> Array:
    """Return `x` as an array one level below that of `out`."""
    level = out.tape.level
    if level > 1:
        x = x if isinstance(x, TracedArray) else type(out)(x, CONSTANT, -1)
    elif isinstance(x, TracedArray) and x.tape is CONSTANT:
        x = raw(x)
    if isinstance(x, TracedArray) and x.tape.level >= level:
        raise TracedArrayError(
            f"{name}: it was called with an array that is being differentiated, but taken outside "
            "of what differentiates it; take it inside"
        )
    return x
