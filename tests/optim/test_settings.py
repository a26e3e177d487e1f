"""Settings of some parameters, penalties, rates and their factor."""

import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, optim
from xpnet.optim import schedules

X = {"weight": np.asarray([[1.0, -2.0], [0.0, 0.5]]), "bias": np.asarray([3.0, -1.0])}
G = {"weight": np.asarray([[0.5, 0.25], [-1.0, 2.0]]), "bias": np.asarray([-0.5, 4.0])}
NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


def make(lib):
    model = nn.Sequential(nn.Linear(2, 2, dtype="float64"), nn.Linear(2, 2, dtype="float64"))
    model.load_state_dict({name: lib.asarray(X[name[2:]]) for name in NAMES})
    return model, {name: lib.asarray(G[name[2:]]) for name in NAMES}


def after(lib, optimizer, steps=3):
    model, grads = make(lib)
    for _ in range(steps):
        with lib.guard():
            optimizer.update(model, grads)
    return {name: lib.to_host(x) for name, x in model.parameters().items()}


def test_overrides_apply_to_the_names_that_match(lib):
    overrides = {"*bias": {"weight_decay": 0.0, "momentum": 0.0}, "0.*": {"learning_rate": 0.01}}
    settings = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.5}
    found = after(lib, optim.SGD(**settings, overrides=overrides))
    for name in NAMES:
        own = dict(settings)
        if name.endswith("bias"):
            own |= overrides["*bias"]
        if name.startswith("0."):
            own |= overrides["0.*"]
        np.testing.assert_allclose(found[name], after(lib, optim.SGD(**own))[name], rtol=1e-14)


def test_the_last_pattern_that_matches_wins(lib):
    both = {"*": {"learning_rate": 1.0}, "*bias": {"learning_rate": 0.25}}
    found = after(lib, optim.SGD(0.5, overrides=both), 1)
    np.testing.assert_allclose(found["1.bias"], X["bias"] - 0.25 * G["bias"])
    np.testing.assert_allclose(found["1.weight"], X["weight"] - G["weight"])
    found = after(lib, optim.SGD(0.5, overrides=dict(reversed(both.items()))), 1)
    np.testing.assert_allclose(found["1.bias"], X["bias"] - G["bias"])


def test_a_momentum_may_hold_for_one_parameter_only(lib):
    found = after(lib, optim.SGD(0.1, overrides={"0.bias": {"momentum": 0.5}}), 2)
    np.testing.assert_allclose(found["0.bias"], X["bias"] - 0.1 * 2.5 * G["bias"])
    np.testing.assert_allclose(found["1.bias"], X["bias"] - 0.1 * 2.0 * G["bias"])


def test_an_overridden_rate_may_be_a_schedule_called_once_an_update(lib):
    calls = []
    rates = {"0.*": {"learning_rate": lambda step: calls.append(step) or 2.0**-step}}
    optimizer = optim.SGD(0.5, overrides=rates)
    optimizer.rate_factor = 0.5
    found = after(lib, optimizer, 3)
    assert calls == [0, 1, 2]
    np.testing.assert_allclose(found["0.weight"], X["weight"] - 0.5 * 1.75 * G["weight"])
    np.testing.assert_allclose(found["1.weight"], X["weight"] - 0.25 * 3 * G["weight"])


@pytest.mark.parametrize("cls", [optim.AdamW, optim.Lion])
def test_decoupled_decay_follows_the_overridden_rate(lib, cls):
    overrides = {"0.*": {"learning_rate": 0.0}, "1.bias": {"weight_decay": 0.0}}
    optimizer = cls(0.1, weight_decay=0.5, overrides=overrides)
    model, grads = make(lib)
    optimizer.update(model, {name: 0 * grad for name, grad in grads.items()})
    lib.close(model[0].weight, X["weight"])
    lib.close(model[1].bias, X["bias"])
    lib.close(model[1].weight, X["weight"] * (1 - 0.1 * 0.5))


def test_the_initial_value_may_be_overridden(lib):
    overrides = {"*bias": {"initial_accumulator_value": 9.0, "eps": 0.0}}
    optimizer = optim.Adagrad(1.0, overrides=overrides)
    model, _ = make(lib)
    optimizer.prepare(model)
    lib.close(optimizer.state["0.bias"]["sum_square"], [9.0, 9.0])
    lib.close(optimizer.state["0.weight"]["sum_square"], np.zeros((2, 2)))


def test_a_pattern_may_wait_for_a_parameter_to_be_unfrozen(lib):
    model, grads = make(lib)
    model[0].freeze()
    optimizer = optim.SGD(1.0, overrides={"0.*": {"learning_rate": 0.5}})
    optimizer.update(model, {name: grads[name] for name in NAMES[2:]})
    model.unfreeze()
    optimizer.update(model, grads)
    lib.close(model[0].bias, X["bias"] - 0.5 * G["bias"])


