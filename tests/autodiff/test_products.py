"""Products with Jacobians and Hessians, full Jacobians and Hessians, on every library."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, special

ns = xn.array_namespace


def curve(x: Any, y: Any) -> Any:
    """Return a function of two vectors with a full Jacobian: sin(x0 y) and x1 exp(y)."""
    xp = ns(x, y)
    return xp.concat([xp.sin(x[0] * y), x[1] * xp.exp(y)])


X, Y = np.asarray([0.5, -1.5]), np.asarray([0.3, 0.7, -0.4])


def curve_jacobian() -> tuple[np.ndarray, np.ndarray]:
    """Return the derivatives of `curve` by x and by y, by hand."""
    cos, exp = np.cos(X[0] * Y), np.exp(Y)
    by_x = np.zeros((6, 2))
    by_x[:3, 0], by_x[3:, 1] = Y * cos, exp
    return by_x, np.concatenate([np.diag(X[0] * cos), np.diag(X[1] * exp)])


def energy(x: Any) -> Any:
    xp = ns(x)
    return xp.sum(xp.exp(x[:-1] * x[1:])) + xp.sum(x**3)


def energy_hessian(x: np.ndarray) -> np.ndarray:
    h = np.diag(6 * x)
    for i in range(len(x) - 1):
        a, b = x[i], x[i + 1]
        e = math.exp(a * b)
        h[i, i] += b * b * e
        h[i + 1, i + 1] += a * a * e
        h[i, i + 1] += e * (1 + a * b)
        h[i + 1, i] += e * (1 + a * b)
    return h


def test_vjp(lib: Any) -> None:
    by_x, by_y = curve_jacobian()
    x, y = lib.asarray(X), lib.asarray(Y)
    with lib.guard():
        value, pullback = xn.vjp(curve, x, y)
        one = pullback(lib.asarray(np.arange(6.0)))
        other = pullback(lib.asarray(np.ones(6)))
    lib.close(value, np.concatenate([np.sin(X[0] * Y), X[1] * np.exp(Y)]))
    for given, w in [(one, np.arange(6.0)), (other, np.ones(6))]:
        lib.close(given[0], w @ by_x)
        lib.close(given[1], w @ by_y)


def test_jvp(lib: Any) -> None:
    by_x, by_y = curve_jacobian()
    u, v = np.asarray([2.0, -1.0]), np.asarray([0.5, 1.0, 3.0])
    with lib.guard():
        value, tangent = xn.jvp(
            curve, (lib.asarray(X), lib.asarray(Y)), (lib.asarray(u), lib.asarray(v))
        )
    lib.close(value, np.concatenate([np.sin(X[0] * Y), X[1] * np.exp(Y)]))
    lib.close(tangent, by_x @ u + by_y @ v)


def test_jacobian_forward_and_reverse(lib: Any) -> None:
    by_x, by_y = curve_jacobian()
    x, y = lib.asarray(X), lib.asarray(Y)
    calls: list[int] = []

    def counted(x: Any, y: Any) -> Any:
        calls.append(1)
        return curve(x, y)

    lib.close(xn.jacobian(counted)(x, y), by_x)  # 2 to 6: pushed forward
    assert len(calls) == 1
    calls.clear()
    total = xn.jacobian(lambda x, y: ns(x).sum(counted(x, y)), argnums=1)(x, y)
    lib.close(total, by_y.sum(axis=0))
    assert len(calls) == 1
    both = xn.jacobian(curve, argnums=(1, 0))(x, y)
    assert isinstance(both, tuple)
    lib.close(both[0], by_y)
    lib.close(both[1], by_x)


@pytest.mark.parametrize(("shape", "out"), [((2, 3), (3, 2)), ((), (4,)), ((4,), ()), ((0,), (3,))])
def test_shape_of_a_jacobian(lib: Any, shape: Any, out: Any) -> None:
    matrix = np.cos(np.arange(math.prod(out) * math.prod(shape))).reshape(
        math.prod(out), math.prod(shape)
    )
    weights = lib.asarray(matrix)

    def linear(x: Any) -> Any:
        xp = ns(x)
        return xp.reshape(xp.matmul(xp.asarray(weights), xp.reshape(x, (-1,))), out)

    jacobian = xn.jacobian(linear)(lib.asarray(np.ones(shape)))
    assert tuple(jacobian.shape) == out + shape
    lib.close(jacobian, matrix.reshape(out + shape))


def test_jacobian_of_trees(lib: Any) -> None:
    def f(p: Any) -> Any:
        return {"product": p["a"] * p["b"], "pair": [p["a"] ** 2, ns(p["b"]).sum(p["b"])]}

    p = {"a": lib.asarray([2.0, 3.0]), "b": lib.asarray([5.0, 7.0])}
    j = xn.jacobian(f)(p)
    lib.close(j["product"]["a"], np.diag([5.0, 7.0]))
    lib.close(j["product"]["b"], np.diag([2.0, 3.0]))
    lib.close(j["pair"][0]["a"], np.diag([4.0, 6.0]))
    lib.close(j["pair"][0]["b"], np.zeros((2, 2)))
    lib.close(j["pair"][1]["b"], [1.0, 1.0])


def test_hessian_and_hvp(lib: Any) -> None:
    x, v = np.asarray([0.3, -0.7, 1.1]), np.asarray([1.0, -2.0, 0.5])
    truth = energy_hessian(x)
    with lib.guard():
        hessian = xn.hessian(energy)(lib.asarray(x))
        (product,) = xn.hvp(energy, (lib.asarray(x),), (lib.asarray(v),))
    lib.close(hessian, truth)
    lib.close(product, truth @ v)


def test_hvp_of_two_arguments(lib: Any) -> None:
    def f(x: Any, y: Any) -> Any:
        return ns(x).sum(x**2 * y)

    x, y, u, v = (lib.asarray(a) for a in ([2.0], [3.0], [1.0], [10.0]))
    given = xn.hvp(f, (x, y), (u, v))
    lib.close(given[0], [6.0 * 1.0 + 4.0 * 10.0])
    lib.close(given[1], [4.0 * 1.0])


def test_hessian_by_two_arguments(lib: Any) -> None:
    h = xn.hessian(lambda x, y: x**2 * y, argnums=(0, 1))(lib.asarray(2.0), lib.asarray(3.0))
    assert [[float(lib.to_host(b)) for b in row] for row in h] == [[6.0, 4.0], [4.0, 0.0]]


def test_third_derivatives(lib: Any) -> None:
    third = xn.jacobian(xn.hessian(energy))(lib.asarray([0.5]))
    lib.close(third, [[[6.0]]])
    h = 1e-5
    at = [energy_hessian(np.asarray([1.0, 2.0]) * (1 + s)).sum() for s in (h, -h)]
    tilted = xn.grad(lambda t: ns(t).sum(xn.hessian(energy)(t * lib.asarray([1.0, 2.0]))))
    lib.close(tilted(lib.asarray(1.0)), (at[0] - at[1]) / (2 * h), 1e-8)


def test_jvp_inside_grad_and_grad_inside_jvp(lib: Any) -> None:
    def slope(x: Any) -> Any:
        return xn.jvp(lambda y: y**3, (x,), (ns(x).ones_like(x),))[1]

    lib.close(xn.grad(slope)(lib.asarray(2.0)), 12.0)
    one = lib.asarray(1.0)
    lib.close(xn.jvp(xn.grad(lambda y: y**3), (lib.asarray(2.0),), (one,))[1], 12.0)


def test_perturbations_are_not_confused(lib: Any) -> None:
    """D x (d/dy (x y)) = D x x = 1, not 2."""

    def outer(x: Any) -> Any:
        return x * xn.jvp(lambda y: x * y, (ns(x).ones_like(x),), (ns(x).ones_like(x),))[1]

    lib.close(xn.grad(outer)(lib.asarray(3.0)), 6.0)
    lib.close(xn.jvp(outer, (lib.asarray(3.0),), (lib.asarray(1.0),))[1], 6.0)


def test_a_gradient_by_hand_is_pushed_forward(lib: Any) -> None:
    x, v = np.asarray([[0.3, -0.7, 1.1]]), np.asarray([[1.0, -2.0, 0.5]])
    p = np.exp(x) / np.exp(x).sum()
    _, tangent = xn.jvp(special.softmax, (lib.asarray(x),), (lib.asarray(v),))
    lib.close(tangent, p * (v - (p * v).sum()))


def test_a_module(lib: Any) -> None:
    model = nn.Sequential(nn.Linear(2, 3, dtype="float64"), nn.Tanh())
    x = lib.asarray([[0.5, -1.0]])
    before = {name: lib.to_host(p) for name, p in model.parameters().items()}

    def f(model: Any, x: Any) -> Any:
        return model(x)

    _, pullback = xn.vjp(f, model, x)
    grads, grad_x = pullback(lib.asarray([[1.0, 2.0, 3.0]]))
    assert set(grads) == set(before)
    tangents = {
        name: lib.asarray(np.cos(np.arange(p.size)).reshape(p.shape))
        for name, p in reversed(before.items())
    }  # the order of the names is free
    u = lib.asarray([[0.25, 0.5]])
    _, tangent = xn.jvp(f, (model, x), (tangents, u))
    # <w, J t> = <J' w, t>
    left = np.sum(lib.to_host(tangent) * [[1.0, 2.0, 3.0]])
    right = np.sum(lib.to_host(grad_x) * lib.to_host(u)) + sum(
        np.sum(lib.to_host(grads[name]) * lib.to_host(t)) for name, t in tangents.items()
    )
    assert math.isclose(left, right, rel_tol=1e-12)
    matrix = xn.jacobian(f)(model, x)
    assert tuple(matrix["0.weight"].shape) == (1, 3, 3, 2)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(lib.to_host(p), before[name])


def test_complex_numbers(lib: Any) -> None:
    """<conj> is its own transpose: the tangent of conj(z) along t is conj(t)."""
    z = lib.asarray(np.asarray([1 + 2j, -0.5j]), "complex128")
    t = np.asarray([0.5 - 1j, 2 + 1j])

    def f(z: Any) -> Any:
        return ns(z).conj(z) * z

    _, tangent = xn.jvp(f, (z,), (lib.asarray(t, "complex128"),))
    host = np.asarray([1 + 2j, -0.5j])
    lib.close(tangent, 2 * np.real(np.conj(host) * t) + 0j)
    with pytest.raises(TypeError, match=r"expected real arguments and values, got dtype .*complex"):
        xn.jacobian(f)(z)


def test_auxiliary_output(lib: Any) -> None:
    value, pullback, aux = xn.vjp(lambda x: (x * 2.0, {"seen": x}), lib.asarray(3.0), has_aux=True)
    lib.close(value, 6.0)
    lib.close(aux["seen"], 3.0)
    lib.close(pullback(lib.asarray(1.0))[0], 2.0)


@pytest.mark.parametrize(
    ("cotangent", "match"),
    [
        (lambda lib: lib.asarray([1.0]), r"expected a cotangent of shape \(2,\) .*, got \(1,\)"),
        (lambda lib: lib.asarray([1.0, 1.0], "float32"), r"and dtype .*float64.*float32"),
        (lambda lib: [lib.asarray([1.0, 1.0])], "another structure|expected arrays"),
        (lambda lib: 1.0, "expected arrays as cotangent, got float"),
    ],
)
def test_wrong_cotangent(lib: Any, cotangent: Any, match: str) -> None:
    _, pullback = xn.vjp(lambda x: x * 2.0, lib.asarray([1.0, 2.0]))
    with pytest.raises((TypeError, ValueError), match=match):
        pullback(cotangent(lib))


def test_wrong_tangents(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    with pytest.raises(ValueError, match=r"jvp of .*: the tangent has another structure: expected"):
        xn.jvp(lambda x: x * 2.0, (x,), (x, x))
    with pytest.raises(ValueError, match=r"expected a tangent of shape \(2,\)"):
        xn.jvp(lambda x: x * 2.0, (x,), (lib.asarray([1.0]),))


def test_wrong_values(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=r"it must return arrays, got float"):
        xn.vjp(lambda x: 1.0, x)
    with pytest.raises(TypeError, match=r"it must return floating-point arrays, got dtype"):
        xn.vjp(lambda x: ns(x).argmax(x), x)
    with pytest.raises(IndexError, match=r"jacobian of .*: argnums names argument 1"):
        xn.jacobian(lambda x: x, argnums=1)(x)


def test_cotangent_that_is_differentiated_outside(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    _, pullback = xn.vjp(lambda x: x * x, x)
    with pytest.raises(xn.TracedArrayError, match="taken outside of what differentiates it"):
        xn.grad(lambda v: ns(v).sum(pullback(v)[0]))(x)
    inside = xn.grad(lambda v: ns(v).sum(xn.vjp(lambda x: x * x, x)[1](v)[0]))(x)
    lib.close(inside, [2.0, 4.0])


def test_constant_function(lib: Any) -> None:
    x = lib.asarray([1.0, 2.0])
    _, pullback = xn.vjp(lambda x: ns(x).ones_like(x), x)
    lib.close(pullback(x)[0], [0.0, 0.0])
    lib.close(xn.jvp(lambda x: ns(x).ones_like(x), (x,), (x,))[1], [0.0, 0.0])
    lib.close(xn.hessian(lambda x: ns(x).sum(x))(x), np.zeros((2, 2)))
