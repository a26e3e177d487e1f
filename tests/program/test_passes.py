"""Cleaning, planning and printing, and the engine of NumPy beside its library-free twin."""

import math
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xpnet as xn
from xpnet import tree
from xpnet.program.clean import clean
from xpnet.program.entry import Entry
from xpnet.program.fuse import fuse
from xpnet.program.host import host
from xpnet.program.plan import plan
from xpnet.program.program import Program, references
from xpnet.program.record import Recording
from xpnet.program.source import print_program

engine = pytest.importorskip("xpnet_backends.numpy.engine")
fast = pytest.importorskip("xpnet_backends.numpy.fast")

Function = Callable[..., Any]


def record(function: Function, *arrays: Any, state: int = 0) -> Program:
    """Record a function of arrays; it returns the results and what the first ones become."""
    with Recording(xn.array_namespace(*arrays)) as recording:
        wrapped = [recording.wrap(array) for array in arrays]
        results, updates = function(*wrapped)
        places = [x.place for x in wrapped]
        returned = tree.map(recording.reference, results)
        after = [recording.reference(x).place for x in updates]
        return Program.of(recording, places[:state], places[state:], returned, after)


def names(program: Program) -> list[str]:
    return [entry.name for entry in program.entries]


def cleaned(function: Function, *arrays: Any) -> list[str]:
    return names(clean(record(lambda *xs: (function(*xs), ()), *arrays)))


X = np.arange(6.0).reshape(2, 3)


# Cleaning


def test_what_is_not_needed_is_left_out() -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        xp.exp(xp.sin(x))
        return xp.cos(x)

    assert cleaned(function, X) == ["cos"]


def test_what_is_repeated_is_computed_once() -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.exp(x) + xp.exp(x), xp.sum(x, axis=0), xp.sum(x, axis=0), xp.sum(x, axis=1)

    assert cleaned(function, X) == ["exp", "add", "sum", "sum"]


def test_numbers_that_are_equal_but_differ_are_kept_apart() -> None:
    assert cleaned(lambda x: (x * 1, x * 1.0), X) == ["multiply", "multiply"]
    assert cleaned(lambda x: (x * 0.0, x * -0.0), X) == ["multiply", "multiply"]
    assert cleaned(lambda x: (x * 2.0, x * 2.0), X) == ["multiply"]


def test_what_is_constant_is_folded() -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return x + xp.exp(xp.ones_like(x) * 2) + xp.arange(3, dtype=x.dtype)

    assert cleaned(function, X) == ["add", "add"]


def test_the_transpose_of_a_transpose() -> None:
    assert cleaned(lambda x: (x.T.T, x.T, x.mT), X) == ["matrix_transpose"]
    assert cleaned(lambda x: x.T.T, X) == []


# Random programs

ROWS, COLUMNS = 3, 4


def unary(name: str) -> Function:
    return lambda xp, x, y, n: getattr(xp, name)(x)


def binary(name: str) -> Function:
    return lambda xp, x, y, n: getattr(xp, name)(x, y)


def same_shape(function: Function) -> Function:
    """Apply to matrices only; what comes out is broadcast to where it came from."""

    def apply(xp: Any, x: Any, y: Any, n: int) -> Any:
        return xp.broadcast_to(function(xp, x, y, n), x.shape)

    return apply


def reduction(name: str) -> Function:
    def apply(xp: Any, x: Any, y: Any, n: int) -> Any:
        axis = (0, 1, -1, (0, 1), None)[n % 5]
        return getattr(xp, name)(x, axis=axis, keepdims=True) + 0 * x

    return apply


def square(xp: Any, x: Any, y: Any, n: int) -> Any:
    a, b = ((x.T, y), (x, y.T), (x[:, :3].T, y[:, :3]))[n % 3]
    return xp.matmul(a, b)[:1, :1] * 0.01 + x


