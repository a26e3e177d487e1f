"""Arrays of two libraries, or on two devices, that meet: one error, wherever it happens."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, optim
from xpnet.backend import discover
from xpnet.namespace import one_place

RNG = np.random.default_rng(4)
X = RNG.normal(size=(4, 3)).astype("float32")
HERE, THERE = "device1", "device2"
DEVICES = (
    rf": arrays on two devices: {HERE} and {THERE}; bring them to one device first, for example by "
    rf"xn\.asarray\(x\) under xn\.use_backend\('array_api_strict', '{HERE}'\)$"
)
LIBRARIES = "arrays of two libraries: .* and .*; bring them to one library first"


class Scale(nn.Module):
    """A layer of a user, who checks nothing."""

    def __init__(self) -> None:
        self.factor = nn.Parameter(xn.asarray(X[0]))

    def forward(self, x: Any) -> Any:
        return x * self.factor


class Deep(nn.Module):
    def __init__(self) -> None:
        self.shift = nn.Parameter(xn.asarray(X[0]))
        self.inner = [nn.Sequential(nn.ReLU(), Scale())]

    def forward(self, x: Any) -> Any:
        return self.inner[0](x)


LAYERS: dict[str, tuple[Callable[[], nn.Module], np.ndarray, str]] = {
    "Linear": (lambda: nn.Linear(3, 2), X, "Linear"),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3), X, "BatchNorm1d"),
    "BatchNorm1d, evaluating": (lambda: nn.BatchNorm1d(3, affine=False).eval(), X, "BatchNorm1d"),
    "LayerNorm": (lambda: nn.LayerNorm(3), X, "LayerNorm"),
    "Embedding": (lambda: nn.Embedding(5, 2), np.arange(4), "Embedding"),
    "a user's": (Scale, X, "Scale"),
    "nested": (Deep, X, "Scale"),
}
SCORES, LABELS, WEIGHTS = X, np.array([0, 2, 1, 1]), np.array([0.5, 1.0, 2.0], "float32")
LOSSES: dict[str, tuple[Callable[..., Any], list[np.ndarray], dict[str, np.ndarray]]] = {
    "cross_entropy": (losses.cross_entropy, [SCORES, LABELS], {}),
    "cross_entropy of probabilities": (losses.cross_entropy, [SCORES, np.abs(X)], {}),
    "class_weight": (losses.cross_entropy, [SCORES, LABELS], {"class_weight": WEIGHTS}),
    "sample_weight": (losses.cross_entropy, [SCORES, LABELS], {"sample_weight": X[:, 0]}),
    "nll_loss": (losses.nll_loss, [SCORES, LABELS], {}),
    "binary_cross_entropy": (losses.binary_cross_entropy, [SCORES, X], {}),
    "mse_loss": (losses.mse_loss, [SCORES, X], {}),
    "kl_div": (losses.kl_div, [SCORES, X], {}),
    "multiclass_hinge_loss": (losses.multiclass_hinge_loss, [SCORES, LABELS], {}),
    "accuracy": (lambda *args: metrics.Accuracy().update(*args), [SCORES, LABELS], {}),
}
ACCURACY = metrics.Accuracy()
MEETINGS: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "metrics": (lambda x, y: update(metrics.Recall(), x, y), "recall"),
    "confusion": (lambda x, y: update(metrics.ConfusionMatrix(), x, y), "confusion_matrix"),
    "batches": (lambda x, y: [update(ACCURACY, x, x), update(ACCURACY, y, y)], "Accuracy.update"),
    "Loader": (lambda x, y: xn.data.Loader((x, y)), "Loader"),
    "grad": (lambda x, y: xn.grad(product)(x, y), "grad of product"),
}


def product(x: Any, y: Any) -> Any:
    return xn.array_namespace(x, y).sum(x * y)


def update(metric: metrics.Metric, x: Any, y: Any) -> None:
    metric.update(x, y[:, 0] > 0)


@pytest.fixture
def put() -> Callable[[np.ndarray, str], Any]:
    """Return what puts an array on a pretended device."""
    strict = discover()["array_api_strict"]
    problem = strict.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    return lambda array, device: strict.from_host(array, device=strict.device(device))


@pytest.fixture
def other(lib: Any) -> Callable[[np.ndarray], Any]:
    """Return what makes an array of another library than `lib`."""
    names = ("array_api_strict", "torch") if lib.backend.name == "numpy" else ("numpy",)
    usable = [discover()[name] for name in names if discover()[name].unusable() is None]
    if not usable:
        pytest.skip("there is no other library")
    return lambda array: usable[0].from_host(array)


def made(build: Callable[[], nn.Module], device: str = HERE) -> nn.Module:
    with xn.use_backend("array_api_strict", device):
        return build()


@pytest.mark.parametrize("differentiated", [False, True], ids=["plain", "differentiated"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_devices(put: Any, name: str, differentiated: bool) -> None:
    build, x, where = LAYERS[name]
    model = made(build)

    def loss_fn(model: Any, x: Any) -> Any:
        y = model(x)
        return xn.array_namespace(y).sum(y)

    function = xn.value_and_grad(loss_fn) if differentiated else loss_fn
    function(model, put(x, HERE))
    before = model.parameters()
    with pytest.raises(xn.MixedArraysError, match=f"^{where}{DEVICES}") as caught:
        function(model, put(x, THERE))
    assert "device" in str(caught.value.__cause__)  # what the library says
    assert all(x is before[key] for key, x in model.parameters().items())


def test_parameters_on_two_devices(put: Any) -> None:
    model = made(lambda: nn.Linear(3, 2))
    model.bias = put(X[0, :2], THERE)
    with pytest.raises(xn.MixedArraysError, match=f"^Linear{DEVICES}"):
        model(put(X, HERE))


class FoundError(Exception):
    """What a user raises to leave a model early."""


@pytest.mark.parametrize("name", MEETINGS)
def test_others_say_where_two_libraries_have_met(lib: Any, other: Any, name: str) -> None:
    call, where = MEETINGS[name]
    ACCURACY.reset()
    with pytest.raises(xn.MixedArraysError, match=f"^{where}: {LIBRARIES}") as found:
        call(lib.asarray(X), other(X))
    assert found.value.where == where


@pytest.mark.parametrize("kind", [FoundError, KeyError, StopIteration])
def test_other_errors_are_left_alone(lib: Any, other: Any, kind: type[Exception]) -> None:
    """A layer may take arrays of two libraries, as long as it does not join them."""

    class Layer(Scale):
        def forward(self, x: Any, label: Any) -> Any:
            raise kind("found")

    with pytest.raises(kind, match="found"):
        Layer()(lib.asarray(X, "float32"), other(X))


@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_libraries(lib: Any, other: Any, name: str) -> None:
    build, x, where = LAYERS[name]
    if lib.name == "jax" and name in ("a user's", "nested"):
        pytest.skip("JAX takes arrays of NumPy as its own")
    with pytest.raises(xn.MixedArraysError, match=f"^{where}: {LIBRARIES}"):
        build()(other(x))


class Sum(nn.Module):
    """A layer without arrays of its own."""

    def forward(self, x: Any, y: Any) -> Any:
        return xn.array_namespace(x, y).add(x, y)


class Outer(nn.Module):
    def __init__(self) -> None:
        self.sum, self.linear = Sum(), nn.Linear(3, 2)

    def forward(self, x: Any, y: Any) -> Any:
        return self.linear(self.sum(x, y))


def test_layers_without_arrays_and_libraries(lib: Any, other: Any) -> None:
    for model in (Sum(), Outer()):
        with pytest.raises(xn.MixedArraysError, match=f"^Sum: {LIBRARIES}"):
            model(lib.asarray(X, "float32"), other(X))


def misplacements(
    name: str, here: Callable[[Any], Any], there: Callable[[Any], Any]
) -> list[tuple[Any, list[Any], dict[str, Any]]]:
    """Return the calls of a loss in which one of the arguments is elsewhere."""
    function, args, options = LOSSES[name]
    return [
        (
            function,
            [(there if i == wrong else here)(x) for i, x in enumerate(args)],
            {key: (there if key == wrong else here)(x) for key, x in options.items()},
        )
        for wrong in [1, *options]
    ]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_devices(put: Any, name: str) -> None:
    calls = misplacements(name, lambda x: put(x, HERE), lambda x: put(x, THERE))
    for function, (x, *rest), options in calls:
        with pytest.raises(xn.MixedArraysError, match=DEVICES):
            function(x, *rest, **options)
        with pytest.raises(xn.MixedArraysError, match=DEVICES):
            xn.grad(lambda x, f=function, r=rest, o=options: f(x, *r, **o))(x)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_libraries(lib: Any, other: Any, name: str) -> None:
    where = "" if name == "accuracy" else rf"^{LOSSES[name][0].__name__}: "
    for function, args, options in misplacements(name, lambda x: lib.asarray(x, x.dtype), other):
        with pytest.raises(xn.MixedArraysError, match=where + LIBRARIES):
            function(*args, **options)


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optim.SGD(0.1),
    "Adam": lambda: optim.Adam(0.1),
    "Clip": lambda: optim.Clip(optim.SGD(0.1), norm=1.0),
    "Accumulate": lambda: optim.Accumulate(optim.SGD(0.1), 2),
    "Average": lambda: optim.Average(optim.SGD(0.1)),
}
GRADS = {"weight": np.ones((2, 3), "float32"), "bias": np.ones(2, "float32")}


def bits(model: nn.Module, optimizer: Any) -> Any:
    state = {**model.state_dict(), **optimizer.state_dict()}
    return {k: xn.to_host(x).tobytes() if hasattr(x, "shape") else x for k, x in state.items()}


@pytest.mark.parametrize("updates", [0, 5])  # the last ones run as a program on some libraries
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(lib: Any, other: Any, put: Any, name: str, updates: int) -> None:
    model, optimizer = nn.Linear(3, 2), OPTIMIZERS[name]()
    for _ in range(updates):
        optimizer.update(model, {key: lib.asarray(x, "float32") for key, x in GRADS.items()})
    before = bits(model, optimizer)
    with pytest.raises(xn.MixedArraysError, match=LIBRARIES):
        optimizer.update(model, {key: other(x) for key, x in GRADS.items()})
    if lib.name == "array_api_strict":
        with pytest.raises(xn.MixedArraysError, match=DEVICES):
            optimizer.update(model, {key: put(x, THERE) for key, x in GRADS.items()})
    assert bits(model, optimizer) == before


def test_the_trainer_brings_data_to_the_model(put: Any) -> None:
    model = made(lambda: nn.Linear(3, 3))
    trainer = xn.Trainer(model, losses.cross_entropy, optim.SGD(0.1), metrics=["accuracy"])
    data = [(put(X, THERE), LABELS), (X, put(LABELS, "cpu"))]
    assert trainer.fit(data, epochs=2, verbose=0, validation_data=data)["loss"]

    elsewhere = put(WEIGHTS, THERE)

    def loss(logits: Any, targets: Any) -> Any:
        return losses.cross_entropy(logits, targets, class_weight=elsewhere)

    for compiled in (False, True):
        trainer = xn.Trainer(model, loss, optim.SGD(0.1), compile=compiled)
        with pytest.raises(xn.MixedArraysError, match=f"^cross_entropy{DEVICES}"):
            trainer.fit(data, epochs=1, verbose=0)


def test_compiled_functions(put: Any) -> None:
    model = made(lambda: nn.Linear(3, 3))
    forward = xn.compile(lambda model, x: model(x))
    for _ in range(2):
        forward(model, put(X, HERE))
        with pytest.raises(xn.MixedArraysError, match=f"^Linear{DEVICES}"):
            forward(model, put(X, THERE))


def test_the_cure_cures(put: Any) -> None:
    model, x = made(lambda: nn.Linear(3, 2)), put(X, THERE)
    with xn.use_backend("array_api_strict", HERE):
        assert model(xn.asarray(x)).device == model.weight.device


def test_another_error_stays_what_it_is(put: Any) -> None:
    """Also where a layer has brought arrays from one device to another."""

    class Moving(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(xn.asarray(X))

        def forward(self, x: Any) -> Any:
            raise RuntimeError(f"out of luck with {len(x)} things")

    with pytest.raises(RuntimeError, match="out of luck with 3 things"):
        made(Moving)([put(X, HERE), 1.0, None])
    with pytest.raises(ValueError, match="expected an input of shape"):
        made(lambda: nn.Linear(2, 2))(put(X, HERE))


@pytest.mark.parametrize("name", ["binary_cross_entropy", "mse_loss", "kl_div"])
def test_while_jax_records(name: str) -> None:
    """Its tracers have no device."""
    jax = pytest.importorskip("jax")
    function, args, _ = LOSSES[name]
    x, y = map(jax.numpy.asarray, args)
    expected = function(x, y)
    np.testing.assert_allclose(jax.jit(function)(x, y), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(lambda x: function(x, y))(x), expected, rtol=1e-6)


def test_devices_that_the_library_combines_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shard(np.ndarray):
        device = property(lambda self: self.place)

    a, b = np.ones((2, 2)).view(Shard), np.ones(3).view(Shard)
    a.place, b.place = "one", "two"
    xp = xn.array_namespace(a, b)
    assert one_place("here", a, b, b) is xp
