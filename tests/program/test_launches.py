"""The engine of CuPy on an emulated device: planned launches, graphs, and state in place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim, tree
from xpnet.backend import discover
from xpnet.namespace import is_array

engine = pytest.importorskip("xpnet_backends.cupy.engine")

SIZES = (6, 40, 5)
BATCH = 24


@pytest.fixture
def launched(device: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let NumPy's arrays be those of the emulated device."""
    numpy = type(discover()["numpy"])
    monkeypatch.setattr(
        numpy, "engine", lambda self, program: engine.print_launched(program, device)
    )
    monkeypatch.setattr(numpy, "replay_after", lambda self, integers: None)  # as on CuPy
    return device


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(*SIZES[:2]), nn.ReLU(), nn.Linear(*SIZES[1:]))


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(*SIZES[:2]), nn.Dropout(0.3), nn.Linear(*SIZES[1:]))


def batch_norm() -> nn.Module:
    norm = nn.BatchNorm1d(SIZES[1])  # of a bias before it the gradient is nothing but rounding
    return nn.Sequential(nn.Linear(*SIZES[:2], bias=False), norm, nn.ReLU(), nn.Linear(*SIZES[1:]))


def layer_norm() -> nn.Module:
    norm = nn.LayerNorm(SIZES[1])
    return nn.Sequential(nn.Linear(*SIZES[:2]), norm, nn.GELU(), nn.Linear(*SIZES[1:]))


MODELS = {"mlp": mlp, "dropout": dropout, "batch norm": batch_norm, "layer norm": layer_norm}
OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "SGD": lambda: optim.SGD(0.05, momentum=0.9),
    "Adam": lambda: optim.Adam(0.01),
    "a schedule": lambda: optim.AdamW(lambda step: 0.01 / (1 + step), weight_decay=0.1),
    "clipped": lambda: optim.Clip(optim.SGD(0.05), norm=0.5),
}


def loss_fn(model: Any, x: Any, y: Any) -> Any:
    return losses.cross_entropy(model(x), y)


def train(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def batches(count: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(count, BATCH, SIZES[0])).astype(np.float32)
    return [(x, rng.integers(SIZES[-1], size=BATCH)) for x in drawn]


def run(step: Any, model: Any, optimizer: Any, steps: int) -> tuple[Any, Any]:
    given = batches(5)
    found = [step(model, optimizer, *given[n % 5]) for n in range(steps)]
    return found, (model.state_dict(), optimizer.state_dict())


def compare(actual: Any, expected: Any, rtol: float = 2e-4) -> None:
    """Compare trees; rounding differs, and grows as training goes on."""
    for a, b in tree.pairs(actual, expected):
        if is_array(b):
            scale = float(np.max(np.abs(b), initial=0))
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)
        else:
            assert a == b


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("make_model", MODELS.values(), ids=MODELS)
def test_graphs_equal_plain_steps(launched: Any, make_model: Any, make_optimizer: Any) -> None:
    found = []
    for step in (train, xn.compile(train)):
        xn.seed(0)
        found.append(run(step, make_model(), make_optimizer(), 8))
    compare(found[1], found[0])
    assert launched.graphs == 1
    assert launched.launches == 7  # and a first run one by one
    assert step.source.startswith("# launched as one graph\ndef step(")


def test_two_hundred_launches_equal_plain_steps(launched: Any) -> None:
    found = []
    for step in (train, xn.compile(train)):
        xn.seed(0)
        found.append(run(step, dropout(), optim.Adam(1e-3), 200))
    compare(found[1], found[0], 1e-3)
    assert launched.launches == 199


def test_all_of_a_classifier_is_kernels_and_products(launched: Any) -> None:
    step = xn.compile(train)
    run(step, mlp(), optim.Adam(0.01), 2)
    lines = step.source.splitlines()[2:-1]
    views = [line for line in lines if "transpose(" in line or "xp.reshape(" in line]
    launches = [line for line in lines if line.strip().startswith(("kernel", "product"))]
    assert len(launches) + len(views) == len(lines)
    assert sum("product" in line for line in launches) == 5


def test_a_capture_that_fails_is_shown_and_not_tried_again(launched: Any) -> None:
    launched.refuses = "not here"
    step = xn.compile(train)
    found = run(step, mlp(), optim.SGD(0.1), 1)
    model, optimizer = mlp(), optim.SGD(0.1)
    xn.seed(0)
    found = run(step, model, optimizer, 5)
    assert step.source.startswith("# launched one by one: RuntimeError: not here\n")
    launched.refuses = ""
    run(step, model, optimizer, 2)
    assert launched.graphs == 0
    assert found


