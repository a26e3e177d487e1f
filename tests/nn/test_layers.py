"""Layers compute what PyTorch's do, gradients too, and draw the same numbers on every library."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.optim import SGD

X = np.random.default_rng(1).normal(size=(5, 4))
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    "ReLU": (nn.ReLU, lambda t: t.ReLU()),
    "Tanh": (nn.Tanh, lambda t: t.Tanh()),
    "Sigmoid": (nn.Sigmoid, lambda t: t.Sigmoid()),
    "Softmax": (nn.Softmax, lambda t: t.Softmax(-1)),
    "Softmax axis": (lambda: nn.Softmax(axis=0), lambda t: t.Softmax(0)),
    "LogSoftmax": (nn.LogSoftmax, lambda t: t.LogSoftmax(-1)),
    "LogSoftmax axis": (lambda: nn.LogSoftmax(axis=0), lambda t: t.LogSoftmax(0)),
    "Flatten": (lambda: nn.Flatten(0), lambda t: t.Flatten(0)),
    "Linear": (
        lambda: nn.Linear(4, 2, dtype="float64"),
        lambda t: t.Linear(4, 2).double(),
    ),
    "Linear without bias": (
        lambda: nn.Linear(4, 2, bias=False, dtype="float64"),
        lambda t: t.Linear(4, 2, bias=False).double(),
    ),
    "Dropout": (lambda: nn.Dropout().eval(), lambda t: t.Dropout().eval()),
    "Sequential": (
        lambda: nn.Sequential(
            nn.Linear(4, 4, dtype="float64"), nn.Tanh(), nn.Linear(4, 2, dtype="float64")
        ),
        lambda t: t.Sequential(t.Linear(4, 4).double(), t.Tanh(), t.Linear(4, 2).double()),
    ),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture
def words() -> Callable[..., np.ndarray]:
    """Return a function that gives the words of one draw, from JAX's Threefry."""
    threefry = pytest.importorskip("jax.extend.random").threefry_2x32

    def function(seed: int, draw: int, n: int) -> np.ndarray:
        block = np.arange((n + 1) // 2, dtype="uint32")
        counter = np.concatenate([block, np.full_like(block, draw)])
        return np.asarray(threefry(np.asarray([seed, 0], "uint32"), counter))[:n]

    return function


def loss(layer: Any, x: Any, cotangent: Any) -> Any:
    y = layer(x)
    return xn.array_namespace(y).sum(y * cotangent)


@every_layer
def test_values_gradients_and_an_update_equal_those_of_torch(lib, torch, name, rng):
    make, make_theirs = LAYERS[name]
    layer, theirs = make(), make_theirs(torch.nn)
    start = {key: 0.3 * rng.normal(size=tuple(a.shape)) for key, a in theirs.state_dict().items()}
    theirs.load_state_dict({key: torch.tensor(array) for key, array in start.items()})
    layer.load_state_dict(start)
    leaf = torch.tensor(X, requires_grad=True)
    expected = theirs(leaf)
    cotangent = rng.normal(size=tuple(expected.shape))
    expected.backward(torch.tensor(cotangent))
    x, weight = lib.asarray(X), lib.asarray(cotangent)
    with lib.guard():
        value = layer(x)
        of_layer, of_input = xn.grad(loss, argnums=(0, 1))(layer, x, weight)
        if of_layer:
            SGD(0.5).update(layer, of_layer)
    lib.close(value, expected.detach())
    lib.close(of_input, leaf.grad)
    grads = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    assert list(of_layer) == list(grads)
    for key, grad in grads.items():
        lib.close(of_layer[key], grad)
        lib.close(layer.parameters()[key], start[key] - 0.5 * grad.numpy())


@every_layer
def test_gradients_equal_central_differences(name, rng):
    layer, h = LAYERS[name][0](), 1e-5
    cotangent = rng.normal(size=layer(X).shape)
    of_layer, of_input = xn.grad(loss, argnums=(0, 1))(layer, X, cotangent)
    state = layer.state_dict()
    slopes = {"": rng.normal(size=X.shape)}
    slopes |= {key: rng.normal(size=array.shape) for key, array in state.items()}
    values = []
    for step in (h, -h):
        layer.load_state_dict({key: array + step * slopes[key] for key, array in state.items()})
        values.append(loss(layer, X + step * slopes[""], cotangent))
    along = sum(np.sum(slopes[key] * grad) for key, grad in {"": of_input, **of_layer}.items())
    assert along == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-7)


