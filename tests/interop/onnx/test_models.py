"""Each layer and models of several, on every library, for batches of any size."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, special

ROOT = Path(__file__).parents[3]
ROW = np.zeros(6, "float32")
PLANES = np.zeros((3, 4), "float32")
INDICES = np.full(5, 8, "int64")

# Name of the layer -> layers, a row of the batch, and the operators that are expected.
LAYERS: dict[str, list[tuple[Any, np.ndarray, list[str] | None]]] = {
    "BatchNorm1d": [
        (lambda: nn.BatchNorm1d(6), ROW, ["Sub", "Add", "Sqrt", "Div", "Mul", "Add"]),
        (lambda: nn.BatchNorm1d(3), PLANES, None),
        (lambda: nn.BatchNorm1d(None, affine=False), ROW, ["Sub", "Add", "Sqrt", "Div"]),
    ],
    "Dropout": [(lambda: nn.Dropout(0.9), ROW, ["Identity"])],
    "ELU": [(nn.ELU, ROW, ["Elu"]), (lambda: nn.ELU(0.7), PLANES, ["Elu"])],
    "Embedding": [
        (lambda: nn.Embedding(7, 4), INDICES, None),
        (lambda: nn.Embedding(9, 2, padding_idx=-1), np.full((2, 2), 8, "uint8"), None),
    ],
    "Flatten": [
        (nn.Flatten, PLANES, ["Reshape"]),
        (nn.Flatten, ROW, ["Identity"]),
        (lambda: nn.Flatten(0, 1), PLANES, ["Reshape"]),
    ],
    "GELU": [(nn.GELU, ROW, ["Gelu"]), (lambda: nn.GELU("tanh"), ROW, ["Gelu"])],
    "Hardtanh": [(nn.Hardtanh, ROW, ["Clip"])],
    "Identity": [(nn.Identity, ROW, ["Identity"])],
    "LayerNorm": [
        (lambda: nn.LayerNorm(6, eps=1e-3), ROW, ["LayerNormalization"]),
        (lambda: nn.LayerNorm((3, 4)), PLANES, ["LayerNormalization"]),
        (lambda: nn.LayerNorm(4, bias=False), PLANES, None),
        (lambda: nn.LayerNorm(6, elementwise_affine=False), ROW, None),
    ],
    "LeakyReLU": [
        (nn.LeakyReLU, ROW, ["LeakyRelu"]),
        (lambda: nn.LeakyReLU(0.3), PLANES, ["LeakyRelu"]),
    ],
    "Linear": [
        (lambda: nn.Linear(6, 3), ROW, ["Gemm"]),
        (lambda: nn.Linear(None, 1, bias=False), ROW, ["Gemm"]),
        (lambda: nn.Linear(4, 3), PLANES, ["Transpose", "MatMul", "Add"]),
    ],
    "LogSoftmax": [
        (nn.LogSoftmax, ROW, ["LogSoftmax"]),
        (lambda: nn.LogSoftmax(1), PLANES, ["LogSoftmax"]),
    ],
    "ReLU": [(nn.ReLU, ROW, ["Relu"])],
    "Rescale": [
        (nn.Rescale, np.full((2, 3), 255, "uint8"), ["Cast", "Div"]),
        (lambda: nn.Rescale(3.0, dtype="float64"), ROW, ["Div"]),
    ],
    "Sequential": [
        (lambda: nn.Sequential(nn.Linear(6, 3), nn.ReLU()), ROW, ["Gemm", "Relu"]),
        (lambda: nn.Sequential(nn.Linear(6, 3), abs), ROW, ["Gemm", "Abs"]),
    ],
    "SiLU": [(nn.SiLU, ROW, ["Sigmoid", "Max", "Mul"])],
    "Sigmoid": [(nn.Sigmoid, ROW, ["Sigmoid"])],
    "Softmax": [
        (nn.Softmax, ROW, ["Softmax"]),
        (lambda: nn.Softmax(axis=1), PLANES, ["Softmax"]),
        (lambda: nn.Softmax(axis=0), ROW, ["Softmax"]),
    ],
    "Softplus": [
        (nn.Softplus, ROW, ["Softplus"]),
        (lambda: nn.Softplus(2.0), ROW, ["Mul", "Softplus", "Div"]),
    ],
    "Tanh": [(nn.Tanh, ROW, ["Tanh"])],
}
BASES = {"Module", "Parameter", "Buffer"}


def _cases() -> list[Any]:
    return [
        pytest.param(*case, id=f"{name}-{n}")
        for name, cases in LAYERS.items()
        for n, case in enumerate(cases)
    ]


@pytest.mark.parametrize(("make", "row", "operators"), _cases())
def test_a_layer(check: Any, make: Any, row: np.ndarray, operators: list[str] | None) -> None:
    layer = make()
    train(layer, row)
    found = check(layer, row)
    assert operators is None or found == operators


@pytest.mark.parametrize(("make", "row", "operators"), _cases())
def test_a_layer_in_double_precision(
    check: Any, make: Any, row: np.ndarray, operators: list[str] | None
) -> None:
    """Whose activations are written out where no runtime has them in float64."""
    if row.dtype != "float32":
        pytest.skip("integers are tested once")
    layer = make()
    train(layer, row)
    for _, module in layer.modules():
        for slot in module.own_slots():
            if slot.array.dtype == "float32":
                slot.put(slot.array.astype("float64"))
    check(layer, row.astype("float64"), rtol=1e-12)


def train(layer: nn.Module, row: np.ndarray) -> None:
    """Let statistics and parameters be other ones than at the start."""
    rng = np.random.default_rng(0)
    if row.dtype == "float32":
        layer(3 + 2 * rng.normal(size=(9, *row.shape)).astype("float32"))
    for slot in layer.slots():
        if slot.role != "buffer":
            slot.array[...] += rng.normal(size=slot.array.shape)


def test_each_layer_has_a_case() -> None:
    layers = {name for name in nn.__all__ if inspect.isclass(getattr(nn, name))}
    assert layers - BASES == set(LAYERS)


class Attention(nn.Module):
    """A layer as users write them, with products of stacks of matrices."""

    def __init__(self, width: int, heads: int) -> None:
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.position = nn.Parameter(xn.asarray(np.ones((8, width)), dtype="float32"))

    def forward(self, x: Any) -> Any:
        xp = xn.array_namespace(x)
        n, length, width = x.shape
        x = x + self.position[:length, :]

        def split(y: Any) -> Any:
            y = xp.reshape(y, (n, length, self.heads, width // self.heads))
            return xp.permute_dims(y, (0, 2, 1, 3))

        q, k, v = (split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = q @ xp.matrix_transpose(k) / (width // self.heads) ** 0.5
        later = xp.triu(xp.ones((length, length), dtype=xp.bool, device=x.device), k=1)
        weights = special.softmax(xp.where(later, -xp.inf, scores), axis=-1)
        y = xp.permute_dims(weights @ v, (0, 2, 1, 3))
        return xp.reshape(y, (n, length, width))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        self.norm = nn.BatchNorm1d(width)
        self.inner = nn.Sequential(nn.Linear(width, 8), nn.GELU(), nn.Linear(8, width))
        self.scale = nn.Parameter(xn.asarray([0.5], dtype="float32"))

    def forward(self, x: Any) -> Any:
        xp = xn.array_namespace(x)
        y = x + self.scale * self.inner(self.norm(x))
        y = xp.concat([y, y[:, 1:] * y[:, :-1]], axis=1)
        pooled = special.logsumexp(y, axis=1, keepdims=True)
        return xp.where(y > pooled / 4, y, -xp.ones_like(y))


MODELS = {
    "mlp": (
        lambda: nn.Sequential(
            *(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(16, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 3), nn.Softmax()),
        ),
        ROW,
    ),
    "residual": (lambda: nn.Sequential(Residual(6), nn.Linear(11, 2)), ROW),
    "attention": (lambda: nn.Sequential(Attention(4, 2), nn.Flatten()), PLANES),
    "words": (
        lambda: nn.Sequential(nn.Embedding(9, 4, padding_idx=0), nn.Flatten(), nn.Linear(20, 2)),
        INDICES,
    ),
    "bytes": (lambda: nn.Sequential(nn.Rescale(), nn.Linear(6, 2)), np.full(6, 255, "uint8")),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model(check: Any, name: str) -> None:
    make, row = MODELS[name]
    check(make(), row, example=3)


@pytest.mark.parametrize("name", ["words", "mlp"])
def test_a_model_on_every_library(lib: Any, check: Any, name: str) -> None:
    make, row = MODELS[name]
    check(make(), row)


def test_a_model_that_computes_a_gradient(check: Any) -> None:
    """Recording sees the calls of the backward pass like any others."""

    def energy(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(nn.silu(x) * x[:, ::-1])

    check(lambda xp, x: xn.grad(energy)(x), ROW)
    check(lambda xp, x: xn.compile(nn.gelu)(x), ROW)


def test_the_network_of_the_example(check: Any) -> None:
    spec = importlib.util.spec_from_file_location("mnist", ROOT / "examples" / "mnist.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        spec.loader.exec_module(example)
    found = check(example.make_model([784, 256, 128, 10]), np.full(784, 255, "uint8"))
    assert found == ["Cast", "Div", "Gemm", "Relu", "Gemm", "Relu", "Gemm"]


def test_the_activations_keep_their_digits(tmp_path: Path, check: Any) -> None:
    """Also those that an operator has taken the place of, at the ends of the numbers."""
    onnxruntime = pytest.importorskip("onnxruntime")
    x = np.asarray([[-1e4, -88.0, -20.0, -1e-4, 0.0, 1e-4, 20.0, 88.0, 1e4]], "float32")
    for kind in (nn.ELU, nn.GELU, nn.LogSoftmax, nn.SiLU, nn.Sigmoid, nn.Softmax, nn.Softplus):
        xn.interop.onnx.export(kind(), tmp_path / "x.onnx", x)
        session = onnxruntime.InferenceSession(tmp_path / "x.onnx")
        (found,) = session.run(None, {"input": x})
        np.testing.assert_allclose(found, kind()(x), rtol=1e-5, atol=1e-7)
