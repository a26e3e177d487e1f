"""Schedules against closed forms, PyTorch's and optax's, and at their ends."""

import math
import pickle
import re
from inspect import isfunction

import pytest

from xpnet.optim.schedules import (
    Constant,
    Cosine,
    Exponential,
    Joined,
    OneCycle,
    Piecewise,
    Polynomial,
    Step,
    Warmup,
)

ALL = [
    Constant(0.3),
    Step(0.3, 7, factor=0.5),
    Exponential(0.3, 0.9, every=3),
    Polynomial(0.3, 20, end=0.01, power=2.0),
    Cosine(0.3, 20, end=0.01),
    Warmup(Cosine(0.3, 15), 5, start=0.01),
    OneCycle(0.3, 20),
    OneCycle(0.3, 20, warmup=0.5, cosine=False),
    Piecewise((3, 11), (0.3, 0.2, 0.1)),
    Joined((0.3, Polynomial(0.2, 5)), (10,)),
]
every_schedule = pytest.mark.parametrize("schedule", ALL, ids=repr)


def torch_rates(make, rate, steps):
    """Return the rates of a PyTorch scheduler, which is made from its optimizer."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "make", "rate"),
    [
        (Constant(0.3), lambda s, o: s.ConstantLR(o, factor=1.0), 0.3),
        (Step(0.3, 4, factor=0.5), lambda s, o: s.StepLR(o, 4, gamma=0.5), 0.3),
        (Step(0.3, 4), lambda s, o: s.StepLR(o, 4), 0.3),
        (Exponential(0.3, 0.9), lambda s, o: s.ExponentialLR(o, 0.9), 0.3),
        (Polynomial(0.3, 12), lambda s, o: s.PolynomialLR(o, 12), 0.3),
        (Polynomial(0.3, 12, power=2.0), lambda s, o: s.PolynomialLR(o, 12, power=2.0), 0.3),
        (Polynomial(0.3, 12, end=0.03), lambda s, o: s.LinearLR(o, 1.0, 0.1, 12), 0.3),
        (Warmup(0.3, 12, start=0.1), lambda s, o: s.LinearLR(o, 1 / 3, 1.0, 12), 0.3),
        (Piecewise([3, 9], [0.3, 0.03, 0.003]), lambda s, o: s.MultiStepLR(o, [3, 9]), 0.3),
    ],
    ids=lambda x: None if isfunction(x) else repr(x),  # the same in every process
)
def test_rates_equal_those_of_torch(schedule, make, rate):
    expected = torch_rates(make, rate, 20)
    assert [schedule(step) for step in range(20)] == pytest.approx(expected, rel=1e-12)


def test_a_cosine_equals_that_of_torch_which_turns_back_at_its_end():
    expected = torch_rates(lambda s, o: s.CosineAnnealingLR(o, 12, eta_min=0.01), 0.3, 13)
    schedule = Cosine(0.3, 12, end=0.01)
    assert [schedule(step) for step in range(13)] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [2, 7, 20, 33])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        (
            {"warmup": 0.5, "start_factor": 0.1, "end_factor": 0.01, "cosine": False},
            {
                "pct_start": 0.5,
                "div_factor": 10,
                "final_div_factor": 100,
                "anneal_strategy": "linear",
            },
        ),
        ({"warmup": 0.0}, {"pct_start": 0.0}),
    ],
)
def test_one_cycle_equals_that_of_torch(steps, ours, theirs):
    if steps == 2 and ours:
        pytest.skip("a way up of no steps, by which PyTorch divides")
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=steps, **theirs)
    expected = []
    for step in range(steps):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < steps - 1:
            cycle.step()
    schedule = OneCycle(0.3, steps, **ours)
    found = [schedule(step) for step in range(steps)]
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_rates_equal_those_of_optax():
    optax = pytest.importorskip("optax")
    pairs = [
        (Polynomial(0.3, 12, end=0.1, power=3), optax.polynomial_schedule(0.3, 0.1, 3, 12)),
        (Exponential(0.3, 0.5, every=4), optax.exponential_decay(0.3, 4, 0.5)),
        (Cosine(0.3, 12, end=0.03), optax.cosine_decay_schedule(0.3, 12, 0.1)),
        (
            Warmup(Cosine(0.3, 12), 4),
            optax.warmup_cosine_decay_schedule(0.0, 0.3, 4, 16),
        ),
        (
            Joined([0.3, Polynomial(0.2, 5), Step(0.1, 2)], [4, 9]),
            optax.join_schedules(
                [
                    optax.constant_schedule(0.3),
                    optax.polynomial_schedule(0.2, 0.0, 1, 5),
                    optax.exponential_decay(0.1, 2, 0.1, staircase=True),
                ],
                [4, 9],
            ),
        ),
    ]
    for ours, theirs in pairs:
        found = [ours(step) for step in range(20)]
        assert found == pytest.approx([float(theirs(step)) for step in range(20)], rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        (Step(0.5, 3, factor=0.1), 6, 0.5 * 0.1**2),
        (Exponential(0.5, 0.1, every=3), 4, 0.5 * 0.1 ** (4 / 3)),
        (Polynomial(0.5, 8, end=0.1, power=2), 6, 0.1 + 0.4 / 16),
        (Cosine(0.5, 8, end=0.1), 2, 0.1 + 0.2 * (1 + math.sqrt(0.5))),
        (Warmup(0.5, 4, start=0.1), 3, 0.4),
        (Warmup(0.5, 4, start=0.1), 4, 0.5),
        (Warmup(Step(0.5, 2), 4), 6, 0.05),
        (OneCycle(0.5, 20), 5, 0.5),
        (OneCycle(0.5, 1), 0, 0.5 / 25 * 1e-4),
    ],
)
def test_closed_forms(schedule, step, expected):
    assert schedule(step) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize(
    ("schedule", "steps", "end"),
    [
        (Polynomial(0.3, 20, end=0.01, power=2.0), 20, 0.01),
        (Polynomial(0.3, 20, power=0.5), 20, 0.0),
        (Cosine(0.3, 20, end=0.01), 20, 0.01),
        (Warmup(Cosine(0.3, 15), 5), 20, 0.0),
        (OneCycle(0.3, 20), 19, 0.3 / 25 * 1e-4),
        (OneCycle(0.3, 20, cosine=False), 19, 0.3 / 25 * 1e-4),
        (Piecewise([3, 11], [0.3, 0.2, 0.1]), 11, 0.1),
        (Joined([0.3, Polynomial(0.2, 5)], [10]), 15, 0.0),
    ],
)
def test_after_the_end_the_rate_stays(schedule, steps, end):
    for step in (steps, steps + 1, 10 * steps):
        assert schedule(step) == pytest.approx(end, rel=1e-13, abs=1e-300)
    assert schedule(steps - 1) != pytest.approx(end, rel=1e-3)


@every_schedule
def test_rates_are_python_floats_that_no_optimizer_refuses(schedule):
    for step in range(50):
        assert type(schedule(step)) is float
        assert schedule(step) >= 0


@every_schedule
def test_a_schedule_is_a_value(schedule):
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert hash(again) == hash(schedule)
    with pytest.raises(AttributeError):
        schedule.rate = 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "Constant: rate must be finite and not negative, got -1"),
        (lambda: Step(math.nan, 2), "Step: rate must be finite and not negative, got nan"),
        (lambda: Step(1, 0), "Step: every must be an integer from 1, got 0"),
        (lambda: Step(1, 2, factor=-1), "Step: factor must be finite and not negative, got -1"),
        (lambda: Exponential(1, math.inf), "Exponential: factor must be finite and not negative"),
        (lambda: Exponential(1, 1, every=1.5), "Exponential: every must be an integer from 1"),
        (lambda: Polynomial(1, 2.0), "Polynomial: steps must be an integer from 1, got 2.0"),
        (lambda: Polynomial(1, 2, end=-1), "Polynomial: end must be finite and not negative"),
        (lambda: Polynomial(1, 2, power=0), "Polynomial: power must be larger than 0, got 0"),
        (lambda: Cosine(1, -3), "Cosine: steps must be an integer from 1, got -3"),
        (lambda: Warmup(1, 0), "Warmup: steps must be an integer from 1, got 0"),
        (lambda: Warmup(-1, 2), "Warmup: expected a learning rate that is finite and not negative"),
        (lambda: Warmup(1, 2, start=-1), "Warmup: start must be finite and not negative, got -1"),
        (lambda: OneCycle(1, 0), "OneCycle: steps must be an integer from 1, got 0"),
        (lambda: OneCycle(1, 5, warmup=1), "OneCycle: warmup must be in [0, 1), got 1"),
        (lambda: OneCycle(-1, 5), "OneCycle: peak must be finite and not negative, got -1"),
        (
            lambda: Piecewise([1], [0.1]),
            "Piecewise: expected one more of rates than boundaries, got 1 and 1",
        ),
        (
            lambda: Piecewise([2, 2], [3, 2, 1]),
            "Piecewise: boundaries must be integers from 1 that rise, got [2, 2]",
        ),
        (
            lambda: Piecewise([0], [3, 2]),
            "Piecewise: boundaries must be integers from 1 that rise, got [0]",
        ),
        (lambda: Piecewise([2], [3, -2]), "Piecewise: rates must be finite and not negative"),
        (
            lambda: Joined([1.0], [2, 3]),
            "Joined: expected one more of schedules than boundaries, got 1 and 2",
        ),
        (
            lambda: Joined([1.0, 2.0], [1.5]),
            "Joined: boundaries must be integers from 1 that rise, got [1.5]",
        ),
    ],
)
def test_arguments_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        make()
