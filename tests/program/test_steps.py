"""Compiled steps equal plain ones, on every library."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim, tree


class Training(NamedTuple):
    """A step, the state that it changes, and the arrays of each of its calls."""

    step: Callable[..., Any]
    state: tuple[Any, ...]
    batches: list[tuple[Any, ...]]
    generators: tuple[Any, ...] = ()


Build = Callable[[Any], Training]
CASES: dict[str, Build] = {}


def case(build: Build) -> Build:
    CASES[build.__name__] = build
    return build


def linear(*sizes: int, **options: Any) -> nn.Linear:
    return nn.Linear(*sizes, dtype="float64", **options)


def mlp() -> nn.Sequential:
    return nn.Sequential(linear(5, 6), nn.Tanh(), linear(6, 3))


def batches(lib: Any, count: int = 4, size: int = 6) -> list[tuple[Any, ...]]:
    """Return some batches of numbers and labels, which are used again and again."""
    rng = np.random.default_rng(0)
    drawn = [(rng.normal(size=(size, 5)), rng.integers(3, size=size)) for _ in range(count)]
    return [(lib.asarray(x), lib.asarray(y, dtype=None)) for x, y in drawn]


def training(
    lib: Any,
    model: nn.Module,
    optimizer: optim.Optimizer,
    loss: Callable[..., Any] = losses.cross_entropy,
    **others: Any,
) -> Training:
    """Return the usual step of a classifier."""

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return loss(model(x), y)

    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return value

    return Training(step, (model, optimizer), batches(lib), **others)


OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "SGD": lambda: optim.SGD(0.1),
    "SGD with momentum": lambda: optim.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adagrad": lambda: optim.Adagrad(0.1),
    "RMSprop": lambda: optim.RMSprop(0.01, momentum=0.5, centered=True),
    "Adadelta": lambda: optim.Adadelta(1.0),
    "Adam": lambda: optim.Adam(0.01, l1_penalty=0.01),
    "AdamW": lambda: optim.AdamW(0.01, overrides={"*bias": {"weight_decay": 0.0}}),
    "NAdam": lambda: optim.NAdam(0.01),
    "Lion": lambda: optim.Lion(0.01, weight_decay=0.1),
    "Clip by value": lambda: optim.Clip(optim.SGD(0.1), value=0.01),
    "Clip by norm": lambda: optim.Clip(optim.Adam(0.01), norm=0.1),
    "Accumulate": lambda: optim.Accumulate(optim.Adam(0.01), 3),
    "Average": lambda: optim.Average(optim.SGD(0.1), decay=0.9),
    "Average of Accumulate": lambda: optim.Average(optim.Accumulate(optim.SGD(0.1), 2)),
    "a cosine": lambda: optim.SGD(optim.schedules.Cosine(0.1, 15)),
    "a Python branch": lambda: optim.Adam(lambda step: 0.1 if step % 3 else 0.01 / (1 + step)),
}
for _name, _make in OPTIMIZERS.items():
    CASES[_name] = lambda lib, make=_make: training(lib, mlp(), make())


@case
def dropout(lib: Any) -> Training:
    model = nn.Sequential(linear(5, 6), nn.Dropout(0.3), nn.ReLU(), nn.Dropout(0.5), linear(6, 3))
    return training(lib, model, optim.SGD(0.1), generators=(xn.random.default_generator(),))


@case
def dropout_of_its_own(lib: Any) -> Training:
    rng = xn.Generator(7)
    rng.permutation(3)
    model = nn.Sequential(linear(5, 6), nn.Dropout(0.3, rng=rng), linear(6, 3))
    return training(lib, model, optim.Adam(0.01), generators=(rng,))


@case
def batch_norm(lib: Any) -> Training:
    norm = functools.partial(nn.BatchNorm1d, dtype="float64")
    model = nn.Sequential(linear(5, 6), norm(6), nn.ReLU(), norm(6, momentum=None), linear(6, 3))
    return training(lib, model, optim.SGD(0.1))


@case
def layer_norm(lib: Any) -> Training:
    norm = nn.LayerNorm(6, dtype="float64")
    return training(lib, nn.Sequential(linear(5, 6), norm, nn.GELU(), linear(6, 3)), optim.SGD(0.1))


@case
def embedding(lib: Any) -> Training:
    class Words(nn.Module):
        def __init__(self) -> None:
            self.embedding = nn.Embedding(4, 2, dtype="float64", padding_idx=0)
            self.out = linear(6, 3)

        def forward(self, x: Any) -> Any:
            xp = xn.array_namespace(x)
            return self.out(xp.reshape(self.embedding(x), (-1, 6)))

    rng = np.random.default_rng(0)
    words = [lib.asarray(rng.integers(4, size=(6, 3)), dtype=None) for _ in range(4)]
    labels = [y for _, y in batches(lib)]
    usual = training(lib, Words(), optim.Adam(0.01))
    return usual._replace(batches=list(zip(words, labels, strict=True)))


@case
def tied(lib: Any) -> Training:
    model = nn.Sequential(linear(5, 5), nn.Tanh(), linear(5, 5), nn.Tanh(), linear(5, 3))
    model.tie("0.weight", "2.weight").tie("0.bias", "2.bias")
    return training(lib, model, optim.Adam(0.01))


@case
def frozen(lib: Any) -> Training:
    model = mlp()
    model[0].freeze()
    return training(lib, model, optim.SGD(0.1, momentum=0.5))


@case
def weighted(lib: Any) -> Training:
    weight = [1.0, 2.0, 0.5]

    def loss(logits: Any, targets: Any) -> Any:
        xp = xn.array_namespace(logits)
        weights = xp.asarray(weight, dtype=logits.dtype, device=logits.device)
        return losses.cross_entropy(
            logits, targets, class_weight=weights, label_smoothing=0.1, ignore_index=1
        )

    return training(lib, mlp(), optim.SGD(0.1), loss)


@case
def weights_that_are_given(lib: Any) -> Training:
    def loss_fn(model: Any, x: Any, y: Any, weight: Any) -> Any:
        return losses.cross_entropy(model(x), y, sample_weight=weight, ignore_index=2)

    def step(model: Any, optimizer: Any, x: Any, y: Any, weight: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y, weight)
        optimizer.update(model, grads)
        return value

    weight = lib.asarray([1.0, 0.0, 2.0, 3.0, 0.5, 1.0])
    given = [(x, y, weight) for x, y in batches(lib)]
    return Training(step, (mlp(), optim.SGD(0.1)), given)


@case
def adversaries(lib: Any) -> Training:
    """Two models and two optimizers in one step, one of which learns from the other."""

    def judge_loss(judge: Any, forger: Any, x: Any, noise: Any) -> Any:
        real, false = judge(x), judge(forger(noise))
        xp = xn.array_namespace(real)
        return losses.binary_cross_entropy(real, xp.ones_like(real)) + losses.binary_cross_entropy(
            false, xp.zeros_like(false)
        )

    def forger_loss(forger: Any, judge: Any, noise: Any) -> Any:
        out = judge(forger(noise))
        return losses.binary_cross_entropy(out, xn.array_namespace(out).ones_like(out))

    def step(judge: Any, forger: Any, rates: Any, x: Any, noise: Any) -> Any:
        first, grads = xn.value_and_grad(judge_loss)(judge, forger, x, noise)
        rates["judge"].update(judge, grads)
        second, grads = xn.value_and_grad(forger_loss)(forger, judge, noise)
        rates["forger"].update(forger, grads)
        return {"judge": first, "forger": second}

    judge = nn.Sequential(linear(5, 6), nn.Dropout(0.2), nn.LeakyReLU(), linear(6, 1))
    forger = nn.Sequential(linear(5, 6), nn.BatchNorm1d(6, dtype="float64"), linear(6, 5))
    rates = {"judge": optim.Adam(0.01), "forger": optim.SGD(0.05, momentum=0.9)}
    given = [(x, lib.xp.flip(x, axis=0) * 0.5) for x, _ in batches(lib)]
    return Training(step, (judge, forger, rates), given)


@case
def metrics_inside(lib: Any) -> Training:
    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        logits = model(x)
        return losses.cross_entropy(logits, y), logits

    def step(model: Any, optimizer: Any, kept: Any, x: Any, y: Any) -> Any:
        (value, logits), grads = xn.value_and_grad(loss_fn, has_aux=True)(model, x, y)
        optimizer.update(model, grads)
        for metric in kept:
            metric.update(logits, y)
        return {"loss": value, "logits": logits, "all": [m.compute() for m in kept], "none": None}

    kept = [metrics.Accuracy(), metrics.ConfusionMatrix(3), metrics.Mean(losses.cross_entropy)]
    return Training(step, (mlp(), optim.SGD(0.1), kept), batches(lib))


@case
def inputs_in_dicts(lib: Any) -> Training:
    def loss_fn(model: Any, batch: Any) -> Any:
        return losses.cross_entropy(model(batch["x"]) * batch["more"][0], batch["y"])

    def step(model: Any, optimizer: Any, batch: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, batch)
        optimizer.update(model, grads)
        return {"loss": value, "grads": grads, "fixed": ("text", batch["more"])}

    scale = lib.asarray(0.5)
    given = [({"y": y, "x": x, "more": [scale, None]},) for x, y in batches(lib)]
    return Training(step, (mlp(), optim.SGD(0.1)), given)


@case
def evaluation(lib: Any) -> Training:
    norm = nn.BatchNorm1d(6, dtype="float64")
    model = nn.Sequential(linear(5, 6), norm, nn.Dropout(0.5), linear(6, 3))
    return Training(lambda model, x, y: model(x), (model.eval(),), batches(lib))


@case
def no_module(lib: Any) -> Training:
    def energy(x: Any, scale: Any) -> Any:
        xp = xn.array_namespace(x, scale)
        return xp.sum(xp.sqrt(1 + (scale * x) ** 2)) + xp.sum(xp.max(x, axis=1))

    def step(x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(energy, argnums=(0, 1))(x, 2 * x[:1, :])
        return value, grads, xn.array_namespace(y).sum(y)

    return Training(step, (), batches(lib))


@case
def second_order(lib: Any) -> Training:
    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return losses.mse_loss(model(x), x[:, :3])

    def energy(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(xp.sin(x) * xp.exp(-(x**2)))

    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        xp = xn.array_namespace(x)
        return value, xn.hvp(energy, (x,), (xp.ones_like(x),)), xn.jacobian(energy)(x)

    return Training(step, (mlp(), optim.SGD(0.1)), batches(lib))


@case
def writes(lib: Any) -> Training:
    """Augmented assignment and item assignment on arrays of the step's own."""
    writable = lib.writable

    def step(model: Any, x: Any, y: Any) -> Any:
        xp = xn.array_namespace(x)
        out = xp.zeros_like(x)
        out += x
        out *= 2
        if writable:
            out[0, :] = x[1, :]
            out[1:, 2] += 1
        return model(out)

    return Training(step, (mlp(),), batches(lib))


