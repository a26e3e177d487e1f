"""What a recorded program cannot do raises, names the line, and changes nothing."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim
from xpnet.errors import CompileError, TracedArrayError


def test_numpy_functions_name_the_cure() -> None:
    for function in (np.asarray, np.sum, lambda x: np.ones(3) + np.asarray(x)):
        with pytest.raises(TracedArrayError, match=r"xp = xn\.array_namespace\(x\)"):
            xn.compile(function)(np.ones(3))


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


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize(
    "foreign",
    [
        np.ma.masked_array(np.ones((3, 3)), mask=np.eye(3)),
        np.ones((3, 3)).view(np.matrix),
    ],
    ids=["masked array", "matrix"],
)
def test_what_computes_otherwise_than_arrays_meets_none(foreign: Any) -> None:
    x = np.ones((3, 3))
    message = rf"a {type(foreign).__name__} met the arrays .* at {re.escape(__file__)}.*xn\.asarray"
    for function in (
        lambda x: foreign * x,
        lambda x: xn.array_namespace(x).where(foreign > 0, x, 0.0),
    ):
        with pytest.raises(CompileError, match=message):
            xn.compile(function)(x)


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


def test_an_engine_that_fails_in_the_first_run(monkeypatch: pytest.MonkeyPatch) -> None:
    setting, run = Setting(), xn.compile(Setting.step)
    before = setting.state()

    def fails(*arrays: Any) -> Any:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("xpnet.program.source.Printed.function", lambda printed: fails)
        with pytest.raises(MemoryError, match="no room"):
            run(setting, setting.model, setting.optimizer, setting.x, setting.y)
    setting.assert_unchanged(before)
    assert np.isfinite(run(setting, setting.model, setting.optimizer, setting.x, setting.y))
    assert setting.optimizer.steps == 1


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


class Doubled(optim.SGD):
    """Computes with its numbers where they would be frozen."""

    def __init__(self, learning_rate: Any, operation: Callable[[Any], Any]) -> None:
        super().__init__(learning_rate)
        vars(self)["operation"] = operation

    def step_parameter(self, parameter: Any, grad: Any, state: Any, numbers: Any) -> Any:
        parameter -= self.operation(numbers["rate"]) * grad
        return parameter


def test_the_message_about_host_numbers() -> None:
    setting = Setting(Doubled(0.1, lambda rate: rate * 2))
    with pytest.raises(CompileError, match=rf"{re.escape(__file__)}:\d+.* its method numbers"):
        xn.compile(setting.step)(setting.model, setting.optimizer, setting.x, setting.y)
