"""Full matrices of derivatives: Jacobian and Hessian."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.autodiff.products import Call, linearized
from xpnet.autodiff.run import name_of
from xpnet.autodiff.transform import grad
from xpnet.namespace import REAL, array_namespace, device_of, dtype_kind

__all__ = ["hessian", "jacobian"]


def jacobian(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., Tree]:
    """Return a function that computes all derivatives of `function`.

    Parameters
    ----------
    function : callable
        Takes what `xpnet.grad` allows, and returns a real floating-point array of any shape, or a
        nested list, tuple or dict of them.
    argnums : int or tuple of int, optional
        The positional arguments to differentiate, by default the first.

    Returns
    -------
    callable
        Takes the arguments of `function`. For an array of shape M as argument and one of shape N
        as value it returns an array of shape ``(*N, *M)``; ``J[n, m]`` is the derivative of
        element n of the value by element m of the argument. Where the value or the argument is a
        tree, the result is a tree like the value of trees like the gradient of the argument.

    Raises
    ------
    TypeError
        If an argument or the value is not real floating-point.
    IndexError, ValueError
        If `argnums` names an argument that is not there, or one twice.

    Notes
    -----
    One walk back for each element of the value, or, if the arguments have fewer elements, one
    push forward for each of theirs.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.jacobian(lambda x: x**2)(xn.asarray([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]], dtype=float32)
    """
    name = f"jacobian of {name_of(function)}"

    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Tree:
        indices = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        call = Call(name, function, args, kwargs, indices)
        return _derivatives(call, single=isinstance(argnums, int))

    return wrapper


def hessian(
    function: Callable[..., Any], argnums: int | tuple[int, ...] = 0
) -> Callable[..., Tree]:
    """Return a function that computes all second derivatives of `function`.

    Parameters
    ----------
    function : callable
        Returns a real floating-point array of shape ``()``, see `xpnet.grad`.
    argnums : int or tuple of int, optional
        The positional arguments to differentiate, by default the first.

    Returns
    -------
    callable
        Takes the arguments of `function`. For an argument of shape M it returns an array of shape
        ``(*M, *M)``; for trees see `jacobian`, whose value is the gradient here.

    Raises
    ------
    TypeError, ValueError, IndexError
        See `xpnet.grad` and `jacobian`.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.hessian(lambda x: x[0] ** 2 * x[1])(xn.asarray([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]], dtype=float32)
    """
    return jacobian(grad(function, argnums), argnums)


def _derivatives(call: Call, *, single: bool) -> Tree:
    """Return, in the place of each array of the value, its derivatives by all arguments."""
    value, pull, push = linearized(call)
    gradients = pull(tree.map(_zeros, value))
    outs, arguments = list(tree.leaves(value)), list(tree.leaves(gradients))
    _check_real(call.name, [*outs, *arguments])
    if sum(map(_size, arguments)) < sum(map(_size, outs)):
        # columns[j][i][k]: of array k of the value by element i of array j of the arguments
        columns = [
            [list(tree.leaves(push(unit))) for unit in _units(gradients, j)]
            for j in range(len(arguments))
        ]
        found = [
            [_join([c[k] for c in columns[j]], y, x, axis=-1) for j, x in enumerate(arguments)]
            for k, y in enumerate(outs)
        ]
    else:
        rows = [
            [list(tree.leaves(pull(unit))) for unit in _units(value, k)] for k in range(len(outs))
        ]
        found = [
            [_join([r[j] for r in rows[k]], y, x, axis=0) for j, x in enumerate(arguments)]
            for k, y in enumerate(outs)
        ]
    inner = gradients[0] if single else gradients
    return _refill(value, [_refill(inner, row) for row in found])


def _refill(structure: Tree, leaves: Iterable[Any]) -> Tree:
    """Return a tree of the structure of another with these leaves."""
    each = iter(leaves)
    return tree.map(lambda _: next(each), structure)


def _units(structure: Tree, which: int) -> Iterator[Tree]:
    """Yield trees of zeros but for a one, which visits the elements of one leaf."""
    leaves = [_zeros(x) for x in tree.leaves(structure)]
    x = leaves[which]
    xp, n = array_namespace(x), _size(x)
    places = xp.arange(n, device=device_of(x))
    for element in range(n):
        one = xp.reshape(xp.astype(places == element, x.dtype), x.shape)
        yield _refill(structure, [*leaves[:which], one, *leaves[which + 1 :]])


def _join(parts: list[Array], y: Array, x: Array, *, axis: int) -> Array:
    """Put derivatives of `y` by `x` together, one row (axis 0) or column (axis -1) each."""
    xp, shape = array_namespace(y, x), (*y.shape, *x.shape)
    if not parts:
        return xp.zeros(shape, dtype=y.dtype, device=device_of(y))
    return xp.reshape(xp.stack(parts, axis=axis), shape)


def _zeros(x: Array) -> Array:
    return array_namespace(x).zeros_like(x)


def _size(x: Array) -> int:
    return math.prod(x.shape)


def _check_real(name: str, arrays: Iterable[Array]) -> None:
    for x in arrays:
        if dtype_kind(x) != REAL:
            raise TypeError(
                f"{name}: expected real arguments and values, got dtype {x.dtype}; take the "
                "derivatives by the real and by the imaginary part"
            )
