"""When a step is recorded again, and when it is not; the results are right either way."""

import copy
import dataclasses
import gc
import pickle
import threading
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim
from xpnet.errors import CompileError


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return losses.mse_loss(model(x), y)


def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    value, grads = xn.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return value


def mlp() -> nn.Sequential:
    xn.seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 3))


def batch(size: int = 5, dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(size, 3)).astype(dtype), rng.normal(size=(size, 3)).astype(dtype)


class Pair:
    """A plain and a compiled training, to which the same is done."""

    def __init__(self, make: Callable[[], optim.Optimizer] = lambda: optim.Adam(0.1)) -> None:
        self.step = xn.compile(step)
        self.sides = [(each, mlp(), make()) for each in (step, self.step)]
        self.draws = xn.random.default_generator().draws

    def do(self, change: Callable[[Any, Any], Any]) -> None:
        for _, model, optimizer in self.sides:
            change(model, optimizer)

    def run(self, x: Any = None, y: Any = None, *, times: int = 2) -> int:
        """Train both sides and compare them; return how often the one was recorded."""
        x, y = batch() if x is None else (x, y)
        for _ in range(times):
            values = []
            for each, model, optimizer in self.sides:
                xn.random.default_generator().draws = self.draws
                values.append(each(model, optimizer, x, y))
            self.draws = xn.random.default_generator().draws
            assert values[0] == values[1]
        (_, plain, plain_optimizer), (_, model, optimizer) = self.sides
        for expected, found in ((plain, model), (plain_optimizer, optimizer)):
            expected, found = expected.state_dict(), found.state_dict()
            assert expected.keys() == found.keys()
            for name, value in expected.items():
                np.testing.assert_array_equal(found[name], value, err_msg=name)
        return self.step.recordings


def test_one_recording_for_the_same_structure() -> None:
    assert Pair().run(times=5) == 1


def test_a_recording_for_each_shape_and_dtype() -> None:
    pair = Pair()
    assert pair.run(*batch(5)) == 1
    assert pair.run(*batch(6)) == 2
    assert pair.run(*batch(5)) == 2
    convert = xn.compile(lambda x: x * 2)
    for dtype in ("float32", "float64", "float32", "int64"):
        assert convert(np.ones(2, dtype=dtype)).dtype == dtype
    assert convert.recordings == 3


def test_a_recording_for_each_structure_and_constant() -> None:
    @xn.compile
    def scale(tree: Any, factor: Any = 1.0) -> Any:
        leaves = tree.values() if isinstance(tree, dict) else tree
        return [x * factor for x in leaves]

    x = np.ones(2)
    calls: list[tuple[Any, ...]] = [
        ([x],), ((x,),), ([x, x],), ({"a": x},), ({"b": x},), ([x], 2.0), ([x], 2), ([x], True),
        ([x], 0.0), ([x], -0.0),
    ]  # fmt: skip
    for count, arguments in enumerate(calls, start=1):
        for _ in range(2):
            expected = scale._function(*arguments)
            np.testing.assert_array_equal(scale(*arguments), expected)
            assert [str(y) for y in scale(*arguments)] == [str(y) for y in expected]
        assert scale.recordings == count


def test_keywords_are_no_dict_among_the_arguments() -> None:
    run = xn.compile(lambda *given, **named: given[0] * (len(given) + 10 * len(named)))
    x = np.ones(2)
    calls: list[tuple[Any, Any, float]] = [
        ((x,), {"a": x}, 11), ((x, {"a": x}), {}, 2), ((x,), {"b": x}, 11), ((x,), {}, 1),
        ((x, ("keywords", "a"), x), {}, 3),
    ]  # fmt: skip
    for count, (given, named, expected) in enumerate(calls * 2, start=1):
        assert run(*given, **named).tolist() == [expected] * 2
        assert run(*given, **named).tolist() == [expected] * 2
        assert run.recordings == min(count, len(calls))


