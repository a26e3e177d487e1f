"""Layers that take their width from the first batch equal those that were given it."""

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.optim import SGD

WAITING = (
    "Sequential: these layers take their width from the first batch and have no arrays before: "
    "0 (Linear), 1 (BatchNorm1d), 3 (LayerNorm), 5 (Linear); call model(x) once, or "
    "model.initialize(x)"
)
INSIDE = (
    "Linear: its parameters are made by the first batch, which must not come inside of xn.grad or "
    "a transformation of the library; call model(x) once before, or model.initialize(x)"
)


def network(*widths: Any, dtype: str = "float32") -> nn.Module:
    first, norm, layer_norm, last = widths or (None,) * 4
    return nn.Sequential(
        nn.Linear(first, 4, dtype=dtype),
        nn.BatchNorm1d(norm, dtype=dtype),
        nn.Dropout(0.5),
        nn.LayerNorm(layer_norm, dtype=dtype),
        nn.Linear(4, 5, dtype=dtype),
        nn.Linear(last, 2, bias=False, dtype=dtype),
    )


def batch(lib: Any, dtype: str = "float32") -> Any:
    return lib.asarray(np.random.default_rng(6).normal(size=(6, 3)), dtype)


def assert_same(found: nn.Module, expected: nn.Module) -> None:
    states = [{k: xn.to_host(a) for k, a in m.state_dict().items()} for m in (found, expected)]
    assert list(states[0]) == list(states[1])
    for name, array in states[0].items():
        np.testing.assert_array_equal(array, states[1][name], err_msg=name, strict=True)


