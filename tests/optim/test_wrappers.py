"""Optimizers around an optimizer: clipped, accumulated and averaged, also one in another."""

import copy
import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.namespace import is_array
from xpnet.optim import SGD, Accumulate, Adam, Average, Clip, Optimizer

RNG = np.random.default_rng(5)
START = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2)}
GRADS = [{name: RNG.normal(size=x.shape) for name, x in START.items()} for _ in range(12)]
KINDS = {
    "clip": lambda: Clip(Adam(0.1), value=1.0, norm=0.5),
    "accumulate": lambda: Accumulate(Adam(0.1), 3),
    "average": lambda: Average(Adam(0.1), 0.8),
    "nested": lambda: Average(Accumulate(Clip(SGD(0.1, momentum=0.5), norm=1.0), 2), 0.5),
    "nested otherwise": lambda: Clip(Average(Accumulate(Adam(0.1), 2)), value=0.5),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class Net(nn.Module):
    def __init__(self, lib):
        self.w, self.b = (nn.Parameter(lib.asarray(START[name])) for name in "wb")
        self.count = nn.Buffer(lib.asarray([1.0]))


def on(lib, grads):
    return {name: lib.asarray(x) for name, x in grads.items()}


def run(lib, optimizer, model, grads):
    for each in grads:
        each = on(lib, each)
        with lib.guard():
            optimizer.update(model, each)


def host(model, optimizer):
    state = model.state_dict() | optimizer.state_dict()
    return {name: xn.to_host(x) if is_array(x) else x for name, x in state.items()}


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_clip_is_clipping_before_the_update(lib):
    model, optimizer = Net(lib), Clip(SGD(1.0), value=1.0, norm=0.5)
    run(lib, optimizer, model, GRADS[:1])
    clipped = {name: np.clip(x, -1, 1) for name, x in GRADS[0].items()}
    norm = math.sqrt(sum(np.sum(x**2) for x in clipped.values()))
    assert norm > 0.5
    for name, x in START.items():
        lib.close(getattr(model, name), x - clipped[name] * 0.5 / norm, 1e-14)


def test_accumulate_updates_with_the_mean(lib):
    model, optimizer = Net(lib), Accumulate(Adam(0.1), 3)
    other, plain = Net(lib), Adam(0.1)
    for i in range(0, 12, 3):
        run(lib, optimizer, model, GRADS[i : i + 2])
        lib.close(model.w, lib.to_host(other.w), 1e-13)  # nothing yet
        assert (optimizer.steps, optimizer.calls) == (i // 3, 2)
        run(lib, optimizer, model, GRADS[i + 2 : i + 3])
        mean = {name: sum(g[name] for g in GRADS[i : i + 3]) / 3 for name in START}
        run(lib, plain, other, [mean])
        lib.close(model.w, lib.to_host(other.w), 1e-13)
        lib.close(model.b, lib.to_host(other.b), 1e-13)


def test_accumulate_forgets_what_was_not_finite(lib):
    model, optimizer = Net(lib), Accumulate(SGD(0.0), 2)
    bad = {name: np.full_like(x, np.nan) for name, x in START.items()}
    run(lib, optimizer, model, [GRADS[0], bad])
    model.load_state_dict({**on(lib, START), "count": lib.asarray([1.0])})
    optimizer = Accumulate(SGD(1.0), 2)
    run(lib, optimizer, model, [bad, GRADS[0]])
    model.load_state_dict({**on(lib, START), "count": lib.asarray([1.0])})
    run(lib, optimizer, model, [GRADS[0], GRADS[0]])
    lib.close(model.w, START["w"] - GRADS[0]["w"], 1e-14)


def test_average_equals_a_plain_loop(lib):
    model, optimizer = Net(lib), Average(SGD(0.1), 0.5)
    p, average = dict(START), dict(START)
    for t, grads in enumerate(GRADS, 1):
        run(lib, optimizer, model, [grads])
        decay = min(0.5, (1 + t) / (10 + t))
        for name in p:
            p[name] = p[name] - 0.1 * grads[name]
            average[name] = decay * average[name] + (1 - decay) * p[name]
        with optimizer.averaged(model):
            for name in p:
                lib.close(getattr(model, name), average[name], 1e-13)
        for name in p:
            lib.close(getattr(model, name), p[name], 1e-13)


def test_the_average_equals_that_of_torch(lib):
    torch = pytest.importorskip("torch")
    swa = pytest.importorskip("torch.optim.swa_utils")
    linear = torch.nn.Linear(2, 3, bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(START["w"]))
    theirs = swa.AveragedModel(linear, multi_avg_fn=swa.get_ema_multi_avg_fn(0.1))
    theirs.update_parameters(linear)  # the first copies
    model, optimizer = Net(lib), Average(SGD(0.1), 0.1)  # below the warm-up from the start
    for grads in GRADS[:5]:
        run(lib, optimizer, model, [grads])
        with torch.no_grad():
            linear.weight -= 0.1 * torch.tensor(grads["w"])
        theirs.update_parameters(linear)
    with optimizer.averaged(model):
        lib.close(model.w, theirs.module.weight.detach(), 1e-13)


def test_averaged_restores_all_whatever_happens(lib):
    model, optimizer = Net(lib), Average(SGD(0.1))
    with optimizer.averaged(model):  # before the first update, nothing differs
        lib.close(model.w, START["w"], 0)
    run(lib, optimizer, model, GRADS[:2])
    arrays = [slot.array for slot in model.slots()]

    def fail():
        assert model.w is not arrays[0]
        assert model.count is arrays[2]  # a buffer
        raise KeyError

    with pytest.raises(KeyError), optimizer.averaged(model):
        fail()
    assert all(slot.array is array for slot, array in zip(model.slots(), arrays, strict=True))


def test_averaged_keeps_tied_parameters_tied_and_frozen_ones(lib):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False), nn.Linear(2, 1))
    model.tie("0.weight", "1.weight")
    model[2].freeze()
    optimizer = Average(SGD(0.1))
    frozen = model[2].weight
    optimizer.update(model, {"0.weight": lib.asarray(np.ones((2, 2)), "float32")})
    with optimizer.averaged(model):
        assert model[0].weight is model[1].weight
        assert model[2].weight is frozen
    assert model[0].weight is model[1].weight