@case
def everything(lib: Any) -> Training:
    """A buffer, a mask, a tied and a frozen parameter, moments, a schedule and a metric."""

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        logits = model(x)
        return losses.cross_entropy(logits, y, label_smoothing=0.1), logits

    def step(model: Any, optimizer: Any, accuracy: Any, x: Any, y: Any) -> Any:
        (value, logits), grads = xn.value_and_grad(loss_fn, has_aux=True)(model, x, y)
        optimizer.update(model, grads)
        accuracy.update(logits, y)
        return value

    norm, drop = nn.BatchNorm1d(5, dtype="float64"), nn.Dropout(0.2)
    model = nn.Sequential(linear(5, 5), norm, nn.ReLU(), drop, linear(5, 5), linear(5, 3).freeze())
    model.tie("0.weight", "4.weight")
    optimizer = optim.Clip(optim.Adam(lambda step: 0.01 if step < 50 else 0.1 / step), norm=1.0)
    generators = (xn.random.default_generator(),)
    return Training(step, (model, optimizer, metrics.Accuracy()), batches(lib), generators)


def run(build: Build, lib: Any, steps: int, *, compiled: bool) -> tuple[Any, ...]:
    """Return everything that a training leaves: results, state, counters."""
    xn.seed(0)
    made = build(lib)
    step = xn.compile(made.step) if compiled else made.step
    results = [step(*made.state, *made.batches[n % len(made.batches)]) for n in range(steps)]
    state = [each.state_dict() for each in tree.leaves(made.state)]
    draws = [generator.draws for generator in made.generators]
    return results, state, draws, getattr(step, "recordings", None)