@pytest.mark.parametrize("make", [nn.ReLU, nn.Dropout, lambda: nn.Linear(4, 2)])
def test_float32_stays_float32(lib, make):
    layer, x = make(), lib.asarray(X, "float32")
    assert layer(x).dtype == lib.xp.float32
    of_layer, of_input = xn.grad(loss, argnums=(0, 1))(layer, x, 1.0)
    for grad in (of_input, *of_layer.values()):
        assert grad.dtype == lib.xp.float32


# Activations


def test_relu_is_zero_and_flat_at_zero_and_below(lib):
    x = lib.asarray([-math.inf, -1, -0.0, 0, 1e-300, 2, math.inf])
    lib.close(nn.relu(x), [0, 0, 0, 0, 1e-300, 2, math.inf], atol=0)
    slope = xn.grad(lambda x: xn.array_namespace(x).sum(nn.relu(x)[:-1]))(x)
    lib.close(slope, [0, 0, 0, 0, 1, 1, 0], atol=0)


def test_relu_passes_nan_on(lib):
    lib.close(nn.relu(lib.asarray([math.nan, 1])), [math.nan, 1])


# Linear


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (2, 1, 4, 3), (0, 3)])
def test_linear_maps_the_last_axis(lib, torch, shape, rng):
    layer = nn.Linear(3, 2, dtype="float64")
    x = rng.normal(size=shape)
    weight, bias = (torch.tensor(lib.to_host(array)) for array in (layer.weight, layer.bias))
    lib.close(layer(lib.asarray(x)), torch.nn.functional.linear(torch.tensor(x), weight, bias))


@pytest.mark.parametrize("shape", [(), (2,), (3, 4), (3, 1)])
def test_linear_names_a_wrong_last_axis(lib, shape):
    message = f"Linear: expected an input of shape (..., 3), got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nn.Linear(3, 2)(lib.asarray(np.zeros(shape), "float32"))


