"""Exports of a model, and what onnxruntime makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn, tree
from xpnet.interop import onnx

onnxruntime = pytest.importorskip("onnxruntime")
BATCHES = (1, 7, 1000)
Check = Callable[..., Any]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Return what exports a model and compares it with onnxruntime, for batches of some sizes.

    The arguments are the model, or a function of arrays, and for each input a host array of the
    shape and dtype of one row, whose elements are random numbers below its largest one if it holds
    integers. It returns the names of the operators.
    """

    def run(model: Any, *rows: Any, example: int = 1, rtol: float = 1e-5, **options: Any) -> Any:
        model = model if isinstance(model, nn.Module) else _Function(model)
        inputs = tuple(_batch(np.asarray(row), example, seed=0) for row in rows)
        made = onnx.export(model, tmp_path / "model.onnx", inputs, **options)
        session = onnxruntime.InferenceSession(
            (tmp_path / "model.onnx").read_bytes(), providers=["CPUExecutionProvider"]
        )
        names = [each.name for each in session.get_inputs()]
        model.eval()
        for count in BATCHES:
            given = [_batch(np.asarray(row), count, seed=count) for row in rows]
            like = next((slot.array for slot in model.slots()), given[0])
            with np.errstate(all="ignore"):
                expected = model(*(xn.transfer.put_like(x, like) for x in given))
            found = session.run(None, dict(zip(names, given, strict=True)))
            for got, want in zip(found, map(xn.to_host, tree.leaves(expected)), strict=True):
                assert (got.dtype, got.shape) == (want.dtype, want.shape)
                finite = np.abs(want[np.isfinite(want)], dtype="float64")
                scale = float(np.max(finite, initial=0.0))
                np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * scale)
        return [node.op_type for node in made.graph.node]

    return run


class _Function(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, *inputs: Any) -> Any:
        return self.function(xn.array_namespace(*inputs), *inputs)


def _batch(row: np.ndarray, count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if row.dtype.kind == "f":
        return rng.normal(size=(count, *row.shape)).astype(row.dtype)
    high = int(np.max(row, initial=0)) + 1
    return rng.integers(0, high, size=(count, *row.shape)).astype(row.dtype)