# Of all others there is one. Each number of gradients that were collected has its own, and so has
# a metric that has no totals yet.
RECORDINGS = {
    "Accumulate": 3,
    "Average of Accumulate": 2,
    "metrics_inside": 2,
    "everything": 2,
}


# Plain steps of some libraries take twenty milliseconds: there, 200 of these, and 12 of the others.
LONG = {"SGD", "Adam", "Accumulate", "a Python branch", "dropout", "batch_norm", "everything"}
SLOW = {"array_api_strict", "jax"}


@pytest.mark.parametrize("name", CASES)
def test_two_hundred_compiled_steps_equal_plain_ones(
    lib: Any, name: str, assert_same: Callable[..., None]
) -> None:
    steps = 12 if lib.name in SLOW and name not in LONG else 200
    plain = run(CASES[name], lib, steps, compiled=False)
    compiled = run(CASES[name], lib, steps, compiled=True)
    assert_same(lib, compiled[:3], plain[:3])
    assert compiled[3] == RECORDINGS.get(name, 1)


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
@pytest.mark.parametrize("name", sorted(LONG))
def test_two_hundred_steps_of_kernels_equal_plain_ones(
    lib: Any, name: str, assert_same: Callable[..., None], kernels: None
) -> None:
    plain = run(CASES[name], lib, 200, compiled=False)
    compiled = run(CASES[name], lib, 200, compiled=True)
    assert_same(lib, compiled[:3], plain[:3])


@pytest.mark.parametrize("lib", ["numpy"], indirect=True)
def test_kernels_use_weights_that_were_loaded_meanwhile(
    lib: Any, tmp_path: Path, assert_same: Callable[..., None], kernels: None
) -> None:
    pytest.importorskip("safetensors")
    file = tmp_path / "model.safetensors"
    xn.save(mlp(), file)
    results = []
    for wrap in (lambda step: step, xn.compile):
        xn.seed(1)
        model = mlp()
        made = training(lib, model, optim.Adam(0.01))
        step, [batch, *_] = wrap(made.step), made.batches
        values = [step(*made.state, *batch) for _ in range(3)]
        xn.load(model, file)
        values += [step(*made.state, *batch) for _ in range(3)]
        results.append([values, model.state_dict()])
    assert_same(lib, *results)


def test_the_comparison_can_fail(lib: Any, assert_same: Callable[..., None]) -> None:
    x = lib.asarray([1.0, 2.0])
    with pytest.raises(AssertionError):
        assert_same(lib, [x], [x + 1e-3])
    with pytest.raises(AssertionError):
        assert_same(lib, {"steps": 1}, {"steps": 2})