def test_a_program_runs_where_the_state_is_kept_now() -> None:
    """Moments that are loaded are in other dicts, of which a program that is found again learns."""
    pair = Pair(lambda: optim.Adam(0.1, overrides={"*bias": {"eps": 0.1}}))
    pair.run(*batch(5))
    pair.run(*batch(6))
    for _, model, optimizer in pair.sides:
        optimizer.load_state_dict(optimizer.state_dict(), model)
    assert pair.run(*batch(5)) == pair.run(*batch(6)) == pair.run(*batch(5)) == 2


def test_parameters_share_their_numbers() -> None:
    """Those of equal settings and equally many updates, and no others."""
    cases: list[tuple[optim.Optimizer, int]] = [
        (optim.SGD(0.1), 2),
        (optim.Adam(lambda step: 0.1), 6),
        (optim.Adam(0.1, overrides={"*bias": {"eps": 0.1}, "3.*": {"eps": 1e-8}}), 24),
        (optim.Clip(optim.AdamW(0.1, overrides={"*bias": {"weight_decay": 0.0}}), norm=1.0), 13),
    ]
    for optimizer, count in cases:
        model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.ReLU(), nn.Linear(4, 3))
        run = xn.compile(step)
        run(model, optimizer, *batch())
        assert run._last is not None
        assert len(run._last.program.numbers) == count


def test_modes_each_have_a_recording() -> None:
    pair = Pair()
    for change, count in (("train", 1), ("eval", 2), ("train", 2), ("eval", 2)):
        pair.do(lambda model, _, change=change: getattr(model, change)())
        assert pair.run() == count


def test_tied_parameters() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            xn.seed(0)
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x: Any) -> Any:
            return self.b(self.a(x))

    run = xn.compile(lambda model, x, y: xn.grad(loss_fn)(model, x, y))
    model = Twice()
    assert len(run(model, *batch())) == 4
    model.tie("a.weight", "b.weight")
    for _ in range(2):
        grads, expected = run(model, *batch()), run._function(model, *batch())
        assert grads.keys() == expected.keys() == {"a.weight", "a.bias", "b.bias"}
        np.testing.assert_array_equal(grads["a.weight"], expected["a.weight"])
    assert run.recordings == 2


def test_loading_a_state() -> None:
    pair = Pair()
    pair.run()
    saved = [(m.state_dict(), o.state_dict()) for _, m, o in pair.sides]
    pair.run(times=3)
    for (_, model, optimizer), (weights, moments) in zip(pair.sides, saved, strict=True):
        model.load_state_dict(weights)
        optimizer.load_state_dict(moments, model)
    assert pair.run() == 1


def test_inputs_of_another_layout_are_right_to_rounding() -> None:
    """Sums are formed in another order then, and no other recording is needed."""

    def compute(x: Any) -> Any:
        xp = xn.array_namespace(x)
        y = xp.sin(x) * 1.5 + x
        return xp.sum(y), xp.sum(y, axis=0), xp.reshape(y, (-1,)), y @ (x.T + 1), y

    x = np.random.default_rng(0).normal(size=(30, 40))
    layouts = [
        x, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1],
        np.broadcast_to(x[:1], x.shape),
    ]  # fmt: skip
    for first in layouts:
        run = xn.compile(compute)
        run(first)
        for other in layouts:
            for found, expected in zip(run(other), compute(other), strict=True):
                scale = float(np.max(np.abs(expected)))
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * scale)
        assert run.recordings == 1


def test_models_of_one_structure_have_programs_of_their_own() -> None:
    first, second = Pair(), Pair()
    second.step = first.step
    second.sides[1] = (first.step, *second.sides[1][1:])
    assert first.run() == 1
    assert second.run() == 2
    assert first.run() == 2