def test_a_pattern_without_a_match_is_refused_before_anything_changes(lib):
    model, grads = make(lib)
    overrides = {"*.bias": {}, "2.*": {"eps": 0.0}, "bias": {"eps": 0.0}}
    optimizer = optim.Adam(overrides=overrides)
    message = (
        "Adam.update: overrides: no parameter matches '2.*', 'bias'; "
        "the model has 0.weight, 0.bias, 1.weight, 1.bias"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        optimizer.update(model, grads)
    assert optimizer.state_dict() == {"steps": 0, "updates": {}, "rate_factor": 1.0}
    lib.close(model[0].weight, X["weight"], 0)


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (
            {"*": {"lr": 0.1}},
            TypeError,
            "SGD: overrides['*']: unknown setting 'lr'; did you mean learning_rate?",
        ),
        (
            {"*": {"nesterov": True}},
            TypeError,
            "SGD: overrides['*']: unknown setting 'nesterov'; "
            "expected some of: learning_rate, momentum, weight_decay, l1_penalty",
        ),
        (
            {"*": {"weight_decay": -1}},
            ValueError,
            "SGD: overrides['*']: weight_decay must be finite and not negative, got -1",
        ),
        (
            {"*": {"momentum": 1}},
            ValueError,
            "SGD: overrides['*']: momentum must be in [0, 1), got 1",
        ),
        (
            {"*": 0.1},
            TypeError,
            "SGD: overrides['*'] must be a dict from settings to values, got float",
        ),
    ],
)
def test_overrides_that_make_no_sense(overrides, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        optim.SGD(0.1, overrides=overrides)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": "0.1"}, "SGD: learning_rate must be a number or a schedule, got str"),
        ({"learning_rate": 0.1, "l1_penalty": None}, "SGD: l1_penalty must be a number, got None"),
        ({"learning_rate": np.ones(1)}, "SGD: learning_rate must be a number or a schedule, got"),
        (
            {"learning_rate": nn.Linear(2, 2).parameters()},
            "SGD: learning_rate must be a number or a schedule, got dict; "
            "the parameters are those of the model in update(model, grads)",
        ),
        (
            {"learning_rate": nn.Linear(2, 2)},
            "SGD: learning_rate must be a number or a schedule, got Linear; the parameters are",
        ),
    ],
)
def test_settings_of_another_kind(settings, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}"):
        optim.SGD(**settings)


def test_numbers_of_numpy_promote_nothing(lib):
    optimizer = optim.SGD(np.float64(0.1), momentum=np.float32(0.5), weight_decay=np.int64(1))
    model = nn.Sequential(nn.Linear(2, 2))
    optimizer.update(model, {name: 2 * x for name, x in model.parameters().items()})
    assert all(x.dtype == lib.xp.float32 for x in model.parameters().values())
    assert [type(x) for x in (optimizer.learning_rate, optimizer.weight_decay)] == [float, float]


def test_the_l1_penalty_has_no_slope_at_zero(lib):
    found = after(lib, optim.SGD(1.0, l1_penalty=0.25, weight_decay=0.5), 1)
    expected = X["weight"] - G["weight"] - 0.25 * np.sign(X["weight"]) - 0.5 * X["weight"]
    np.testing.assert_allclose(found["0.weight"], expected)


def test_the_rate_is_that_of_the_next_update(lib):
    optimizer = optim.SGD(schedules.Step(8.0, 1, factor=0.5))
    model, grads = make(lib)
    rates = []
    for _ in range(3):
        rates.append(optimizer.rate)
        optimizer.update(model, grads)
    assert rates == [8.0, 4.0, 2.0]
    optimizer.rate_factor = 0.25
    assert optimizer.rate == 0.25
    before = lib.to_host(model[0].bias)
    optimizer.update(model, grads)
    lib.close(model[0].bias, before - 0.25 * G["bias"])


def test_the_rate_factor_is_part_of_the_state(lib):
    optimizer, other = optim.SGD(0.5), optim.SGD(0.5)
    model, _ = make(lib)
    optimizer.rate_factor = 0.25
    state = optimizer.state_dict()
    other.load_state_dict(state, model)
    assert other.rate == 0.125
    del state["rate_factor"]
    other.load_state_dict(state, model)
    assert other.rate == 0.5
    for factor in (-1.0, math.nan, "x"):
        with pytest.raises(ValueError, match="rate_factor: expected a number, not negative, got"):
            other.load_state_dict({**state, "rate_factor": factor}, model)
    with pytest.raises(ValueError, match="SGD: rate_factor must be finite and not negative"):
        optimizer.rate_factor = -1


