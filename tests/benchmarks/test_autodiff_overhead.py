"""What the benchmark of overhead measures is what it says, and the memory is in bounds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "autodiff_overhead.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("autodiff_overhead", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_peak_memory_of_a_gradient(benchmark: Any) -> None:
    by_hand, ours = benchmark.memory()
    assert ours <= 1.1 * by_hand


def test_all_libraries_compute_the_same(benchmark: Any) -> None:
    calls = benchmark.steps()
    loss = calls.pop("NumPy, the value alone")()
    _, first = calls["xpnet, written out"]()
    for call in calls.values():
        value, gradients = call()
        value = value.detach() if hasattr(value, "detach") else value
        assert float(value) == pytest.approx(float(loss), rel=1e-5)
        for given, truth in zip(gradients, first, strict=True):
            np.testing.assert_allclose(np.asarray(given), truth, rtol=1e-4, atol=1e-6)


def test_operators_are_measured(benchmark: Any) -> None:
    measured = benchmark.operators(rounds=1)
    assert set(measured) == set(benchmark.OPERATIONS)
    assert all(bare > 0 for bare, _ in measured.values())
