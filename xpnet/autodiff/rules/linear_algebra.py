"""Rules for the products of vectors, matrices and tensors."""

from __future__ import annotations

import math
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.statistical import conjugate
from xpnet.autodiff.rules.tables import composed, one, two

__all__: list[str] = []


@one(view=True)
def matrix_transpose(xp: Namespace, grad: Array, out: Array, x: Array) -> Array:
    """d x^T = (dx)^T."""
    return xp.matrix_transpose(grad)


@two(a="b", b="a")
def matmul(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d(A B) = dA B + A dB, so A gets G B^T and B gets A^T G.

    For matrices the latter is computed as (G^T A)^T, so that for ``x @ weight.T`` the gradient of
    `weight` comes out in the memory layout of `weight`.
    """
    if a.ndim == 2 and b.ndim == 2:
        return (
            xp.matmul(grad, b.T) if need_a else None,
            xp.matmul(grad.T, a).T if need_b else None,
        )
    # A vector is a matrix of one row on the left, of one column on the right.
    if a.ndim == 1:
        grad = xp.expand_dims(grad, axis=-2 if grad.ndim else -1)
    if b.ndim == 1:
        grad = xp.expand_dims(grad, axis=-1)
    return (
        _matmul_left(xp, grad, b) if need_a else None,
        _matmul_right(xp, grad, a, b.ndim) if need_b else None,
    )


def _matmul_left(xp: Namespace, grad: Array, b: Array) -> Array:
    """G B^T."""
    b = b if b.ndim > 1 else xp.expand_dims(b, axis=-1)
    return xp.matmul(grad, xp.matrix_transpose(b))


def _matmul_right(xp: Namespace, grad: Array, a: Array, ndim: int) -> Array:
    """A^T G, for a B of `ndim` dimensions."""
    a = a if a.ndim > 1 else xp.expand_dims(a, axis=0)
    if ndim == 1:
        return xp.matmul(xp.matrix_transpose(a), grad)[..., 0]
    if ndim == 2:  # one product instead of a sum of products over the leading axes
        a = xp.reshape(a, (math.prod(a.shape[:-1]), a.shape[-1]))
        grad = xp.reshape(grad, (math.prod(grad.shape[:-1]), grad.shape[-1]))
        return xp.matmul(grad.T, a).T
    return xp.matmul(xp.matrix_transpose(a), grad)


@composed
def vecdot(xp: Namespace, base: Any, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Sum the products along an axis, the first array conjugated."""
    if x1.shape[axis] != x2.shape[axis]:
        raise ValueError(
            f"vecdot: expected equal lengths along axis {axis}, got shapes {tuple(x1.shape)} and "
            f"{tuple(x2.shape)}"
        )
    dtype = xp.result_type(x1, x2)
    return xp.sum(xp.multiply(conjugate(xp, x1), x2), axis=axis, dtype=dtype)


@composed
def tensordot(xp: Namespace, base: Any, x1: Array, x2: Array, /, *, axes: Any = 2) -> Array:
    """Contract axes by one product of matrices."""
    if isinstance(axes, int):
        axes = (range(x1.ndim - axes, x1.ndim), range(axes))
    inner1, inner2 = [a % x1.ndim for a in axes[0]], [a % x2.ndim for a in axes[1]]
    outer1 = [a for a in range(x1.ndim) if a not in inner1]
    outer2 = [a for a in range(x2.ndim) if a not in inner2]
    n = math.prod(x1.shape[a] for a in inner1)
    rows, columns = [x1.shape[a] for a in outer1], [x2.shape[a] for a in outer2]
    left = xp.reshape(xp.permute_dims(x1, (*outer1, *inner1)), (math.prod(rows), n))
    right = xp.reshape(xp.permute_dims(x2, (*inner2, *outer2)), (n, math.prod(columns)))
    return xp.reshape(xp.matmul(left, right), (*rows, *columns))