@pytest.mark.parametrize("dtype", ["float64", "int64"])
def test_linear_converts_nothing(lib, dtype):
    x, layer = lib.asarray(np.zeros((1, 3)), dtype), nn.Linear(3, 2)
    message = (
        f"Linear: the parameters have dtype {layer.weight.dtype}, the input has {x.dtype}; "
        "convert the input with xp.astype, or give the layer dtype="
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        layer(x)


@pytest.mark.parametrize(("inputs", "outputs"), [(0, 2), (3, 0), (-1, 2)])
def test_linear_needs_positive_widths(inputs, outputs):
    message = "Linear: in_features and out_features must be positive, got "
    with pytest.raises(ValueError, match=f"^{message}{inputs} and {outputs}$"):
        nn.Linear(inputs, outputs)


def test_linear_without_bias_has_none():
    layer = nn.Linear(3, 2, bias=False)
    assert layer.bias is None
    assert list(layer.parameters()) == ["weight"]


def test_initial_weights_are_equal_on_every_library(lib, words):
    xn.seed(11)
    layer = nn.Linear(5, 4)
    bound = 1 / math.sqrt(5)
    for draw, array in enumerate((layer.weight, layer.bias)):
        assert array.dtype == lib.xp.float32
        unit = (words(11, draw, math.prod(array.shape)) >> 8).astype("float32") / np.float32(2**24)
        expected = unit.reshape(array.shape) * np.float32(2 * bound) + np.float32(-bound)
        np.testing.assert_array_equal(lib.to_host(array), expected, strict=True)


def test_initial_weights_of_float64_are_equal_on_every_library(lib, words):
    layer = nn.Linear(5, 4, rng=xn.Generator(12), dtype="float64")
    bound = 1 / math.sqrt(5)
    for draw, array in enumerate((layer.weight, layer.bias)):
        assert array.dtype == lib.xp.float64
        high, low = words(12, draw, 2 * math.prod(array.shape)).reshape(2, -1).astype("uint64")
        unit = ((high >> 5) * 2**26 + (low >> 6)) / 2.0**53
        expected = unit.reshape(array.shape) * (2 * bound) - bound
        np.testing.assert_array_equal(lib.to_host(array), expected, strict=True)


def test_initial_weights_are_distributed_as_those_of_torch(torch):
    torch.manual_seed(0)
    bound, n = 1 / math.sqrt(100), 100 * 2000
    ours, theirs = nn.Linear(100, 2000), torch.nn.Linear(100, 2000)
    for weights in (ours.weight, theirs.weight.detach().numpy()):
        assert abs(weights).max() <= bound
        # A bound that none of n numbers exceeds is missed by less than 20 / n of its width.
        assert weights.max() - weights.min() > 2 * bound * (1 - 20 / n)
        for power, moment in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
            spread = math.sqrt(1 / (2 * power + 1) - moment**2) / math.sqrt(n)
            assert np.mean((weights / bound) ** power) == pytest.approx(moment, abs=4 * spread)
    for biases in (ours.bias, theirs.bias.detach().numpy()):
        assert 0.95 * bound < abs(biases).max() <= bound


def test_fan_in_uniform_is_what_linear_draws(lib):
    array = nn.init.fan_in_uniform((4, 5), 5, rng=xn.Generator(1), device=lib.device)
    layer = nn.Linear(5, 4, rng=xn.Generator(1), device=lib.device)
    np.testing.assert_array_equal(lib.to_host(array), lib.to_host(layer.weight), strict=True)


# Dropout


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropout_masks_are_equal_on_every_library(lib, words, p, rng):
    layer = nn.Dropout(p, rng=xn.Generator(13))
    x = rng.normal(size=(6, 50))
    for draw in range(2):
        kept = ((words(13, draw, 300) ^ 2**31) < round((1 - p) * 2**32)).reshape(6, 50)
        y = layer(lib.asarray(x))
        np.testing.assert_array_equal(lib.to_host(y) != 0, kept)
        lib.close(y, np.where(kept, x / (1 - p), 0), 1e-15)


def test_dropout_keeps_as_many_as_asked_and_scales_them():
    y = nn.Dropout(0.2)(np.ones((200, 500)))
    assert set(np.unique(y).tolist()) == {0.0, 1 / 0.8}
    assert np.mean(y > 0) == pytest.approx(0.8, abs=4 * math.sqrt(0.8 * 0.2 / y.size))


def test_dropout_masks_follow_the_seed_and_differ_between_calls(lib):
    layer, x = nn.Dropout(), lib.asarray(np.ones((8, 8)))
    runs = []
    for _ in range(2):
        xn.seed(1)
        runs.append([lib.to_host(layer(x)) for _ in range(2)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][0] != runs[0][1]).any()
    xn.seed(2)
    assert (lib.to_host(layer(x)) != runs[0][0]).any()


def test_the_gradient_of_dropout_is_its_mask(lib):
    layer, x = nn.Dropout(0.25, rng=xn.Generator(0)), lib.asarray(np.ones((4, 5)))
    with lib.guard():
        gradient, y = xn.grad(
            lambda x: (xn.array_namespace(x).sum(y := layer(x)), y), has_aux=True
        )(x)
    y = lib.to_host(y)
    assert 0 < np.sum(y == 0) < 20
    np.testing.assert_array_equal(lib.to_host(gradient), y)


def test_dropout_of_none_and_of_all(lib):
    x = lib.asarray([math.inf, 2])
    rng = xn.Generator(0)
    assert nn.Dropout(0, rng=rng)(x) is x
    lib.close(nn.Dropout(1, rng=rng)(x), [0, 0])
    everything = xn.grad(lambda x: xn.array_namespace(x).sum(nn.Dropout(1.0)(x)))
    lib.close(everything(x), [0, 0])
    assert rng.draws == 0


def test_dropout_drops_what_is_infinite(lib):
    y = lib.to_host(nn.Dropout(0.5)(lib.asarray(np.full((64,), math.inf))))
    assert set(y.tolist()) == {0.0, math.inf}


def test_dropout_in_evaluation_is_the_input_itself(lib):
    x, rng = lib.asarray(X), xn.Generator(0)
    layer = nn.Dropout(0.5, rng=rng).eval()
    assert layer(x) is x
    assert rng.draws == 0
    assert layer.train()(x) is not x


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_dropout_takes_a_probability(p):
    message = re.escape(f"Dropout: p must be a probability in [0, 1], got {p}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        nn.Dropout(p)


# Flatten


@pytest.mark.parametrize("axes", [(), (0,), (2,), (-2,), (0, 1), (1, 2), (-3, -2), (1, 1)])
def test_flatten_joins_the_axes_that_torch_joins(lib, torch, axes):
    x = np.arange(120.0).reshape(2, 3, 4, 5)
    expected = torch.nn.Flatten(*axes)(torch.tensor(x)).numpy()
    np.testing.assert_array_equal(lib.to_host(nn.Flatten(*axes)(lib.asarray(x))), expected)


@pytest.mark.parametrize("shape", [(0, 3, 4), (5, 0, 2)])
def test_flatten_takes_empty_arrays(lib, torch, shape):
    expected = torch.nn.Flatten()(torch.zeros(shape)).shape
    assert tuple(nn.Flatten()(lib.asarray(np.zeros(shape))).shape) == tuple(expected)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [((), (3,)), ((0,), ()), ((2, 1), (2, 3, 4)), ((0, 3), (2, 3)), ((-3,), (2, 3))],
)
def test_flatten_names_axes_that_are_not_there(lib, axes, shape):
    start, end = (*axes, *(1, -1)[len(axes) :])
    message = f"Flatten: axes {start} to {end} are not in an input of shape {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        nn.Flatten(*axes)(lib.asarray(np.zeros(shape)))


def test_reprs_show_settings_that_are_not_the_default():
    assert repr(nn.Flatten()) == "Flatten()"
    assert repr(nn.Flatten(0, 2)) == "Flatten(0, 2)"
    assert repr(nn.Softmax(axis=1)) == "Softmax(axis=1)"
    assert repr(nn.LogSoftmax()) == "LogSoftmax(axis=-1)"
    assert repr(nn.Dropout(0.1)) == "Dropout(p=0.1)"
    assert [repr(layer()) for layer in (nn.ReLU, nn.Tanh, nn.Sigmoid)] == [
        "ReLU()",
        "Tanh()",
        "Sigmoid()",
    ]


# Sequential


def test_sequential_applies_modules_and_functions_in_order(lib):
    model = nn.Sequential(lambda x: x + 1, nn.ReLU(), lambda x: 2 * x)
    lib.close(model(lib.asarray([-3, 0, 1])), [0, 2, 4])
    assert len(model) == 3
    assert isinstance(model[1], nn.ReLU)
    assert model[-1](3) == 6
    assert [name for name, _ in model.children()] == ["1"]
    lib.close(xn.grad(lambda x: xn.array_namespace(x).sum(model(x)))(lib.asarray([-3, 1])), [0, 2])


def test_an_empty_sequential_returns_its_input(lib):
    x = lib.asarray(X)
    assert nn.Sequential()(x) is x


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((nn.ReLU(), 3), "Sequential: layer 1 is a int, which cannot be called"),
        (
            ([nn.ReLU()],),
            "Sequential: layer 0 is a list, which cannot be called; write Sequential(*layers)",
        ),
        ((None,), "Sequential: layer 0 is a NoneType, which cannot be called"),
    ],
)
def test_sequential_names_what_cannot_be_called(layers, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        nn.Sequential(*layers)