def total(model: Any, x: Any) -> Any:
    return xn.array_namespace(x).sum(model(x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_equal_those_of_explicit_layers_bit_for_bit(lib, dtype):
    xn.seed(3)
    expected = network(3, 4, 4, 5, dtype=dtype)
    after = xn.random.default_generator().draws
    xn.seed(3)
    model = network(dtype=dtype)
    assert xn.random.default_generator().draws == after
    assert model.initialize(batch(lib, dtype)) is model
    assert_same(model, expected)
    for array in model.state_dict().values():
        lib.to_host(array)  # which checks library and device
    assert (model[0].in_features, model[1].num_features) == (3, 4)
    assert (model[3].normalized_shape, model[5].in_features) == ((4,), 5)
    assert repr(model) == repr(expected)


def test_a_generator_of_ones_own_is_used(lib):
    rng, same = xn.Generator(5), xn.Generator(5)
    lazy, follower = nn.Linear(None, 2, rng=rng), nn.Linear(2, 2, rng=rng)
    lazy(batch(lib))
    assert_same(nn.Sequential(lazy), nn.Sequential(nn.Linear(3, 2, rng=same)))
    assert_same(follower, nn.Linear(2, 2, rng=same))


def test_initialize_leaves_modes_buffers_and_generators_alone(lib):
    class Noisy(nn.Module):
        def __init__(self) -> None:
            self.calls = nn.Buffer(xn.asarray([0]))

        def forward(self, x: Any) -> Any:
            self.calls += 1
            xn.random.default_generator().permutation(2)
            return x

    model = nn.Sequential(Noisy(), network())
    model[1][2].eval()
    draws = xn.random.default_generator().draws
    calls = model[0].calls
    model.initialize(batch(lib))
    assert model[0].calls is calls
    assert lib.to_host(calls).tolist() == [0]
    assert xn.random.default_generator().draws == draws
    assert [name for name, module in model.modules() if not module.training] == ["1.2"]
    assert int(model[1][1].num_batches_tracked) == 0


def test_initialize_calls_no_model_that_is_whole():
    model = nn.Sequential(lambda x: pytest.fail("was called"), nn.Linear(2, 2))
    assert model.initialize(None) is model


def test_parameters_are_made_where_the_first_batch_is(lib):
    x = batch(lib)
    with xn.use_backend("numpy"):
        model = nn.Sequential(nn.Linear(None, 2), nn.BatchNorm1d(None), nn.LayerNorm(None))
        model(x)
    for array in model.state_dict().values():
        lib.to_host(array)


def test_what_needs_the_arrays_names_the_layers(lib):
    x = batch(lib)
    for use in (
        lambda model: model.state_dict(),
        lambda model: model.parameters(),
        lambda model: model.buffers(),
        lambda model: SGD(0.1).update(model, {}),
        lambda model: xn.grad(total)(model, x),
        lambda model: model.tie("4.weight", "5.weight"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(WAITING)}$"):
            use(network())
    with pytest.raises(ValueError, match=r"^Linear: these .* before: itself; call"):
        nn.Linear(None, 2).parameters()


def test_the_first_batch_must_not_come_inside_of_grad(lib):
    layer = nn.Linear(None, 2)
    with pytest.raises(xn.TracedArrayError, match=f"^{re.escape(INSIDE)}$"):
        xn.grad(lambda x: total(layer, x))(batch(lib))
    assert layer.in_features is None
    layer.initialize(batch(lib))
    assert list(xn.grad(total)(layer, batch(lib))) == ["weight", "bias"]


def test_freezing_assigning_and_taking_away_before_the_first_batch(lib):
    model = network().freeze()
    model[0].bias = lib.asarray(np.ones(4), "float32")
    model[5].unfreeze()
    model.initialize(batch(lib))
    assert list(model.parameters(trainable_only=True)) == ["5.weight"]
    assert lib.to_host(model[0].bias).tolist() == [1] * 4
    layer = nn.Linear(None, 2)
    layer.bias = None
    assert list(layer.initialize(batch(lib)).parameters()) == ["weight"]


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_a_waiting_model_can_be_copied(kind):
    model = network()
    other = copy.deepcopy(model) if kind == "deepcopy" else pickle.loads(pickle.dumps(model))
    x = np.zeros((2, 3), "float32")
    assert_same(other.initialize(x), model.initialize(x))


def test_a_state_brings_the_widths(lib):
    source = network(3, 4, 4, 5)
    model = network()
    model.load_state_dict(source.state_dict())
    assert_same(model, source)
    lib.close(model.eval()(batch(lib)), lib.to_host(source.eval()(batch(lib))), 1e-6)


def test_after_a_state_that_does_not_fit_the_layers_wait_again(lib):
    state = network(3, 4, 4, 5).state_dict()
    state["4.bias"] = lib.asarray(np.zeros(6), "float32")
    model = network().freeze()
    with pytest.raises(ValueError, match=r"\n  4\.bias: expected shape \(5,\), got \(6,\)$"):
        model.load_state_dict(state)
    assert (model[0].in_features, model[0].weight, model[0].is_waiting()) == (None, None, True)
    assert model.initialize(batch(lib)).parameters(trainable_only=True) == {}


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.Linear(None, 2), (3, 0), "Linear: the width must be positive, got 0"),
        (nn.LayerNorm(None), (3, 0), "LayerNorm: the width must be positive, got (0,)"),
        (nn.Linear(None, 2), (), "Linear: expected an input of shape (..., None), got ()"),
        (
            nn.BatchNorm1d(None),
            (3,),
            "BatchNorm1d: expected an input of shape (N, None) or (N, None, L), got (3,)",
        ),
        (
            nn.LayerNorm(None),
            (),
            "LayerNorm: expected an input of shape (..., features), got ()",
        ),
    ],
)
def test_a_first_batch_that_has_no_width_is_refused(lib, layer, shape, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer(lib.asarray(np.zeros(shape), "float32"))
    assert layer.is_waiting()


def test_repr_says_what_waits():
    text = "parameters are made by the first batch"
    assert repr(nn.Linear(None, 2, bias=False)) == f"Linear(None, 2, bias=False)  # {text}"
    assert repr(nn.Sequential(nn.LayerNorm(None), nn.Linear(1, 1))) == (
        f"Sequential(\n  (0): LayerNorm(None)  # {text}\n"
        "  (1): Linear(1, 1)  # weight (1, 1), bias (1,): 2 parameters\n"
        f")  # {text}"
    )