@pytest.mark.parametrize("bad", [-0.5, math.nan, math.inf])
def test_a_schedule_that_returns_no_rate_changes_nothing(lib, bad):
    model, grads = make(lib)
    optimizer = optim.Adam(lambda step: bad if step == 1 else 0.1)
    optimizer.update(model, grads)
    before = lib.to_host(model[0].weight)
    state = {name: str(value) for name, value in optimizer.state_dict().items()}
    with pytest.raises(ValueError, match=r"^Adam: expected a learning rate .* after 1 updates$"):
        optimizer.update(model, grads)
    lib.close(model[0].weight, before, 0)
    assert {name: str(value) for name, value in optimizer.state_dict().items()} == state


def test_prepare_makes_what_update_would_make(lib):
    model, grads = make(lib)
    first, second = optim.RMSprop(momentum=0.5), optim.RMSprop(momentum=0.5)
    first.prepare(model)
    arrays = {slot.name: slot.array for slot in first.slots()}
    assert len(arrays) == 8
    assert first.steps == 0
    again = optim.RMSprop(momentum=0.5)
    again.load_state_dict(first.state_dict(), model)  # a prepared state is a state
    first.update(model, grads)
    other, _ = make(lib)
    second.update(other, grads)
    lib.close(model[0].weight, lib.to_host(other[0].weight), 0)
    if lib.writable:
        assert all(slot.array is arrays[slot.name] for slot in first.slots())


def test_all_that_changes_is_in_the_host_numbers(lib):
    optimizer = optim.AdamW(schedules.Step(0.5, 1, factor=0.5), overrides={"*bias": {"eps": 0.0}})
    model, grads = make(lib)
    first = optimizer.host_numbers(NAMES)
    assert list(first) == NAMES
    assert first["0.weight"]["shrink"] == 1 - 0.5 * 0.01
    bias = math.sqrt(1 - 0.999)  # of the root that eps is added to
    assert (first["0.bias"]["eps"], first["0.weight"]["eps"]) == (0.0, 1e-8 * bias)
    optimizer.update(model, grads)
    second = optimizer.host_numbers(NAMES)
    assert {name: list(x) for name, x in first.items()} == {n: list(x) for n, x in second.items()}
    assert all(type(x) is float for numbers in second.values() for x in numbers.values())
    assert second["0.weight"]["shrink"] == 1 - 0.25 * 0.01
    assert xn.optim.SGD(0.1).host_numbers(["w"]) == {"w": {"rate": 0.1, "momentum": 0.0}}


def test_moments_that_cannot_be_made_leave_all_as_it_was(lib):
    class Failing(optim.SGD):
        fails = True

        def initial(self, parameter, settings):
            if self.fails and parameter.shape == (2,):
                raise MemoryError
            return super().initial(parameter, settings)

    model, grads = make(lib)
    optimizer = Failing(0.1, momentum=0.5)
    with pytest.raises(MemoryError):
        optimizer.update(model, grads)
    assert optimizer.state_dict()["updates"] == {}
    Failing.fails = False
    optimizer.update(model, grads)
    assert optimizer.state_dict()["updates"] == dict.fromkeys(NAMES, 1)


def test_numbers_are_given_the_settings_and_nothing_else():
    given = []

    class Noting(optim.SGD):
        def numbers(self, settings, rate, step):
            given.append(set(settings))
            return super().numbers(settings, rate, step)

    for overrides in (None, {"w": {"momentum": 0.5}}):
        Noting(0.1, overrides=overrides).host_numbers(["w", "b"])
    names = {"learning_rate", "momentum", "weight_decay", "l1_penalty"}
    assert given == [names] * 3


class Scaled(optim.SGD):
    """Computes its numbers with NumPy, whose scalars promote what Python's floats do not."""

    def numbers(self, settings, rate, step):
        return {name: np.float64(x) for name, x in super().numbers(settings, rate, step).items()}


@pytest.mark.parametrize("wrap", [xn.compile, lambda update: update])
def test_numbers_that_an_optimizer_computes_with_numpy_promote_nothing(lib, wrap):
    def run(cls, number):
        xn.seed(0)
        model = nn.Linear(2, 2)
        optimizer = cls(lambda step: number(0.1), momentum=0.5)
        optimizer.weight_decay = number(0.25)
        update = wrap(lambda model, optimizer, grads: optimizer.update(model, grads))
        for _ in range(4):  # some as they are written, some by a program
            update(model, optimizer, {name: 2.0 * x for name, x in model.parameters().items()})
        return [lib.to_host(x) for x in model.parameters().values()]

    for found, expected in zip(run(Scaled, np.float64), run(optim.SGD, float), strict=True):
        assert found.dtype == np.float32
        assert found.tobytes() == expected.tobytes()