def test_a_model_that_is_gone_leaves_nothing() -> None:
    run = xn.compile(lambda model, x: model(x))
    for seed in range(5):
        xn.seed(seed)
        model = nn.Linear(3, 2)
        x = batch()[0]
        np.testing.assert_array_equal(run(model, x), model(x))
        np.testing.assert_array_equal(run(model, x), model(x))
        del model
        gc.collect()
    assert run.recordings == 5
    assert not run._known


def test_a_copy_of_a_model_is_another_one() -> None:
    run = xn.compile(lambda model, x: model(x))
    model, x = nn.Linear(3, 2), batch()[0]
    run(model, x)
    twin = copy.deepcopy(model)
    twin.weight = twin.weight * 2
    np.testing.assert_array_equal(run(twin, x), twin(x))
    np.testing.assert_array_equal(run(model, x), model(x))


class Turning(nn.Module):
    """Changes a member of a list, and another of a dict."""

    def __init__(self) -> None:
        self.lists, self.dicts = [[False], "kept"], {"turned": False}

    def forward(self, x: Any) -> Any:
        [turned], _ = self.lists
        self.lists[0][0] = self.dicts["turned"] = not turned
        return -x if turned else x


def test_members_of_lists_that_the_step_changes() -> None:
    model, run, x = Turning(), xn.compile(lambda model, x: model(x)), np.ones(1)
    assert [float(run(model, x)[0]) for _ in range(7)] == [1, -1, 1, -1, 1, -1, 1]
    assert run.recordings == 2
    fails = xn.compile(lambda model, x: float(model(x)))
    with pytest.raises(CompileError, match="float"):
        fails(model, x)
    assert model.lists == [[True], "kept"]
    assert model.dicts == {"turned": True}


@dataclasses.dataclass
class Scale(nn.Module):
    """Equal to others of the same settings, and without a hash."""

    name: str

    def __post_init__(self) -> None:
        self.factor = nn.Parameter(np.ones(1))

    def forward(self, x: Any) -> Any:
        return x * self.factor


def test_equal_modules_have_programs_of_their_own() -> None:
    models, run, x = [Scale("a"), Scale("a")], xn.compile(lambda model, x: model(x)), np.ones(1)
    models[1].factor = np.full(1, 2.0)
    assert models[0] == models[1]
    for _ in range(2):
        assert [float(run(model, x)[0]) for model in models] == [1, 2]
    assert run.recordings == 2


def test_a_metric_that_is_reset() -> None:
    accuracy, x = metrics.Accuracy(), np.eye(3)
    run = xn.compile(lambda metric, x, y: metric.update(x, y))
    for _ in range(3):
        for _ in range(3):
            assert run(accuracy, x, np.asarray([0, 1, 1])) is None
        assert round(float(accuracy.compute()), 4) == 0.6667
        accuracy.reset()


def test_the_call_that_records_runs_the_program(lib: Any) -> None:
    """Later runs from the same weights give the same numbers, to the last bit."""
    rng = np.random.default_rng(0)
    x, y = (xn.asarray(rng.normal(size=size).astype("float32")) for size in ((33, 70), (33, 3)))
    model, optimizer = nn.Sequential(nn.Linear(70, 9), nn.Tanh(), nn.Linear(9, 3)), optim.SGD(0.1)
    start = {name: np.array(xn.to_host(x)) for name, x in model.state_dict().items()}
    run, found = xn.compile(step), []
    for _ in range(2):
        loss = run(model, optimizer, x, y)
        found.append([np.array(xn.to_host(x)) for x in (loss, *model.state_dict().values())])
        model.load_state_dict({name: xn.asarray(x) for name, x in start.items()})
    assert run.recordings == 1
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first, second)


class Model(nn.Module):
    """Has a number that is part of what a program is for."""

    number = 0
    history: Any = None

    def forward(self, x: Any) -> Any:
        if self.history is not None:
            self.history = [*self.history, 1]
        return x + self.number


def other_module(run: Any, model: Any, n: int) -> None:
    run(nn.ReLU(), np.ones(2))


