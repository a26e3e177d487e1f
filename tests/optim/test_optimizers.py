"""The optimizers go where PyTorch's go, write only into what they own, and can be continued."""

import copy
import functools
import math
import pickle
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.namespace import is_array
from xpnet.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    NAdam,
    Optimizer,
    RMSprop,
)

RNG = np.random.default_rng(1)
START = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2), "scale": np.asarray(0.5)}
# Gradients of all magnitudes, which change from step to step.
GRADS = [
    {
        name: np.asarray(RNG.normal(0, 10 ** RNG.uniform(-3, 1), x.shape))
        for name, x in START.items()
    }
    for _ in range(20)
]


def schedule(step: int) -> float:
    if step < 5:
        return 0.1
    return 0.1 / step


CASES = {
    "SGD": (SGD, 0.1, {}),
    "SGD momentum": (SGD, 0.1, {"momentum": 0.9}),
    "SGD nesterov": (SGD, 0.1, {"momentum": 0.9, "nesterov": True}),
    "SGD decay": (SGD, 0.1, {"weight_decay": 0.1}),
    "SGD all": (SGD, schedule, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    "Adam": (Adam, 1e-3, {}),
    "Adam decay": (Adam, 0.1, {"weight_decay": 0.1}),
    "Adam all": (Adam, schedule, {"betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.01}),
    "AdamW": (AdamW, 1e-3, {}),
    "AdamW all": (AdamW, schedule, {"betas": (0.5, 0.8), "eps": 0.1, "weight_decay": 0.5}),
    "Adagrad": (Adagrad, 1e-2, {}),
    "Adagrad all": (
        Adagrad,
        schedule,
        {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 0.1, "weight_decay": 0.1},
    ),
    "RMSprop": (RMSprop, 1e-2, {}),
    "RMSprop centered": (RMSprop, 1e-2, {"centered": True, "alpha": 0.8}),
    "RMSprop momentum": (RMSprop, 1e-2, {"momentum": 0.9, "weight_decay": 0.1}),
    "RMSprop all": (
        RMSprop,
        schedule,
        {"alpha": 0.5, "eps": 0.1, "momentum": 0.5, "centered": True, "weight_decay": 0.1},
    ),
    "Adadelta": (Adadelta, 1.0, {}),
    "Adadelta all": (Adadelta, schedule, {"rho": 0.5, "eps": 0.1, "weight_decay": 0.1}),
    "NAdam": (NAdam, 2e-3, {}),
    "NAdam all": (
        NAdam,
        schedule,
        {"betas": (0.5, 0.8), "eps": 0.1, "momentum_decay": 0.5, "weight_decay": 0.1},
    ),
    "Lion": (Lion, 1e-4, {}),
    "Lion all": (Lion, schedule, {"betas": (0.5, 0.8), "weight_decay": 0.5}),
    **{
        f"{cls.__name__} l1": (cls, 0.1, {"l1_penalty": 0.2, "weight_decay": 0.1})
        for cls in (SGD, Adagrad, RMSprop, Adadelta, Adam, AdamW, NAdam, Lion)
    },
}
every_case = pytest.mark.parametrize("case", CASES)
WITH_MOMENTS = [
    *("SGD momentum", "Adam", "AdamW"),
    *("Adagrad", "RMSprop centered", "Adadelta", "NAdam"),
]
# Between them they take every branch.
distinct_cases = pytest.mark.parametrize(
    "case",
    [
        *("SGD", "SGD decay", "SGD momentum", "SGD all", "SGD l1", "Adam all", "AdamW all"),
        *("Adagrad all", "RMSprop", "RMSprop all", "Adadelta all", "NAdam all", "Lion all"),
    ],
)


class Parameters(nn.Module):
    """Nothing but parameters."""

    def __init__(self, **arrays: Any) -> None:
        for name, array in arrays.items():
            setattr(self, name, nn.Parameter(array))


def make_model(lib: Any, dtype: str = "float64") -> Parameters:
    return Parameters(**{name: lib.asarray(x, dtype) for name, x in START.items()})


def make_optimizer(case: str) -> Optimizer:
    cls, rate, options = CASES[case]
    return cls(rate, **options)


def as_arrays(lib: Any, host: dict[str, np.ndarray], dtype: str = "float64") -> dict[str, Any]:
    return {name: lib.asarray(x, dtype) for name, x in host.items()}


def run(lib: Any, optimizer: Optimizer, model: nn.Module, grads: Iterable[Any]) -> None:
    for each in grads:
        optimizer.update(model, as_arrays(lib, each, str(model.w.dtype).rpartition(".")[2]))


def to_host(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with its arrays copied to the host, to compare with later."""
    return {k: xn.to_host(v) if is_array(v) else v for k, v in state.items()}


def snapshot(model: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return host copies of all there is."""
    return to_host({**model.state_dict(), **optimizer.state_dict()})


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare bit for bit."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found[name], value, err_msg=name, strict=True)
        else:
            assert found[name] == value, name


def lion_trace(
    rate: Any, betas: Any = (0.9, 0.99), weight_decay: float = 0.0, l1_penalty: float = 0.0
) -> list[dict[str, np.ndarray]]:
    """Return what program 1 of the paper gives; PyTorch has no Lion."""
    p, m = dict(START), {name: 0 * x for name, x in START.items()}
    trace = []
    for step, grads in enumerate(GRADS):
        r = rate(step) if callable(rate) else rate
        for name in p:
            g = grads[name] + l1_penalty * np.sign(p[name])
            update = np.sign(betas[0] * m[name] + (1 - betas[0]) * g)
            p[name] = p[name] - r * (update + weight_decay * p[name])
            m[name] = betas[1] * m[name] + (1 - betas[1]) * g
        trace.append(dict(p))
    return trace


@functools.cache
def torch_trace(case: str) -> list[dict[str, np.ndarray]]:
    """Return PyTorch's parameters after each step."""
    torch = pytest.importorskip("torch")
    cls, rate, options = CASES[case]
    options = dict(options)
    l1_penalty = options.pop("l1_penalty", 0.0)
    if cls is Lion:
        return lion_trace(rate, l1_penalty=l1_penalty, **options)
    tensors = {name: torch.tensor(x, requires_grad=True) for name, x in START.items()}
    optimizer = getattr(torch.optim, cls.__name__)(tensors.values(), lr=0.0, **options)
    trace = []
    for step, grads in enumerate(GRADS):
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grads[name]) + l1_penalty * tensor.detach().sign()
        optimizer.param_groups[0]["lr"] = rate(step) if callable(rate) else rate
        optimizer.step()
        trace.append({name: x.detach().numpy().copy() for name, x in tensors.items()})
    return trace


@pytest.fixture(autouse=True)
def _float64_in_torch():
    """Let PyTorch compute its running products in float64, too."""
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@every_case
def test_the_trace_equals_that_of_torch(lib, case):
    model, optimizer = make_model(lib), make_optimizer(case)
    for step, (grads, expected) in enumerate(zip(GRADS, torch_trace(case), strict=True), 1):
        grads = as_arrays(lib, grads)
        with lib.guard():
            optimizer.update(model, grads)
        assert optimizer.steps == step
        for name, x in model.parameters().items():
            lib.close(x, expected[name], 1e-12)


@every_case
def test_float32_stays_float32(lib, case):
    model, optimizer = make_model(lib, "float32"), make_optimizer(case)
    run(lib, optimizer, model, GRADS)
    for array in (*model.parameters().values(), *(slot.array for slot in optimizer.slots())):
        assert array.dtype == lib.xp.float32
    expected = torch_trace(case)[-1]
    for name, x in model.parameters().items():
        lib.close(x, expected[name], 1e-4)


@pytest.mark.parametrize("cls", [Adagrad, RMSprop, Adadelta, Adam, AdamW, NAdam])
def test_defaults_are_those_of_torch(lib, cls):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(START["w"], requires_grad=True)
    theirs, model, ours = getattr(torch.optim, cls.__name__)([tensor]), make_model(lib), cls()
    for grads in GRADS[:3]:
        tensor.grad = torch.tensor(grads["w"])
        theirs.step()
    run(lib, ours, model, GRADS[:3])
    lib.close(model.w, tensor.detach(), 1e-12)


def test_a_schedule_is_called_once_an_update_with_the_updates_made_so_far(lib):
    calls = []
    optimizer = SGD(lambda step: calls.append(step) or 0.1)
    run(lib, optimizer, make_model(lib), GRADS[:3])
    assert calls == [0, 1, 2]


@distinct_cases
def test_arrays_that_can_be_written_to_are_updated_in_place(lib, case):
    if lib.name == "jax":
        pytest.skip("JAX's arrays cannot be written to")
    model, optimizer = make_model(lib), make_optimizer(case)
    run(lib, optimizer, model, GRADS[:1])
    arrays = [slot.array for slot in (*model.slots(), *optimizer.slots())]
    run(lib, optimizer, model, GRADS[1:3])
    after = [slot.array for slot in (*model.slots(), *optimizer.slots())]
    assert [id(array) for array in after] == [id(array) for array in arrays]


@distinct_cases
def test_nothing_that_was_passed_in_is_written_to(lib, case):
    given = as_arrays(lib, START)
    model, optimizer = Parameters(**given), make_optimizer(case)
    grads = [as_arrays(lib, each) for each in GRADS[:3]]
    for each in grads:
        optimizer.update(model, each)
    loaded = as_arrays(lib, START)
    model.load_state_dict(loaded)
    state = optimizer.state_dict()
    before = copy.deepcopy(to_host(state))
    optimizer.load_state_dict(state, model)
    optimizer.update(model, grads[0])
    assert_same(to_host(state), before)
    for arrays, expected in [(given, START), (loaded, START), *zip(grads, GRADS, strict=False)]:
        for name, x in expected.items():
            np.testing.assert_array_equal(lib.to_host(arrays[name]), x)


@distinct_cases
def test_gradients_may_be_written_to_afterwards(case):
    # The moments must not be the gradients themselves.
    models = [Parameters(**{name: x.copy() for name, x in START.items()}) for _ in range(2)]
    optimizers = [make_optimizer(case) for _ in models]
    for grads in GRADS[:3]:
        mine = {name: grad.copy() for name, grad in grads.items()}
        optimizers[0].update(models[0], mine)
        for grad in mine.values():
            grad[...] = math.nan
        optimizers[1].update(models[1], grads)
    assert_same(snapshot(models[0], optimizers[0]), snapshot(models[1], optimizers[1]))


@distinct_cases
def test_one_array_may_be_the_gradient_of_two_parameters(lib, case):
    model = Parameters(a=lib.asarray(START["b"]), b=lib.asarray(START["b"]))
    optimizer = make_optimizer(case)
    for grads in GRADS[:2]:
        grad = lib.asarray(grads["b"])
        optimizer.update(model, {"a": grad, "b": grad})
    expected = torch_trace(case)[1]["b"]
    lib.close(model.a, expected, 1e-12)
    lib.close(model.b, expected, 1e-12)


def test_gradients_that_do_not_fit_change_nothing(lib):
    model, optimizer = make_model(lib), Adam(lambda step: pytest.fail("the schedule was called"))
    grads = as_arrays(
        lib, {"b": np.zeros(3), "scale": np.zeros(1), "c": np.zeros(2), "d.e": np.zeros(1)}
    )
    before = snapshot(model, optimizer)
    message = (
        "Adam.update: the gradients do not fit the trainable parameters of the model:\n"
        "  missing: w\n  unknown: c\n  unknown: d.e\n"
        "  b: expected shape (2,), got (3,)\n  scale: expected shape (), got (1,)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        optimizer.update(model, grads)
    assert_same(snapshot(model, optimizer), before)


def test_gradients_of_another_dtype_are_refused(lib):
    model, optimizer = make_model(lib, "float32"), Adam()
    before = snapshot(model, optimizer)
    message = r"\n  w: expected dtype \S*float32, got \S*float64\n  scale: expected dtype"
    grads = as_arrays(lib, GRADS[0])
    grads["b"] = lib.asarray(GRADS[0]["b"], "float32")
    with pytest.raises(ValueError, match=message):
        optimizer.update(model, grads)
    assert_same(snapshot(model, optimizer), before)


def test_what_is_no_array_is_named(lib):
    model, optimizer = Parameters(w=lib.asarray(START["w"])), Adam()
    optimizer.update(model, {"w": lib.asarray(GRADS[0]["w"])})
    before = snapshot(model, optimizer)
    with pytest.raises((TypeError, ValueError), match=r"Adam\.update(.|\n)*w.*list"):
        optimizer.update(model, {"w": [1.0]})
    state = {**optimizer.state_dict(), "w.mean": [1.0]}
    with pytest.raises((TypeError, ValueError), match=r"Adam\.load_state_dict(.|\n)*w\.mean.*list"):
        optimizer.load_state_dict(state, model)
    assert_same(snapshot(model, optimizer), before)


def tie(model: nn.Module, first: str, second: str) -> None:
    """Put the array of one slot into another, as loading and copying keep it."""
    slots = {slot.name: slot for slot in model.slots()}
    slots[second].put(slots[first].array)


@distinct_cases
def test_tied_parameters_are_updated_once(lib, case):
    model = Parameters(a=lib.asarray(START["b"]), b=lib.asarray(START["b"]))
    tie(model, "a", "b")
    optimizer = make_optimizer(case)
    for grads in GRADS[:2]:
        optimizer.update(model, {"a": lib.asarray(grads["b"])})
        assert model.a is model.b
    lib.close(model.a, torch_trace(case)[1]["b"], 1e-12)
    with pytest.raises(ValueError, match=r"unknown: b$"):
        optimizer.update(model, {name: lib.asarray(START["b"]) for name in "ab"})


def test_frozen_parameters_stay_and_want_no_gradient(lib):
    model = Parameters()
    model.body, model.head = make_model(lib), make_model(lib)
    model.body.freeze()
    optimizer = SGD(0.5)
    grads = {f"head.{name}": x for name, x in as_arrays(lib, GRADS[0]).items()}
    optimizer.update(model, grads)
    for name, x in START.items():
        np.testing.assert_array_equal(lib.to_host(getattr(model.body, name)), x)
        lib.close(getattr(model.head, name), x - 0.5 * GRADS[0][name])
    with pytest.raises(ValueError, match=r"unknown: body\.b$"):
        optimizer.update(model, {**grads, "body.b": lib.asarray(GRADS[0]["b"])})


def test_a_parameter_frozen_in_one_place_is_frozen_in_all(lib):
    model = Parameters()
    model.body, model.head = make_model(lib), make_model(lib)
    tie(model, "body.w", "head.w")
    model.body.freeze()
    SGD(0.5).update(model, {f"head.{name}": lib.asarray(GRADS[0][name]) for name in ("b", "scale")})
    np.testing.assert_array_equal(lib.to_host(model.head.w), START["w"])
    lib.close(model.head.b, START["b"] - 0.5 * GRADS[0]["b"])


@pytest.mark.parametrize("case", WITH_MOMENTS)
def test_a_parameter_unfrozen_later_starts_as_in_torch(lib, case):
    torch = pytest.importorskip("torch")
    cls, rate, options = CASES[case]
    tensors = {name: torch.tensor(START[name], requires_grad=True) for name in ("w", "b")}
    theirs = getattr(torch.optim, cls.__name__)(tensors.values(), lr=rate, **options)
    model, ours = Parameters(), cls(rate, **options)
    model.late = Parameters(w=lib.asarray(START["w"])).freeze()
    model.early = Parameters(b=lib.asarray(START["b"]))
    for step, grads in enumerate(GRADS[:6]):
        mine = {"early.b": lib.asarray(grads["b"])}
        tensors["b"].grad = torch.tensor(grads["b"])
        if step == 3:
            model.unfreeze()
        if step >= 3:
            mine["late.w"] = lib.asarray(grads["w"])
            tensors["w"].grad = torch.tensor(grads["w"])
        theirs.step()
        ours.update(model, mine)
        lib.close(model.late.w, tensors["w"].detach(), 1e-12)
        lib.close(model.early.b, tensors["b"].detach(), 1e-12)


@distinct_cases
def test_a_loaded_state_continues_bit_for_bit(lib, case):
    model, optimizer = make_model(lib), make_optimizer(case)
    run(lib, optimizer, model, GRADS[:3])
    saved = model.state_dict(), optimizer.state_dict()
    run(lib, optimizer, model, GRADS[3:6])
    other, again = make_model(lib), make_optimizer(case)
    run(lib, again, other, GRADS[10:12])  # to be overwritten
    other.load_state_dict(saved[0])
    again.load_state_dict(saved[1], other)
    assert again.steps == 3
    run(lib, again, other, GRADS[3:6])
    assert_same(snapshot(other, again), snapshot(model, optimizer))


@pytest.mark.parametrize("case", ["SGD all", "Adagrad all", "RMSprop all", "NAdam all", "Lion all"])
@pytest.mark.parametrize("steps", range(0, 20, 3))
def test_a_run_can_be_continued_at_every_step(case, steps):
    host = {name: x.copy() for name, x in START.items()}
    model, optimizer = Parameters(**host), make_optimizer(case)
    for grads in GRADS[:steps]:
        optimizer.update(model, grads)
    other, again = Parameters(**host), make_optimizer(case)
    other.load_state_dict(model.state_dict())
    again.load_state_dict(optimizer.state_dict(), other)
    for grads in GRADS[steps:]:
        again.update(other, grads)
    for name, expected in torch_trace(case)[-1].items():
        np.testing.assert_allclose(getattr(other, name), expected, rtol=1e-12, atol=1e-12)


def test_lion_equals_that_of_optax():
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    theirs = optax.lion(0.1, b1=0.5, b2=0.8, weight_decay=0.5)
    x = jax.numpy.asarray(START["w"])
    state = theirs.init(x)
    model, ours = Parameters(w=START["w"]), Lion(0.1, betas=(0.5, 0.8), weight_decay=0.5)
    for grads in GRADS:
        change, state = theirs.update(jax.numpy.asarray(grads["w"]), state, x)
        x = x + change
        ours.update(model, {"w": grads["w"]})
        np.testing.assert_allclose(model.w, x, rtol=1e-12, atol=1e-12)


def test_the_momenta_of_nadam_are_those_of_a_plain_product():
    numbers = NAdam(1.0, betas=(0.9, 0.99), momentum_decay=0.5)
    u = [0.9 * (1 - 0.5 * 0.96 ** (0.5 * t)) for t in range(2002)]
    settings = {"betas": (0.9, 0.99), "momentum_decay": 0.5, "eps": 0.0}
    for step in (1, 2, 10, 100, 500, 2000):
        found = numbers.numbers(settings, 1.0, step)
        product, bias = math.prod(u[1 : step + 1]), math.sqrt(1 - 0.99**step)
        assert found["rate_grad"] == pytest.approx(bias * (1 - u[step]) / (1 - product), rel=1e-15)
        expected = bias * u[step + 1] / (1 - product * u[step + 1])
        assert found["rate_mean"] == pytest.approx(expected, rel=1e-15)


def test_a_variance_that_rounding_makes_negative_is_zero(lib):
    # A gradient that stays the same has no variance, and by rounding less.
    grad = np.linspace(0.1, 1.0, 100)
    model = Parameters(w=lib.asarray(0 * grad, "float32"))
    optimizer = RMSprop(1e-9, alpha=0.5, eps=1.0, centered=True)
    for _ in range(60):
        optimizer.update(model, {"w": lib.asarray(grad, "float32")})
    state = {name: lib.to_host(x) for name, x in optimizer.state["w"].items()}
    assert np.any(state["mean_square"] < state["mean"] ** 2)
    lib.close(model.w, -60e-9 * grad, 1e-1)


@distinct_cases
def test_a_state_moves_to_numpy_and_back_bit_for_bit(lib, case):
    model, optimizer = make_model(lib), make_optimizer(case)
    run(lib, optimizer, model, GRADS[:3])
    host = Parameters(**{name: x.copy() for name, x in START.items()})
    on_host = make_optimizer(case)
    host.load_state_dict(model.state_dict())
    on_host.load_state_dict(optimizer.state_dict(), host)
    assert_same(snapshot(host, on_host), snapshot(model, optimizer))
    for grads in GRADS[3:6]:
        on_host.update(host, grads)
    back, again = make_model(lib), make_optimizer(case)
    back.load_state_dict(host.state_dict())
    again.load_state_dict(on_host.state_dict(), back)
    for slot in again.slots():
        lib.to_host(slot.array)  # which checks library and device
    assert_same(snapshot(back, again), snapshot(host, on_host))
    run(lib, again, back, GRADS[6:9])
    expected = torch_trace(case)[8]
    for name, x in back.parameters().items():
        lib.close(x, expected[name], 1e-12)


def test_a_loaded_state_takes_on_the_dtype_of_the_model(lib):
    model, optimizer = make_model(lib), Adam()
    run(lib, optimizer, model, GRADS[:1])
    single, again = make_model(lib, "float32"), Adam()
    again.load_state_dict(optimizer.state_dict(), single)
    run(lib, again, single, GRADS[1:2])
    for slot in again.slots():
        assert slot.array.dtype == lib.xp.float32


@pytest.mark.parametrize("case", WITH_MOMENTS)
def test_a_state_is_a_copy(lib, case):
    model, optimizer = make_model(lib), make_optimizer(case)
    run(lib, optimizer, model, GRADS[:1])
    state = optimizer.state_dict()
    before = copy.deepcopy(to_host(state))
    run(lib, optimizer, model, GRADS[1:2])
    assert_same(to_host(state), before)


def test_the_state_before_the_first_update_can_be_loaded(lib):
    model, optimizer = make_model(lib), Adam()
    state = optimizer.state_dict()
    assert state == {"steps": 0, "updates": {}, "rate_factor": 1.0}
    run(lib, optimizer, model, GRADS[:1])
    optimizer.load_state_dict(state, model)
    assert optimizer.state_dict() == state


@pytest.mark.parametrize("first", ["freeze", "unfreeze"])
def test_a_state_fits_its_model_whatever_was_frozen_on_the_way(lib, first):
    model, optimizer = Parameters(w=lib.asarray(START["w"])), Adam()
    model.late = Parameters(b=lib.asarray(START["b"]))
    if first == "unfreeze":
        model.late.freeze()
        optimizer.update(model, {"w": lib.asarray(GRADS[0]["w"])})
        model.unfreeze()
    else:
        optimizer.update(
            model, {"w": lib.asarray(GRADS[0]["w"]), "late.b": lib.asarray(GRADS[0]["b"])}
        )
        model.late.freeze()
    state = optimizer.state_dict()
    again = Adam()
    again.load_state_dict(state, model)
    assert_same(snapshot(model, again), snapshot(model, optimizer))


@pytest.mark.parametrize(
    ("change", "problems"),
    [
        ({"w.mean": None}, ["missing: w.mean"]),
        (
            {"steps": None, "w.mean": None, "b.mean_square": None},
            [
                "steps: expected a number, got None",
                "missing: w.mean",
                "missing: b.mean_square",
            ],
        ),
        (
            {"w.velocity": np.zeros((3, 2)), "v.mean": np.zeros(1)},
            ["unknown: w.velocity", "unknown: v.mean"],
        ),
        (
            {"updates": {"w": 1, "b": 1, "scale": 1, "v": 1}},
            ["unknown: v"],
        ),
        (
            {"updates": {"w": 1, "b": 1}},
            ["unknown: scale.mean", "unknown: scale.mean_square"],
        ),
        (
            {"w.mean": np.zeros((2, 3)), "scale.mean": np.zeros(1), "x": np.zeros(1)},
            [
                "unknown: x",
                "w.mean: expected shape (3, 2), got (2, 3)",
                "scale.mean: expected shape (), got (1,)",
            ],
        ),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(lib, change, problems):
    model, optimizer = make_model(lib), Adam()
    run(lib, optimizer, model, GRADS[:2])
    state = {**optimizer.state_dict(), **{k: v for k, v in change.items() if v is not None}}
    state = {k: v for k, v in state.items() if k not in change or change[k] is not None}
    before = snapshot(model, optimizer)
    message = "Adam.load_state_dict: the state does not fit:\n  " + "\n  ".join(problems)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        optimizer.load_state_dict(state, model)
    assert_same(snapshot(model, optimizer), before)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        *(({"steps": x}, f"steps: expected a number, got {x!r}") for x in ("x", None, -1, 2.5)),
        *(
            ({"updates": x}, f"updates: expected a number for each parameter, got {x!r}")
            for x in (None, 3, {"w": -1, "b": 1, "scale": 1})
        ),
    ],
)
def test_counts_that_are_none_change_nothing(lib, counts, message):
    model, optimizer = make_model(lib), Adam()
    run(lib, optimizer, model, GRADS[:2])
    state = optimizer.state_dict()
    run(lib, optimizer, model, GRADS[2:4])
    before = snapshot(model, optimizer)
    with pytest.raises(ValueError, match=re.escape(f"does not fit:\n  {message}")):
        optimizer.load_state_dict({**state, **counts}, model)
    assert_same(snapshot(model, optimizer), before)


def test_the_state_of_another_optimizer_is_refused(lib):
    model, adam = Parameters(w=lib.asarray(START["w"])), Adam()
    adam.update(model, {"w": lib.asarray(GRADS[0]["w"])})
    problems = "missing: w.velocity\n  unknown: w.mean\n  unknown: w.mean_square"
    with pytest.raises(ValueError, match=re.escape(problems)):
        SGD(0.1, momentum=0.9).load_state_dict(adam.state_dict(), model)


def test_slots_are_the_moments(lib):
    model, optimizer = Parameters(w=lib.asarray(START["w"])), Adam()
    assert list(optimizer.slots()) == []
    optimizer.update(model, {"w": lib.asarray(GRADS[0]["w"])})
    slots = {slot.name: slot.array for slot in optimizer.slots("optimizer")}
    assert list(slots) == ["optimizer.w.mean", "optimizer.w.mean_square"]
    lib.close(slots["optimizer.w.mean"], 0.1 * GRADS[0]["w"], 1e-12)
    lib.close(slots["optimizer.w.mean_square"], 1e-3 * GRADS[0]["w"] ** 2, 1e-12)


def test_buffers_are_left_alone(lib):
    model = Parameters(w=lib.asarray(START["w"]))
    model.count = nn.Buffer(lib.asarray([1.0]))
    SGD(0.1).update(model, {"w": lib.asarray(GRADS[0]["w"])})
    np.testing.assert_array_equal(lib.to_host(model.count), [1.0])


def test_an_optimizer_of_ones_own_needs_one_method(lib):
    class Sign(Optimizer):
        moments = ("last",)

        def numbers(self, settings, rate, step):
            return {"change": rate * step}

        def step_parameter(self, parameter, grad, state, numbers):
            xp = xn.array_namespace(parameter)
            parameter -= numbers["change"] * xp.sign(grad + state["last"])
            state["last"] = grad + 0
            return parameter

    model, optimizer = make_model(lib), Sign(learning_rate=0.25)
    run(lib, optimizer, model, GRADS[:2])
    first, second = GRADS[0]["w"], GRADS[1]["w"]
    expected = START["w"] - 0.25 * np.sign(first) - 0.5 * np.sign(first + second)
    lib.close(model.w, expected)
    assert repr(optimizer) == "Sign(learning_rate=0.25, weight_decay=0.0, l1_penalty=0.0)"
    with pytest.raises(TypeError, match=r"^Sign: unknown keyword 'lr'; did you mean learning_rate"):
        Sign(lr=0.25)


def test_the_base_class_computes_nothing():
    model = Parameters(w=START["w"])
    with pytest.raises(NotImplementedError, match="Optimizer defines no step_parameter"):
        Optimizer(0.1).update(model, {"w": GRADS[0]["w"]})


@pytest.mark.parametrize("case", WITH_MOMENTS)
def test_a_deep_copy_is_independent(case):
    model, optimizer = Parameters(w=START["w"]), make_optimizer(case)
    optimizer.update(model, {"w": GRADS[0]["w"]})
    before = snapshot(model, optimizer)
    other = copy.deepcopy(optimizer)
    optimizer.update(model, {"w": GRADS[1]["w"]})
    model.load_state_dict({"w": before["w"]})
    assert_same(snapshot(model, other), before)


@pytest.mark.parametrize(
    ("cls", "args", "options", "message"),
    [
        (SGD, (), {"lr": 0.1}, "SGD: unknown keyword 'lr'; did you mean learning_rate?"),
        (Adam, (), {"lr": 0.1}, "Adam: unknown keyword 'lr'; did you mean learning_rate?"),
        (AdamW, (), {"lr": 0.1}, "AdamW: unknown keyword 'lr'; did you mean learning_rate?"),
        (SGD, (0.1,), {"momentun": 0.9}, "SGD: unknown keyword 'momentun'; did you mean momentum?"),
        (Adam, (), {"beta": 0.9}, "Adam: unknown keyword 'beta'; did you mean betas?"),
        (
            AdamW,
            (),
            {"foo": 1},
            "AdamW: unknown keyword 'foo'; "
            "expected some of: learning_rate, betas, eps, weight_decay, l1_penalty, overrides",
        ),
    ],
)
def test_unknown_keywords_are_named(cls, args, options, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        cls(*args, **options)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        *((SGD, {"learning_rate": x}, "learning_rate must") for x in (-0.1, math.nan)),
        *((SGD, {"momentum": x}, "momentum must be in [0, 1), got") for x in (-0.1, 1.0, math.nan)),
        (SGD, {"nesterov": True}, "nesterov=True needs a momentum, such as momentum=0.9"),
        (SGD, {"weight_decay": -1}, "weight_decay must be finite and not negative, got -1"),
        (Adam, {"learning_rate": -1.0}, "learning_rate must be finite and not negative, got -1.0"),
        (Adam, {"betas": (1.0, 0.9)}, "betas must be two numbers in [0, 1), got (1.0, 0.9)"),
        (Adam, {"betas": (0.9, -0.1)}, "betas must be two numbers in [0, 1), got (0.9, -0.1)"),
        (AdamW, {"betas": (0.9,)}, "betas must be two numbers in [0, 1), got (0.9,)"),
        (Adam, {"eps": -1}, "eps must be finite and not negative, got -1"),
        (AdamW, {"weight_decay": -1}, "weight_decay must be finite and not negative, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(cls, options, message):
    with pytest.raises(ValueError, match=f"^{cls.__name__}: {re.escape(message)}"):
        cls(**{"learning_rate": 0.1, **options})


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        (
            SGD(0.1, momentum=0.9),
            "SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0, "
            "l1_penalty=0.0)",
        ),
        (
            Adam(l1_penalty=1),
            "Adam(learning_rate=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, "
            "l1_penalty=1.0)",
        ),
        (
            AdamW(betas=[0.5, 0.8], overrides={"*bias": {"weight_decay": 0}}),
            "AdamW(learning_rate=0.001, betas=(0.5, 0.8), eps=1e-08, weight_decay=0.01, "
            "l1_penalty=0.0, overrides={'*bias': {'weight_decay': 0.0}})",
        ),
    ],
)
def test_repr_shows_every_setting(optimizer, text):
    assert repr(optimizer) == text


def test_another_model_is_refused(lib):
    first, second = make_model(lib), make_model(lib)
    optimizer = Adam()
    run(lib, optimizer, first, GRADS[:1])
    before = snapshot(second, optimizer)
    message = (
        "Adam.update: expected the model that was updated before, got another one, with whose "
        "gradients the moments would be mixed; make a second optimizer, or go on with "
        "optimizer.load_state_dict(optimizer.state_dict(), model)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        run(lib, optimizer, second, GRADS[:1])
    with pytest.raises(ValueError, match=r"^Adam\.prepare: expected the model"):
        optimizer.prepare(second)
    assert_same(snapshot(second, optimizer), before)
    optimizer.load_state_dict(optimizer.state_dict(), second)
    run(lib, optimizer, second, GRADS[1:2])
    with pytest.raises(ValueError, match="got another one"):
        run(lib, optimizer, first, GRADS[1:2])


def test_a_model_that_is_gone_is_another_one(lib):
    optimizer = SGD(0.1)
    run(lib, optimizer, make_model(lib), GRADS[:1])
    with pytest.raises(ValueError, match="got another one"):
        run(lib, optimizer, make_model(lib), GRADS[:1])


@pytest.mark.parametrize("make", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_model_and_optimizer_go_together(make):
    model, optimizer = Parameters(w=START["w"]), Adam()
    optimizer.update(model, {"w": GRADS[0]["w"]})
    again, other = make((model, optimizer))
    for pair in ((model, optimizer), (again, other)):
        pair[1].update(pair[0], {"w": GRADS[1]["w"]})
    assert_same(snapshot(again, other), snapshot(model, optimizer))


def test_a_replaced_parameter_is_refused(lib):
    model, optimizer = Parameters(w=lib.asarray([0.0, 0.0])), Adam()
    optimizer.update(model, {"w": lib.asarray([1.0, 2.0])})
    model.w = lib.asarray([0.0, 0.0, 0.0])
    before = snapshot(model, optimizer)
    message = "\n  w: its mean has shape (2,); a parameter that was replaced needs a new optimizer"
    with pytest.raises(ValueError, match=re.escape(message)):
        optimizer.update(model, {"w": lib.asarray([1.0, 2.0, 3.0])})
    assert_same(snapshot(model, optimizer), before)