def flipped(xp: Any, x: Any, y: Any, n: int) -> Any:
    return xp.flip(x, axis=n % 2)


def selected(xp: Any, x: Any, y: Any, n: int) -> Any:
    return xp.concat([x[:, n % COLUMNS :], x[:, : n % COLUMNS]], axis=1)


def written(xp: Any, x: Any, y: Any, n: int) -> Any:
    out = xp.asarray(x, copy=True)
    out[n % ROWS, ...] = y[0, :]
    out[:, n % COLUMNS] += 1
    return out


def rolled_in_place(xp: Any, x: Any, y: Any, n: int) -> Any:
    out = x + 0
    out *= y
    out -= n
    return out


STEPS: dict[str, Function] = {
    **{name: unary(name) for name in ("abs", "negative", "square", "tanh", "floor", "positive")},
    **{name: binary(name) for name in ("add", "multiply", "subtract", "maximum", "minimum")},
    **{name: binary(name) for name in ("copysign", "hypot", "atan2")},
    **{name: same_shape(reduction(name)) for name in ("sum", "max", "min", "prod", "mean", "std")},
    "power of two": lambda xp, x, y, n: x**2,
    "power": lambda xp, x, y, n: xp.abs(x) ** 0.5,
    "scalar": lambda xp, x, y, n: (x * n, n - x, x / (n + 1), x + True)[n % 4],
    "itself": lambda xp, x, y, n: x + x * x,
    "with its mirror": lambda xp, x, y, n: x + flipped(xp, x, y, n),
    "flip": flipped,
    "select": selected,
    "write": written,
    "in place": rolled_in_place,
    "matmul": square,
    "where": lambda xp, x, y, n: xp.where(x > y, x, y * 0.5),
    "logic": lambda xp, x, y, n: xp.where((x > 0) & ~(y > 1) | (x == y), x, -1.0),
    "clip": lambda xp, x, y, n: xp.clip(x, -1.0, 1.0),
    "take": lambda xp, x, y, n: xp.take(x, xp.asarray([2, 0, 1]), axis=0),
    "sort": lambda xp, x, y, n: xp.sort(x, axis=n % 2),
    "argmax": lambda xp, x, y, n: x + xp.argmax(y, axis=0),
    "cumulate": lambda xp, x, y, n: xp.cumulative_sum(x, axis=1),
    "reshape": lambda xp, x, y, n: xp.reshape(x, (-1,))[:COLUMNS] + y,
    "back": lambda xp, x, y, n: xp.reshape(xp.reshape(x.T, (-1,)), (ROWS, COLUMNS)),
    "transpose": lambda xp, x, y, n: (x.T + y.T).T,
    "sum of transpose": lambda xp, x, y, n: xp.sum(x.T + y.T, axis=0)[:, None] + x,
    "stack": lambda xp, x, y, n: xp.sum(xp.stack([x, y]), axis=0),
    "split": lambda xp, x, y, n: xp.unstack(x)[n % ROWS] + y,
    "cast": lambda xp, x, y, n: xp.astype(xp.astype(x > 0, xp.int64) * 3, x.dtype) + x,
    "integers": lambda xp, x, y, n: x + xp.astype(x > y, xp.int32) // (n + 1) % 3,
    "bits": lambda xp, x, y, n: x + ((xp.astype(x > y, xp.int32) << 3) ^ n >> 1 & 7),
    "0-d": lambda xp, x, y, n: x - xp.max(x) / (1 + xp.sum(xp.abs(y))) + xp.mean(x[0, 0] * 2),
    "empty": lambda xp, x, y, n: x + xp.sum(x[:0, :] * 2, axis=0) + xp.sum(y[:, :0] ** 2),
    "squeeze": lambda xp, x, y, n: xp.squeeze(xp.expand_dims(x, axis=0) * 2, axis=0),
    "same": lambda xp, x, y, n: xp.asarray(x),
    "real": lambda xp, x, y, n: xp.real(x),
    "meshgrid": lambda xp, x, y, n: x + xp.meshgrid(y[0, :], y[:, 0])[0],
    "diagonal": lambda xp, x, y, n: x + xp.linalg.diagonal(y)[n % 3],
}

