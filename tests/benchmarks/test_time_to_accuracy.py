"""``benchmarks/time_to_accuracy.py`` on the digits, as a user runs it."""

from __future__ import annotations

import pytest

NAME = "time_to_accuracy"
DIGITS = ("--dataset", "digits", "--epochs", "3", "--targets", "0.5", "1.0")


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_beside_pytorch(program, schedule):
    for package in ("sklearn", "torch"):
        pytest.importorskip(package)
    printed, written = program(NAME)(*DIGITS, "--schedule", schedule)
    assert "| xpnet, compiled " in printed
    names = ["xpnet", "xpnet-compiled", "xpnet-fast", "torch", "torch-fused"]
    assert list(written["contestants"]) == names
    for found in written["contestants"].values():
        assert found["0.5"]["seconds"] > 0
        assert 0 < found["0.5"]["steps"] <= 33
        assert found["1.0"] == {"seconds": None, "steps": 0, "runs": [None, None]}
        assert all(0.5 < accuracy < 1 for accuracy in found["accuracies"])
    steps = {found["0.5"]["steps"] for found in written["contestants"].values()}
    assert max(steps) - min(steps) <= 3  # a turn, by rounding


def test_without_any_other_library(program, peers):
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
    others = [name for name in peers if name != "sklearn"]
    printed, written = program(NAME).without(*others)(*DIGITS)
    assert set(written["contestants"]) == {"xpnet", "xpnet-compiled"}
    assert "PyTorch: left out, not installed: torch" in printed
    assert " never " in printed
