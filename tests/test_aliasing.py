"""Writes into traced arrays: they do what the array library does, or raise."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import pytest

import xpnet as xn

ns = xn.array_namespace
NO_VIEWS = "its arrays cannot be written to, so nothing is a view of them"


def total(lib: Any, f: Callable[[Any, Any], Any], values: Any) -> Any:
    """Return the gradient of the sum of what `f` returns."""
    return xn.grad(lambda x: ns(x).sum(f(ns(x), x)))(lib.asarray(values))


def scan(xp: Any, x: Any) -> Any:
    out = xp.zeros(3, dtype=x.dtype, device=x.device)
    out[0] = x[0]
    for i in (1, 2):
        out[i] = out[i - 1] * x[i]
    return out


def augmented(xp: Any, x: Any) -> Any:
    y = xp.asarray(x, copy=True)
    y[0] += x[1] * 2.0
    y[1:] *= 3.0
    return y


def in_place(xp: Any, x: Any) -> Any:
    y = x * 2.0
    y += x
    y *= y
    y[...] = y * 2.0
    y -= x
    y /= 2.0
    return y


def broadcast(xp: Any, x: Any) -> Any:
    y = xp.zeros((2, 3), dtype=x.dtype, device=x.device)
    y[...] = x
    y[0, :] = 2.0
    y[:, 1:] = y[:, 1:] * x[1:]
    return y


def after_the_view_is_gone(xp: Any, x: Any) -> Any:
    y = x + 1.0
    first = y[0] * 2.0
    y[1] = first
    return y


@pytest.mark.parametrize(
    ("f", "truth"),
    [
        (scan, [9.0, 4.0, 2.0]),
        (augmented, [1.0, 5.0, 3.0]),
        (in_place, [17.5, 35.5, 53.5]),
        (broadcast, [1.0, 6.0, 8.0]),
        (after_the_view_is_gone, [3.0, 0.0, 1.0]),
    ],
)
def test_writes_are_differentiated(lib: Any, f: Any, truth: Any) -> None:
    values = [1.0, 2.0, 3.0]
    lib.close(total(lib, f, values), truth, 1e-14)
    # To second order: the sum of the products of the gradient with the point.
    x = lib.asarray(values)
    first = xn.grad(lambda x: ns(x).sum(f(ns(x), x)))
    slope = xn.grad(lambda t: ns(t).sum(first(t * x) * x))(lib.asarray(1.0))
    h = 1e-4
    at = [lib.to_host(first(lib.asarray([v * (1 + s) for v in values]))) for s in (h, -h)]
    difference = sum((at[0] - at[1]) * values) / (2 * h)
    lib.close(slope, difference, 1e-6, 1e-6)


@pytest.mark.parametrize("stem", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow"])
def test_in_place_operator(lib: Any, stem: str) -> None:
    apply, plain = getattr(operator, f"__i{stem}__"), getattr(operator, stem)

    def f(x: Any) -> Any:
        y = z = x * 1.0
        z = apply(z, 1.5)
        assert (z is y) == lib.writable
        y = z
        return ns(x).sum(y), (y, plain(x, 1.5))

    _, (given, truth) = xn.grad(f, has_aux=True)(lib.asarray([2.0, 3.5]))
    lib.close(given, lib.to_host(truth), 1e-15)


def test_a_mask(lib: Any) -> None:
    if lib.name == "array_api_strict":
        pytest.skip("array-api-strict: boolean indexing is switched off")

    def f(xp: Any, x: Any) -> Any:
        y = x * 2.0
        y[y > 3.0] *= y[y > 3.0]
        y[y < 3.0] = 0.0
        return y

    lib.close(total(lib, f, [1.0, 2.0, 3.0]), [0.0, 16.0, 24.0], 1e-15)


def test_the_array_below_is_not_written_to(lib: Any) -> None:
    def f(x: Any) -> Any:
        xp = ns(x)
        y = xp.asarray(x, copy=True)
        y[0] = 7.0
        z = xp.zeros_like(x)
        kept = z + x
        z += y
        return xp.sum(y * z), (kept, y)

    x = lib.asarray([1.0, 2.0])
    _, (kept, y) = xn.grad(f, has_aux=True)(x)
    lib.close(x, [1.0, 2.0])
    lib.close(kept, [1.0, 2.0])
    lib.close(y, [7.0, 2.0])


OUTSIDE = r"came from outside of the function.* x = xp\.asarray\(x, copy=True\)"


@pytest.mark.parametrize(
    "write",
    [
        lambda xp, x: operator.setitem(x, 0, 1.0),
        lambda xp, x: operator.setitem(xp.expand_dims(x, axis=0), 0, 1.0),
        lambda xp, x: operator.setitem(xp.reshape(x, (1, 2)), 0, 1.0),
        lambda xp, x: operator.setitem(xp.flip(x), 0, 1.0),
        lambda xp, x: operator.setitem(xp.asarray(x), 0, 1.0),
        lambda xp, x: operator.setitem(xn.stop_gradient(x), 0, 1.0),
    ],
)
def test_arrays_from_outside(lib: Any, write: Any) -> None:
    def f(xp: Any, x: Any) -> Any:
        write(xp, x)
        return x

    with pytest.raises(xn.TracedArrayError, match=OUTSIDE):
        total(lib, f, [1.0, 2.0])


@pytest.mark.parametrize("part", [slice(None), slice(1), ...])
def test_in_place_operators_on_arrays_from_outside(lib: Any, part: Any) -> None:
    if not lib.writable:
        pytest.skip(NO_VIEWS)

    def f(xp: Any, x: Any) -> Any:
        return operator.iadd(x if part is ... else x[part], 1.0)

    with pytest.raises(xn.TracedArrayError, match=OUTSIDE):
        total(lib, f, [1.0, 2.0])


def test_a_raw_array_that_a_function_closes_over(lib: Any) -> None:
    closed = lib.asarray([1.0, 2.0])

    def f(xp: Any, x: Any) -> Any:
        y = xp.asarray(closed)
        y[...] = x
        return y

    with pytest.raises(xn.TracedArrayError, match=OUTSIDE):
        total(lib, f, [1.0, 2.0])


def test_a_live_view(lib: Any) -> None:
    if not lib.writable:
        pytest.skip(NO_VIEWS)

    def f(xp: Any, x: Any) -> Any:
        y = x * 2.0
        view = y[:1]
        y[0] = 5.0
        return y + view

    with pytest.raises(xn.TracedArrayError, match=r"another .* array shares the memory of x"):
        total(lib, f, [1.0, 2.0])


def test_a_view_that_is_written_to(lib: Any) -> None:
    if not lib.writable:
        pytest.skip(NO_VIEWS)

    def f(xp: Any, x: Any) -> Any:
        y = x * 2.0
        view = y[:1]
        view += 5.0
        return xp.sum(y)

    with pytest.raises(TypeError):  # ours where the library asks the array for anything
        total(lib, f, [1.0, 2.0])


def test_in_place_operator_that_would_change_the_shape(lib: Any) -> None:
    def f(xp: Any, x: Any) -> Any:
        y = xp.sum(x, keepdims=True)
        y += x
        return y

    if lib.writable:
        with pytest.raises(TypeError, match=r"x \+= y: x has shape \(1,\) .* write x = x \+ y"):
            total(lib, f, [1.0, 2.0])
    else:
        lib.close(total(lib, f, [1.0, 2.0]), [3.0, 3.0])


def test_an_array_with_a_leading_axis_of_length_1(lib: Any) -> None:
    w = lib.asarray([1.0, 10.0, 100.0])

    def f(x: Any) -> Any:
        xp = ns(x)
        y = xp.zeros((2, 3), dtype=x.dtype, device=x.device)
        y[:1, :] = x
        z = xp.zeros((3,), dtype=x.dtype, device=x.device)
        z[...] = xp.reshape(x, (3,))
        return xp.sum(y * w) + xp.sum(x * x) + xp.sum(z)

    gradient = xn.grad(f)(lib.asarray([[1.0, 2.0, 3.0]]))
    lib.close(gradient, [[4.0, 15.0, 107.0]], 1e-15)


def test_arrays_that_the_library_cannot_write_to(lib: Any) -> None:
    """NumPy's reductions and items, and all arrays of JAX: ``a += b`` makes a new array there."""

    def f(xp: Any, x: Any) -> Any:
        total = xp.sum(x)
        old = total
        total += xp.max(x)
        history = []
        running = x[0]
        for i in (1, 2):
            running += x[i]
            history.append(running * 1.0)
        return (total - old) * 5.0 + sum(history)

    values = [1.0, 2.0, 3.0]
    if lib.name.startswith("numpy") or not lib.writable:
        lib.close(f(lib.xp, lib.asarray(values)), 24.0)
        lib.close(total(lib, f, values), [2.0, 2.0, 6.0], 1e-15)
    else:
        with pytest.raises(xn.TracedArrayError, match=OUTSIDE):
            total(lib, f, values)