MOVES = st.tuples(st.sampled_from(sorted(STEPS)), *[st.integers(0, 9)] * 3)


def assemble(moves: list[tuple[str, int, int, int]], outputs: list[int]) -> Function:
    """Return a function of two state arrays and an input, made of many small steps."""

    def function(a: Any, b: Any, x: Any) -> Any:
        xp = xn.array_namespace(a)
        found = [a, b, x]
        factor = host(lambda: 0.5)
        for name, first, second, number in moves:
            p, q = found[-1 - first % len(found)], found[-1 - second % len(found)]
            found.append(STEPS[name](xp, p, q, number) * 1)
            found.append(STEPS[name](xp, q, p, number))
        found.append(found[-1] * factor)
        chosen = [found[-1 - n % len(found)] for n in outputs]
        return chosen[2:], chosen[:2]

    return function


def arrays(layout: int) -> list[Any]:
    rng = np.random.default_rng(layout)
    a, b, x = (rng.normal(size=(ROWS, COLUMNS)).round(2) for _ in range(3))
    return [a, b, [x, np.asfortranarray(x), x[::-1], np.repeat(x, 2, axis=1)[:, ::2]][layout % 4]]


def run(printed: Any, given_arrays: list[Any], numbers: list[float], times: int) -> list[Any]:
    """Return the results of several runs, each on the state that the one before has left."""
    step, everything = printed.function(), []
    first, second, x = given_arrays
    for _ in range(times):
        # The state keeps its layout, on which the order of NumPy's sums depends.
        first, second = first.copy(), second.copy()
        *results, first, second = padded(step(first, second, x, *numbers), printed, first, second)
        everything += [np.array(y) for y in (*results, first, second)]
    return everything


def padded(outputs: list[Any], printed: Any, *state: Any) -> list[Any]:
    """Return the outputs with the state's arrays that did not change."""
    count = printed.count
    changed = iter(outputs[count:])
    return outputs[:count] + [
        next(changed) if new != old else array
        for old, new, array in zip(printed.state, printed.updates, state, strict=True)
    ]


def prepared(printed: Any, program: Program) -> Any:
    printed.count, printed.state = len(program.results_places), program.state
    printed.updates = program.updates
    return printed


PROGRAMS = given(
    moves=st.lists(MOVES, min_size=1, max_size=8),
    outputs=st.lists(st.integers(0, 30), min_size=3, max_size=6),
    layout=st.integers(0, 3),
)
OPTIONS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@PROGRAMS
@OPTIONS
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_engine_equals_its_twin(moves: Any, outputs: Any, layout: int) -> None:
    """The engine on the cleaned program, against the program as it was recorded; bit for bit."""
    program = record(assemble(moves, outputs), *arrays(layout), state=2)
    fast = clean(program)
    expected = run(prepared(print_program(program), program), arrays(layout), [0.5], 3)
    twin = run(prepared(print_program(fast), fast), arrays(layout), [0.5], 3)
    found = run(prepared(engine.print_planned(fast), fast), arrays(layout), [0.5], 3)
    for x, y, z in zip(expected, twin, found, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype) == (z.shape, z.dtype)
        assert x.tobytes() == y.tobytes()
        assert x.tobytes() == z.tobytes()


@PROGRAMS
@OPTIONS
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_fusing_changes_nothing(moves: Any, outputs: Any, layout: int) -> None:
    """Kernels that call what was recorded, one by one, in the order that fusing leaves; bits."""
    program = clean(record(assemble(moves, outputs), *arrays(layout), state=2))
    fused = fuse(program, lambda kernel: None).program
    expected = run(prepared(print_program(program), program), arrays(layout), [0.5], 2)
    found = run(prepared(print_program(fused), fused), arrays(layout), [0.5], 2)
    for x, y in zip(expected, found, strict=True):
        assert x.tobytes() == y.tobytes()


