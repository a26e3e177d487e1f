"""``benchmarks/training_step.py`` in a tiny form, as a user runs it."""

from __future__ import annotations

import numpy as np
import pytest

NAME = "training_step"
TINY = ("--repetitions", "1", "--rounds", "1", "--seconds", "0.001")
FIELDS = {"seconds", "preparation", "ratios", "turns", "first"}


def test_all_compute_the_same(program):
    for package in ("numba", "torch", "jax", "sklearn"):
        pytest.importorskip(package)
    names = (
        "products",
        "xpnet",
        "xpnet-compiled",
        "xpnet-fast",
        "torch",
        "torch-fused",
        "jax",
        "sklearn",
    )
    printed, written = program(NAME)(*TINY, "--rows", "1", "2", "--contestants", *names)
    assert "| step " in printed
    assert "/ best PyTorch" in printed
    assert "Row 2: 784-128-10, batch 64, Adam" in printed
    for row in written["rows"].values():
        assert tuple(row["contestants"]) == names
        assert set(row["losses"]) == set(names) - {"products"}
        for losses in row["losses"].values():
            np.testing.assert_allclose(losses, row["losses"]["torch"], rtol=1e-4)
        assert row["losses"]["torch"][0] == pytest.approx(np.log(10), abs=0.1)
    ours = written["rows"]["1"]["contestants"]["xpnet"]
    assert set(ours) == FIELDS
    assert set(ours["ratios"]) == set(names) - {"xpnet"}
    assert ours["seconds"] > 0


def test_without_any_other_library(program, peers, tmp_path):
    printed, written = program(NAME).without(*peers)(
        *(*TINY, "--rows", "1", "--memory", "--startup", "--picture", "picture.png")
    )
    assert "PyTorch, torch.compile: left out, not installed: torch" in printed
    assert set(written["missing"]) == {
        *("xpnet-fast", "torch", "torch-fused", "torch-compile", "jax", "sklearn", "thinc"),
        "autograd",
    }
    assert list(written["rows"]["1"]["contestants"]) == ["products", "xpnet", "xpnet-compiled"]
    environment = written["environment"]
    assert environment["cpus"] >= 1
    assert {"xpnet", "numpy"} <= set(environment["versions"])
    for found in written["memory"]["1"].values():
        assert 10 < found["before_mib"] <= found["peak_mib"] < 500
    start = written["startup"]
    assert set(start["xpnet"]) == {"import", "first_prediction", "installed_mib"}
    assert 0 < start["xpnet"]["import"] < start["xpnet"]["first_prediction"]
    assert set(start["numpy"]) == {"import", "installed_mib"}
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_update_written_out_is_that_of_optax(program):
    pytest.importorskip("jax")
    arguments = (*TINY, "--rows", "1", "2", "--contestants", "xpnet", "jax")
    _, written = program(NAME).without("optax")(*arguments)
    for row in written["rows"].values():
        assert set(row["losses"]) == {"xpnet", "jax"}
        np.testing.assert_allclose(*row["losses"].values(), rtol=1e-4)


def test_a_wrong_update_would_be_noticed(load):
    """Five steps with another rate, or without correcting the bias, differ by more."""
    contestants, network = load("contestants"), load("network")
    problem = network.Problem.make(64, (128,), "Adam")
    right = contestants.losses(["xpnet"], problem)["xpnet"]
    network.RATES["Adam"] = 1.01e-3
    with pytest.raises(SystemExit, match="do not compute the same"):
        contestants.check_agreement(
            {"right": right, "wrong": contestants.losses(["xpnet"], problem)["xpnet"]}
        )
