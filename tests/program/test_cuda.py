"""Kernels in CUDA C: they compile, and what they compute on an emulated device is right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import tree
from xpnet.program import cuda
from xpnet.program.c import PRELUDE
from xpnet.program.clean import clean
from xpnet.program.cuda import Cuda, print_cuda
from xpnet.program.entry import Like, Var
from xpnet.program.fuse import fuse
from xpnet.program.host import host
from xpnet.program.kernel import Kernel
from xpnet.program.program import Program
from xpnet.program.record import Recording
from xpnet.program.walks import is_printable, overwritable

Function = Callable[..., Any]
CASES: dict[str, tuple[Function, list[Any]]] = {}


def floats(*shape: int, seed: int = 0, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def case(*arrays: Any) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        CASES[function.__name__] = function, list(arrays)
        return function

    return add


def also(name: str, *arrays: Any) -> None:
    """Run a case with other arrays, too."""
    shapes = ", ".join("x".join(map(str, x.shape)) for x in arrays)
    CASES[f"{name} of {shapes}"] = CASES[name][0], list(arrays)


@case(floats(1000), floats(1000, seed=1))
def every_function(xp: Any, x: Any, y: Any) -> Any:
    z = xp.exp(x) + xp.expm1(y) * xp.log(abs(x) + 1) - xp.log1p(abs(y))
    more = xp.tanh(z) / xp.sqrt(abs(z)) + xp.reciprocal(y + 9) + xp.square(x)
    return more, xp.negative(z), xp.minimum(x, y), xp.maximum(x, 0.5), x**2, y / 3


also("every_function", floats(7, dtype=np.float64), floats(7, seed=1, dtype=np.float64))


def odd_numbers() -> Any:
    x = floats(8, 5)
    x[0] = [np.nan, np.inf, 0, -np.inf, -0.0]
    return x


@case(odd_numbers(), np.roll(odd_numbers(), 1, axis=1))
def conditions(xp: Any, x: Any, y: Any) -> Any:
    both = (x > 0) & (y <= 1) | ~(x == y)
    odd = xp.logical_and(both, xp.logical_not(xp.isnan(x))) ^ (y >= 0.5)
    either = xp.logical_or(x < y, x >= 1)
    extremes = xp.minimum(x, y), xp.maximum(y, x), xp.maximum(x, 0.0), xp.minimum(x, float("nan"))
    bounds = xp.where(x != x, float("inf"), -x), xp.maximum(x, -float("inf"))
    return xp.where(both, x, -1.0), odd, either, *extremes, *bounds, abs(-x), x != y


@case(np.arange(-50, 50, dtype=np.int32) * 40_000_001)
def bits(xp: Any, x: Any) -> Any:
    first = x
    for n in (13, 15, 26):
        x = x + 0x1BD11BDA
        x = ((x << n) | ((x >> (32 - n)) & ((1 << n) - 1))) ^ x
    return x, xp.astype(x > 7, xp.float32) * 2.0, -x * first, abs(first), ~x, first**2


also("bits", np.arange(-50, 50, dtype=np.int64) * 4_000_000_001)


@case(np.arange(300, dtype=np.uint8), np.arange(300) - 100, floats(300) > 0)
def dtypes(xp: Any, bytes_: Any, wholes: Any, truths: Any) -> Any:
    small, wide = xp.astype(bytes_, xp.float32) / 255, xp.astype(bytes_, xp.uint32) << 24
    mixed = xp.astype(bytes_, xp.int32) + wholes, bytes_ + 7, wholes == 3, bytes_ < wholes
    mixed = *mixed, bytes_ < 300, bytes_ == -1
    also_float = xp.astype(wholes, xp.float64) * 0.1, xp.astype(truths, xp.int64), ~truths
    counts = xp.sum(xp.astype(truths, xp.int64)), xp.sum(truths), xp.sum(wholes * 2)
    return small, wide, *mixed, *also_float, *counts, xp.astype(small, xp.bool)


@case(floats(6, 5))
def host_numbers(xp: Any, x: Any) -> Any:
    rate, whole, large, below = host(lambda: [0.1, 3, 2**32 + 1, -5])
    total = xp.sum(x) * rate
    filled = xp.full((6,), whole, dtype=xp.int32)
    wholes = xp.astype(x, xp.int64) + large, filled + 1, filled * below
    return x * rate + whole, *wholes, total, total + whole


@case(floats(500, 9))
def sums_of_all(xp: Any, x: Any) -> Any:
    y = xp.exp(x * 0.1)
    return y, xp.sum(y), xp.mean(x) * 2 + 1, xp.max(y), xp.min(y), xp.sqrt(xp.sum(x * x))


also("sums_of_all", floats(1, 1))
also("sums_of_all", floats(3, dtype=np.float64))


@case(floats(5, 7), floats(7, seed=1), floats(5, 1, seed=2))
def broadcast(xp: Any, x: Any, b: Any, r: Any) -> Any:
    return xp.maximum(x + b, 0.0) * r, r * 2 + 1, xp.sum(r * 0.5)


also("broadcast", floats(3, 40, 33), floats(33, seed=1), floats(3, 40, 1, seed=2))


@case(floats(16, 10) * 30, np.arange(16) % 10)
def cross_entropy(xp: Any, logits: Any, labels: Any) -> Any:
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    exps = xp.exp(shifted)
    total = xp.sum(exps, axis=-1, keepdims=True)
    hot = xp.astype(labels[:, None] == xp.arange(10), logits.dtype)
    grad = (exps / total - hot) / 16
    loss = xp.mean(xp.log(total)[:, 0] - xp.sum(hot * shifted, axis=-1))
    return loss, grad, xp.sum(grad, axis=0)


also("cross_entropy", floats(101, 10), np.arange(101) % 10)


@case(floats(9, 33) + 10, floats(33, seed=1), floats(33, seed=2))
def layer_norm(xp: Any, x: Any, weight: Any, bias: Any) -> Any:
    centred = x - xp.mean(x, axis=-1, keepdims=True)
    variance = xp.mean(centred * centred, axis=-1, keepdims=True)
    return centred / xp.sqrt(variance + 1e-5) * weight + bias, variance, xp.min(x, axis=-1)


also("layer_norm", floats(5, 1500) + 10, floats(1500, seed=1), floats(1500, seed=2))
also("layer_norm", floats(2, 3, 33) + 10, floats(33, seed=1), floats(33, seed=2))


@case(floats(30, 12) + 3, floats(12, seed=1))
def batch_norm(xp: Any, x: Any, running: Any) -> Any:
    mean = xp.mean(x, axis=0)
    centred = x - mean
    variance = xp.mean(centred**2, axis=0)
    return centred / xp.sqrt(variance + 1e-5), 0.9 * running + 0.1 * mean, running * 2


also("batch_norm", floats(700, 45) + 3, floats(45, seed=1))


@case(floats(20, 70), floats(20, 70, seed=1))
def relu_backward(xp: Any, y: Any, grad: Any) -> Any:
    grad = xp.where(y > 0, grad, 0.0)
    return grad, xp.sum(grad, axis=0), xp.sum(xp.astype(y > 0, xp.int64), axis=0)


also("relu_backward", floats(900, 3), floats(900, 3, seed=1))


@case(floats(4, 5))
def nan_in_extremes(xp: Any, x: Any) -> Any:
    x = xp.where(x > 1, float("nan"), x)
    return xp.max(x * 1, axis=-1), xp.min(x * 1, axis=-1), xp.max(x), xp.where(x < 0, x, x * 2)


@case(floats(1, 9), floats(9, seed=1))
def a_single_row(xp: Any, x: Any, b: Any) -> Any:
    shifted = x - xp.max(x, axis=-1, keepdims=True)
    return shifted + b, xp.sum(x, axis=0), xp.sum(x * 2, axis=-1), xp.mean(x + 1, axis=0)


@case(floats(6, 7))
def what_is_stored_is_read_again(xp: Any, x: Any) -> Any:
    y = xp.exp(x)
    z = y / xp.sum(y, axis=-1, keepdims=True)
    return y, z, xp.max(y + z, axis=-1)


@case(floats(6, 7))
def an_input_is_read_twice(xp: Any, x: Any) -> Any:
    y = x * 2
    return y, x / xp.sum(y, axis=-1, keepdims=True)


# Helpers


def record(function: Function, *arrays: Any) -> Program:
    """Return the cleaned program of ``function(xp, *arrays)``."""
    with Recording(xn.array_namespace(*arrays)) as recording:
        wrapped = [recording.wrap(array) for array in arrays]
        results = function(xn.array_namespace(*wrapped), *wrapped)
        returned = tree.map(recording.reference, list(results))
        return clean(Program.of(recording, [], [x.place for x in wrapped], returned, []))


def obstacle(kernel: Kernel) -> str | None:
    return None if is_printable(kernel) else "it is not printed"


def fused(name: str) -> Program:
    function, arrays = CASES[name]
    with np.errstate(all="ignore"):
        program = record(function, *arrays)
        return fuse(program, obstacle, least=1).program


def kernels(program: Program) -> list[Kernel]:
    return [e.function for e in program.entries if isinstance(e.function, Kernel)]


def compare(actual: Any, expected: Any, name: str) -> None:
    assert actual.dtype == expected.dtype
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, err_msg=name)
        return
    eps = float(np.finfo(expected.dtype).eps)
    scale = float(np.max(np.abs(expected), initial=0, where=np.isfinite(expected)))
    np.testing.assert_allclose(actual, expected, rtol=64 * eps, atol=16 * eps * scale, err_msg=name)


def run(
    machine: Any, kernel: Kernel, printed: Cuda, values: dict[int, Any], over: dict[int, int]
) -> dict[int, Any]:
    """Launch a kernel, twice with the same scratch memory; return its outputs.

    Some outputs are computed where an input is.
    """
    launch = machine.functions(PRELUDE + printed.source)["kernel"]
    rows, columns = kernel.shape
    count, tickets = printed.scratch(rows, columns)
    scratch = [np.full(count, np.nan), np.zeros(tickets, np.uint32)] if printed.totals else []
    for _ in range(2):
        inputs = {
            place: np.array(values[place], None if isinstance(like, Like) else np.float64)
            for place in kernel.inputs
            for like in [kernel.kinds[place]]
        }
        inputs = {place: np.ascontiguousarray(x) for place, x in inputs.items()}
        outputs = {
            place: inputs[over[place]]
            if place in over
            else np.full(kernel.kinds[place].shape, 77).astype(kernel.kinds[place].dtype)
            for place in kernel.outputs
        }
        given = [rows, columns, *inputs.values(), *outputs.values(), *scratch]
        launch(*printed.launch(rows, columns), given)
    return outputs


# Tests


@pytest.fixture(params=["few blocks", "many blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each thread have several elements or rows, or most of them one."""
    if request.param == "few blocks":
        monkeypatch.setattr(cuda, "_BLOCKS", 3)


