"""Updates that run as one program compute what the optimizer's own method does."""

from __future__ import annotations

import copy
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, optim
from xpnet.optim import Optimizer

RNG = np.random.default_rng(2)
SHAPES = {"a": (3, 2), "b": (2,), "c": (2,), "scale": (1,)}
GRADS = [{name: RNG.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(9)]
CASES: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "SGD": (optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "Adam": (optim.Adam, {"l1_penalty": 0.1, "overrides": {"b": {"learning_rate": 0.5}}}),
    "AdamW": (optim.AdamW, {}),
    "NAdam": (optim.NAdam, {}),
    "Lion": (optim.Lion, {}),
    "Adagrad": (optim.Adagrad, {}),
    "RMSprop": (optim.RMSprop, {"centered": True, "momentum": 0.9}),
    "Adadelta": (optim.Adadelta, {}),
}


class Parameters(nn.Module):
    """Four parameters."""

    def __init__(self, lib: Any) -> None:
        for name, shape in SHAPES.items():
            setattr(self, name, nn.Parameter(lib.asarray(np.full(shape, 0.5))))


def rate(step: int) -> float:
    return 0.1 / (step + 1)


def make(case: str, *, promises: bool) -> Any:
    """Return an optimizer that counts its calls, and whether it may be recorded."""
    cls, options = CASES[case]

    def step_parameter(self: Any, *args: Any) -> Any:
        calls.append(1)
        return cls.step_parameter(self, *args)

    calls: list[int] = []
    method = optim.recordable(step_parameter) if promises else step_parameter
    optimizer = type("Counting", (cls,), {"step_parameter": method})(rate, **options)
    return optimizer, calls


def given(lib: Any, grads: dict[str, Any]) -> dict[str, Any]:
    return {name: lib.asarray(grad) for name, grad in grads.items()}


def assert_equal(lib: Any, pairs: list[tuple[Any, Any]]) -> None:
    """Assert that models and optimizers are bit for bit the same."""
    (model, optimizer), (other_model, other_optimizer) = pairs
    for one, other in [(model, other_model), (optimizer, other_optimizer)]:
        slots, others = list(one.slots()), list(other.slots())
        assert [slot.name for slot in slots] == [slot.name for slot in others]
        for slot, twin in zip(slots, others, strict=True):
            np.testing.assert_array_equal(lib.to_host(slot.array), lib.to_host(twin.array))
    assert optimizer.steps == other_optimizer.steps


def test_a_0d_parameter_is_updated_in_place_all_the_same(lib: Any) -> None:
    model, optimizer = Parameters(lib), optim.SGD(0.5)
    model.scale = nn.Parameter(lib.asarray(0.5))
    array = model.scale
    for _ in range(5):
        optimizer.update(model, given(lib, GRADS[0]) | {"scale": lib.asarray(1.0)})
    lib.close(model.scale, -2.0)
    assert (model.scale is array) == lib.writable


@pytest.mark.parametrize("case", CASES)
def test_an_update_that_comes_again_is_the_same_and_runs_without_python(
    lib: Any, case: str
) -> None:
    (ours, calls), (plain, every) = make(case, promises=True), make(case, promises=False)
    models = [Parameters(lib), Parameters(lib)]
    for grads in GRADS[:5]:
        ours.update(models[0], given(lib, grads))
        plain.update(models[1], given(lib, grads))
    assert_equal(lib, [(models[0], ours), (models[1], plain)])
    after = lib.backend.replay_after(integers=False)
    assert len(every) == 5 * len(SHAPES)
    assert len(calls) == len(SHAPES) * (5 if after is None else after + 1)  # once to record


def tie(model: Any, optimizer: Any) -> None:
    model.tie("b", "c")


def settings(model: Any, optimizer: Any) -> None:
    optimizer.weight_decay, optimizer.rate_factor, optimizer.learning_rate = 0.3, 0.5, 0.2


def loaded(model: Any, optimizer: Any) -> None:
    optimizer.load_state_dict(optimizer.state_dict(), model)
    model.load_state_dict({name: 2 * x for name, x in model.state_dict().items()})


def assigned(model: Any, optimizer: Any) -> None:
    model.a = model.a + 1.0


@pytest.mark.parametrize("change", [tie, settings, loaded, assigned], ids=lambda f: f.__name__)
def test_what_changes_between_two_updates_is_seen(lib: Any, change: Any) -> None:
    pairs = [(Parameters(lib), make("AdamW", promises=promises)[0]) for promises in (True, False)]
    for n, grads in enumerate(GRADS):
        for model, optimizer in pairs:
            if n == 4:
                change(model, optimizer)
            names = model.parameters() if change is not tie or n < 4 else ["a", "b", "scale"]
            optimizer.update(model, given(lib, {name: grads[name] for name in names}))
        assert_equal(lib, pairs)


def test_freezing_and_thawing_is_seen_and_the_order_of_gradients_does_not_matter(lib: Any) -> None:
    pairs = [(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)), optim.Adam()) for _ in range(2)]
    pairs[1][0].load_state_dict(pairs[0][0].state_dict())
    plain = make("Adam", promises=False)[0]
    pairs[1] = (pairs[1][0], type(plain)(1e-3))
    for n in range(12):
        for model, optimizer in pairs:
            layer = model[0].freeze() if 4 <= n < 8 else model[0].unfreeze()
            assert layer is model[0]
            grads = {
                name: xn.array_namespace(x).full_like(x, n + 1.0)
                for name, x in model.parameters(trainable_only=True).items()
            }
            optimizer.update(model, dict(reversed(grads.items())) if n % 2 else grads)
    for slot, twin in zip(pairs[0][0].slots(), pairs[1][0].slots(), strict=True):
        np.testing.assert_array_equal(lib.to_host(slot.array), lib.to_host(twin.array))