def owners(program: Program, kind: Function, planned: Any) -> list[str]:
    """Simulate a run; return where memory is used that was overwritten meanwhile."""
    memory = {place: f"buffer {n}" for place, n in planned.places.items()}
    memory |= {place: f"state {old}" for place, old in planned.donated.items()}
    memory |= {place: f"state {place}" for place in program.state}
    content: dict[str, int] = {where: place for place, where in memory.items() if "state" in where}
    content |= {f"state {place}": place for place in program.state}
    shares = {place: {place} for place in range(len(program.kinds))}
    wrong = []

    def check(place: int, where: str) -> None:
        for root in shares[place]:
            if root in memory and content.get(memory[root]) != root:
                wrong.append(f"place {root} at {where}")

    for n, entry in enumerate(program.entries):
        used = references((entry.args, entry.kwargs))
        for place in used:
            check(place, f"entry {n}")
        for out in entry.outs:
            if kind(entry) == "view":
                shares[out] = shares[used[0]]
            elif kind(entry) == "other":
                shares[out] = {out}.union(*(shares[place] for place in used))
            if out in memory:
                content[memory[out]] = out
    for place in program.outputs:
        check(place, "the end")
    return wrong


def kind_of(entry: Entry) -> str:
    if entry.name in ("matrix_transpose", "getitem", "reshape"):
        return "view" if len(references((entry.args, entry.kwargs))) == 1 else "other"
    if entry.name in ("add", "multiply", "negative", "abs", "subtract", "tanh", "where"):
        return "buffer"
    return "buffer" if entry.name in ("sum", "matmul") else "other"


def over(entry: Entry, out: int) -> list[int]:
    elementwise = kind_of(entry) == "buffer" and entry.name not in ("sum", "matmul")
    return references(entry.args) if elementwise else []


def size_of(like: Any) -> int:
    return int(np.prod(like.shape)) * like.dtype.itemsize


@PROGRAMS
@OPTIONS
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_buffer_is_used_while_its_content_is_needed(
    moves: Any, outputs: Any, layout: int
) -> None:
    program = clean(record(assemble(moves, outputs), *arrays(layout), state=2))
    planned = plan(program, kind_of, over)
    assert owners(program, kind_of, planned) == []
    for place, number in planned.places.items():
        assert size_of(program.kinds[place]) <= planned.buffers[number]


def test_the_checker_of_plans_can_fail() -> None:
    def function(x: Any) -> Any:
        a = x + 1
        b = x * 2
        return a * b, ()

    program = record(function, X)
    planned = plan(program, kind_of, over)
    assert owners(program, kind_of, planned) == []
    first, second = (entry.outs[0] for entry in program.entries[:2])
    planned.places[second] = planned.places[first]
    assert owners(program, kind_of, planned) == [f"place {first} at entry 2"]


def test_buffers_are_shared() -> None:
    def function(x: Any) -> Any:
        for _ in range(20):
            x = xn.array_namespace(x).tanh(x + 1)
        return x, ()

    program = record(function, X)
    assert len(plan(program, kind_of, over).buffers) == 1


def test_state_is_updated_where_it_is() -> None:
    def function(w: Any, m: Any, g: Any) -> Any:
        m = m * 0.9 + g
        return (), (w - 0.1 * m, m)

    program = record(function, X, X + 1, X + 2, state=2)
    printed = engine.print_planned(program)
    w, m = X.copy(), X + 1
    new = printed.function()(w, m, X + 2)
    assert new[0] is w
    assert new[1] is m
    np.testing.assert_array_equal(m, (X + 1) * 0.9 + (X + 2))


# Printing