def in_place(kernel: Kernel) -> dict[int, int]:
    """Return the inputs that outputs may overwrite, each for one of them."""
    over: dict[int, int] = {}
    for out in kernel.outputs:
        for place in overwritable(kernel, out):
            if place not in over.values():
                over[out] = place
                break
    return over


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("name", CASES)
def test_kernels_equal_their_twins(machine: Any, name: str) -> None:
    program, arrays = fused(name), CASES[name][1]
    values = dict(program.constants) | dict(zip(program.inputs, arrays, strict=True))
    for compute, places in program.hosts:
        values |= dict(zip(places, compute(), strict=True))
    for entry in program.entries:
        given = [values[var.place] for var in entry.args if isinstance(var, Var)]
        kernel = entry.function
        with np.errstate(all="ignore"):
            if not isinstance(kernel, Kernel):
                [out] = entry.outs
                values[out] = kernel(*given, *entry.args[len(given) :], **entry.kwargs)
                continue
            expected = dict(zip(kernel.outputs, kernel(*given), strict=True))
        over = in_place(kernel)
        for overwritten in ({}, over) if over else ({},):
            printed = print_cuda(kernel, overwritten.values())
            found = run(machine, kernel, printed, values, overwritten)
            for place, array in expected.items():
                compare(found[place], np.asarray(array), name)
        values |= expected
    assert kernels(program)


