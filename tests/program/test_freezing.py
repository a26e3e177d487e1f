"""Every way in which a step could be frozen: seen, refused, or said to be frozen.

Each script trains or computes something with the function that `wrap` returns, and is run with
`xn.compile` and without. What it is expected to do with it stands above it: the number of
recordings, if the results are those of the plain run; or the message of the error, which names a
line of the script where it can; or the words of the documentation that say what is frozen.
"""

import copy
import inspect
import itertools
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim

Script = Callable[[Any, Any], Any]


class Way(NamedTuple):
    script: Script
    recordings: int = 0
    message: str = ""  # a pattern
    words: str = ""


WAYS: dict[str, Way] = {}


def equal(recordings: int) -> Callable[[Script], Script]:
    return lambda script: _add(Way(script, recordings=recordings))


def refused(message: str) -> Callable[[Script], Script]:
    return lambda script: _add(Way(script, message=message))


def frozen(words: str) -> Callable[[Script], Script]:
    return lambda script: _add(Way(script, words=words))


def _add(way: Way) -> Script:
    name = way.script.__name__.rstrip("_").replace("_", " ")
    assert name not in WAYS
    WAYS[name] = way
    return way.script


class Wrap:
    """`xn.compile`, and how often all that it has compiled was recorded."""

    def __init__(self) -> None:
        self.compiled: list[Any] = []

    def __call__(self, function: Any) -> Any:
        self.compiled.append(xn.compile(function))
        return self.compiled[-1]

    @property
    def recordings(self) -> int:
        return sum(each.recordings for each in self.compiled)


def plain(function: Any) -> Any:
    return function


def numbers(lib: Any, seed: int = 0) -> Any:
    return lib.asarray(np.random.default_rng(seed).normal(size=(4, 3)))


def linear() -> nn.Linear:
    return nn.Linear(3, 3, dtype="float64")


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return losses.mse_loss(model(x), y)


def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    value, grads = xn.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return value


def left(*things: Any) -> Any:
    """Return all that a training leaves in modules and optimizers."""
    return [each.state_dict() for each in things], xn.random.default_generator().draws


def train(
    lib: Any,
    wrap: Any,
    change: Callable[[Any, Any], Any] = lambda model, optimizer: None,
    *,
    layers: Callable[[], tuple[nn.Module, ...]] = lambda: (nn.Tanh(),),
    optimizer: optim.Optimizer | None = None,
    step: Callable[..., Any] = step,
) -> Any:
    """Make two steps, change something, and make two more."""
    xn.seed(0)
    model = nn.Sequential(linear(), *layers())
    optimizer = optim.SGD(0.1, momentum=0.5) if optimizer is None else optimizer
    run, x, y = wrap(step), numbers(lib), numbers(lib, 1)
    values = [run(model, optimizer, x, y) for _ in range(2)]
    change(model, optimizer)
    values += [run(model, optimizer, x, y) for _ in range(2)]
    return values, left(model, optimizer)


def changed(recordings: int, name: str, change: Callable[..., Any], **options: Any) -> None:
    """Add a script that changes something of a model or an optimizer between steps."""

    def script(lib: Any, wrap: Any) -> Any:
        return train(lib, wrap, change, **copy.deepcopy(options))

    script.__name__ = name.replace(" ", "_")
    equal(recordings)(script)


# A5: views and writing in place


@refused("came from outside of the function")
def augmented_assignment_to_an_input(lib: Any, wrap: Any) -> Any:
    def add(x: Any) -> Any:
        x += 1
        return x

    if not lib.writable:
        pytest.skip("its arrays have no augmented assignment")
    return wrap(add)(numbers(lib))


@refused("came from outside of the function")
def item_assignment_to_an_input(lib: Any, wrap: Any) -> Any:
    def put(x: Any) -> Any:
        x[0, 0] = 1.0
        return x

    return wrap(put)(numbers(lib))


@refused("came from outside of the function")
def writing_to_a_view_of_an_input(lib: Any, wrap: Any) -> Any:
    def put(x: Any) -> Any:
        view = xn.array_namespace(x).reshape(x, (-1,))
        view[0] = 1.0
        return x

    return wrap(put)(numbers(lib))


