"""What a recorded program cannot do raises, names the line, and changes nothing."""

import inspect
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim
from xpnet.errors import CompileError, TracedArrayError


def branch(xp: Any, x: Any) -> Any:
    return x if xp.sum(x) > 0 else -x


def loop(xp: Any, x: Any) -> Any:
    while xp.max(x) > 1:
        x = x / 2
    return x


def floating(xp: Any, x: Any) -> Any:
    return x * float(xp.sum(x))


def integer(xp: Any, x: Any) -> Any:
    return x * int(xp.sum(x))


def complex_(xp: Any, x: Any) -> Any:
    return x * complex(xp.sum(x))


def index(xp: Any, x: Any) -> Any:
    return [1.0, 2.0, 3.0][xp.argmax(x)] * x


def span(xp: Any, x: Any) -> Any:
    return x[: xp.argmax(x) + 1]


def mask(xp: Any, x: Any) -> Any:
    return x[x > 0]


def nonzero(xp: Any, x: Any) -> Any:
    return xp.nonzero(x)


def unique(xp: Any, x: Any) -> Any:
    return xp.unique_values(x)


def repeat(xp: Any, x: Any) -> Any:
    return xp.repeat(x, xp.astype(x, xp.int64))


def dlpack(xp: Any, x: Any) -> Any:
    return x.__dlpack__()


def item_in_grad(xp: Any, x: Any) -> Any:
    return xn.grad(lambda y: xn.array_namespace(y).sum(y) * int(xn.stop_gradient(y)[0]))(x)


def number(xp: Any, x: Any) -> Any:
    return x, 3.0


REFUSED: dict[Callable[..., Any], str] = {
    branch: "a Python branch on the value of an array",
    loop: "a Python branch on the value of an array",
    floating: "float(x)",
    integer: "int(x)",
    complex_: "complex(x)",
    index: "a Python index taken from an array",
    span: "a slice with bounds that are arrays, whose shape depends on values",
    mask: "x[mask], whose shape depends on values",
    nonzero: "xp.nonzero, whose shape depends on values",
    unique: "xp.unique_values, whose shape depends on values",
    repeat: "xp.repeat by an array, whose shape depends on values",
    dlpack: "a copy of an array to another library or to the host",
    item_in_grad: "int(x)",
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda function: function.__name__)
def test_the_line_is_named(lib: Any, function: Callable[..., Any]) -> None:
    run = xn.compile(lambda x: function(xn.array_namespace(x), x))
    with pytest.raises(CompileError) as caught:
        run(lib.asarray([1.0, 2.0, 3.0]))
    message = str(caught.value)
    found = re.fullmatch(r"xn\.compile: (.*), at (.*):(\d+): a step is recorded .*; .+", message)
    assert found is not None, message
    assert found[1] == REFUSED[function]
    assert Path(found[2]) == Path(__file__)
    lines, first = inspect.getsourcelines(function)
    assert first < int(found[3]) < first + len(lines)


def test_numpy_functions_name_the_cure() -> None:
    for function in (np.asarray, np.sum, lambda x: np.ones(3) + np.asarray(x)):
        with pytest.raises(TracedArrayError, match=r"xp = xn\.array_namespace\(x\)"):
            xn.compile(function)(np.ones(3))


def test_a_number_that_is_returned() -> None:
    with pytest.raises(CompileError, match=r"compile of <lambda>: the step returned the number 3"):
        xn.compile(lambda x: (x, 3.0))(np.ones(3))


def test_an_argument_that_cannot_be_told_apart() -> None:
    with pytest.raises(CompileError, match=r"things that can be hashed as arguments.*got a set"):
        xn.compile(lambda x, names: x)(np.ones(3), {"a"})


def test_no_array_at_all() -> None:
    with pytest.raises(CompileError, match=r"expected at least one array.*got none"):
        xn.compile(lambda x: x)(3)
    with pytest.raises(TypeError, match="compile: expected a function, got int"):
        xn.compile(3)  # type: ignore[arg-type]
    with pytest.raises(CompileError, match="it was not called yet"):
        xn.compile(lambda x: x).source  # noqa: B018


def write(x: Any) -> Any:
    x += 1
    return x


def write_item(x: Any) -> Any:
    x[0] = 1.0
    return x