def test_an_update_of_the_averages_is_refused(lib):
    model, optimizer = Net(lib), Average(SGD(0.1))
    run(lib, optimizer, model, GRADS[:1])
    before = host(model, optimizer)
    with optimizer.averaged(model):
        message = r"^Average\.update: the model has its averaged weights; leave `with"
        with pytest.raises(ValueError, match=message):
            run(lib, optimizer, model, GRADS[:1])
    assert_same(host(model, optimizer), before)


def test_averaged_of_an_optimizer_without_averages_changes_nothing(lib):
    model = Net(lib)
    for optimizer in (SGD(0.1), Clip(SGD(0.1), value=1.0), Accumulate(SGD(0.1), 2)):
        with optimizer.averaged(model):
            lib.close(model.w, START["w"], 0)


def test_averaged_reaches_through_wrappers(lib):
    model, optimizer = Net(lib), Clip(Accumulate(Average(SGD(0.1)), 1), value=1.0)
    run(lib, optimizer, model, GRADS[:1])
    weights = model.w
    with optimizer.averaged(model):
        assert model.w is not weights
    with pytest.raises(ValueError, match=r"averaged: expected the model"):  # noqa: SIM117
        with optimizer.averaged(Net(lib)):
            pass


def test_an_average_waits_for_the_accumulated_update(lib):
    model, optimizer = Net(lib), Average(Accumulate(SGD(0.1), 2), 0.5)
    run(lib, optimizer, model, GRADS[:1])
    with optimizer.averaged(model):
        lib.close(model.w, START["w"], 0)
    run(lib, optimizer, model, GRADS[1:2])
    mean = (GRADS[0]["w"] + GRADS[1]["w"]) / 2
    with optimizer.averaged(model):
        lib.close(model.w, START["w"] - 0.1 * mean * 9 / 11, 1e-14)


