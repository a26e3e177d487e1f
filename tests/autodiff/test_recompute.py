"""Gradients that compute again equal those that store, and store less."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.autodiff import checkpoint

ns = xn.array_namespace


class Noted(nn.Module):
    """A layer with a buffer that counts its calls, and a dropout with numbers of its own."""

    def __init__(self) -> None:
        self.linear = nn.Linear(3, 3, dtype="float64")
        self.dropout = nn.Dropout(0.5)
        self.own = nn.Dropout(0.5, rng=xn.Generator(3))
        self.calls = nn.Buffer(xn.asarray(0.0, dtype="float64"))

    def forward(self, x: Any) -> Any:
        self.calls = self.calls + 1
        return self.own(self.dropout(ns(x).tanh(self.linear(x))))


def both(lib: Any, wrap: Any) -> Any:
    """Return what one run of two blocks gives: value, gradients, buffers, draws."""
    xn.seed(0)
    model = nn.Sequential(Noted(), Noted())
    x = lib.asarray(np.cos(np.arange(6.0)).reshape(2, 3))

    def f(model: Any, x: Any) -> Any:
        for block in model:
            x = wrap(block)(x)
        return ns(x).sum(x * x)

    value, (grads, grad_x) = xn.value_and_grad(f, argnums=(0, 1))(model, x)
    draws = [xn.random.default_generator().draws, model[0].own.rng.draws]
    arrays = [value, grad_x, *grads.values(), *model.buffers().values()]
    return [lib.to_host(a) for a in arrays], list(grads), draws


def test_a_module_with_buffers_and_random_numbers(lib: Any) -> None:
    plain, names, draws = both(lib, lambda block: block)
    again, same_names, same_draws = both(lib, checkpoint)
    assert (names, draws) == (same_names, same_draws)
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_modules_and_constants_as_arguments(lib: Any) -> None:
    layer = nn.Linear(2, 2, dtype="float64")
    x, labels = lib.asarray([[1.0, 2.0]]), lib.asarray([1], None)

    def f(layer: Any, x: Any, labels: Any, scale: float = 1.0) -> Any:
        return xn.losses.cross_entropy(layer(x["x"]), labels) * scale

    def run(f: Any) -> Any:
        return xn.grad(lambda m, x: f(m, {"x": x}, labels, scale=3.0), argnums=(0, 1))(layer, x)

    (plain, plain_x), (again, again_x) = run(f), run(checkpoint(f))
    for name, grad in plain.items():
        lib.close(again[name], lib.to_host(grad), 1e-14)
    lib.close(again_x, lib.to_host(plain_x), 1e-14)


def test_second_derivatives_and_directions(lib: Any) -> None:
    block = checkpoint(lambda x: ns(x).tanh(x) * x)
    x, v = lib.asarray([0.5, -1.0]), lib.asarray([1.0, 2.0])
    xn.check_gradient(block, x, order=3)
    plain = xn.jvp(lambda x: ns(x).tanh(x) * x, (x,), (v,))[1]
    lib.close(xn.jvp(block, (x,), (v,))[1], lib.to_host(plain), 1e-14)
    lib.close(block(x), lib.to_host(ns(x).tanh(x) * x))


def test_less_is_stored() -> None:
    x = np.ones(100_000)

    def block(x: Any) -> Any:
        for _ in range(10):
            x = ns(x).sin(x)
        return x

    def peak(wrap: Any) -> int:
        def f(x: Any) -> Any:
            for _ in range(10):
                x = wrap(block)(x)
            return ns(x).sum(x)

        tracemalloc.start()
        xn.grad(f)(x)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(checkpoint) < 0.3 * peak(lambda block: block)


def test_the_function_must_return_an_array(lib: Any) -> None:
    with pytest.raises(TypeError, match="checkpoint: the function must return an array, got tuple"):
        xn.grad(checkpoint(lambda x: (x, x)))(lib.asarray(1.0))


def test_state_is_whole_again_after_an_error(lib: Any) -> None:
    model = Noted()
    before = dict(model.parameters())

    def fails(model: Any, x: Any) -> Any:
        model(x)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        xn.grad(checkpoint(fails))(model, lib.asarray(np.ones((1, 3))))
    assert all(array is before[name] for name, array in model.parameters().items())
    lib.close(model.calls, 0.0)


def test_a_module_that_is_closed_over(lib: Any) -> None:
    model = nn.Linear(2, 2, dtype="float64")
    x = lib.asarray([[1.0, 2.0]])

    def f(model: Any, x: Any, wrap: Any) -> Any:
        return ns(x).sum(wrap(lambda h: model(h) ** 2)(x))

    plain = xn.grad(lambda m, x: f(m, x, lambda g: g), argnums=(0, 1))(model, x)
    again = xn.grad(lambda m, x: f(m, x, checkpoint), argnums=(0, 1))(model, x)
    for name, grad in plain[0].items():
        lib.close(again[0][name], lib.to_host(grad), 1e-14)
    lib.close(again[1], lib.to_host(plain[1]), 1e-14)


def test_an_array_that_is_closed_over(lib: Any) -> None:
    def f(w: Any, x: Any) -> Any:
        return ns(x).sum(checkpoint(lambda h: h * w)(x))

    with pytest.raises(TypeError) as caught:
        xn.grad(f, argnums=(0, 1))(lib.asarray([1.0]), lib.asarray([2.0]))
    said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "what it closes over" in said