def test_items_that_are_updated_twice(lib: Any) -> None:
    if not lib.writable:
        pytest.skip(NO_VIEWS)

    def f(xp: Any, x: Any) -> Any:
        y = xp.stack([x, x])
        view = y[0, ...]
        view += 1.0
        view *= x
        y[1, :] += view
        return view

    with pytest.raises(TypeError):
        total(lib, f, [1.0, 2.0])  # the library would show the first two lines in y


def test_slices_that_python_makes_twice(lib: Any) -> None:
    def f(xp: Any, x: Any) -> Any:
        y = x * 1.0
        item = y[slice(1, 3)]
        item = operator.iadd(item, x[:2])
        y[slice(1, 3)] = item
        return y * y

    lib.close(total(lib, f, [1.0, 2.0, 3.0]), [8.0, 16.0, 10.0], 1e-15)


def test_a_row_from_another(lib: Any) -> None:
    def f(xp: Any, x: Any) -> Any:
        y = xp.stack([x, 2.0 * x])
        y[0, :] = y[1, :]
        return y

    lib.close(total(lib, f, [1.0, 2.0]), [4.0, 4.0], 1e-15)


@pytest.mark.parametrize("lib", ["numpy", "torch", "jax"], indirect=True)
def test_repeated_positions(lib: Any) -> None:
    """The last one counts, in the value and in the gradient."""

    def f(xp: Any, x: Any) -> Any:
        y = xp.zeros_like(x)
        y[xp.asarray([0, 0, 2])] = x
        return y

    x = lib.asarray([1.0, 2.0, 3.0])
    value, gradient = xn.value_and_grad(lambda x: ns(x).sum(f(ns(x), x)))(x)
    kept = [0.0, 1.0] if float(lib.to_host(value)) == 5.0 else [1.0, 0.0]
    lib.close(gradient, [*kept, 1.0])