@every_kind
def test_a_run_can_be_continued_at_every_step(lib, kind):
    if lib.name == "numpy_readonly":
        pytest.skip("as numpy")
    model, optimizer = Net(lib), KINDS[kind]()
    run(lib, optimizer, model, GRADS)
    expected = host(model, optimizer)
    steps = range(12) if lib.name == "numpy" else (5,)
    for step in steps:
        first, before = Net(lib), KINDS[kind]()
        run(lib, before, first, GRADS[:step])
        other, again = Net(lib), KINDS[kind]()
        run(lib, again, other, GRADS[3:4])  # to be overwritten
        other.load_state_dict(first.state_dict())
        again.load_state_dict(before.state_dict(), other)
        run(lib, again, other, GRADS[step:])
        assert_same(host(other, again), expected)


@every_kind
def test_a_state_goes_through_numpy(lib, kind):
    model, optimizer = Net(lib), KINDS[kind]()
    run(lib, optimizer, model, GRADS[:5])
    state = {n: xn.to_host(x) if is_array(x) else x for n, x in optimizer.state_dict().items()}
    again = KINDS[kind]()
    again.load_state_dict(state, model)
    assert_same(host(model, again), host(model, optimizer))
    for slot in again.slots():
        lib.to_host(slot.array)  # which checks library and device


@every_kind
def test_what_is_done_in_place(lib, kind):
    if not lib.writable:
        pytest.skip("these arrays cannot be written to")
    model, optimizer = Net(lib), KINDS[kind]()
    run(lib, optimizer, model, GRADS[:6])
    names = [slot.name for slot in optimizer.slots() if ".sum" not in f".{slot.name}"]
    arrays = {slot.name: slot.array for slot in (*model.slots(), *optimizer.slots())}
    run(lib, optimizer, model, GRADS[6:])
    after = {slot.name: slot.array for slot in (*model.slots(), *optimizer.slots())}
    assert all(after[name] is arrays[name] for name in ["w", "b", *names])


@every_kind
def test_nothing_that_was_passed_in_is_written_to(lib, kind):
    model, optimizer = Net(lib), KINDS[kind]()
    grads = [on(lib, each) for each in GRADS[:6]]
    for each in grads:
        optimizer.update(model, each)
    for each, expected in zip(grads, GRADS, strict=False):
        for name, x in expected.items():
            lib.close(each[name], x, 0)


@every_kind
def test_gradients_that_do_not_fit_change_nothing(lib, kind):
    model, optimizer = Net(lib), KINDS[kind]()
    run(lib, optimizer, model, GRADS[:4])
    before = host(model, optimizer)
    with pytest.raises(ValueError, match=r"update: the gradients do not fit(.|\n)*missing: b"):
        optimizer.update(model, {"w": lib.asarray(GRADS[0]["w"])})
    with pytest.raises(ValueError, match=r"update: expected the model that was updated before"):
        optimizer.update(Net(lib), on(lib, GRADS[0]))
    assert_same(host(model, optimizer), before)


@every_kind
def test_float32_stays_float32(lib, kind):
    model, optimizer = nn.Sequential(nn.Linear(2, 2)), KINDS[kind]()
    for _ in range(6):
        optimizer.update(model, {name: 0.5 * x for name, x in model.parameters().items()})
    arrays = [slot.array for slot in (*model.slots(), *optimizer.slots())]
    assert all(array.dtype == lib.xp.float32 for array in arrays)


@every_kind
def test_rate_and_factor_are_those_of_the_inner_one(kind):
    optimizer = KINDS[kind]()
    optimizer.rate_factor = 0.25
    inner = optimizer
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    assert inner.rate_factor == 0.25
    assert optimizer.rate == inner.rate == 0.025
    assert optimizer.host_numbers(["w"]) == inner.host_numbers(["w"])
    assert optimizer.steps == 0
    assert isinstance(optimizer, Optimizer)


@every_kind
def test_copies_go_together(lib, kind):
    model, optimizer = Net(lib), KINDS[kind]()
    run(lib, optimizer, model, GRADS[:3])
    again, other = copy.deepcopy((model, optimizer))
    run(lib, optimizer, model, GRADS[3:6])
    run(lib, other, again, GRADS[3:6])
    assert_same(host(again, other), host(model, optimizer))


