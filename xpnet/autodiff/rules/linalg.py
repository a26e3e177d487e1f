"""Rules for the `linalg` extension.

A^T is the transpose, A^H the conjugate one, G the gradient of a result. Where a formula has no ^H
it holds for complex numbers as it stands, by the convention that f gets ``G f'(x)``, unconjugated.
Those of the decompositions are from papers and from PyTorch (``FunctionsManual.cpp``), with their
convention: there a gradient is conjugated, so ``conjugate`` stands where it comes in and goes out.

Eigenvectors and singular vectors have a derivative where the values differ from each other. Where
some are equal, a gradient that arrives at the vectors leaves as inf or nan; one that arrives at the
values only stays finite, but its own derivative does not. For complex matrices, what is computed
from the vectors must not change with their phase. ``cholesky`` and ``eigh`` are differentiated by
Hermitian matrices: the gradient is one. ``qr`` takes columns (of a wide matrix, its first ones)
that are linearly independent.

References: Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); Murray, "Differentiation of the Cholesky decomposition" (2016,
arXiv:1602.07527); Wan and Zhang, "Automatic differentiation for complex valued SVD" (2019,
arXiv:1909.02659); Walter and Lehmann, "On evaluating higher-order derivatives of the QR
decomposition of tall matrices with full column rank" (2010, arXiv:1009.6112); Golub and Pereyra,
"The differentiation of pseudo-inverses and nonlinear least squares problems" (1973).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.fft import resize
from xpnet.autodiff.rules.statistical import conjugate, spread
from xpnet.autodiff.rules.tables import composed, one, several, two
from xpnet.autodiff.tape import lift, raw
from xpnet.errors import MissingRuleError
from xpnet.namespace import array_namespace, device_of

__all__: list[str] = []


def _h(xp: Namespace, x: Array) -> Array:
    """x^H."""
    return conjugate(xp, xp.matrix_transpose(x))


def _eye(xp: Namespace, like: Array) -> Array:
    return xp.eye(like.shape[-1], dtype=like.dtype, device=device_of(like))


def _row(xp: Namespace, x: Array) -> Array:
    return xp.expand_dims(x, axis=-2)


def _column(xp: Namespace, x: Array) -> Array:
    return xp.expand_dims(x, axis=-1)


def _as_matrix(xp: Namespace, x: Array) -> Array:
    """Give each number two axes, so that it multiplies a matrix."""
    return _column(xp, _column(xp, x))


def _real(xp: Namespace, x: Array) -> Array:
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def _mirrored(xp: Namespace, x: Array) -> Array:
    """Return the Hermitian matrix that has the lower triangle of `x`."""
    half = (xp.tril(x) + xp.tril(x, k=-1)) / 2
    return half + _h(xp, half)


def _skew(xp: Namespace, x: Array) -> Array:
    """x - x^H."""
    return x - _h(xp, x)


def _inverse_gaps(xp: Namespace, x: Array) -> Array:
    """1 / (x_j - x_i) in row i and column j, 0 on the diagonal."""
    eye = _eye(xp, x)
    return (1 - eye) / (_row(xp, x) - _column(xp, x) + eye)


# Products, and what moves elements about.


@composed
def cross(xp: Namespace, base: Any, x1: Array, x2: Array, /, *, axis: int = -1) -> Array:
    """Return (a x b)_i = a_{i+1} b_{i+2} - a_{i+2} b_{i+1}, indices modulo 3."""
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(
            f"cross: expected a length of 3 along axis {axis}, got shapes {tuple(x1.shape)} and "
            f"{tuple(x2.shape)}"
        )

    def ahead(x: Array, by: int) -> Array:
        return xp.roll(x, -by, axis=axis)

    return ahead(x1, 1) * ahead(x2, 2) - ahead(x1, 2) * ahead(x2, 1)


@composed
def outer(xp: Namespace, base: Any, x1: Array, x2: Array, /) -> Array:
    """Multiply a column by a row."""
    return xp.multiply(_column(xp, x1), x2)


@one(view=True)
def diagonal(xp: Namespace, grad: Array, out: Array, x: Array, /, *, offset: int = 0) -> Array:
    """d diag(A) = diag(dA): element i goes to row i, or to column i where `offset` is negative."""
    rows, columns = x.shape[-2:]
    eye = xp.eye(rows, columns, k=offset, dtype=grad.dtype, device=device_of(grad))
    if offset < 0:
        return eye * _row(xp, resize(xp, grad, columns))
    return eye * _column(xp, resize(xp, grad, rows))


@composed
def trace(xp: Namespace, base: Any, x: Array, /, *, offset: int = 0, dtype: Any = None) -> Array:
    """Sum the diagonal."""
    return xp.sum(xp.linalg.diagonal(x, offset=offset), axis=-1, dtype=dtype)


@composed
def matrix_power(xp: Namespace, base: Any, x: Array, n: int, /) -> Array:
    """Multiply the powers x, x^2, x^4, ... whose sum of exponents is `n`."""
    n = operator.index(n)
    if n == 0:
        return lift(xp, base(raw(x), 0))
    if n < 0:
        x, n = xp.linalg.inv(x), -n
    power = None
    while True:
        if n % 2:
            power = x if power is None else xp.matmul(power, x)
        n //= 2
        if n == 0:
            return xp.asarray(power, copy=True) if power is x else power
        x = xp.matmul(x, x)


# Inverses and determinants.


@one("out")
def inv(xp: Namespace, grad: Array, out: Array, x: Array, /) -> Array:
    """d A^-1 = -A^-1 dA A^-1, so A gets -A^-T G A^-T (Giles, 2.2.3)."""
    transposed = xp.matrix_transpose(out)
    return -(transposed @ grad @ transposed)


@two(a="a out", b="a")
def solve(
    xp: Namespace, grad: Array, out: Array, a: Array, b: Array, need_a: bool, need_b: bool
) -> tuple[Any, Any]:
    """d A^-1 B = A^-1 (dB - dA X), so B gets W = A^-T G and A gets -W X^T (Giles, 2.3.1)."""
    vector = b.ndim == 1
    w = xp.linalg.solve(xp.matrix_transpose(a), _column(xp, grad) if vector else grad)
    grad_a = None
    if need_a:
        grad_a = -(w @ (_row(xp, out) if vector else xp.matrix_transpose(out)))
    return grad_a, w[..., 0] if vector else w


@one("x", "out", arrays=True)
def pinv(xp: Namespace, grad: Array, out: Array, x: Array, /, *, rtol: Any = None) -> Array:
    """d P = -P dA P + P P^H dA^H (I - A P) + (I - P A) dA^H P^H P (Golub and Pereyra, 4.12).

    At constant rank, which is what `rtol` leaves.
    """
    g, p, ph = conjugate(xp, grad), out, _h(xp, out)
    gh = _h(xp, g)
    first = -(ph @ g @ ph)
    second = (gh - x @ (p @ gh)) @ (p @ ph)
    third = (ph @ p) @ (gh - (gh @ p) @ x)
    return conjugate(xp, first + second + third)


@one("x")
def det(xp: Namespace, grad: Array, out: Array, x: Array, /) -> Array:
    """d det(A) = tr(adj(A) dA), so A gets G adj(A)^T, at singular matrices too."""
    return _as_matrix(xp, grad) * _cofactors(x)


def _cofactors(x: Array) -> Array:
    """Return adj(x)^T, which can be differentiated further where `x` has an inverse."""
    from xpnet.autodiff.custom import custom_gradient

    return custom_gradient(_cofactors_and_pull)(x)


def _cofactors_and_pull(x: Array) -> tuple[Array, Callable[[Array], Array]]:
    """adj(U S V^H) = det(U) det(V^H) V adj(S) U^H; adj(S) holds the products of the other s_i.

    Beyond, with C = det(A) A^-T: dC = tr(A^-1 dA) C - A^-T dA^T C.
    """
    xp = array_namespace(x)
    u, s, vh = xp.linalg.svd(x, full_matrices=False)
    eye = _eye(xp, s)
    others = xp.prod((1 - eye) * _row(xp, s) + eye, axis=-1)
    sign = _as_matrix(xp, xp.linalg.det(u) * xp.linalg.det(vh))
    value = sign * conjugate(xp, (u * _row(xp, others)) @ vh)

    def pull(grad: Array) -> Array:
        cofactors, inverse = _cofactors(x), xp.matrix_transpose(xp.linalg.inv(x))
        trace = _as_matrix(xp, xp.sum(grad * cofactors, axis=(-2, -1)))
        return trace * inverse - cofactors @ xp.matrix_transpose(grad) @ inverse

    return value, pull


@several("x", "outs")
def slogdet(xp: Namespace, grads: Sequence[Any], outs: Sequence[Array], x: Array, /) -> Array:
    """d log|det(A)| = Re t and d sign = sign i Im t for t = tr(A^-1 dA), so A gets c A^-T.

    c = G_log + i Im(G_sign sign); for real numbers that is G_log alone.
    """
    (grad_sign, grad_log), sign = grads, outs[0]
    c = xp.zeros_like(sign) if grad_log is None else grad_log
    if grad_sign is not None and xp.isdtype(sign.dtype, "complex floating"):
        turned = grad_sign * sign
        c = c + (turned - xp.conj(turned)) / 2
    return _as_matrix(xp, c) * xp.matrix_transpose(xp.linalg.inv(x))


# Decompositions.


@one("out")
def cholesky(xp: Namespace, grad: Array, out: Array, x: Array, /, *, upper: bool = False) -> Array:
    """d L = L low(L^-1 dA L^-H), so A gets L^-H mirrored(L^H G) L^-1 / 2 (Murray, 10)."""
    g, lh = conjugate(xp, grad), _h(xp, out)
    if upper:
        g, lh = _h(xp, g), out
    middle = _mirrored(xp, lh @ g) / 2
    left = xp.linalg.solve(lh, middle)
    return conjugate(xp, xp.linalg.solve(lh, _h(xp, left)))


@several("outs")
def qr(
    xp: Namespace,
    grads: Sequence[Any],
    outs: Sequence[Array],
    x: Array,
    /,
    *,
    mode: str = "reduced",
) -> Array:
    """Return (G_Q + Q mirrored(M)) R^-H, M = R G_R^H - G_Q^H Q (Walter and Lehmann, 3).

    A wide matrix is [X, Y] with X = Q U and V = Q^H Y, so only X goes through the formula. Of a
    tall one ``mode="complete"`` differentiates R, and that once.
    """
    (gq, gr), (q, r) = grads, outs
    rows, columns = x.shape[-2:]
    if rows > columns and mode == "complete":
        if gq is not None:
            raise _undefined("qr", "Q", x, 'mode="complete"', 'mode="reduced"')
        q, r = q[..., :columns], r[..., :columns, :]
        gr = gr[..., :columns, :]
    gq = xp.zeros_like(q) if gq is None else conjugate(xp, gq)
    gr = xp.zeros_like(r) if gr is None else conjugate(xp, gr)
    gy = None
    if rows < columns:
        v, gv = r[..., rows:], gr[..., rows:]
        r, gr = r[..., :rows], gr[..., :rows]
        gy = q @ gv
        gq = gq + q @ (v @ _h(xp, gv))
    middle = _mirrored(xp, r @ _h(xp, gr) - _h(xp, gq) @ q)
    gx = _h(xp, xp.linalg.solve(r, _h(xp, gq + q @ middle)))
    return conjugate(xp, gx if gy is None else xp.concat([gx, gy], axis=-1))


@several("outs")
def eigh(xp: Namespace, grads: Sequence[Any], outs: Sequence[Array], x: Array, /) -> Array:
    """Return V (diag(G_w) + skew(V^H G_V) / 2 (w_j - w_i)) V^H (Giles, 3.1, made Hermitian)."""
    (gw, gv), (w, v) = grads, outs
    middle = None if gw is None else _eye(xp, v) * _row(xp, gw)
    if gv is not None:
        turn = _skew(xp, _h(xp, v) @ conjugate(xp, gv)) * (_inverse_gaps(xp, w) / 2)
        middle = turn if middle is None else middle + turn
    return conjugate(xp, v @ middle @ _h(xp, v))


@composed
def eigvalsh(xp: Namespace, base: Any, x: Array, /) -> Array:
    """Take the values of ``eigh``, since their gradient needs the vectors."""
    return xp.linalg.eigh(x)[0]


@several("outs")
def eig(xp: Namespace, grads: Sequence[Any], outs: Sequence[Array], x: Array, /) -> Array:
    """Return V^-H (diag(G_w) + (V^H G_V - V^H V Re diag(V^H G_V)) / conj(w_j - w_i)) V^H.

    For vectors of length 1 (PyTorch, ``linalg_eig_backward``).
    """
    (gw, gv), (w, v) = grads, outs
    vh = _h(xp, v)
    middle = None if gw is None else _eye(xp, w) * _row(xp, conjugate(xp, gw))
    if gv is not None:
        turn = vh @ conjugate(xp, gv)
        turn = turn - (vh @ v) * _row(xp, _real(xp, xp.linalg.diagonal(turn)))
        turn = turn * conjugate(xp, _inverse_gaps(xp, w))
        middle = turn if middle is None else middle + turn
    return conjugate(xp, xp.linalg.solve(vh, middle @ vh))


@composed
def eigvals(xp: Namespace, base: Any, x: Array, /) -> Array:
    """Take the values of ``eig``, since their gradient needs the vectors."""
    return xp.linalg.eig(x)[0]


@several("outs")
def svd(
    xp: Namespace,
    grads: Sequence[Any],
    outs: Sequence[Array],
    x: Array,
    /,
    *,
    full_matrices: bool = True,
) -> Array:
    """Return U (skew(U^H G_U) F S + S skew(V^H G_V) F + diag(G_S)) V^H + what leaves U or V.

    With F = 1 / (s_j^2 - s_i^2). Complex vectors add i Im diag(U^H G_U) / S (Wan and Zhang). A
    singular value of 0 has derivative 0, like an absolute value. With ``full_matrices=True`` a
    matrix that is not square is differentiated once, and not by the vectors that fill up.
    """
    (gu, gs, gvh), (u, s, vh) = grads, outs
    rows, columns = x.shape[-2:]
    k = min(rows, columns)
    if full_matrices:
        for vectors, grad, wide in (("U", gu, rows > k), ("Vh", gvh, columns > k)):
            if wide and grad is not None:
                raise _undefined("svd", vectors, x, "full_matrices=True", "full_matrices=False")
        u, vh = u[..., :k], vh[..., :k, :]
    total = None
    if gs is not None:
        total = (u * _row(xp, xp.where(s == 0, xp.zeros_like(gs), gs))) @ vh
        if gu is None and gvh is None:
            return conjugate(xp, total)
    eye, left, right = _eye(xp, s), _column(xp, s), _row(xp, s)
    inverse_gaps = _inverse_gaps(xp, s) / (left + right + eye)
    if gu is not None:
        gu = conjugate(xp, gu)
        inside = _h(xp, u) @ gu
        turn = _skew(xp, inside)
        middle = turn * (inverse_gaps * right)
        if xp.isdtype(u.dtype, "complex floating"):
            middle = middle + turn * (eye / (2 * right))
        part = u @ middle
        if rows > k:
            part = part + (gu - u @ inside) / right
        total = part @ vh if total is None else total + part @ vh
    if gvh is not None:
        gvh = conjugate(xp, gvh)
        inside = vh @ _h(xp, gvh)
        part = (_skew(xp, inside) * (inverse_gaps * left)) @ vh
        if columns > k:
            part = part + (gvh - _h(xp, inside) @ vh) / left
        total = u @ part if total is None else total + u @ part
    return conjugate(xp, total)


@composed
def svdvals(xp: Namespace, base: Any, x: Array, /) -> Array:
    """Take the values of ``svd``, since their gradient needs the vectors."""
    return xp.linalg.svd(x, full_matrices=False)[1]


def _undefined(name: str, part: str, x: Array, given: str, cure: str) -> MissingRuleError:
    """Return the error for a gradient that reaches vectors which `x` does not determine."""
    return MissingRuleError(
        f"a gradient reached {part} of xp.linalg.{name}(x, {given}) with x of shape "
        f"{tuple(x.shape)}, whose last vectors x does not determine: any basis of what the others "
        f"leave will do. Use {cure}"
    )


# Norms.


@one("x", "out")
def vector_norm(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    axis: Any = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Array:
    """d ||x||_p = sum of Re(conj(x) dx) |x|^(p-2) / ||x||^(p-1); 0 at elements that are 0.

    The largest and the smallest, if several are equal, share the gradient.
    """
    norm, grad = spread(xp, out, x.shape, axis), spread(xp, grad, x.shape, axis)
    norm = xp.where(norm == 0, xp.ones_like(norm), norm)
    if ord == 2:
        return grad * (conjugate(xp, x) / norm)
    if ord == 0:
        return xp.zeros_like(x)
    size = xp.abs(x)
    if abs(ord) == math.inf:
        choose = xp.max if ord > 0 else xp.min
        chosen = xp.astype(size == choose(size, axis=axis, keepdims=True), grad.dtype)
        share = chosen / xp.sum(chosen, axis=axis, keepdims=True)
        return grad * share * (conjugate(xp, x) / xp.where(size == 0, xp.ones_like(size), size))
    ratio = xp.where(size == 0, norm, size) / norm
    return grad * ratio ** (ord - 2) * (conjugate(xp, x) / norm)


@composed
def matrix_norm(
    xp: Namespace,
    base: Any,
    x: Array,
    /,
    *,
    keepdims: bool = False,
    ord: Any = "fro",
) -> Array:
    """Norm the elements, the singular values, or the sums of rows or columns."""
    if ord == "fro":
        return xp.linalg.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = xp.linalg.svdvals(x)
        choose = {"nuc": xp.sum, 2: xp.max, -2: xp.min}[ord]
        norm = choose(values, axis=-1, keepdims=keepdims)
        return _column(xp, norm) if keepdims else norm
    sums = xp.sum(xp.abs(x), axis=-2 if abs(ord) == 1 else -1, keepdims=True)
    return (xp.max if ord > 0 else xp.min)(sums, axis=(-2, -1), keepdims=keepdims)
