"""The differentiation rules of the `linalg` extension."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.standard import EXTENSIONS

INF = math.inf
# In the main chapters too, and tested there.
SHARED = {"matmul", "matrix_transpose", "tensordot", "vecdot"}
NAMES = sorted(set(EXTENSIONS["linalg"].split()) - SHARED - {"matrix_rank"})


@dataclass(eq=False)
class Case:
    """A call at smooth points, and the libraries whose own differentiation refuses it."""

    call: Callable[..., Any]
    inputs: tuple[np.ndarray, ...]
    refused_by: tuple[str, ...] = ()
    twice: bool = True  # whether it can be differentiated again


CASES: dict[str, list[Case]] = {}


def case(
    name: str,
    *inputs: np.ndarray,
    call: Callable[..., Any] | None = None,
    refused_by: tuple[str, ...] = (),
    twice: bool = True,
    **options: Any,
) -> None:
    """Enter ``xp.linalg.name(*inputs, **options)``, or another call of the function."""

    def plain(xp: Any, *inputs: Any) -> Any:
        return getattr(xp.linalg, name)(*inputs, **options)

    CASES.setdefault(name, []).append(Case(call or plain, inputs, refused_by, twice))


_random = np.random.default_rng(0)


def elements(*shape: int) -> np.ndarray:
    """Return numbers of either sign whose sizes are 0.1 apart."""
    sizes = 0.4 + 0.1 * _random.permutation(math.prod(shape))
    return np.reshape(np.where(np.arange(sizes.size) % 2, -1.0, 1.0) * sizes, shape)


def complex_(*shape: int) -> np.ndarray:
    """Return complex numbers whose sizes are 0.1 apart."""
    return elements(*shape) * np.exp(1j * _random.uniform(0.0, 1.5, shape))


def matrices(*shape: int, make: Callable[..., np.ndarray] = elements) -> np.ndarray:
    """Return matrices of full rank with singular values 0.7 apart."""
    u, s, vh = np.linalg.svd(make(*shape), full_matrices=False)
    return (u * (1.0 + 0.7 * np.arange(s.shape[-1]))) @ vh


def hermitian(xp: Any, x: Any) -> Any:
    return (x + adjoint(xp, x)) / 2


def adjoint(xp: Any, x: Any) -> Any:
    x = xp.matrix_transpose(x)
    return xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x


def symmetric(*shape: int, make: Callable[..., np.ndarray] = elements) -> np.ndarray:
    """Return Hermitian matrices with eigenvalues 0.7 apart."""
    _, v = np.linalg.eigh(hermitian(np, make(*shape)))
    return (v * (1.0 + 0.7 * np.arange(shape[-1]))) @ np.conj(np.swapaxes(v, -1, -2))


def projections(xp: Any, v: Any) -> Any:
    """Return what the columns of `v` determine whatever their sign or phase: |v_ij|^2 and more."""
    first = v[..., :1, :]
    if xp.isdtype(v.dtype, "complex floating"):
        first = xp.conj(first)
    return v * first


def with_projections(*places: int, name: str, **options: Any) -> Callable[..., Any]:
    """Return a call of which the results at `places` count, vectors (the matrices) as above."""

    def call(xp: Any, x: Any) -> Any:
        outs = getattr(xp.linalg, name)(x, **options)
        results = []
        for place in places:
            out = outs[place]
            if place == 2:  # the vectors of V^H are its rows
                out = adjoint(xp, out)
            results.append(projections(xp, out) if out.ndim == x.ndim else out)
        return results

    return call


def of_hermitian(name: str, call: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Return a call with the Hermitian part, in the directions of which it is differentiated."""
    call = call or (lambda xp, x: getattr(xp.linalg, name)(x, **options))
    return lambda xp, x: call(xp, hermitian(xp, x))


