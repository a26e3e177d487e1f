"""``benchmarks/inference.py`` in a tiny form, as a user runs it."""

from __future__ import annotations

import numpy as np
import pytest

NAME = "inference"
TINY = ("--rounds", "1", "--seconds", "0.001")


def test_beside_other_libraries(program):
    for package in ("torch", "jax"):
        pytest.importorskip(package)
    names = ("xpnet", "xpnet-compiled", "xpnet-fast", "torch", "jax")
    printed, written = program(NAME)(*TINY, "--contestants", *names)
    assert "| PyTorch, no_grad " in printed
    assert set(written["batches"]) == {"1", "1000"}
    for found in written["batches"].values():
        assert tuple(found) == names
        assert found["torch"]["seconds"] > 0


def test_without_any_other_library(program, peers):
    printed, written = program(NAME).without(*peers)(*TINY)
    assert set(written["missing"]) == {"xpnet-fast", "torch", "jax", "onnxruntime"}
    assert "onnxruntime, exported by xpnet: left out, not installed: onnxruntime" in printed
    assert list(written["batches"]["1"]) == ["xpnet", "xpnet-compiled"]
    ours = next(line for line in printed.splitlines() if line.startswith("| xpnet "))
    assert ours.count(" - ") == 2  # no ratio to what is not there


@pytest.mark.parametrize(
    "name", ["xpnet", "xpnet-compiled", "xpnet-fast", "torch", "jax", "onnxruntime"]
)
def test_a_prediction_is_the_network_written_out(load, name):
    inference, network = load("inference"), load("network")
    problem = network.Problem.make(3, (8, 5), "SGD", batches=1)
    try:
        contestant = inference.CONTESTANTS[name](problem)
    except network.UnavailableError as error:
        pytest.skip(str(error))
    x = problem.batches[0][0]
    h = x.astype(np.float64)
    for layer, (weight, bias) in enumerate(problem.weights):
        h = (np.maximum(h, 0) if layer else h) @ weight.T + bias
    np.testing.assert_allclose(contestant.predict(contestant.place(x)), h, rtol=1e-4, atol=1e-5)