@refused("used after a write that the array library may show in it|Hidden")
def writing_to_an_item_that_was_kept(lib: Any, wrap: Any) -> Any:
    def add(x: Any) -> Any:
        own = x * 1
        row = own[0, :]
        row += 1
        return own * 2

    if not lib.writable:
        pytest.skip("its arrays have no augmented assignment")
    return wrap(add)(numbers(lib))


@refused("shares the memory of x")
def writing_below_a_view(lib: Any, wrap: Any) -> Any:
    def add(x: Any) -> Any:
        own = x * 1
        turned = own.T
        own[0, 0] = 1.0
        return turned

    return wrap(add)(numbers(lib))


@equal(1)
def writing_to_items_of_the_steps_own(lib: Any, wrap: Any) -> Any:
    def add(x: Any) -> Any:
        own = x * 1
        own[0, :] += x[1, :]
        return own

    if lib.name == "jax":
        pytest.skip("its arrays cannot be written to")
    run = wrap(add)
    return [run(numbers(lib, seed)) for seed in range(3)]


@refused("'0.weight' of a module or optimizer, or a view of it, which the step overwrites")
def a_parameter_as_an_input(lib: Any, wrap: Any) -> Any:
    model, optimizer = nn.Sequential(linear()), optim.SGD(0.1)
    return wrap(step)(model, optimizer, model[0].weight, numbers(lib)[:3, :])


@refused("'0.weight' of a module or optimizer, or a view of it, which the step overwrites")
def a_parameter_as_an_input_later(lib: Any, wrap: Any) -> Any:
    model, optimizer, run = nn.Sequential(linear()), optim.SGD(0.1), wrap(step)
    y = numbers(lib)[:3, :]
    run(model, optimizer, y, y)
    return run(model, optimizer, model[0].weight, y)


@refused("'0.weight' of a module or optimizer, or a view of it, which the step overwrites")
def a_view_of_a_parameter_as_an_input_later(lib: Any, wrap: Any) -> Any:
    if not hasattr(numbers(lib), "base"):
        pytest.skip("its arrays do not tell whose memory they see")
    model, optimizer, run = nn.Sequential(linear()), optim.SGD(0.1), wrap(step)
    y = numbers(lib)[:2, :]
    for _ in range(3):
        run(model, optimizer, y, y)
    return run(model, optimizer, model[0].weight[:2, :], y)


@equal(1)
def a_parameter_as_an_input_that_is_not_changed(lib: Any, wrap: Any) -> Any:
    xn.seed(0)
    model, run = linear(), wrap(lambda model, x: model(x))
    return [run(model, model.weight) for _ in range(2)]


# A6: numbers that change


@equal(1)
def a_schedule_with_a_branch(lib: Any, wrap: Any) -> Any:
    rate = lambda step: 0.1 if step % 2 else 0.01 / (1 + step)  # noqa: E731
    return train(lib, wrap, optimizer=optim.SGD(rate))


@equal(1)
def bias_corrections(lib: Any, wrap: Any) -> Any:
    return train(lib, wrap, optimizer=optim.Adam(0.1))


@equal(1)
def random_masks(lib: Any, wrap: Any) -> Any:
    return train(lib, wrap, layers=lambda: (nn.Dropout(0.5),))


@equal(1)
def random_masks_that_are_drawn_again(lib: Any, wrap: Any) -> Any:
    class Block(nn.Module):
        def __init__(self) -> None:
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any) -> Any:
            return xn.autodiff.checkpoint(self.drop)(x) * x

    return train(lib, wrap, layers=lambda: (Block(),))


changed(1, "a rate that is assigned", lambda _, o: setattr(o, "learning_rate", 0.5))
changed(1, "a schedule that is assigned",
        lambda _, o: setattr(o, "learning_rate", optim.schedules.Cosine(0.1, 9)))  # fmt: skip
changed(1, "the factor of the rate", lambda _, o: setattr(o, "rate_factor", 0.1))
changed(1, "the rate of a wrapped optimizer", lambda _, o: setattr(o, "learning_rate", 0.5),
        optimizer=optim.Clip(optim.SGD(0.1), norm=0.5))  # fmt: skip
