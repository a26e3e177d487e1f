"""Normalization equals PyTorch's: values, two derivatives, and the averages of several batches."""

import math
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn

RNG = np.random.default_rng(3)
OPTIONS = [
    {},
    {"momentum": None},
    {"momentum": 0.3, "eps": 1e-2},
    {"affine": False},
    {"track_running_stats": False},
    {"affine": False, "track_running_stats": False},
]


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def total(function: Any, x: Any, weight: Any) -> Any:
    return xn.array_namespace(x).sum(function(x) * weight)


def exchange(layer: Any, theirs: Any) -> None:
    """Give both layers the same parameters, none of them as they start."""
    state = theirs.state_dict()
    for array in theirs.parameters():
        array.data[...] = array.data.new_tensor(RNG.normal(size=tuple(array.shape)))
    layer.load_state_dict({name: array.numpy() for name, array in state.items()})


def compare(lib: Any, torch: Any, layer: Any, theirs: Any, x: np.ndarray) -> None:
    """Compare value, gradients, and gradients of gradients for one batch, buffers after it."""
    first, second = RNG.normal(size=(2, *x.shape))
    leaf = torch.tensor(x, requires_grad=True)
    value = theirs(leaf)
    leaves = [leaf, *theirs.parameters()]
    weight = torch.tensor(first)
    slopes = torch.autograd.grad((value * weight).sum(), leaves, create_graph=True)
    (bend,) = torch.autograd.grad((slopes[0] * torch.tensor(second)).sum(), leaf)
    arrays = lib.asarray(x), lib.asarray(first)
    with lib.guard():
        of_layer, of_x = xn.grad(total, argnums=(0, 1))(layer, *arrays)
    for name, array in theirs.named_buffers():
        np.testing.assert_allclose(
            lib.to_host(layer.buffers()[name]), array.numpy(), rtol=1e-12, strict=True
        )
    for ours, slope in zip([of_x, *of_layer.values()], slopes, strict=True):
        lib.close(ours, slope.detach())
    gradient = xn.grad(lambda x: total(layer, x, arrays[1]))
    of_gradient = xn.grad(lambda x: total(gradient, x, lib.asarray(second)))(arrays[0])
    lib.close(of_gradient, bend)
    layer.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    theirs.train(False)
    lib.close(layer.eval()(arrays[0]), theirs(leaf).detach())
    theirs.train()
    layer.train()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5)])
def test_batch_norm_equals_that_of_torch(lib, torch, options, shape):
    layer = nn.BatchNorm1d(3, **options, dtype="float64")
    theirs = torch.nn.BatchNorm1d(3, **options).double()
    assert {k: tuple(v.shape) for k, v in layer.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    exchange(layer, theirs)
    for _ in range(3):
        compare(lib, torch, layer, theirs, RNG.normal(size=shape) * 2 + 5)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_a_batch_is_averaged_once_at_any_level_of_differentiation(lib, torch, momentum):
    x = RNG.normal(size=(6, 3))
    expected = torch.nn.BatchNorm1d(3, momentum=momentum).double()
    expected(torch.tensor(x))
    x = lib.asarray(x)
    once = xn.grad(lambda layer, x: total(layer, x, x))
    twice = xn.grad(lambda layer, x: total(lambda x: once(layer, x)["bias"], x, x[0, :]))
    for function in (lambda layer, x: layer(x), once, twice):
        layer = nn.BatchNorm1d(3, momentum=momentum, dtype="float64")
        function(layer, x)
        lib.close(layer.running_mean, expected.running_mean, 1e-12)
        lib.close(layer.running_var, expected.running_var, 1e-12)
        assert int(layer.num_batches_tracked) == 1


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm])
def test_a_new_layer_is_that_of_torch(lib, torch, make):
    layer, theirs = make(3), getattr(torch.nn, make.__name__)(3)
    assert list(layer.state_dict()) == list(theirs.state_dict())
    assert list(layer.parameters()) == [name for name, _ in theirs.named_parameters()]
    for name, array in theirs.state_dict().items():
        np.testing.assert_array_equal(
            lib.to_host(layer.state_dict()[name]), array.numpy(), strict=True
        )