def test_values_that_an_array_cannot_hold(lib: Any) -> None:
    def integers(xp: Any, x: Any) -> Any:
        y = xp.zeros((2,), dtype=xp.int64, device=x.device)
        y[0] = x[0]
        return y

    def real(xp: Any, x: Any) -> Any:
        y = xp.zeros_like(x)
        y[...] = xp.astype(x, xp.complex128)
        return y

    for f in (integers, real):
        with pytest.raises(TypeError, match=r"which cannot hold a value of dtype .*xp\.astype"):
            total(lib, f, [1.0, 2.0])


def test_results_of_gradients_by_hand_may_be_views(lib: Any) -> None:
    @xn.custom_gradient
    def same(x: Any) -> Any:
        return x, lambda grad: grad

    def f(xp: Any, x: Any) -> Any:
        y = x * 1.0
        z = same(y)
        z[0] = 10.0
        return y

    with pytest.raises(xn.TracedArrayError, match=r"another .* array shares"):
        total(lib, f, [1.0, 2.0])


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("written", ["result", "argument"])
def test_results_of_gradients_by_hand_may_be_views_of_any_argument(
    lib: Any, which: int, written: str
) -> None:
    @xn.custom_gradient
    def pick(a: Any, b: Any) -> Any:
        return (a, b)[which], lambda grad: (grad, None) if which == 0 else (None, grad)

    def f(xp: Any, x: Any) -> Any:
        y = x * 1.0
        z = pick(y, x * 2.0) if which == 0 else pick(x * 2.0, y)  # the other one is gone at once
        changed = z if written == "result" else y
        changed[0] = 10.0
        return y + z

    with pytest.raises(xn.TracedArrayError, match=r"another .* array shares"):
        total(lib, f, [1.0, 2.0])