def test_what_is_overwritten_is_not_read_later() -> None:
    [norm] = kernels(fused("layer_norm"))
    for out in norm.outputs:  # the result in the last walk; others are no matrices
        full = norm.roles[out] == "full"
        assert overwritable(norm, out) == ([norm.inputs[0]] if full else [])
    [stored] = kernels(fused("what_is_stored_is_read_again"))
    for out in stored.outputs:
        assert overwritable(stored, out) == (stored.inputs if stored.roles[out] == "full" else [])
    [twice] = kernels(fused("an_input_is_read_twice"))
    assert [overwritable(twice, out) for out in twice.outputs] == [[], twice.inputs]
    spread = print_cuda(stored, stored.inputs).source
    assert "__restrict__" not in spread
    [moments, *_] = kernels(fused("batch_norm"))
    assert [out for out in moments.outputs if overwritable(moments, out)]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@pytest.mark.parametrize("name", CASES)
def test_kernels_compile_for_a_device(nvrtc: Any, name: str, architecture: str) -> None:
    sources = [print_cuda(kernel).source for kernel in kernels(fused(name))]
    named = [x.replace("kernel(", f"kernel{n}(", 1) for n, x in enumerate(sources)]
    assert nvrtc.compile("\n".join([PRELUDE, *named]), architecture).startswith(b"\x7fELF")