def test_the_source_can_be_read() -> None:
    def function(x: Any, y: Any) -> Any:
        xp = xn.array_namespace(x)
        return (xp.sum(xp.exp(x) @ y, axis=0, keepdims=True), -x[0, ..., None, 1:]), ()

    source = print_program(record(function, X, X.T)).source
    assert source == (
        "def step(x0, x1):\n"
        "    t0 = xp.exp(x0)\n"
        "    t1 = t0 @ x1\n"
        "    t2 = xp.sum(t1, axis=0, keepdims=True)\n"
        "    t3 = x0[(0, ..., None, slice(1, None, None))]\n"
        "    t4 = -t3\n"
        "    return [t2, t4]\n"
    )


@pytest.mark.parametrize(("shape", "held"), [((3, 4), 12), ((2, 1024, 1024), 1024)])
def test_extremes_with_a_number_are_those_with_an_array(shape: tuple[int, ...], held: int) -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        y = x * 2
        return (xp.maximum(y, 0.0), xp.minimum(y, 0.5), xp.minimum(-0.0, y)), ()

    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    x[..., 0] = np.nan
    printed = engine.print_planned(record(function, x))
    expected = np.maximum(2 * x, 0), np.minimum(2 * x, 0.5), np.minimum(-0.0, 2 * x)
    for a, b in zip(printed.function()(x), expected, strict=True):
        assert a.tobytes() == b.tobytes()
    constants = {name: x for name, x in printed.scope.items() if name[:5] in ("zeros", "const")}
    assert [x.size for x in constants.values()] == [held] * 3


def test_special_numbers_and_things_are_printed() -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return (xp.where(x > 0, x, -xp.inf), x * xp.nan, x + 2j, xp.astype(x, xp.float32)), ()

    program = record(function, X)
    with np.errstate(invalid="ignore"):
        found = print_program(program).function()(X)
    for x, y in zip(found, (np.where(X > 0, X, -np.inf), X * np.nan, X + 2j, X), strict=True):
        np.testing.assert_array_equal(x, y)
    assert found[3].dtype == np.float32


def test_the_source_of_a_step() -> None:
    run = xn.compile(lambda x: xn.array_namespace(x).exp(x))
    run(X)
    assert re.fullmatch(r"def step\(x0\):\n    .*exp.*\n(    .*\n)*    return \[.*\]\n", run.source)


@pytest.mark.parametrize(
    ("function", "symbol"),
    [
        (operator.add, "+"),
        (operator.floordiv, "//"),
        (operator.le, "<="),
        (operator.pow, "**"),
        (operator.sub, "-"),
    ],
)
def test_operators_are_printed_as_they_are_written(function: Function, symbol: str) -> None:
    printed = print_program(record(lambda x, y: (function(x, y), ()), X + 1, X + 2))
    assert f"t0 = x0 {symbol} x1\n" in printed.source
    np.testing.assert_array_equal(printed.function()(X + 1, X + 2)[0], function(X + 1, X + 2))


@pytest.mark.parametrize("number", [-2, -0.5, -math.inf])
def test_a_negative_number_to_a_power(number: float) -> None:
    program = record(lambda x: (number**x, ()), X)
    for printed in (print_program(program), engine.print_planned(program)):
        np.testing.assert_array_equal(printed.function()(X)[0], number**X)


def test_the_sum_of_a_single_number() -> None:
    program = record(lambda x: (xn.array_namespace(x).sum(x, axis=0) * x, ()), X[0, 2])
    np.testing.assert_array_equal(engine.print_planned(program).function()(X[0, 2])[0], 4.0)


def test_a_function_that_returns_a_single_one_of_several() -> None:
    def function(x: Any) -> Any:
        return (xn.array_namespace(x).unstack(x)[0] * 2,), ()

    program = record(function, X[:1])
    for printed in (print_program(program), engine.print_planned(program)):
        np.testing.assert_array_equal(printed.function()(X[:1])[0], X[0] * 2)