def test_names_of_the_state(lib):
    model, optimizer = Net(lib), Average(Accumulate(SGD(0.1, momentum=0.5), 2))
    run(lib, optimizer, model, GRADS[:2])
    state = optimizer.state_dict()
    arrays = [
        *("average.w", "average.b", "optimizer.sum.w", "optimizer.sum.b"),
        *("optimizer.optimizer.w.velocity", "optimizer.optimizer.b.velocity"),
    ]
    numbers = ["calls", "optimizer.steps", "optimizer.updates", "optimizer.rate_factor"]
    assert {name for name in state if is_array(state[name])} == set(arrays)
    assert set(state) - set(arrays) == {f"optimizer.{name}" for name in numbers}
    assert [slot.name for slot in optimizer.slots("o")] == [f"o.{name}" for name in arrays]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"average.w": None}, "Average.load_state_dict: the state does not fit:\n  missing: av"),
        ({"average.v": np.ones(1)}, "unknown: average.v"),
        ({"average.b": np.ones(3)}, "average.b: expected shape (2,), got (3,)"),
        ({"optimizer.calls": 2}, "calls: expected an integer below 2, got 2"),
        ({"optimizer.calls": None}, "calls: expected an integer below 2, got None"),
        ({"optimizer.sum.w": None}, "Accumulate.load_state_dict: the state does not fit:\n  miss"),
        ({"optimizer.optimizer.w.mean": None}, "Adam.load_state_dict: the state does not fit"),
        ({"w.mean": np.ones(1)}, "unknown: w.mean"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(lib, change, message):
    model, optimizer = Net(lib), Average(Accumulate(Adam(), 2))
    run(lib, optimizer, model, GRADS[:3])
    state = {**optimizer.state_dict(), **change}
    state = {name: value for name, value in state.items() if value is not None}
    before = host(model, optimizer)
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.load_state_dict(state, model)
    assert_same(host(model, optimizer), before)


def test_the_state_of_a_plain_optimizer_is_refused(lib):
    model, plain = Net(lib), SGD(0.1)
    run(lib, plain, model, GRADS[:1])
    for kind in KINDS.values():
        with pytest.raises(ValueError, match="load_state_dict: the state does not fit"):
            kind().load_state_dict(plain.state_dict(), model)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Clip(0.1, norm=1.0), TypeError, "Clip: expected an optimizer, got float"),
        (lambda: Clip(SGD(0.1)), ValueError, "Clip: expected a limit, value= or norm=, got none"),
        (
            lambda: Clip(SGD(0.1), norm=0),
            ValueError,
            "Clip: norm must be finite and larger than 0, got 0",
        ),
        (
            lambda: Clip(SGD(0.1), value=math.nan),
            ValueError,
            "Clip: value must be finite and larger than 0, got nan",
        ),
        (
            lambda: Clip(SGD(0.1), nrom=1),
            TypeError,
            "Clip: unknown keyword 'nrom'; did you mean norm?",
        ),
        (
            lambda: Accumulate(SGD(0.1), 0),
            ValueError,
            "Accumulate: every must be an integer from 1, got 0",
        ),
        (
            lambda: Accumulate(SGD(0.1), 1.5),
            ValueError,
            "Accumulate: every must be an integer from 1, got 1.5",
        ),
        (
            lambda: Average(SGD(0.1), 1.0),
            ValueError,
            "Average: decay must be in [0, 1), got 1.0",
        ),
    ],
)
def test_arguments_that_make_no_sense(make, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        make()


def test_repr_shows_what_is_wrapped():
    text = "Accumulate(optimizer=Clip(optimizer=SGD(learning_rate=0.1, momentum=0.0, "
    assert repr(Accumulate(Clip(SGD(0.1), norm=2), 4)).startswith(text)
    assert repr(Accumulate(Clip(SGD(0.1), norm=2), 4)).endswith("value=None, norm=2.0), every=4)")
