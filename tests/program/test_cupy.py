"""What a GPU must show of compiled steps: graphs, products, and memory that stays private."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim, tree
from xpnet.backend import discover
from xpnet.namespace import is_array

pytestmark = pytest.mark.gpu


@pytest.fixture
def cp() -> Any:
    backend = discover()["cupy"]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    import cupy

    with xn.use_backend("cupy"):
        yield cupy


def mlp(width: int = 96) -> nn.Module:
    return nn.Sequential(nn.Linear(20, width), nn.ReLU(), nn.Linear(width, 10))


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(20, 96), nn.ReLU(), nn.Dropout(0.3), nn.Linear(96, 10))


def batch_norm() -> nn.Module:
    first = nn.Linear(20, 96, bias=False)
    return nn.Sequential(first, nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 10))


MODELS: dict[str, Callable[[], Any]] = {
    "mlp": mlp,
    "dropout": dropout,
    "batch norm": batch_norm,
}
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: optim.SGD(0.01, momentum=0.9),
    "Adam": lambda: optim.Adam(optim.schedules.Cosine(1e-3, steps=200)),
}


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return losses.cross_entropy(model(x), y)


def train(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def batches(cp: Any, count: int = 5, size: int = 64) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(count, size, 20)).astype(np.float32)
    return [(cp.asarray(x), cp.asarray(rng.integers(10, size=size))) for x in drawn]


def run(cp: Any, step: Any, model: Any, optimizer: Any, steps: int) -> Any:
    given = batches(cp)
    losses_ = [step(model, optimizer, *given[n % 5]) for n in range(steps)]
    return losses_, model.state_dict(), optimizer.state_dict()


def compare(actual: Any, expected: Any, rtol: float) -> None:
    for a, b in tree.pairs(actual, expected):
        if is_array(b):
            x, y = a.get(), b.get()
            np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * float(np.abs(y).max()))
        else:
            assert a == b


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS)
def test_two_hundred_steps_equal_plain_ones(cp: Any, make_model: Any, make_optimizer: Any) -> None:
    found = []
    step = xn.compile(train)
    for function in (train, step):
        xn.seed(0)
        found.append(run(cp, function, make_model(), make_optimizer(), 200))
    # Rounding differs, and grows over the steps.
    compare(found[1][0], found[0][0], 1e-3)
    compare(found[1][1], found[0][1], 1e-2)
    assert step.source.startswith("# launched as one graph\n")


def test_a_learning_rate_that_is_changed(cp: Any) -> None:
    step, model, optimizer = xn.compile(train), mlp(), optim.SGD(lambda n: 0.1 * (n % 2))
    [(x, y)] = batches(cp, 1)
    changed = []
    for _ in range(8):
        before = model[0].weight.copy()
        step(model, optimizer, x, y)
        changed.append(bool((model[0].weight != before).any()))
    assert changed in ([True, False] * 4, [False, True] * 4)


def test_masks_differ_between_launches(cp: Any) -> None:
    @xn.compile
    def step(drop: Any, x: Any) -> Any:
        return drop(x)

    drop, x = nn.Dropout(0.5), cp.ones((64, 64), dtype=cp.float32)
    masks = [step(drop, x).get() for _ in range(6)]
    assert len({mask.tobytes() for mask in masks}) == 6
    assert all(0.4 < (mask == 0).mean() < 0.6 for mask in masks)
    assert step.source.startswith("# launched as one graph\n")


def test_what_others_allocate_between_launches_changes_nothing(cp: Any) -> None:
    found = []
    for disturbed in (False, True):
        xn.seed(0)
        step, model, optimizer = xn.compile(train), dropout(), optim.Adam(1e-3)
        for n in range(30):
            step(model, optimizer, *batches(cp)[n % 5])
            if disturbed:
                for size in (1, 64, 1000, 6400, 100_000):
                    cp.full(size, cp.nan, dtype=cp.float32)
        found.append(model.state_dict())
    for a, b in tree.pairs(*found):
        assert a.tobytes() == b.tobytes()


def test_parameters_that_are_replaced(cp: Any) -> None:
    models, optimizers = [mlp(), mlp()], [optim.Adam(1e-3), optim.Adam(1e-3)]
    models[1].load_state_dict(models[0].state_dict())
    steps = [xn.compile(train), train]
    for n, (x, y) in enumerate(batches(cp, 8)):
        for model, optimizer, step in zip(models, optimizers, steps, strict=True):
            if n == 4:
                model[0].weight = cp.full_like(model[0].weight, 0.1)
            step(model, optimizer, x, y)
        compare(models[0].state_dict(), models[1].state_dict(), 1e-4)


def test_results_are_copies_also_on_another_stream(cp: Any) -> None:
    step = xn.compile(lambda x: (x, xn.array_namespace(x).exp(x), xn.array_namespace(x).sum(x)))
    streams = [cp.cuda.Stream(non_blocking=True), cp.cuda.Stream.null]
    kept = []
    for n in range(12):
        with streams[n % 2]:
            x = cp.full((512, 512), float(n % 4), dtype=cp.float32)
            kept.append((n, step(x)))
    cp.cuda.Device().synchronize()
    for n, (same, exps, total) in kept:
        assert bool((same == n % 4).all())
        np.testing.assert_allclose(exps.get(), np.exp(n % 4), rtol=1e-6)
        assert float(total) == 512 * 512 * (n % 4)


def test_what_cannot_be_captured_is_launched_one_by_one(cp: Any) -> None:
    step = xn.compile(lambda x: xn.array_namespace(x).linalg.cholesky(x) * 2)
    x = cp.eye(3, dtype=cp.float32) * 4
    for _ in range(4):
        np.testing.assert_allclose(step(x).get(), np.eye(3) * 4)
    assert step.source.startswith("# launched one by one: ")
    assert "Error" in step.source.splitlines()[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("epilogue", ["none", "bias", "bias and relu"])
def test_products_equal_those_of_the_host(cp: Any, dtype: str, epilogue: str) -> None:
    from xpnet_backends.cupy.products import WORKSPACE, Product

    rng = np.random.default_rng(0)
    workspace = cp.cuda.alloc(WORKSPACE)
    product = Product(dtype, epilogue != "none", epilogue == "bias and relu", workspace.ptr)
    for rows, inner, columns in ((1, 1, 1), (128, 784, 256), (33, 7, 5), (64, 10, 1)):
        x = rng.normal(size=(rows, inner)).astype(dtype)
        w = rng.normal(size=(inner, columns)).astype(dtype)
        bias = rng.normal(size=columns).astype(dtype)
        expected = x @ w + (bias if epilogue != "none" else 0)
        if epilogue == "bias and relu":
            expected = np.maximum(expected, 0)
        for lie_x in (np.ascontiguousarray, np.asfortranarray):
            for lie_w in (np.ascontiguousarray, np.asfortranarray):
                out = cp.full((rows, columns), cp.nan, dtype=dtype)
                given = [cp.asarray(lie_x(x), order="K"), cp.asarray(lie_w(w), order="K")]
                product(*given, *([cp.asarray(bias)] if epilogue != "none" else []), out)
                rtol = inner * float(np.finfo(dtype).eps)
                scale = float(np.abs(expected).max())
                np.testing.assert_allclose(out.get(), expected, rtol=rtol, atol=rtol * scale)


def test_nan_is_not_hidden(cp: Any) -> None:
    step = xn.compile(lambda layer, x: nn.functional.relu(layer(x)))
    layer, x = nn.Linear(16, 16), cp.full((16, 16), cp.nan, dtype=cp.float32)
    for _ in range(4):
        assert bool(cp.isnan(step(layer, x)).all())