def write_view(x: Any) -> Any:
    view = xn.array_namespace(x).reshape(x, (-1,))
    view[0] = 1.0
    return x


@pytest.mark.parametrize("function", [write, write_item, write_view])
def test_inputs_are_not_written_to(function: Callable[..., Any]) -> None:
    x = np.zeros(3)
    with pytest.raises(TracedArrayError, match="came from outside of the function"):
        xn.compile(function)(x)
    assert not x.any()


# Nothing is changed


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return losses.cross_entropy(model(x), y)


def snapshot(*things: Any) -> Any:
    return [{k: (v.copy() if hasattr(v, "copy") else v) for k, v in t.state_dict().items()}
            for t in things]  # fmt: skip


class Setting:
    """A model, what trains it, and what to compare afterwards."""

    def __init__(self, optimizer: optim.Optimizer | None = None) -> None:
        norm, drop = nn.BatchNorm1d(3), nn.Dropout(0.5)
        self.model = nn.Sequential(nn.Linear(3, 3), norm, drop, nn.Linear(3, 3))
        self.optimizer = optim.Adam(0.1) if optimizer is None else optimizer
        self.metric = metrics.Accuracy()
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(5, 3)).astype("float32")
        self.y = rng.integers(3, size=5)

    def state(self) -> Any:
        things = snapshot(self.model, self.optimizer, self.metric)
        return things, xn.random.default_generator().draws, self.optimizer.steps

    def assert_unchanged(self, before: Any) -> None:
        np.testing.assert_equal(self.state(), before)
        for thing in (self.model, self.optimizer, self.metric):
            for slot in thing.slots():
                assert type(slot.array) in (np.ndarray, np.int64)

    def step(self, model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        self.metric_of(x).update(x, y)
        return value

    def metric_of(self, x: Any) -> Any:
        return metrics.Accuracy()


@pytest.mark.parametrize("steps", [0, 2])
def test_a_step_that_raises_half_way(steps: int) -> None:
    setting = Setting()
    broken = False

    def step(model: Any, optimizer: Any, metric: Any, x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        metric.update(x, y)
        model.noted = 1
        if broken:
            model.noted = 2
            raise RuntimeError("half-way")
        return value

    run = xn.compile(step)
    arguments = setting.model, setting.optimizer, setting.metric
    for _ in range(steps):
        run(*arguments, setting.x, setting.y)
    broken = True
    before = setting.state()
    with pytest.raises(RuntimeError, match="half-way"):
        run(*arguments, setting.x[:3], setting.y[:3])
    setting.assert_unchanged(before)
    assert getattr(setting.model, "noted", 0) == (1 if steps else 0)
    broken = False
    assert np.isfinite(run(*arguments, setting.x, setting.y))


def test_a_schedule_that_fails_later() -> None:
    setting = Setting(optim.SGD(lambda step: 0.1 if step < 3 else -1.0))
    run = xn.compile(setting.step)
    arguments = setting.model, setting.optimizer, setting.x, setting.y
    for _ in range(3):
        run(*arguments)
    weights = snapshot(setting.model)
    with pytest.raises(ValueError, match="expected a learning rate that is finite"):
        run(*arguments)
    np.testing.assert_equal(snapshot(setting.model), weights)
    assert setting.optimizer.steps == 3


@pytest.mark.parametrize("steps", [0, 1])
def test_what_the_step_closes_over(steps: int) -> None:
    setting = Setting()
    model, optimizer, x, y = setting.model, setting.optimizer, setting.x, setting.y
    for _ in range(steps):
        setting.step(model, optimizer, x, y)
    if not steps:
        optimizer.prepare(model)
    norm, drop, plain = nn.BatchNorm1d(3), nn.Dropout(0.5), optim.SGD(0.1)

    def update(model: Any, x: Any, y: Any, optimizer: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return value

    cases: dict[str, Callable[[], Any]] = {
        "Linear": lambda: xn.compile(lambda x: model[0](x))(x),
        "Sequential": lambda: xn.compile(lambda x, y: loss_fn(model, x, y))(x, y),
        "Adam": lambda: xn.compile(lambda m, x, y: update(m, x, y, optimizer))(model, x, y),
        "SGD": lambda: xn.compile(lambda m, x, y: update(m, x, y, plain))(model, x, y),
        "Dropout": lambda: xn.compile(lambda x: drop(x))(x),
        "BatchNorm1d": lambda: xn.compile(lambda x: x + norm.running_mean)(x),
        "Accuracy": lambda: xn.compile(lambda x, y: setting.metric.update(x, y))(x, y),
    }
    for name, call in cases.items():
        before = setting.state()
        with pytest.raises(CompileError, match=r"none of (the|its) arguments.*pass") as caught:
            call()
        assert f"a {name} " in str(caught.value)
        assert "stored" in str(caught.value) or f"{__file__}:" in str(caught.value)
        setting.assert_unchanged(before)
        assert plain.steps == 0


def test_what_is_made_within_the_step_is_its_own() -> None:
    def step(x: Any) -> Any:
        return nn.ReLU()(x) * 2

    run = xn.compile(step)
    x = np.asarray([-1.0, 1.0])
    assert run(x).tolist() == run(x).tolist() == [0.0, 2.0]


def test_an_array_that_is_stored_where_nothing_renews_it() -> None:
    class Keeps(nn.Module):
        def forward(self, x: Any) -> Any:
            self.last = x * 2
            return x

    model = Keeps()
    with pytest.raises(CompileError, match=r"stored an array in 'last'.*make it an nn\.Buffer"):
        xn.compile(lambda model, x: model(x))(model, np.ones(3))
    assert not hasattr(model, "last")


def test_a_recorded_array_that_escapes() -> None:
    kept: list[Any] = []

    def step(x: Any) -> Any:
        kept.append(x * 2)
        return x

    run = xn.compile(step)
    run(np.ones(3))
    with pytest.raises(CompileError, match="it had ended"):
        kept[0] + 1
    with pytest.raises(CompileError, match="one recording was used in another"):
        xn.compile(lambda x: x + kept[0])(np.ones(4)[:3])


class Doubled(optim.SGD):
    """Computes with its numbers where they would be frozen."""

    def __init__(self, learning_rate: Any, operation: Callable[[Any], Any]) -> None:
        super().__init__(learning_rate)
        vars(self)["operation"] = operation

    def step_parameter(self, parameter: Any, grad: Any, state: Any, numbers: Any) -> Any:
        parameter -= self.operation(numbers["rate"]) * grad
        return parameter


@pytest.mark.parametrize(
    "operation",
    [
        lambda rate: rate * 2, lambda rate: 2 * rate, lambda rate: -rate, lambda rate: rate**2,
        lambda rate: 1 - rate, lambda rate: rate if rate > 0.05 else 0.0, float,
        lambda rate: rate if rate else 0.0, abs, round, lambda rate: divmod(rate, 1)[0],
        lambda rate: np.float32(rate),
        lambda rate: max(rate, 0.01), int, lambda rate: rate // 1,
        lambda rate: rate.real, lambda rate: rate.conjugate(), lambda rate: rate.hex(),
        lambda rate: rate.as_integer_ratio()[0], lambda rate: sum([rate, 1.0]),
        lambda rate: {0.1: 1.0}.get(rate, 2.0), lambda rate: 1.0 if rate in {0.1} else 0.0,
        math.sqrt, math.isfinite, lambda rate: float(f"{rate}"), lambda rate: float(str(rate)),
        json.dumps, np.float64, np.asarray, lambda rate: (np.ones(3) * rate)[0],
    ],
)  # fmt: skip
def test_arithmetic_on_host_numbers(operation: Callable[[Any], Any]) -> None:
    setting = Setting(Doubled(0.1, operation))
    before = setting.state()
    with pytest.raises(TypeError):  # a CompileError, or C code that takes floats alone
        xn.compile(setting.step)(setting.model, setting.optimizer, setting.x, setting.y)
    setting.optimizer.state.clear()
    assert setting.optimizer.steps == before[2]


def test_the_message_about_host_numbers() -> None:
    setting = Setting(Doubled(0.1, lambda rate: rate * 2))
    with pytest.raises(CompileError, match=rf"{re.escape(__file__)}:\d+.* its method numbers"):
        xn.compile(setting.step)(setting.model, setting.optimizer, setting.x, setting.y)