def other_shape(run: Any, model: Any, n: int) -> None:
    run(model, np.ones((n, 2)))


def other_number(run: Any, model: Any, n: int) -> None:
    run(model, np.ones(2), n)


def more_numbers(run: Any, model: Any, n: int) -> None:
    run(model, np.ones(2), *[1] * n)


def other_setting(run: Any, model: Any, n: int) -> None:
    model.number = n
    run(model, np.ones(2))


def never_again(run: Any, model: Any, n: int) -> None:
    model.history = []
    run(model, np.ones(2))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (never_again, "what the step makes or changes in a module, which no program repeats"),
        (other_module, "another model"),
        (other_shape, r"an array of shape \(15, 2\) and float64 on cpu, after .* \(14, 2\)"),
        (other_number, "the int 15, after the int 14"),
        (more_numbers, "another number of arguments"),
        (other_setting, "what a module or optimizer has that is no array"),
    ],
)
def test_many_recordings_are_told_of_once(call: Any, reason: str) -> None:
    model, run = Model(), xn.compile(lambda model, x, *numbers: model(x))
    for n in range(15):
        call(run, model, n)
    with pytest.warns(RuntimeWarning, match=f"16 times, .* the last time because of {reason}"):
        call(run, model, 15)
    call(run, model, 16)


def test_programs_are_kept_up_to_a_number() -> None:
    run = xn.compile(lambda x: x + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that there are so many
        for n in range(70):
            run(np.ones(n))
    run(np.ones(6))
    assert run.recordings == 70
    run(np.ones(0))
    assert run.recordings == 71
    assert len(run._known) == 64


def test_arrays_of_a_model_that_is_gone_are_released() -> None:
    model, optimizer, run = mlp(), optim.Adam(0.1), xn.compile(step)
    run(model, optimizer, *batch())
    watched = [weakref.ref(model), weakref.ref(optimizer)]
    source = run.source
    del model, optimizer
    gc.collect()
    assert [each() for each in watched] == [None, None]
    assert not run._known
    assert run.source == source


class Twice(nn.Module):
    """Has a method that is compiled."""

    def __init__(self, factor: float) -> None:
        self.factor = nn.Parameter(np.full(1, factor))

    @xn.compile
    def forward(self, x: Any) -> Any:
        return 2 * self.factor * x

    def half(self, x: Any) -> Any:
        return x / 2


def test_modules_and_methods() -> None:
    models, x = [Twice(1.0), Twice(3.0)], np.ones(1)
    for _ in range(2):
        assert [float(model(x)[0]) for model in models] == [2, 6]
    assert models[0].forward.recordings == 2
    linear = nn.Linear(1, 1, dtype="float64")
    for function in (xn.compile(linear), xn.compile(linear.forward)):
        for factor in (1.0, 4.0):
            linear.weight = np.full((1, 1), factor)
            np.testing.assert_array_equal(function(x[None]), linear(x[None]))
        assert function.recordings == 1
    assert float(xn.compile(models[1].half)(x)[0]) == 0.5
    with pytest.raises(TypeError, match="expected a function, got"):
        xn.compile(optim.SGD(0.1))  # type: ignore[arg-type]


def test_a_part_of_a_model_is_enough() -> None:
    class Coder(nn.Module):
        def __init__(self) -> None:
            self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(4, 3)
            self.encoder.scale = np.asarray([2.0], np.float32)  # no state of it

    def fit(layer: Any, optimizer: Any, x: Any) -> Any:
        def energy(layer: Any, x: Any) -> Any:
            return xn.array_namespace(x).sum((layer(x) * layer.scale) ** 2)

        value, grads = xn.value_and_grad(energy)(layer, x)
        optimizer.update(layer, grads)
        return value

    x, found = batch()[0], []
    for each in (fit, xn.compile(fit)):
        xn.seed(0)
        model, optimizer = Coder(), optim.SGD(0.01, momentum=0.9)
        clipped = optim.Clip(optimizer, value=0.1)
        for _ in range(3):
            each(model.encoder, clipped, x)
            each(model.encoder, optimizer, x)
        encoded = (xn.compile(model.encoder) if each is not fit else model.encoder)(x)
        found.append((encoded, model.decoder(encoded), model.encoder.weight))
    for actual, expected in zip(*found[::-1], strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-7)


def test_what_is_tied_to_another_model_is_not_changed() -> None:
    model, x = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3)), batch()[0]
    model.tie("0.weight", "1.weight")
    np.testing.assert_array_equal(xn.compile(model[0])(x), model[0](x))
    optimizer, before = optim.SGD(0.1), model[0].weight.copy()
    with pytest.raises(CompileError, match=r"tied to one of a (Linear|Sequential) that is none"):
        xn.compile(step)(model[0], optimizer, *batch())
    np.testing.assert_array_equal(model[0].weight, before)
    xn.compile(step)(model, optim.SGD(0.1), *batch())
    assert model[0].weight is model[1].weight


