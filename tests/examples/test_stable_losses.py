"""``examples/stable_losses.py`` as a user runs it."""

from __future__ import annotations

import re

import pytest

NAME = "stable_losses"


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_naive_formulas_break_and_the_library_does_not(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend)
    assert printed.count("checked: xpnet's relative error") == 3
    assert len(re.findall(r"checked: the error of .* exceeds 10 %", printed)) == 4
    assert re.search(r"^ +100 +100 +inf +100 +nan +-1$", printed, flags=re.M)
    program.check_picture("stable_losses.png")


def test_a_naive_library_would_fail(example):
    program = example(NAME)
    program.sabotage(
        'return losses.cross_entropy(logits, targets, reduction="none")',
        "return unshifted_softmax(logits, targets)",
    )
    done = program()
    assert done.returncode == 1
    assert "check failed: xpnet's relative error 1.0e+00 is below 1e-06" in done.stderr


def test_help(example):
    example(NAME).check_help()