changed(1, "the seed", lambda *_: xn.seed(3), layers=lambda: (nn.Dropout(0.5),))


@equal(1)
def the_numbers_of_an_optimizer(lib: Any, wrap: Any) -> Any:
    def scaled(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value = step(model, optimizer, x, y)
        return [value * number for number in
                (optimizer.steps, optimizer.rate, optimizer.rate_factor, optimizer.learning_rate)
                ], optimizer.steps  # fmt: skip

    def change(model: Any, optimizer: Any) -> None:
        optimizer.learning_rate, optimizer.rate_factor = 0.5, 0.25

    return train(lib, wrap, change, step=scaled)


def within(name: str, message: str, doing: Callable[[Any, Any], Any]) -> None:
    """Add a script whose step does something that no program can do."""

    def script(lib: Any, wrap: Any) -> Any:
        def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
            doing(optimizer, x)
            return step(model, optimizer, x, y)

        return train(lib, wrap, step=both)

    script.__name__, script.__wrapped__ = name.replace(" ", "_"), doing  # type: ignore[attr-defined]
    refused(message)(script)


within("a branch on the number of steps", "a calculation of Python's with a number",
       lambda optimizer, x: optimizer.steps == 2)  # fmt: skip
within("setting the rate", "the learning rate of an optimizer is set within the step",
       lambda optimizer, x: setattr(optimizer, "learning_rate", 0.1))  # fmt: skip
within("setting the factor of the rate", "the rate factor of an optimizer is set within the step",
       lambda optimizer, x: setattr(optimizer, "rate_factor", 0.1))  # fmt: skip
within("setting the seed", "started anew within the step", lambda *_: xn.seed(0))
within("a generator of the step's own", "started anew within the step",
       lambda *_: xn.Generator(3))  # fmt: skip
within("a generator that is put back", "started anew within the step", lambda *_:
       xn.random.default_generator().load_state_dict({"seed": 0, "stream": 0, "draws": 0}),
       )  # fmt: skip
within("numbers drawn on the host", "random numbers are drawn on the host",
       lambda *_: xn.random.default_generator().normal((2,)))  # fmt: skip
within(
    "a layer of the step's own", "random numbers are drawn on the host", lambda *_: nn.Linear(3, 3)
)


@equal(1)
def a_step_that_raises(lib: Any, wrap: Any) -> Any:
    """While it is recorded: counters, generators and state go back."""

    def broken(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value = step(model, optimizer, x, y)
        if x.shape[0] == 2:
            model.noted = True
            raise RuntimeError("half-way")
        return value

    def fail(model: Any, optimizer: Any) -> None:
        if wrap is not plain:
            x = numbers(lib)[:2, :]
            with pytest.raises(RuntimeError, match="half-way"):
                wrap.compiled[-1](model, optimizer, x, x)
            assert not hasattr(model, "noted")

    options = {"layers": lambda: (nn.Dropout(0.5),), "optimizer": optim.Adam(0.1)}
    return train(lib, wrap, fail, step=broken, **options)


@equal(1)
def a_run_that_raises(lib: Any, wrap: Any) -> Any:
    """The first of two optimizers has counted, and a mask was drawn, when the schedule fails."""
    fails = False

    def rate(step: int) -> float:
        return -1.0 if fails else 0.1

    def both(model: Any, optimizer: Any, second: Any, third: Any, x: Any, y: Any) -> Any:
        step(model, optimizer, x, y)
        return step(second, third, x, y)

    xn.seed(0)
    models = [nn.Sequential(linear(), nn.Dropout(0.5)) for _ in range(2)]
    first, second = optim.Clip(optim.Adam(0.1), norm=1.0), optim.SGD(rate)
    run, x, y = wrap(both), numbers(lib), numbers(lib, 1)
    arguments = (models[0], first, models[1], second, x, y)
    run(*arguments)
    if wrap is not plain:
        fails = True
        with pytest.raises(ValueError, match="expected a learning rate"):
            run(*arguments)
        fails = False
    return left(first, second), run(*arguments), left(*models, first, second)


def thawed(recordings: int, name: str, make: Callable[[], optim.Optimizer]) -> None:
    """Add a script that freezes a layer and thaws it, so that counts of updates come apart."""

    def script(lib: Any, wrap: Any) -> Any:
        xn.seed(0)
        model, optimizer = nn.Sequential(linear(), nn.Tanh(), linear()), make()
        run, x, y, values = wrap(step), numbers(lib), numbers(lib, 1), []
        for change in (nn.Module.unfreeze, nn.Module.freeze) * 2:
            change(model[0])
            values += [run(model, optimizer, x, y) for _ in range(4)]
        return values, left(model, optimizer)

    script.__name__ = f"a layer that {name} thaws".replace(" ", "_")
    equal(recordings)(script)


# All, some, and all again, whose numbers are no longer the same.
thawed(3, "Adam", lambda: optim.Adam(lambda n: 0.1 / (n + 1)))
thawed(3, "Adam with overrides", lambda: optim.Adam(0.1, overrides={"*bias": {"eps": 0.1}}))
thawed(3, "a clipped Adam", lambda: optim.Clip(optim.Adam(0.1), norm=0.1))
thawed(3, "an averaged Adam", lambda: optim.Average(optim.Adam(0.1), 0.5))
thawed(5, "an accumulating Adam", lambda: optim.Accumulate(optim.Adam(0.1), 2))


@equal(2)
def a_layer_that_is_thawed_later(lib: Any, wrap: Any) -> Any:
    xn.seed(0)
    model, optimizer = nn.Sequential(linear().freeze(), linear()), optim.Adam(0.1)
    run, x, y = wrap(step), numbers(lib), numbers(lib, 1)
    values = [run(model, optimizer, x, y) for _ in range(2)]
    model.unfreeze()
    values += [run(model, optimizer, x, y) for _ in range(3)]
    return values, left(model, optimizer)


@equal(3)
def a_layer_that_another_step_freezes(lib: Any, wrap: Any) -> Any:
    """The state is as it was, for all but the counts of updates."""

    def partly(model: Any, *others: Any) -> Any:
        model[0].freeze()
        value = step(model, *others)
        model[0].unfreeze()
        return value

    xn.seed(0)
    model, optimizer = nn.Sequential(linear(), linear()), optim.Adam(0.1)
    steps, x, y = [wrap(partly), wrap(step)], numbers(lib), numbers(lib, 1)
    optimizer.prepare(model)
    values = [steps[n](model, optimizer, x, y) for n in (1, 1, 0, 0, 1, 1, 0, 1)]
    return values, left(model, optimizer)


@equal(2)
def counts_that_are_loaded(lib: Any, wrap: Any) -> Any:
    def load(model: Any, optimizer: Any) -> None:
        state = optimizer.state_dict()
        state["updates"]["0.bias"] = 5
        optimizer.load_state_dict(state, model)

    return train(lib, wrap, load, optimizer=optim.Adam(0.1))


# A7: what compile could freeze


@refused("a Linear is used that is none of the arguments; pass|at .*pass it as an argument")
def a_model_in_a_closure(lib: Any, wrap: Any) -> Any:
    model = linear()
    return wrap(lambda x: model(x))(numbers(lib))


@refused("a Sequential is used that is none of the arguments")
def a_model_in_a_closure_that_is_trained(lib: Any, wrap: Any) -> Any:
    model = nn.Sequential(linear())
    run = wrap(lambda optimizer, x, y: step(model, optimizer, x, y))
    return run(optim.SGD(0.1), numbers(lib), numbers(lib, 1))


@refused("a SGD is used that is none of the arguments")
def an_optimizer_in_a_closure(lib: Any, wrap: Any) -> Any:
    optimizer = optim.SGD(0.1)
    run = wrap(lambda model, x, y: step(model, optimizer, x, y))
    return run(nn.Sequential(linear()), numbers(lib), numbers(lib, 1))


@refused("a Dropout is used that is none of the arguments")
def a_layer_without_arrays_in_a_closure(lib: Any, wrap: Any) -> Any:
    drop = nn.Dropout(0.5)
    return wrap(lambda x: drop(x))(numbers(lib))


@refused("a Linear is used that is none of the arguments")
def an_array_of_a_model_in_a_closure(lib: Any, wrap: Any) -> Any:
    model = linear()
    return wrap(lambda x: x + model.bias)(numbers(lib))


@refused("stored an array in a Accuracy that is none of its arguments; pass it as an argument")
def a_metric_in_a_closure(lib: Any, wrap: Any) -> Any:
    metric = metrics.Accuracy()
    return wrap(lambda x, y: metric.update(x, y))(numbers(lib), lib.asarray([0, 1, 2, 0], None))


@refused("stored an array in 'last' of a module or optimizer.*make it an nn.Buffer")
def an_attribute_that_keeps_an_array(lib: Any, wrap: Any) -> Any:
    class Keeps(nn.Module):
        def forward(self, x: Any) -> Any:
            self.last = x * 2
            return x

    return wrap(lambda model, x: model(x))(Keeps(), numbers(lib))


@refused("after it had ended")
def a_total_in_a_closure(lib: Any, wrap: Any) -> Any:
    total = [lib.asarray(0.0)]

    def add(x: Any) -> None:
        total[0] = xn.array_namespace(x).sum(x) + total[0]

    run = wrap(add)
    run(numbers(lib))
    return total[0] * 1


@refused("one recording was used in another")
def an_array_of_another_recording(lib: Any, wrap: Any) -> Any:
    kept: list[Any] = []
    wrap(lambda x: kept.append(x))(numbers(lib))
    return wrap(lambda x: x + kept[0])(numbers(lib))


changed(2, "eval", lambda model, _: model.eval(), layers=lambda: (nn.Dropout(0.5),))
changed(2, "the p of a dropout", lambda model, _: setattr(model[1], "p", 0.25),
        layers=lambda: (nn.Dropout(0.5),))  # fmt: skip
changed(2, "freezing", lambda model, _: model[0].freeze())
changed(2, "the momentum", lambda _, optimizer: setattr(optimizer, "momentum", 0.1))
changed(2, "the betas", lambda _, o: setattr(o, "betas", (0.5, 0.5)), optimizer=optim.Adam(0.1))
changed(2, "the weight decay", lambda _, optimizer: setattr(optimizer, "weight_decay", 0.1))
changed(2, "an override", lambda _, o: o.overrides["*bias"].update(weight_decay=0.5),
        optimizer=optim.SGD(0.1, overrides={"*bias": {"weight_decay": 0.1}}))  # fmt: skip
changed(2, "the limit of a clip", lambda _, optimizer: setattr(optimizer, "norm", 0.1),
        optimizer=optim.Clip(optim.SGD(0.1), norm=0.5))  # fmt: skip
changed(2, "a layer that is replaced", lambda m, _: m.layers.__setitem__(1, nn.ReLU()))
changed(2, "a layer that is appended", lambda model, _: model.layers.append(nn.LeakyReLU()))
changed(2, "a private attribute", lambda model, _: setattr(model, "_anything", 1))
changed(2, "a parameter that becomes a buffer",
        lambda model, _: setattr(model[0], "bias", nn.Buffer(model[0].bias)))  # fmt: skip
changed(2, "parameters that are tied", lambda model, _: model.tie("0.bias", "1.bias"),
        layers=lambda: (linear(),))  # fmt: skip
changed(1, "a state that is loaded",
        lambda model, _: model.load_state_dict(nn.Sequential(linear(), nn.Tanh()).state_dict()),
        )  # fmt: skip


class Stack(nn.Module):
    def __init__(self) -> None:
        self.blocks, self.table, self.nested = [nn.ReLU()], {"scale": 1.0}, [[{"shift": 1.0}]]

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return x * self.table["scale"] + self.nested[0][0]["shift"]


@equal(4)
def members_of_lists_and_dicts(lib: Any, wrap: Any) -> Any:
    model, run = Stack(), wrap(lambda model, x: model(x))
    values = [run(model, numbers(lib)) for _ in range(2)]
    model.table["scale"] = 2.0
    values.append(run(model, numbers(lib)))
    model.blocks[0] = nn.Identity()
    values.append(run(model, numbers(lib)))
    model.nested[0][0]["shift"] = 3.0
    return [*values, run(model, numbers(lib))]


@equal(2)
def an_array_attribute_that_is_no_state(lib: Any, wrap: Any) -> Any:
    class Shift(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + self.by

    model, run = Shift(), wrap(lambda model, x: model(x))
    values = []
    for shift in (1.0, 2.0):
        model.by = lib.asarray([shift])
        values += [run(model, numbers(lib)) for _ in range(2)]
    return values


@equal(3)
def arrays_in_lists_and_dicts_that_are_no_state(lib: Any, wrap: Any) -> Any:
    class Shift(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * self.table["scale"] + self.shifts[0]

    model, run = Shift(), wrap(lambda model, x: model(x))
    model.table, model.shifts = {"scale": lib.asarray([2.0])}, [lib.asarray([1.0])]
    values = [run(model, numbers(lib)) for _ in range(2)]
    model.table["scale"] = lib.asarray([3.0])
    values += [run(model, numbers(lib)) for _ in range(2)]
    model.shifts[0] = lib.asarray([4.0])
    return values + [run(model, numbers(lib)) for _ in range(2)]


@equal(1)
def attributes_that_the_step_sets(lib: Any, wrap: Any) -> Any:
    def note(model: Any, x: Any) -> Any:
        model.noted = 3
        return model(x)

    xn.seed(0)
    model, run = linear(), wrap(note)
    model.noted, values = 3, []
    for _ in range(3):
        values.append((run(model, numbers(lib)), model.noted))
    return values


@equal(3)
def calls_that_an_attribute_counts(lib: Any, wrap: Any) -> Any:
    accumulate = optim.Accumulate(optim.SGD(0.1), 3)
    return train(lib, wrap, optimizer=accumulate)


@equal(1)
def results_are_copies(lib: Any, wrap: Any) -> Any:
    def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        before = model[0].weight * 1
        return step(model, optimizer, x, y), before, model[0].weight, model[0].weight.T, x

    values, state = train(lib, wrap, step=both)
    if wrap is not plain:
        weights = [lib.to_host(value[2]) for value in values]
        assert all((a != b).all() for a, b in itertools.pairwise(weights))
    # Without compile, a weight is the array that the next step writes to.
    return [value[:2] for value in values], state


@equal(1)
def a_compiled_function_within_another(lib: Any, wrap: Any) -> Any:
    xn.seed(0)
    model, inner = linear(), wrap(lambda model, x: model(x) ** 2)
    run = wrap(lambda model, x: inner(model, x) * 2)
    return [run(model, numbers(lib, seed)) for seed in range(2)]


@equal(0)
def a_compiled_function_within_grad(lib: Any, wrap: Any) -> Any:
    xn.seed(0)
    model, inner = linear(), wrap(lambda model, x: model(x) ** 2)
    total = lambda model, x: xn.array_namespace(x).sum(inner(model, x))  # noqa: E731
    return [xn.grad(total)(model, numbers(lib, seed)) for seed in range(2)]


@equal(1)
def two_models_with_new_optimizers(lib: Any, wrap: Any) -> Any:
    def both(judge: Any, forger: Any, rates: Any, x: Any, y: Any) -> Any:
        second = step(forger, rates["forger"], x, y)
        return step(judge, rates["judge"], x, y), second

    xn.seed(0)
    models = linear(), linear()
    rates = {"judge": optim.Adam(0.1), "forger": optim.Average(optim.SGD(0.1, momentum=0.5))}
    run = wrap(both)
    values = [run(*models, rates, numbers(lib), numbers(lib, 1)) for _ in range(3)]
    return values, left(*models, *rates.values())


# Shapes that depend on values, and values that Python asks for


def asked(message: str) -> Callable[[Callable[[Any, Any], Any]], Any]:
    """Add a script that compiles a function of a namespace and a vector."""

    def add(function: Callable[[Any, Any], Any]) -> Any:
        def script(lib: Any, wrap: Any) -> Any:
            run = wrap(lambda x: function(xn.array_namespace(x), x))
            return run(lib.asarray([1.0, 2.0, 3.0]))

        script.__name__, script.__wrapped__ = function.__name__, function  # type: ignore[attr-defined]
        return refused(re.escape(message))(script)

    return add


@asked("a Python branch on the value of an array")
def branch(xp: Any, x: Any) -> Any:
    return x if xp.sum(x) > 0 else -x


@asked("a Python branch on the value of an array")
def loop(xp: Any, x: Any) -> Any:
    while xp.max(x) > 1:
        x = x / 2
    return x


@asked("float(x)")
def floating(xp: Any, x: Any) -> Any:
    return x * float(xp.sum(x))


@asked("int(x)")
def integer(xp: Any, x: Any) -> Any:
    return x * int(xp.sum(x))


@asked("complex(x)")
def complex_number(xp: Any, x: Any) -> Any:
    return x * complex(xp.sum(x))


@asked("a Python index taken from an array")
def index(xp: Any, x: Any) -> Any:
    return [1.0, 2.0, 3.0][xp.argmax(x)] * x


@asked("a slice with bounds that are arrays, whose shape depends on values")
def span(xp: Any, x: Any) -> Any:
    return x[: xp.argmax(x) + 1]


@asked("x[mask], whose shape depends on values")
def mask(xp: Any, x: Any) -> Any:
    return x[x > 0]


@asked("xp.nonzero, whose shape depends on values")
def nonzero(xp: Any, x: Any) -> Any:
    return xp.nonzero(x)


@asked("xp.unique_values, whose shape depends on values")
def unique(xp: Any, x: Any) -> Any:
    return xp.unique_values(x)


@asked("xp.repeat by an array, whose shape depends on values")
def repeat(xp: Any, x: Any) -> Any:
    return xp.repeat(x, xp.astype(x, xp.int64))


@asked("a copy of an array to another library or to the host")
def dlpack(xp: Any, x: Any) -> Any:
    return x.__dlpack__()


@asked("int(x)")
def item_within_grad(xp: Any, x: Any) -> Any:
    return xn.grad(lambda y: xn.array_namespace(y).sum(y) * int(xn.stop_gradient(y)[0]))(x)


@asked("the step returned the number 3.0, which every run would return; return arrays")
def a_number_as_a_result(xp: Any, x: Any) -> Any:
    return x, 3.0


@asked("the step returned a SimpleNamespace, which every run would return; return arrays, in lists")
def an_object_as_a_result(xp: Any, x: Any) -> Any:
    return SimpleNamespace(x=x + 1)


# A8: buffers


@equal(1)
def buffers_that_are_written_within_grad(lib: Any, wrap: Any) -> Any:
    xn.seed(0)
    critic = nn.Sequential(linear(), nn.BatchNorm1d(3, dtype="float64"))
    total = lambda x: xn.array_namespace(x).sum(critic(x) ** 2)  # noqa: E731

    def slope(critic: Any, x: Any) -> Any:
        return xn.grad(total)(x)

    run = wrap(slope)
    return [run(critic, numbers(lib, seed)) for seed in range(3)], left(critic)


# What cannot be seen, and is said to be frozen

scale = 1.0


@frozen("variables of Python's, such as globals")
def a_global_number(lib: Any, wrap: Any) -> Any:
    global scale
    run, values = wrap(lambda x: x * scale), []
    try:
        for scale in (1.0, 2.0):  # noqa: B007
            values.append(run(numbers(lib)))
    finally:
        scale = 1.0
    return values


@frozen("variables of Python's, such as globals")
def a_number_in_a_closure(lib: Any, wrap: Any) -> Any:
    factor = 1.0
    run = wrap(lambda x: x * factor)
    first = run(numbers(lib))
    factor = 2.0
    return first, run(numbers(lib))


@frozen("clocks, files")
def the_time(lib: Any, wrap: Any) -> Any:
    start = time.perf_counter()
    run = wrap(lambda x: x * (time.perf_counter() - start))
    return [run(numbers(lib)) for _ in range(2)]


@frozen("random numbers other than those of `xn.random`")
def random_numbers_of_python(lib: Any, wrap: Any) -> Any:
    random.seed(0)
    run = wrap(lambda x: x * random.random())
    return [run(numbers(lib)) for _ in range(2)]


@frozen("random numbers other than those of `xn.random`")
def a_branch_on_random_numbers_of_python(lib: Any, wrap: Any) -> Any:
    random.seed(0)
    run = wrap(lambda x: x if random.random() < 0.5 else -x)
    return [run(numbers(lib)) for _ in range(9)]


@frozen("random numbers other than those of `xn.random`")
def random_arrays_of_numpy(lib: Any, wrap: Any) -> Any:
    rng = np.random.default_rng(0)
    run = wrap(lambda x: x * lib.asarray(rng.normal(size=3)))
    return [run(numbers(lib)) for _ in range(2)]


@frozen("objects of other classes")
def settings_in_an_object(lib: Any, wrap: Any) -> Any:
    class Scale(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * self.settings.factor

    model, run = Scale(), wrap(lambda model, x: model(x))
    model.settings = SimpleNamespace(factor=1.0)
    first = run(model, numbers(lib))
    model.settings.factor = 2.0
    return first, run(model, numbers(lib))


@frozen("attributes of classes")
def an_attribute_of_a_class(lib: Any, wrap: Any) -> Any:
    class Scale(nn.Module):
        factor = 1.0

        def forward(self, x: Any) -> Any:
            return x * self.factor

    model, run = Scale(), wrap(lambda model, x: model(x))
    first = run(model, numbers(lib))
    Scale.factor = 2.0
    return first, run(model, numbers(lib))


@frozen("Other arrays that it closes over are copied when it is recorded")
def an_array_in_a_closure(lib: Any, wrap: Any) -> Any:
    held = [lib.asarray([1.0])]
    run = wrap(lambda x: x * held[0])
    first = run(numbers(lib))
    held[0] = lib.asarray([2.0])
    return first, run(numbers(lib))


@frozen("what is written into the same one is not seen")
def an_array_attribute_that_is_written_to(lib: Any, wrap: Any) -> Any:
    class Shift(nn.Module):
        def forward(self, x: Any) -> Any:
            return x + self.by[0]

    model, run, x = Shift(), wrap(lambda model, x: model(x)), np.asarray([0.0])
    model.by = [np.asarray([1.0])]  # not all libraries write to arrays
    first = float(run(model, x)[0])
    model.by[0][...] = 2.0
    return first, float(run(model, x)[0])


@frozen("What Python does beside, as appending to a list")
def a_list_that_is_appended_to(lib: Any, wrap: Any) -> Any:
    shapes: list[Any] = []
    run = wrap(lambda x: shapes.append(x.shape))
    counts = []
    for _ in range(3):
        run(numbers(lib))
        counts.append(len(shapes))
    return counts


@pytest.mark.parametrize("name", WAYS)
def test_nothing_is_frozen_silently(lib: Any, name: str, assert_same: Any) -> None:
    way, wrap = WAYS[name], Wrap()
    if way.message:
        with pytest.raises(TypeError, match=way.message) as caught:
            way.script(lib, wrap)
        line = re.search(r", at (.*):(\d+): a step is recorded", str(caught.value))
        if line is not None:
            assert Path(line[1]) == Path(__file__)
            if hasattr(way.script, "__wrapped__"):
                lines, first = inspect.getsourcelines(way.script)
                assert first <= int(line[2]) < first + len(lines)
        return
    expected, found = way.script(lib, plain), way.script(lib, wrap)
    if way.words:
        with pytest.raises(AssertionError):
            assert_same(lib, expected[-1], expected[0])
        assert_same(lib, found[-1], found[0])
        return
    assert_same(lib, found, expected)
    assert wrap.recordings == way.recordings


DOCUMENTED = Path(__file__).parents[2] / "docs" / "compile.md"


@pytest.mark.parametrize("words", sorted({way.words for way in WAYS.values() if way.words}))
def test_what_is_frozen_is_documented(words: str) -> None:
    assert words in " ".join(DOCUMENTED.read_text(encoding="utf-8").split())