def test_copies_are_functions_of_their_own() -> None:
    """As functions are, those that are decorated are pickled by their name."""
    model, x = Twice(1.0), np.ones(1)
    assert pickle.loads(pickle.dumps(Twice.forward)) is Twice.forward
    named = xn.compile(step)
    again = pickle.loads(pickle.dumps(named))
    assert again is not named
    assert again._function is step
    trainer = xn.Trainer(model, losses.mse_loss, optim.SGD(0.1), compile=True)
    for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
        other.fit([(x, x)], verbose=0)
        assert float(other.model.factor[0]) != 1.0
        assert float(model.factor[0]) == 1.0


def test_results_are_copies() -> None:
    pair = Pair()
    _, model, optimizer = pair.sides[1]
    values = [pair.step(model, optimizer, *batch()) for _ in range(3)]
    assert len({float(value) for value in values}) == 3
    first = xn.compile(lambda model, x: (model.weight, x, model.weight.T))
    layer = nn.Linear(3, 3)
    for _ in range(2):
        weight, x, transposed = first(layer, batch()[0])
        before = layer.weight.copy()
        for result in (weight, transposed):
            result += 1
        np.testing.assert_array_equal(layer.weight, before)
        x += 1
        assert not np.array_equal(x, batch()[0])


def test_results_and_state_are_arrays_of_their_own(lib: Any) -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            self.zeros, self.ones = nn.Buffer(lib.asarray([5.0])), nn.Buffer(lib.asarray([5.0]))
            self.last = nn.Buffer(lib.asarray([5.0]))
            self.same = nn.Parameter(lib.asarray([3.0, 4.0]))

    def step(model: Any, x: Any) -> Any:
        xp = xn.array_namespace(x)
        model.zeros, model.ones, model.last = xp.zeros_like(x), x - x + 1, x - x + 1
        return x, model.same, xp.reshape(x, (2, 1)), model.zeros, model.ones, xp.zeros_like(x)

    model, run = Kept(), xn.compile(step)
    expected = [[1.0, 2.0], [3.0, 4.0], [[1.0], [2.0]], [0.0] * 2, [1.0] * 2, [0.0] * 2]
    for _ in range(4):
        x = lib.asarray([1.0, 2.0])
        found = list(run(model, x))
        for n, wanted in enumerate(expected):
            assert lib.to_host(found[n]).tolist() == wanted
            found[n] += 7.0  # in place, where the library does so
        model.zeros += 7.0
        model.ones += 7.0
        assert lib.to_host(model.last).tolist() == [1.0, 1.0]
        assert lib.to_host(model.same).tolist() == [3.0, 4.0]
        assert lib.to_host(x).tolist() == [1.0, 2.0]
    assert run.recordings == 2