for _make in (elements, complex_):
    for _name in ("inv", "det", "slogdet"):
        case(_name, matrices(3, 3, make=_make))
        case(_name, matrices(2, 2, 2, make=_make))
        case(_name, matrices(1, 1, make=_make))
    for _upper in (False, True):
        _call = of_hermitian("cholesky", upper=_upper)
        case("cholesky", symmetric(3, 3, make=_make), call=_call)
        case("cholesky", symmetric(2, 2, 2, make=_make), call=_call)
    for _a, _b in [
        *(((2, 3), (2, 3)), ((3, 2), (2, 3, 2)), ((2, 1, 3), (4, 3))),
    ]:
        _axis = -2 if _a == (3, 2) else -1
        case("cross", _make(*_a), _make(*_b) + 0.5, axis=_axis)
    case("outer", _make(3), _make(2))
    for _a, _b in [
        *(((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3,)), ((2, 3, 3), (3, 2))),
        *(((3, 3), (2, 3, 1)), ((2, 1, 2, 2), (3, 2, 2))),
    ]:
        case("solve", matrices(*_a, make=_make), _make(*_b))
    for _shape in ((3, 3), (2, 4), (4, 2), (2, 2, 3)):
        for _offset in (-1, 0, 1, 2):
            if -_shape[-2] < _offset < _shape[-1]:
                case("diagonal", _make(*_shape), offset=_offset)
                case("trace", _make(*_shape), offset=_offset)
    for _n in (3, 0, 1, 2, -1, -2, 6):
        case(
            *("matrix_power", matrices(2, 3, 3, make=_make) / 2),
            call=lambda xp, x, n=_n: xp.linalg.matrix_power(x, n),
        )
    for _shape in ((4, 2), (2, 3), (2, 3, 3), (3, 3)):
        case("pinv", matrices(*_shape, make=_make))
        case("pinv", matrices(*_shape, make=_make), rtol=1e-3)
        case("svdvals", matrices(*_shape, make=_make))
        _square = _shape[-1] == _shape[-2]
        for _full in (False, True):
            for _places in [(0, 1, 2), (0,), (2,), (1,)] if _square or not _full else [(1,)]:
                case(
                    *("svd", matrices(*_shape, make=_make)),
                    call=with_projections(*_places, name="svd", full_matrices=_full),
                    refused_by=("jax", "torch") if _full else (),
                    twice=_square or not _full,
                )
        _wide = _shape[-1] > _shape[-2]
        _x = matrices(*_shape, make=_make)
        case("qr", _x, refused_by=("jax",) if _wide else ())
        case("qr", _x, call=lambda xp, x: xp.linalg.qr(x)[0], refused_by=("jax",))
        case("qr", _x, call=lambda xp, x: xp.linalg.qr(x)[1], refused_by=("jax",))
        case(
            *("qr", _x),
            call=lambda xp, x: xp.linalg.qr(x, mode="complete")[1],
            refused_by=("jax", "torch"),
            twice=_square or _wide,
        )
        for _ord in ("fro", "nuc", 2, -2):
            case("matrix_norm", matrices(*_shape, make=_make), ord=_ord)
        _x = (1.0 + np.arange(_shape[-1])) * (1.0 + np.arange(_shape[-2]))[:, None]
        for _ord in (1, -1, INF, -INF):  # of rows and columns whose sums lie well apart
            _y = _make(*_shape)
            case("matrix_norm", _x * (_y / np.abs(_y)), ord=_ord)
        case("matrix_norm", matrices(*_shape, make=_make), keepdims=True)
        case("matrix_norm", matrices(*_shape, make=_make), ord=2, keepdims=True)
        case("matrix_norm", matrices(*_shape, make=_make), ord=1, keepdims=True)
    case(
        *("qr", matrices(3, 3, make=_make)),
        call=lambda xp, x: xp.linalg.qr(x, mode="complete"),
        refused_by=("jax",),
    )
    for _shape in ((3, 3), (2, 3, 3)):
        _x = symmetric(*_shape, make=_make)
        for _places in [(0, 1), (0,), (1,)]:
            _call = with_projections(*_places, name="eigh")
            case("eigh", _x, call=of_hermitian("eigh", _call))
        case("eigvalsh", _x, call=of_hermitian("eigvalsh"))
    for _ord in (2, 1, 0, 3, 2.5, 0.5, -1, INF, -INF):
        case("vector_norm", _make(2, 3), ord=_ord)
        case("vector_norm", _make(2, 3), ord=_ord, axis=-1)
        case("vector_norm", _make(2, 3, 2), ord=_ord, axis=(0, 2), keepdims=True)
    case("vector_norm", _make(2, 3), keepdims=True)


