"""``examples/cross_entropy.py`` as a user runs it."""

from __future__ import annotations

import pytest

NAME = "cross_entropy"


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_the_worked_numbers(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend)
    assert "-log(0.0875) = 2.4361" in printed
    assert "checked: the mean by hand is 0.9185" in printed
    assert "checked: the library says the same" in printed
    assert "PyTorch" in printed  # compared with, or said to be missing
    program.check_picture("cross_entropy.png")


def test_without_pytorch_it_says_so(example):
    program = example(NAME)
    program.sabotage("import torch\n", "import a_missing_torch as torch\n")
    done = program()
    assert done.returncode == 0, done.stderr
    assert "PyTorch is not installed, so there is nothing to compare with" in done.stdout


def test_a_wrong_formula_fails(example):
    program = example(NAME)
    program.sabotage("e / xp.sum(e, axis=-1", "e / xp.sum(e * 1.01, axis=-1")
    done = program()
    assert done.returncode == 1
    assert "wrong.py: check failed: the mean by hand is 0.9185" in done.stderr


def test_help(example):
    example(NAME).check_help()