def test_results_may_be_the_state_before() -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = (nn.Buffer(np.asarray([n, n])) for n in (1.0, 2.0))

    def swap(model: Any) -> Any:
        before = model.a
        model.a, model.b = model.b, model.a
        return before, model.a * 1

    counter, run = Counter(), xn.compile(swap)
    for n in range(6):
        before, after = run(counter)
        assert before.tolist() == ([1.0, 1.0] if n % 2 == 0 else [2.0, 2.0])
        assert after.tolist() == counter.a.tolist() != before.tolist()
    assert run.recordings == 1


def test_a_buffer_of_another_shape_or_dtype(lib: Any) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Buffer(lib.asarray([2.0, 3.0], "float32"))

        def forward(self, x: Any) -> Any:
            self.scale = self.scale * 2
            return x * self.scale

    run, models, x = xn.compile(lambda m, x: m(x)), [Scaled(), Scaled()], lib.asarray([1.0, 1.0])
    for n, scale in enumerate(([1.0, 2.0], [[3.0], [4.0]], [[5.0], [6.0]])):
        for model in models:
            model.scale = lib.asarray(scale, "float32")
        for _ in range(3):
            found, expected = run(models[0], x), models[1](x)
            np.testing.assert_array_equal(lib.to_host(found), lib.to_host(expected), strict=True)
        assert run.recordings == min(n + 1, 2)


def test_a_compiled_function_within_another_and_within_grad() -> None:
    inner = xn.compile(lambda model, x: model(x) ** 2)
    layer, x = nn.Linear(3, 1), batch()[0]
    inner(layer, x)

    def outer(model: Any, x: Any) -> Any:
        return xn.array_namespace(x).sum(inner(model, x))

    run = xn.compile(outer)
    for _ in range(2):
        np.testing.assert_array_equal(run(layer, x), outer(layer, x))
    assert (run.recordings, inner.recordings) == (1, 1)
    expected = xn.grad(lambda m, x: xn.array_namespace(x).sum(m(x) ** 2))(layer, x)
    found = xn.grad(outer)(layer, x)
    alone = xn.grad(lambda m: xn.array_namespace(m.weight).sum(inner(m, x)))(layer)
    for name, grad in expected.items():
        np.testing.assert_array_equal(found[name], grad)
        np.testing.assert_array_equal(alone[name], grad)
    square = xn.compile(lambda x: x**2)
    np.testing.assert_array_equal(xn.jacobian(square)(x[0]), np.diag(2 * x[0]))
    assert (inner.recordings, square.recordings) == (1, 0)


def test_two_threads_record_at_once() -> None:
    barrier = threading.Barrier(2)
    results: dict[int, list[float]] = {}

    def slow(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        barrier.wait(timeout=10)
        value = step(model, optimizer, x, y)
        barrier.wait(timeout=10)
        return value

    def train(number: int) -> None:
        x, y = (a * (number + 1) for a in batch())
        model, optimizer = models[number], optim.SGD(0.1)
        run = xn.compile(slow)
        results[number] = [float(run(model, optimizer, x, y)) for _ in range(3)]
        assert run.recordings == 1

    models = [nn.Linear(3, 3, rng=xn.Generator(n)) for n in range(2)]
    twins = copy.deepcopy(models)
    threads = [threading.Thread(target=train, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    for number, twin in enumerate(twins):
        x, y = (a * (number + 1) for a in batch())
        optimizer = optim.SGD(0.1)
        assert results[number] == [float(step(twin, optimizer, x, y)) for _ in range(3)]


def test_threads_call_one_function() -> None:
    def compute(x: Any) -> Any:
        return xn.array_namespace(x).sin(x) * 2.0 + x

    def call(number: int) -> None:
        x = np.full(200_000, float(number))
        expected = compute(x)
        right[number] = all(np.array_equal(run(x), expected) for _ in range(20))

    run = xn.compile(compute)
    right: dict[int, bool] = {}
    threads = [threading.Thread(target=call, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert right == dict.fromkeys(range(4), True)
    assert run.recordings == 1