@pytest.mark.parametrize("wrong", ["shape", "dtype", "missing", "number", "model", "schedule"])
def test_what_is_wrong_is_refused_after_many_updates_too(lib: Any, wrong: str) -> None:
    model, (optimizer, _) = Parameters(lib), make("Adam", promises=True)
    for grads in GRADS[:4]:
        optimizer.update(model, given(lib, grads))
    before = copy.deepcopy(
        [lib.to_host(slot.array) for slot in (*model.slots(), *optimizer.slots())]
    )
    grads, target = given(lib, GRADS[4]), model
    if wrong == "shape":
        grads["b"] = lib.asarray(np.ones((2, 2)))
    elif wrong == "dtype":
        grads["b"] = lib.asarray(np.ones(2), "float32")
    elif wrong == "missing":
        del grads["b"]
    elif wrong == "number":
        grads["b"] = 1.0
    elif wrong == "model":
        target = Parameters(lib)
    else:
        optimizer.learning_rate = lambda step: math.nan
    with pytest.raises(ValueError, match=r"update|rate"):
        optimizer.update(target, grads)
    after = [lib.to_host(slot.array) for slot in (*model.slots(), *optimizer.slots())]
    for x, y in zip(before, after, strict=True):
        np.testing.assert_array_equal(x, y)
    assert optimizer.steps == 4


def test_a_copy_of_an_optimizer_goes_its_own_way(lib: Any) -> None:
    model, (optimizer, _) = Parameters(lib), make("Adam", promises=True)
    for grads in GRADS[:4]:
        optimizer.update(model, given(lib, grads))
    both = copy.deepcopy((model, optimizer))
    optimizer.update(model, given(lib, GRADS[4]))
    both[1].update(both[0], given(lib, GRADS[4]))
    assert_equal(lib, [(model, optimizer), both])
    assert not set(map(id, model.parameters().values())) & set(
        map(id, both[0].parameters().values())
    )


def test_recording_takes_no_second_copy_of_the_state() -> None:
    with xn.use_backend("numpy"):
        model = nn.Sequential(*(nn.Linear(256, 256, bias=False) for _ in range(16)))
    optimizer = optim.Adam()
    grads = {name: np.ones_like(x) for name, x in model.parameters().items()}
    optimizer.update(model, grads)
    tracemalloc.start()
    try:
        for _ in range(3):
            optimizer.update(model, grads)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    state = 3 * sum(x.nbytes for x in model.parameters().values())
    assert peak < state / 2


@pytest.fixture(params=["NumPy", "kernels"])
def engine(request: pytest.FixtureRequest) -> None:
    """Run a test on each of NumPy's engines."""
    if request.param == "kernels":
        request.getfixturevalue("kernels")


@pytest.mark.parametrize("case", CASES)
def test_kernels_update_as_the_method_does(kernels: None, case: str) -> None:
    (ours, calls), (plain, _) = make(case, promises=True), make(case, promises=False)
    ours.overrides = plain.overrides = {}
    models = [nn.Linear(5, 7, rng=xn.Generator(1)) for _ in range(2)]
    for n in range(6):
        rng = np.random.default_rng(n)
        grads = {
            name: rng.normal(size=array.shape).astype(np.float32)
            for name, array in models[0].parameters().items()
        }
        ours.update(models[0], grads)
        plain.update(models[1], grads)
    assert len(calls) < len(grads) * 6
    for one, other in [(models[0], models[1]), (ours, plain)]:
        for slot, twin in zip(one.slots(), other.slots(), strict=True):
            np.testing.assert_allclose(slot.array, twin.array, rtol=1e-6, atol=1e-7)


def test_an_update_that_fails_was_not_counted(engine: None) -> None:
    model, optimizer = nn.Linear(3, 2), optim.Adam(0.1)
    grads = {name: np.ones_like(array) for name, array in model.parameters().items()}
    for _ in range(5):
        optimizer.update(model, grads)
    moments = optimizer.state["weight"]
    moments["mean"] = moments["mean"].astype(int)
    before = {name: array.copy() for name, array in model.parameters().items()}
    with pytest.raises(TypeError):
        optimizer.update(model, grads)
    assert optimizer.steps == 5
    assert optimizer.state_dict()["updates"] == {"weight": 5, "bias": 5}
    for name, array in model.parameters().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_gradient_may_be_a_view_of_its_parameter(engine: None) -> None:
    model, expected = nn.Linear(3, 3, bias=False), np.arange(9, dtype=np.float32).reshape(3, 3)
    model.weight = expected
    optimizer = optim.SGD(0.5)
    for _ in range(5):
        optimizer.update(model, {"weight": model.weight.T})
        expected = expected - np.float32(0.5) * expected.T
    np.testing.assert_array_equal(model.weight, expected)
