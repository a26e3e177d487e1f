"""``examples/binary_classification.py`` as a user runs it."""

from __future__ import annotations

import re

import pytest

NAME = "binary_classification"
SHORT = ("--steps", "300")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_penalties_shrink_the_weights(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend, *SHORT)
    rows = re.findall(r"^(\w+).* ([\d.]+) +([\d.]+) +([\d.]+)%$", printed, flags=re.M)
    assert [row[0] for row in rows] == ["no", "L2", "L1"]
    assert printed.count("checked:") == 7
    program.check_picture("binary_classification.png")


def test_penalties_of_nothing_fail(example):
    done = example(NAME)("--steps", "100", "--l1", "0", "--l2", "0", "--min-accuracy", "0")
    assert done.returncode == 1
    assert "check failed: L2 halves the sum w^2" in done.stderr


def test_an_accuracy_out_of_reach_fails(example):
    done = example(NAME)("--steps", "20", "--min-accuracy", "0.999")
    assert done.returncode == 1
    assert "check failed: no penalty:" in done.stderr


def test_help(example):
    example(NAME).check_help()
