"""Kernels: what fuses, what each engine makes of them, and their twin."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import tree
from xpnet.program.clean import clean
from xpnet.program.fuse import fuse
from xpnet.program.host import host
from xpnet.program.kernel import Kernel
from xpnet.program.loops import print_loops
from xpnet.program.program import Program
from xpnet.program.record import Recording
from xpnet.program.source import print_program

fast = pytest.importorskip("xpnet_backends.numpy.fast")
loops = pytest.importorskip("xpnet_backends.numpy.loops")

Function = Callable[..., Any]


pytestmark = pytest.mark.usefixtures("kernels")


def record(function: Function, *arrays: Any, state: int = 0) -> Program:
    """Return the cleaned program of ``function(xp, *arrays)``; it returns what it makes of each.

    The first results take the places of as many arrays of state.
    """
    with Recording(xn.array_namespace(*arrays)) as recording:
        wrapped = [recording.wrap(array) for array in arrays]
        results = function(xn.array_namespace(*wrapped), *wrapped)
        results = list(results) if isinstance(results, tuple) else [results]
        places = [x.place for x in wrapped]
        updates = [recording.reference(x).place for x in results[:state]]
        returned = tree.map(recording.reference, results[state:])
        return clean(Program.of(recording, places[:state], places[state:], returned, updates))


def kernels(program: Program) -> list[Kernel]:
    return [e.function for e in program.entries if isinstance(e.function, Kernel)]


def outputs(printed: Any, program: Program, arrays: list[Any], runs: int = 2) -> list[Any]:
    """Return all results and the state after some runs, in memory of their own."""
    step, numbers = printed.function(), [n for compute, _ in program.hosts for n in compute()]
    state = [x.copy() for x in arrays[: len(program.state)]]
    found: list[Any] = []
    for _ in range(runs):
        outs = step(*state, *arrays[len(state) :], *numbers)
        count = len(program.results_places)
        changed = iter(outs[count:])
        state = [
            next(changed) if new != old else x
            for old, new, x in zip(program.state, program.updates, state, strict=True)
        ]
        found += [np.array(x) for x in (*outs[:count], *state)]
    return found


def compare(function: Function, *arrays: Any, state: int = 0, count: int | None = None) -> Any:
    """Compare what Numba makes of a function with what NumPy does; return the printed source."""
    program = record(function, *arrays, state=state)
    printed = fast.print_fused(program)
    with np.errstate(all="ignore"):
        expected = outputs(print_program(program), program, list(arrays))
        found = outputs(printed, program, list(arrays))
    for x, y in zip(expected, found, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if x.dtype.kind == "f":
            eps = float(np.finfo(x.dtype).eps)
            scale = float(np.max(np.abs(x), initial=0, where=np.isfinite(x)))
            np.testing.assert_allclose(y, x, rtol=64 * eps, atol=16 * eps * scale)
        else:
            np.testing.assert_array_equal(y, x)
    if count is not None:
        assert printed.source.count("kernel") == count, printed.source
    return printed.source


def anything(kernel: Kernel) -> None:
    """Refuse no kernel."""


def floats(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def softmax_cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    exps = xp.exp(shifted)
    total = xp.sum(exps, axis=-1, keepdims=True)
    hot = xp.astype(labels[:, None] == xp.arange(10), logits.dtype)
    grad = (exps / total - hot) / 16
    loss = xp.mean(xp.log(total)[:, 0] - xp.sum(hot * shifted, axis=-1))
    return loss, grad, xp.sum(grad, axis=0)


def test_a_loss_its_gradient_and_that_of_the_bias_are_one_kernel() -> None:
    labels = np.arange(16) % 10
    compare(softmax_cross_entropy, floats(16, 10) * 30, labels, count=1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_bias_and_its_activation(dtype: Any) -> None:
    def function(xp: Any, x: Any, b: Any) -> Any:
        return xp.maximum(x + b, 0.0)

    x = floats(5, 7, dtype=dtype)
    x[0, :4] = [np.nan, np.inf, -np.inf, -0.0]
    compare(function, x, floats(7, seed=1, dtype=dtype), count=1)


def test_an_update_is_done_in_place() -> None:
    def function(xp: Any, w: Any, m: Any, v: Any, g: Any) -> Any:
        rate, beta = host(lambda: [0.1, 0.9])
        m = m * beta + (1 - 0.9) * g
        v = v * 0.99 + 0.01 * g * g
        return w - rate * m / (xp.sqrt(v) + 1e-8), m, v

    arrays = [floats(6, 5, seed=n) for n in range(4)]
    source = compare(function, arrays[0], arrays[1], arrays[2] ** 2, arrays[3], state=3, count=1)
    assert "(1, 30, s1, h1, x0, s2, h0, s0)\n    return [s0, s1, s2]" in source


@pytest.mark.parametrize("wrong", [300, -1, 2**70])
def test_integers_that_do_not_fit_are_refused_before_anything_changes(wrong: int) -> None:
    given = iter([3, 255, wrong])

    def step(layer: Any, x: Any) -> Any:
        layer.weight = layer.weight * 2.0 + 1.0
        return (x + host(lambda: next(given))) * 2

    layer, x = xn.nn.Linear(2, 2), np.arange(4, dtype=np.uint8)
    run = xn.compile(step)
    for number in (3, 255):
        np.testing.assert_array_equal(run(layer, x), (x + np.uint8(number)) * 2)
    assert "kernel" in run.source
    before = np.array(layer.weight)
    with pytest.raises(OverflowError, match="out of bounds for uint8"):
        run(layer, x)
    np.testing.assert_array_equal(layer.weight, before)


def test_negative_numbers_become_unsigned_as_numpy_has_it() -> None:
    x = np.linspace(-70, -1, 70, dtype=np.float32)

    def function(x: Any) -> Any:
        return xn.array_namespace(x).astype(x * 2, np.uint32) >> 1

    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(xn.compile(function)(x), function(x), strict=True)


def test_bytes_in_the_order_of_another_machine_are_never_taken_as_they_are() -> None:
    def function(x: Any) -> Any:
        return (x * 2 + 1) * x

    run, x = xn.compile(function), np.arange(6, dtype=np.float32)
    for _ in range(2):
        for given in (x, x.astype(x.dtype.newbyteorder("S"))):
            np.testing.assert_array_equal(run(given), function(x), strict=True)
    assert run.recordings == 2


def test_integers_are_compared_with_any_number() -> None:
    given = iter([1, 300])
    run = xn.compile(lambda x: (x < host(lambda: next(given))) & (x > 0))
    x = np.arange(3, dtype=np.uint8)
    assert [run(x).tolist() for _ in range(2)] == [[False] * 3, [False, True, True]]
    assert "kernel" in run.source


def test_layer_normalisation_walks_a_row_three_times() -> None:
    def function(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
        centred = x - xp.mean(x, axis=-1, keepdims=True)
        variance = xp.mean(centred * centred, axis=-1, keepdims=True)
        return centred / xp.sqrt(variance + 1e-5) * weight + bias, variance

    x, weight, bias = floats(9, 33) + 10, floats(33, seed=1), floats(33, seed=2)
    source = compare(function, x, weight, bias, count=1)
    compare(function, floats(2, 3, 33) + 10, weight, bias, count=1)
    assert ", room)" in source  # for a row of what is centred
    [note] = fast.print_fused(record(function, x, weight, bias)).notes
    assert note.startswith("memory: 3 buffers of 1,356 bytes")


def test_what_all_rows_are_needed_for_waits_for_them() -> None:
    def function(xp: Any, x: Any, running: Any) -> Any:
        mean = xp.mean(x, axis=0)
        centred = x - mean
        variance = xp.mean(centred**2, axis=0)
        return centred / xp.sqrt(variance + 1e-5), 0.9 * running + 0.1 * mean

    source = compare(function, floats(30, 12) + 3, floats(12, seed=1))
    assert source.count("kernel") == 2


def test_the_sum_of_a_column_is_not_formed_where_one_is_read() -> None:
    def function(xp: Any, x: Any, w: Any) -> Any:
        scale = xp.sum(x @ w, axis=0)
        y = x * scale
        return y @ w, xp.sum(y, axis=0), xp.sum(y * x, axis=0)

    compare(function, floats(6, 6), floats(6, 6, seed=1))


def test_what_a_product_lies_between_is_kept_apart() -> None:
    def function(xp: Any, x: Any, w: Any) -> Any:
        h = xp.exp(x * 0.5)
        y = h @ w
        return y * h + xp.sum(h, axis=-1, keepdims=True)

    compare(function, floats(6, 6), floats(6, 6, seed=1))


def test_what_a_product_reads_too_is_read_by_one_kernel() -> None:
    def function(xp: Any, w: Any, x: Any) -> Any:
        product = x @ w
        return w - 0.1 * xp.abs(w), product, xp.sum(w * w)

    compare(function, floats(6, 5), floats(4, 6, seed=1), state=1, count=1)


def test_conditions_and_logic() -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        both = (x > 0) & (y <= 1) | ~(x == y)
        odd = xp.logical_and(both, xp.logical_not(xp.isnan(x))) ^ (y >= 0.5)
        return xp.where(both, x, -1.0), odd, xp.minimum(x, y), xp.maximum(y, x), abs(-x), x != y

    x = floats(8, 3)
    x[0] = [np.nan, np.inf, 0]
    compare(function, x, np.roll(x, 1, axis=1), count=1)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "bool"])
def test_integers_are_compared_with_numbers_as_they_are(dtype: str) -> None:
    numbers = (0.5, -0.5, -1, 1, 255.5, 300, 3e9, math.inf, math.nan, 2**31)

    def function(xp: Any, x: Any) -> Any:
        found = [f for n in numbers for f in (x < n, x >= n, n > x, x == n, x != n)]
        hosted = host(lambda: [1.5, 300])
        return (*found, x < hosted[0], x != hosted[1])

    compare(function, np.asarray([0, 1, 2, 44, 255]).astype(dtype), count=1)


def test_a_number_that_is_too_large_for_kernels() -> None:
    compare(lambda xp, x: (x < 2**63, x > -(2**64)), np.asarray([1, 2**62]), count=0)


def test_bits() -> None:
    def function(xp: Any, x: Any) -> Any:
        for n in (13, 15, 26):
            x = x + 0x1BD11BDA
            x = ((x << n) | ((x >> (32 - n)) & ((1 << n) - 1))) ^ x
        return x, xp.astype(x > 7, xp.float32) * 2.0

    compare(function, np.arange(-50, 50, dtype=np.int32) * 40_000_001, count=1)


def test_every_function() -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        z = xp.exp(x) + xp.expm1(y) * xp.log(abs(x) + 1) - xp.log1p(abs(y))
        return xp.tanh(z) / xp.sqrt(abs(z)) + xp.reciprocal(y + 9) + xp.square(x), xp.negative(z)

    compare(function, floats(40), floats(40, seed=1), count=1)


def test_numbers_and_arrays_with_one_element() -> None:
    def function(xp: Any, x: Any, one: Any) -> Any:
        [number, whole] = host(lambda: [0.25, 3])
        total = xp.sum(xp.reshape(x, (-1,)) * number)
        return (x + one) * whole, total * 2, total + one, xp.mean(x), 1.0 - x

    compare(function, floats(4, 3), floats(1, 1, seed=5))


def test_sums_of_a_single_row_leave_the_kernel() -> None:
    def function(xp: Any, x: Any) -> Any:
        total = xp.sum(xp.exp(x), axis=-1, keepdims=True)
        return xp.exp(x) / total, total, xp.sum(x * 2.0, axis=-1)

    compare(function, floats(1, 5), count=1)
    compare(function, floats(1, 1, 5), count=1)


def test_a_number_of_a_kernel_is_none_that_changes() -> None:
    def function(xp: Any, x: Any) -> Any:
        return xp.permute_dims(xp.sum(x * 2.0), ())

    first, second = floats(5), floats(5, seed=1)
    step = fast.print_fused(record(function, first)).function()
    [found] = step(first)
    step(second)
    np.testing.assert_allclose(found, 2 * np.sum(first), rtol=1e-6)


def test_axes_that_are_added_and_taken_away() -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        totals = xp.sum(xp.exp(x), axis=2)
        scaled = xp.expand_dims(xp.squeeze(x, axis=0) / totals[0, :, None], axis=0)
        return scaled + xp.broadcast_to(y, x.shape), xp.reshape(totals, (-1,)) * 2

    compare(function, floats(1, 5, 4), floats(4, seed=1))


def test_what_lies_otherwise_in_memory() -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        return xp.exp(x) + y, xp.exp(x.T) * 2 + y.T, xp.sum(x * y, axis=0)

    x, y = floats(6, 5), floats(6, 5, seed=1)
    for lie in (np.asfortranarray, lambda a: a[::-1, ::-1], lambda a: np.repeat(a, 2, 1)[:, ::2]):
        compare(function, lie(x), y)
        compare(function, x, lie(y))


def test_state_that_is_seen_in_two_ways() -> None:
    def function(xp: Any, w: Any) -> Any:
        return w * 0.5 + w.T * 2

    compare(function, floats(4, 4), state=1)


def test_many_elements_are_left_to_numpy_where_it_has_vector_instructions() -> None:
    def function(xp: Any, x: Any) -> Any:
        return xp.tanh(x * 2 + 1) - 3, xp.max(x * x, axis=-1), xp.min(x * x)

    for shape in ((4, 127), (4, 129), (130, 127)):
        compare(function, floats(*shape))
    source = compare(function, floats(130, 200))
    assert "tanh(" in source
    assert "reduce_max(" in source
    assert "xp.min(" in source


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_sums_are_formed_in_several_parts(dtype: Any) -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        return xp.sum(x * y, axis=-1), xp.mean(x * x), xp.sum(x - y)

    x, y = floats(30, 999, dtype=dtype), floats(30, 999, seed=1, dtype=dtype)
    compare(function, x, y, count=1)
    x[3, 5] = np.inf
    x[4, 7] = np.nan
    compare(function, x, y)


def test_a_penalty_is_part_of_the_update() -> None:
    def function(xp: Any, w: Any, g: Any) -> Any:
        grads = xn.grad(lambda w: 0.5 * 0.01 * xp.sum(w**2))(w)
        return w - 0.1 * (g + grads)

    compare(function, floats(20, 30), floats(20, 30, seed=1), state=1, count=1)


def test_a_number_in_the_shape_of_an_array() -> None:
    def function(xp: Any, x: Any, y: Any) -> Any:
        one = xp.broadcast_to(xp.asarray(2.0, dtype=xp.float32), (3, 4))
        many = xp.broadcast_to(xp.sum(y), (3, 4))
        return one * x + 1, many, many * x - 2, (one + many) @ y

    compare(function, floats(3, 4), floats(4, 5, seed=1))


def test_other_dtypes_are_left_to_numpy() -> None:
    def function(xp: Any, x: Any) -> Any:
        return x * 2 + 1, (x + 1) * x

    for dtype in (np.float16, np.complex64, np.uint64, np.int16):
        compare(function, floats(5).astype(dtype), count=0)
    compare(function, floats(0, 3), count=0)


def test_kernels_that_differ_in_sizes_share_their_source() -> None:
    def function(xp: Any, x: Any, b: Any) -> Any:
        return xp.maximum(x + b, 0.0)

    found = set()
    for rows, columns in ((3, 4), (5, 6)):
        program = fuse(record(function, floats(rows, columns), floats(columns)), anything).program
        [kernel] = kernels(program)
        found.add(print_loops(kernel))
    assert len(found) == 1


def test_the_source_of_a_kernel() -> None:
    def function(xp: Any, x: Any, b: Any) -> Any:
        y = xp.exp(x + b)
        return y, xp.sum(y, axis=0)

    [kernel] = kernels(fuse(record(function, floats(3, 4), floats(4)), anything).program)
    assert print_loops(kernel).source == (
        "def kernel(rows, columns, a0, a1, b0, b1):\n"
        "    for j in range(columns):\n"
        "        b1[j] = 0\n"
        "    for i in range(rows):\n"
        "        a0_ = a0[i]\n"
        "        b0_ = b0[i]\n"
        "        for j in range(columns):\n"
        "            x0 = a0_[j]\n"
        "            x1 = a1[j]\n"
        "            v0 = float32(x0 + x1)\n"
        "            v1 = float32(exp(v0))\n"
        "            b1[j] += v1\n"
        "            b0_[j] = v1\n"
    )


def test_without_numba_or_when_it_is_switched_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def explanation() -> str:
        loops._import_error.cache_clear()
        run = xn.compile(lambda x: xn.array_namespace(x).exp(x + 1) * 2)
        run(floats(3))
        return str(run.explain())

    def elsewhere(folder: Path) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
        loops.compiled.cache_clear()

    assert "\nkernels\n" in explanation()
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    assert explanation().endswith("\nno kernels: NUMBA_DISABLE_JIT is set")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    assert "\nkernels\n" in explanation()
    monkeypatch.setattr("numba.config.DISABLE_JIT", 1)
    assert "\nkernels\n" in explanation()  # of which the machine code is there
    elsewhere(tmp_path / "first")
    assert explanation().endswith("no kernels: NUMBA_DISABLE_JIT was set when it was imported")
    monkeypatch.setitem(sys.modules, "numba", None)
    assert 'no kernels: Numba is not installed; pip install "xpnet[fast]"' in explanation()
    monkeypatch.delitem(sys.modules, "numba")
    (tmp_path / "numba.py").write_text("raise ImportError('Numba needs NumPy 2.3 or less')")
    monkeypatch.syspath_prepend(tmp_path)
    elsewhere(tmp_path / "second")
    assert "cannot be imported (ImportError: Numba needs NumPy 2.3 or less)" in explanation()


def test_a_nan_reaches_the_maximum() -> None:
    x = floats(4, 5)
    x[1, 3] = math.nan
    x[2] = -math.inf
    compare(lambda xp, x: (xp.max(x * 1, axis=-1), xp.min(x * 1, axis=-1)), x, count=1)


def test_a_step_explains_itself() -> None:
    def function(x: Any, w: Any) -> Any:
        xp = xn.array_namespace(x)
        unused = xp.sin(x)
        return xp.sum(xp.maximum(xp.exp(x) @ w + 1, 0.0), axis=0), unused[:0]

    step = xn.compile(function)
    step(floats(6, 5), floats(5, 4))
    assert step.explain() == (
        "compile of function: 7 calls recorded, 7 left after cleaning, 3 of them in 1 kernel, "
        "4 alone\n"
        "engine: NumPy, and kernels that Numba compiles\n"
        "memory: 4 buffers of 352 bytes; of the 0 arrays of the state that change, 0 do so where "
        "they are\n"
        "\n"
        "kernels\n"
        "  kernel of 6 x 4, 3 calls: add, maximum, sum\n"
        "\n"
        "alone\n"
        "  1 sin: no elementwise function, sum or extreme that kernels know\n"
        "  1 exp: nothing beside it to be fused with\n"
        "  1 matmul: no elementwise function, sum or extreme that kernels know\n"
        "  1 getitem: no elementwise function, sum or extreme that kernels know"
    )
    step(floats(600, 50), floats(50, 40))
    assert "1 exp: NumPy computes it with vector instructions" in step.explain()