def test_numbers_that_no_kernel_takes_are_a_reason(launched: Any) -> None:
    from xpnet.program.host import host

    count = iter(range(1, 100))

    def step(x: Any) -> Any:
        return xn.array_namespace(x).cumulative_sum(x) ** host(lambda: next(count) + 0.5)

    compiled = xn.compile(step)
    x = np.ones(3, np.float32)
    results = [compiled(x)[1] for _ in range(4)]
    np.testing.assert_allclose(results, [2 ** (n + 0.5) for n in range(1, 5)], rtol=1e-6)
    assert "pow takes a number that changes" in compiled.source.splitlines()[0]


@pytest.mark.parametrize(("wrong", "runs"), [(300, 1), (-1, 3)])
def test_integers_that_do_not_fit_are_refused_before_anything_changes(
    launched: Any, wrong: int, runs: int
) -> None:
    from xpnet.program.host import host

    given = iter([*[3, 255, 4][:runs], wrong])

    def step(layer: Any, x: Any) -> Any:
        layer.weight = layer.weight * 2.0 + 1.0
        return (x + host(lambda: next(given))) * 2

    layer, x = nn.Linear(2, 2), np.arange(4, dtype=np.uint8)
    compiled = xn.compile(step)
    for number in (3, 255, 4)[:runs]:
        np.testing.assert_array_equal(compiled(layer, x), (x + np.uint8(number)) * 2)
    before = np.array(layer.weight)
    with pytest.raises(OverflowError, match="out of bounds for uint8"):
        compiled(layer, x)
    np.testing.assert_array_equal(layer.weight, before)


def test_parameters_that_are_replaced(launched: Any) -> None:
    step, plain = xn.compile(train), train
    models = [mlp(), mlp()]
    models[1].load_state_dict(models[0].state_dict())
    optimizers = [optim.Adam(0.01), optim.Adam(0.01)]
    given = batches(6)
    for n, (x, y) in enumerate(given):
        for model, optimizer, function in zip(models, optimizers, (step, plain), strict=True):
            if n == 4:
                model[0].weight = np.full_like(model[0].weight, 0.1)
                model[2].bias = model[2].bias * 0
            loss = function(model, optimizer, x, y)
        compare(models[0].state_dict(), models[1].state_dict())
    assert launched.graphs == 2
    assert np.isfinite(loss)


def test_results_are_copies_and_inputs_are_left_alone(launched: Any) -> None:
    def step(model: Any, x: Any) -> Any:
        model.weight = model.weight * 0.5
        return x, model.weight, model.weight * 2, xn.array_namespace(x).sum(x)

    class Model(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(np.ones((2, 3), np.float32))

    compiled, model = xn.compile(step), Model()
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    results = [compiled(model, x + n) for n in range(4)]
    for n, (same, weight, before, total) in enumerate(results):
        np.testing.assert_array_equal(same, x + n)
        np.testing.assert_array_equal(weight, np.full((2, 3), 0.5 ** (n + 1)))
        np.testing.assert_array_equal(before, np.full((2, 3), 0.5**n))
        assert total == x.sum() + 6 * n
        same[:] = before[:] = weight[:] = 99
    np.testing.assert_array_equal(model.weight, np.full((2, 3), 0.5**4))


def test_inputs_that_lie_otherwise_in_memory(launched: Any) -> None:
    def step(x: Any, y: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.exp(x) + y, x.T @ y, xp.sum(x, axis=0)

    x, y = np.random.default_rng(0).normal(size=(2, 6, 5)).astype(np.float32)
    plain = step(x, y)
    lies = (np.asfortranarray, lambda a: a, lambda a: np.repeat(a, 2, 1)[:, ::2])
    for first in (*lies, lambda a: a[::-1, ::-1].copy()[::-1, ::-1]):
        compiled = xn.compile(step)
        compiled(first(x), y)
        for lie in (*lies, *lies):
            compare(compiled(lie(x), lie(y)), plain, 1e-6)
    overlapping = np.broadcast_to(x[0], (6, 5))
    compiled = xn.compile(step)
    for _ in range(3):
        compare(compiled(overlapping, y), step(overlapping, y), 1e-6)
    reason = "ValueError: an input of shape (6, 5) is broadcast; copy it"
    assert compiled.source.startswith(f"# called one by one: {reason}\ndef step(")


def test_a_relu_that_hides_nan_is_no_epilogue(launched: Any) -> None:
    layer = nn.Linear(3, 4)
    x = np.array([[1.0, np.nan, 2.0]], np.float32)

    def step(layer: Any, x: Any) -> Any:
        return nn.functional.relu(layer(x))

    for keeps, count in ((True, 0), (False, 1)):
        launched.keeps_nan = keeps
        compiled = xn.compile(step)
        for _ in range(3):
            assert np.isnan(compiled(layer, x)).all()
        assert compiled.source.count("kernel") == count
        assert compiled.source.count("product(") == 1
