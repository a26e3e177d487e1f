"""Nothing is silently wrong: what would lose a gradient raises, or keeps it."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, special

ESCAPED = "used after the xn.grad that made it had returned"


def ns(*arrays: Any) -> Any:
    return xn.array_namespace(*arrays)


def nth(function: Any, n: int) -> Any:
    for _ in range(n):
        function = xn.grad(function)
    return function


def test_an_array_kept_from_an_earlier_gradient(lib: Any) -> None:
    kept = []

    def function(x: Any) -> Any:
        kept.append(x)
        return kept[0] * x

    lib.close(xn.grad(function)(lib.asarray(3.0)), 6.0)
    with pytest.raises(xn.TracedArrayError, match=ESCAPED):
        xn.grad(function)(lib.asarray(3.0))


def test_an_array_kept_from_an_inner_gradient(lib: Any) -> None:
    kept = []

    def outer(x: Any) -> Any:
        def inner(y: Any) -> Any:
            kept.append(y * x)
            return y * y

        xn.grad(inner)(x)
        return kept.pop()

    with pytest.raises(xn.TracedArrayError, match=ESCAPED):
        xn.grad(outer)(lib.asarray(3.0))


def test_a_gradient_in_another_thread(lib: Any) -> None:
    def outer(x: Any) -> Any:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: xn.grad(lambda y: y * y * y)(x)).result()

    lib.close(xn.grad(outer)(lib.asarray(2.0)), 12.0)


@pytest.mark.parametrize(
    ("function", "order", "truth"),
    [
        (lambda x: ns(x).tanh(x), 3, -2.0),
        (special.expit, 3, -0.125),
        (special.softplus, 4, -0.125),
        (lambda x: ns(x).logaddexp(x, 0.0 * x), 2, 0.25),
    ],
    ids=["tanh", "expit", "softplus", "logaddexp"],
)
def test_higher_derivatives_at_zero(lib: Any, function: Any, order: int, truth: float) -> None:
    lib.close(nth(function, order)(lib.asarray(0.0)), truth, 1e-12)


def test_a_real_number_that_became_complex_gets_the_real_part(lib: Any) -> None:
    def f(x: Any) -> Any:
        xp = ns(x)
        return xp.real(xp.astype(x, xp.complex128) * (3 - 4j))

    gradient = xn.grad(f)(lib.asarray(2.0))
    assert lib.to_host(gradient).dtype == "float64"
    lib.close(gradient, 3.0)


def test_a_differentiated_array_in_a_container_of_a_custom_gradient(lib: Any) -> None:
    @xn.custom_gradient
    def total(pair: Any) -> Any:
        return pair[0] + pair[1], lambda grad: grad

    with pytest.raises(xn.TracedArrayError, match="passed inside of a container"):
        xn.grad(lambda x: total([x, x]))(lib.asarray(1.0))


@pytest.mark.parametrize("result", [1.0, (1.0, 2.0, 3.0), (1.0, 2.0)])
def test_a_custom_gradient_without_a_gradient(lib: Any, result: Any) -> None:
    @xn.custom_gradient
    def forgotten(x: Any) -> Any:
        return result

    with pytest.raises(TypeError, match=r"forgotten: .* must return \(value, vjp\)"):
        forgotten(lib.asarray(1.0))


def test_a_parameter_written_inside(lib: Any) -> None:
    model = nn.Linear(1, 1)

    def loss(model: Any, x: Any) -> Any:
        model.weight = model.weight * 0.5
        return ns(x).sum(model(x))

    before = lib.to_host(model.weight)
    with pytest.raises(xn.TracedArrayError, match=r"Linear\.weight: a parameter was written to"):
        xn.grad(loss)(model, lib.asarray([[1.0]], "float32"))
    np.testing.assert_array_equal(lib.to_host(model.weight), before)


def test_a_buffer_written_twice_and_used(lib: Any) -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            self.mean = nn.Buffer(lib.asarray([0.0]))

        def forward(self, x: Any) -> Any:
            self.mean = self.mean * 0.5 + x
            return self.mean + x

    def loss(x: Any, model: Any) -> Any:
        return ns(x).sum(model(x) + model(x))

    model = Mean()
    with lib.guard():
        gradient = xn.grad(loss)(lib.asarray([1.0]), model)
    lib.close(gradient, [2.0])  # nothing flows through the buffer
    lib.close(model.mean, [1.5])


def test_a_value_that_is_refused_leaves_the_buffers_alone(lib: Any) -> None:
    class Count(nn.Module):
        def __init__(self) -> None:
            self.calls = nn.Buffer(lib.asarray([0.0]))

        def forward(self, x: Any) -> Any:
            self.calls = self.calls + 1.0
            return x

    model = Count()
    with pytest.raises(ValueError, match="must return one number"):
        xn.grad(lambda x, model: model(x))(lib.asarray([1.0, 2.0]), model)
    lib.close(model.calls, [0.0])


def test_an_axis_by_position(lib: Any) -> None:
    if lib.name in ("array_api_strict", "torch"):
        pytest.skip("their functions of the standard take an axis by keyword only")
    x = lib.asarray([[1.0, 2.0], [3.0, 5.0]])
    weights = lib.asarray([1.0, 10.0])
    for name, truth in (("sum", [[1.0, 10.0]] * 2), ("mean", [[0.5, 5.0]] * 2)):
        gradient = xn.grad(lambda x, n=name: ns(x).sum(getattr(ns(x), n)(x, 0) * weights))(x)
        lib.close(gradient, truth)


def test_a_gradient_by_hand_of_a_function_that_closes_over_a_differentiated_array(lib: Any) -> None:
    def f(w: Any, x: Any) -> Any:
        @xn.custom_gradient
        def product(x: Any) -> Any:
            return x * w, lambda grad: grad * w

        return ns(x).sum(product(x))

    w, x = lib.asarray([1.0, 2.0]), lib.asarray([3.0, 4.0])
    if lib.name != "array_api_strict":  # which lets no raw array meet a traced one on its right
        lib.close(xn.grad(f)(w, x), [3.0, 4.0])
    with pytest.raises(TypeError) as caught:
        xn.grad(f, argnums=(0, 1))(w, x)
    said = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "what it closes over, if that is differentiated too, as positional arguments" in said


def test_a_gradient_by_hand_of_integers(lib: Any) -> None:
    @xn.custom_gradient
    def quantized(x: Any) -> Any:
        return ns(x).astype(x, ns(x).int64), lambda grad: grad

    with pytest.raises(TypeError, match=r"must return a floating-point array, got dtype .*int64"):
        xn.grad(lambda x: ns(x).sum(quantized(x) * 2))(lib.asarray([1.5]))


def test_copies_of_arrays_keep_their_gradient(lib: Any) -> None:
    for copied in (copy.copy, copy.deepcopy):
        gradient = xn.grad(lambda x, c=copied: ns(x).sum(c(x) ** 2))(lib.asarray([1.0, 3.0]))
        lib.close(gradient, [2.0, 6.0])
    with pytest.raises(xn.TracedArrayError, match="cannot be pickled"):
        xn.grad(lambda x: pickle.dumps(x))(lib.asarray([1.0]))


def test_an_unsigned_exponent(lib: Any) -> None:
    exponent = lib.asarray([0, 1, 2], "uint8")
    if lib.name == "array_api_strict":
        pytest.skip("array-api-strict: floats and integers do not mix")
    gradient = xn.grad(lambda x: ns(x).sum(x**exponent))(lib.asarray([2.0, 2.0, 2.0]))
    lib.close(gradient, [0.0, 1.0, 4.0])


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    "foreign",
    [
        np.ma.masked_array(np.ones((3, 3)), mask=np.eye(3)),
        np.eye(3).view(np.matrix),
    ],
    ids=["masked array", "matrix"],
)
def test_what_computes_otherwise_than_arrays_gives_no_gradient(foreign: Any) -> None:
    message = rf"^grad of .*: a {type(foreign).__name__} has met the arrays .* xn\.asarray$"
    layer = nn.Linear(3, 3, bias=False, dtype="float64")
    calls = [
        (lambda x: ns(x).sum(foreign * x), [np.ones((3, 3))]),
        (lambda x: ns(x).sum(ns(x).exp(x) * foreign), [np.ones((3, 3))]),
        (lambda x, y: ns(x).sum(x * y), [np.ones((3, 3)), foreign]),
        (lambda layer, x: ns(x).sum(layer(x) * foreign), [layer, np.ones((3, 3))]),
    ]
    for function, arguments in calls:
        with pytest.raises(TypeError, match=message):
            xn.grad(function)(*arguments)