def of_values(xp: Any, x: Any, vectors: bool = False) -> Any:
    """Return what does not depend on the order of the eigenvalues, which libraries choose."""
    if not vectors:
        return xp.sum(xp.exp(xp.linalg.eigvals(x) / 2), axis=-1)
    w, v = xp.linalg.eig(x)
    return xp.sum(projections(xp, v) * xp.expand_dims(xp.exp(w / 2), axis=-2), axis=-1)


def of_vectors(xp: Any, x: Any) -> Any:
    return xp.sum(projections(xp, xp.linalg.eig(x)[1]), axis=-1)


for _make, _block in [(elements, 1.0), (elements, 2.0), (complex_, 1.0)]:
    # Eigenvalues 1, 2.5 and 4, or a complex pair and 4; eigenvectors not at right angles.
    _values = np.array(
        [[1.0, 1.0 - _block, 0.0], [_block - 1.0, 3.5 - _block, 0.0], [0.0, 0.0, 4.0]]
    )
    _basis = matrices(2, 3, 3, make=_make)
    _x = _basis @ _values @ np.linalg.inv(_basis)
    case("eigvals", _x, call=of_values)
    for _call in (functools.partial(of_values, vectors=True), of_vectors):
        case("eig", _x, call=_call, refused_by=("jax",))  # derivatives of eigenvectors

for _name in ("inv", "det", "slogdet", "cholesky", "eigh", "eigvalsh", "pinv", "svdvals", "qr"):
    case(_name, np.zeros((0, 3, 3)), refused_by=("jax", "torch"))
for _name in ("svd", "trace", "diagonal", "matrix_norm"):
    case(
        _name,
        np.zeros((0, 3, 2)),
        refused_by=("jax", "torch"),
        **({"full_matrices": False} if _name == "svd" else {}),
    )
case("vector_norm", np.zeros((0, 3)), axis=1, refused_by=("jax", "torch"))
case("solve", np.zeros((0, 3, 3)), np.zeros((0, 3, 2)), refused_by=("jax", "torch"))
case(
    "matrix_power",
    np.zeros((0, 3, 3)),
    call=lambda xp, x: xp.linalg.matrix_power(x, 3),
    refused_by=("jax", "torch"),
)
case("cross", np.zeros((0, 3)), np.zeros((0, 3)), refused_by=("jax", "torch"))
case("det", np.zeros((0, 0)), refused_by=("jax", "torch"))


def test_every_function_has_a_case() -> None:
    assert sorted(CASES) == NAMES


def check_all(check: Callable[..., None], lib: Any, name: str, twice: bool = False) -> None:
    # JAX compiles anew for each call and shape, which takes it 0.1 s.
    for each in CASES[name][:1] if lib.name == "jax" else CASES[name]:
        if twice and not each.twice:
            continue
        try:
            check(each.call, each.inputs)
        except Exception as error:
            error.add_note(f"in {name} {CASES[name].index(each)}: {each.inputs}")
            raise


@pytest.mark.parametrize("name", NAMES)
def test_gradient(lib: Any, check: Any, name: str) -> None:
    check_all(check.first, lib, name)


@pytest.mark.parametrize("name", NAMES)
def test_second_order(lib: Any, check: Any, name: str) -> None:
    if lib.name == "jax":
        pytest.skip("JAX compiles each call anew, which takes long")
    check_all(check.second, lib, name, twice=True)


@pytest.mark.parametrize("name", NAMES)
def test_single_precision(lib: Any, check: Any, name: str) -> None:
    check_all(check.single, lib, name)


