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


def test_without_pytorch_it_says_so(example, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('hidden')\n")
    program = example(NAME)
    program.folder = tmp_path
    done = program(XPNET_BACKEND="numpy", PYTHONPATH=f"{tmp_path}:{program.script.parents[1]}")
    assert done.returncode == 0, done.stderr
    assert "PyTorch is not installed" in done.stdout


def test_a_wrong_formula_fails(example, tmp_path):
    program = example(NAME)
    source = program.script.read_text()
    wrong = source.replace("e / xp.sum(e, axis=-1", "e / xp.sum(e * 1.01, axis=-1")
    assert wrong != source
    program.script = tmp_path / "wrong.py"
    program.script.write_text(wrong)
    (tmp_path / "common.py").write_bytes((example(NAME).script.parent / "common.py").read_bytes())
    done = program()
    assert done.returncode == 1
    assert "wrong.py: check failed: the mean by hand is 0.9185" in done.stderr


def test_help(example):
    example(NAME).check_help()