@pytest.mark.parametrize(
    ("width", "options", "shape"),
    [
        (4, {}, (3, 4)),
        ((4,), {"eps": 0.1}, (2, 3, 4)),
        ((3, 4), {}, (2, 3, 4)),
        ((2, 3, 4), {"bias": False}, (2, 3, 4)),
        ((3, 4), {"elementwise_affine": False}, (5, 3, 4)),
    ],
)
def test_layer_norm_equals_that_of_torch(lib, torch, width, options, shape):
    layer = nn.LayerNorm(width, **options, dtype="float64")
    theirs = torch.nn.LayerNorm(width, **options).double()
    exchange(layer, theirs)
    compare(lib, torch, layer, theirs, RNG.normal(size=shape) * 2 + 5)


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm])
def test_a_large_mean_costs_no_digits_of_the_variance(lib, make):
    x = np.asarray([[0.0, 1], [2, 5]]) + 2.0**26
    y = make(2, eps=0.0, dtype="float64")(lib.asarray(x))
    lib.close(y, [[-1, -1], [1, 1]] if make is nn.BatchNorm1d else [[-1, 1], [-1, 1]], 1e-15)


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm])
def test_float32_stays_float32(lib, make):
    layer, x = make(3), lib.asarray(RNG.normal(size=(4, 3)), "float32")
    of_layer, of_x = xn.grad(total, argnums=(0, 1))(layer, x, x)
    arrays = [layer(x), layer.eval()(x), of_x, *of_layer.values(), *layer.buffers().values()]
    assert {str(a.dtype).split(".")[-1] for a in arrays} <= {"float32", "int64"}


def test_batch_norm_trains_inside_of_a_network(lib):
    model = nn.Sequential(nn.BatchNorm1d(3, momentum=None), nn.Linear(3, 2), nn.BatchNorm1d(2))
    x = lib.asarray(RNG.normal(size=(8, 3)), "float32")
    optimizer = xn.optim.SGD(0.1)
    for _ in range(2):
        with lib.guard():
            optimizer.update(model, xn.grad(total)(model, x, x[:, :2]))
    assert int(model[0].num_batches_tracked) == int(model[2].num_batches_tracked) == 2
    lib.close(model[0].running_mean, lib.to_host(x).mean(axis=0), 1e-5, 1e-6)


def test_jax_counts_batches_without_64_bits():
    pytest.importorskip("jax")
    code = """if True:
        import xpnet as xn
        with xn.use_backend("jax"):
            layer = xn.nn.BatchNorm1d(2, momentum=None)
            layer(xn.asarray([[1.0, 2.0], [3.0, 4.0]]))
            print(layer.num_batches_tracked.dtype, layer.num_batches_tracked, layer.running_mean)
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "int32 1 [2. 3.]\n"


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            nn.BatchNorm1d,
            (1, 3),
            "BatchNorm1d: expected more than one value per channel to take the variance of, got an "
            "input of shape (1, 3); use larger batches, or model.eval()",
        ),
        (
            nn.BatchNorm1d,
            (2, 4),
            "BatchNorm1d: expected an input of shape (N, 3) or (N, 3, L), got (2, 4)",
        ),
        (
            nn.BatchNorm1d,
            (3,),
            "BatchNorm1d: expected an input of shape (N, 3) or (N, 3, L), got (3,)",
        ),
        (nn.LayerNorm, (3, 4), "LayerNorm: expected an input of shape (..., 3), got (3, 4)"),
        (nn.LayerNorm, (), "LayerNorm: expected an input of shape (..., 3), got ()"),
    ],
)
def test_wrong_shapes_are_named(lib, layer, shape, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer(3)(lib.asarray(np.zeros(shape), "float32"))


@pytest.mark.parametrize("make", [nn.BatchNorm1d, nn.LayerNorm])
def test_other_dtypes_are_refused(lib, make):
    message = f"^{make.__name__}: the parameters have dtype .*float32, the input has .*float64; "
    with pytest.raises(TypeError, match=message + "convert the input with xp.astype, or give"):
        make(3)(lib.asarray(np.zeros((2, 3))))


def test_widths_are_positive():
    with pytest.raises(ValueError, match=r"^BatchNorm1d: num_features must be positive, got 0$"):
        nn.BatchNorm1d(0)
    for width in (0, (), (3, -1)):
        shown = (width,) if width == 0 else width
        message = f"LayerNorm: normalized_shape must be one or more positive lengths, got {shown}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            nn.LayerNorm(width)


def test_one_value_per_channel_is_enough_in_evaluation(lib):
    layer = nn.BatchNorm1d(2, eps=0.0, dtype="float64").eval()
    lib.close(layer(lib.asarray([[3.0, math.inf]])), [[3.0, math.inf]])


def test_reprs_show_settings_that_are_not_the_default():
    assert repr(nn.BatchNorm1d(2)) == "BatchNorm1d(2)  # weight (2,), bias (2,): 4 parameters"
    layer = nn.BatchNorm1d(2, eps=0.1, momentum=None, affine=False, track_running_stats=False)
    settings = "eps=0.1, momentum=None, affine=False, track_running_stats=False"
    assert repr(layer) == f"BatchNorm1d(2, {settings})"
    assert repr(nn.LayerNorm((2, 3), elementwise_affine=False)) == (
        "LayerNorm((2, 3), elementwise_affine=False)"
    )
    assert repr(nn.LayerNorm(2, bias=False)) == (
        "LayerNorm((2,), bias=False)  # weight (2,): 2 parameters"
    )