@pytest.mark.parametrize("name", NAMES)
def test_equal_to_the_gradients_of_others(agree: Any, name: str) -> None:
    # JAX compiles anew for each case.
    for each in CASES[name][:: len(CASES[name]) // 4 + 1 if agree.peer == "jax" else 1]:
        if agree.peer not in each.refused_by:
            agree(each.call, each.inputs)


# Where there is no derivative, and conventions.


def grad_of(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the gradient of the sum of what a call computes."""

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(call(xp, x))

    return xn.grad(f)


@pytest.mark.parametrize(
    ("call", "shape", "message"),
    [
        (lambda xp, x: xp.linalg.svd(x)[0], (3, 2), r"U of xp.linalg.svd\(x, full_matrices=True\)"),
        (
            lambda xp, x: xp.linalg.svd(x)[2],
            (2, 3),
            r"Vh of xp.linalg.svd\(x, full_matrices=True\)",
        ),
        (
            *(lambda xp, x: xp.linalg.qr(x, mode="complete")[0], (3, 2)),
            r'Q of xp.linalg.qr\(x, mode="complete"\) with x of shape \(3, 2\)',
        ),
    ],
)
def test_vectors_that_the_matrix_does_not_determine(
    extended: Any, call: Any, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(xn.MissingRuleError, match="a gradient reached " + message):
        grad_of(call)(extended.asarray(matrices(*shape)))


def test_values_beside_such_vectors_are_differentiated_once(extended: Any) -> None:
    values = grad_of(lambda xp, x: xp.linalg.svd(x)[1])
    x = extended.asarray(matrices(3, 2))
    assert values(x).shape == (3, 2)
    with pytest.raises(xn.MissingRuleError, match="Use full_matrices=False"):
        grad_of(lambda xp, x: values(x))(x)


@pytest.mark.parametrize("order", [2, 1, 3, 0.5, 0, INF, -INF])
def test_vector_norm_of_zeros(extended: Any, order: float) -> None:
    lib = extended
    gradient = grad_of(lambda xp, x: xp.linalg.vector_norm(x, ord=order))(lib.asarray([0.0, 0.0]))
    lib.close(gradient, [0.0, 0.0])


@pytest.mark.parametrize("order", [2, 1, 3, INF])
def test_vector_norm_of_some_zeros(extended: Any, order: float) -> None:
    lib = extended
    norm = lambda xp, x: xp.linalg.vector_norm(x, ord=order)  # noqa: E731
    lib.close(grad_of(norm)(lib.asarray([0.0, -2.0])), [0.0, -1.0])


def test_vector_norm_keeps_its_digits(extended: Any) -> None:
    lib = extended
    norm = lambda xp, x: xp.linalg.vector_norm(x)  # noqa: E731
    lib.close(grad_of(norm)(lib.asarray([3e150, 4e150])), [0.6, 0.8])


def test_largest_elements_share_the_gradient(extended: Any) -> None:
    lib = extended
    norm = lambda xp, x: xp.linalg.vector_norm(x, ord=INF)  # noqa: E731
    lib.close(grad_of(norm)(lib.asarray([-3.0, 1.0, 3.0])), [-0.5, 0.0, 0.5])


@pytest.mark.parametrize("order", ["fro", "nuc", 2, 1, INF])
def test_matrix_norm_of_zeros(extended: Any, order: Any) -> None:
    lib = extended
    norm = lambda xp, x: xp.linalg.matrix_norm(x, ord=order)  # noqa: E731
    lib.close(grad_of(norm)(lib.asarray(np.zeros((3, 2)))), np.zeros((3, 2)))


@pytest.mark.parametrize(
    "x",
    [
        np.diag([2.0, 0.0, 3.0]),
        np.zeros((1, 1)),
        np.zeros((3, 3)),
        np.eye(3),
        np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]),
        np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0]) + np.outer([1.0, 0.0, 1.0], [2.0, 1.0, 1.0]),
        np.stack([np.eye(2), np.ones((2, 2))]),
    ],
)
def test_det_of_a_singular_matrix(extended: Any, x: np.ndarray) -> None:
    lib = extended
    n = x.shape[-1]
    cofactors = np.empty_like(x)
    for i in range(n):
        for j in range(n):
            minor = np.delete(np.delete(x, i, axis=-2), j, axis=-1)
            cofactors[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    gradient = grad_of(lambda xp, x: xp.linalg.det(x))(lib.asarray(x))
    lib.close(gradient, cofactors, atol=1e-14)


def test_second_derivative_of_det_at_the_identity(extended: Any) -> None:
    lib = extended
    det = grad_of(lambda xp, x: xp.linalg.det(x))
    off = lambda x: det(x)[0, 0] + det(x)[0, 1]  # noqa: E731
    lib.close(xn.grad(off)(lib.asarray(np.eye(3))), [[0, 0, 0], [-1, 1, 0], [0, 0, 1]], atol=1e-15)


@pytest.mark.parametrize("name", ["eigh", "eigvalsh", "svd", "svdvals"])
def test_values_that_repeat(extended: Any, name: str) -> None:
    """The sum of the squares of the values is smooth, though the vectors are not."""
    lib = extended
    place = {"eigh": 0, "svd": 1}.get(name)

    def squares(xp: Any, x: Any) -> Any:
        out = getattr(xp.linalg, name)(x)
        return xp.square(out if place is None else out[place])

    lib.close(grad_of(squares)(lib.asarray(3 * np.eye(3))), 6 * np.eye(3), 1e-14)


@pytest.mark.parametrize(("name", "place"), [("eigh", 1), ("svd", 0), ("svd", 2)])
def test_vectors_of_values_that_repeat(extended: Any, name: str, place: int) -> None:
    lib = extended
    weights = lib.asarray(np.reshape(np.arange(9.0), (3, 3)))
    vectors = lambda xp, x: getattr(xp.linalg, name)(x)[place] * weights  # noqa: E731
    with np.errstate(all="ignore"):
        gradient = lib.to_host(grad_of(vectors)(lib.asarray(3 * np.eye(3))))
    assert not np.any(np.isfinite(gradient))


def test_rank_is_a_constant(extended: Any) -> None:
    lib = extended

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(x) * xp.astype(xp.linalg.matrix_rank(x), x.dtype)

    lib.close(xn.grad(f)(lib.asarray(matrices(3, 2))), np.full((3, 2), 2.0))


def test_trace_in_another_dtype(extended: Any) -> None:
    lib = extended
    x = lib.asarray(elements(2, 2), "float32")
    trace = lambda xp, x: xp.linalg.trace(x, dtype=xp.float64)  # noqa: E731
    gradient = grad_of(trace)(x)
    assert gradient.dtype == x.dtype
    lib.close(gradient, np.eye(2))


@pytest.mark.parametrize("name", ["cholesky", "eigh", "eigvalsh"])
def test_gradient_of_a_hermitian_matrix_is_hermitian(extended: Any, name: str) -> None:
    lib = extended
    x = symmetric(3, 3, make=complex_)

    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        out = getattr(xp.linalg, name)(x)
        out = out[1] if name == "eigh" else out
        return xp.sum(xp.square(xp.abs(out)) * weights)

    shape = (3,) if name == "eigvalsh" else (3, 3)
    weights = lib.asarray(np.reshape(np.cos(np.arange(math.prod(shape))), shape))
    gradient = lib.to_host(xn.grad(f)(lib.asarray(x, None)))
    np.testing.assert_allclose(gradient, np.conj(gradient.T), rtol=0, atol=1e-14)


def test_the_first_power_is_a_copy(extended: Any) -> None:
    def f(x: Any) -> Any:
        xp = xn.array_namespace(x)
        x = 2 * x
        power = xp.linalg.matrix_power(x, 1)
        power += x
        return xp.sum(power * x)

    lib = extended
    lib.close(xn.grad(f)(lib.asarray(np.eye(2))), 16 * np.eye(2))
