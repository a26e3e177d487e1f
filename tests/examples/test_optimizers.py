"""``examples/optimizers.py`` as a user runs it."""

from __future__ import annotations

import os
import re

import pytest

NAME = "optimizers"
DIGITS = ("--dataset", "digits")


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_all_but_the_wrong_rates_reach_the_goals(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend, *DIGITS)
    number = r" +([\d.]+|-)"
    rows = re.findall(rf"^(\w+, .*?)  {number * 5}$", printed, flags=re.M)
    steps = {name.strip(): first for name, first, *_ in rows}
    assert len(steps) == 8
    assert [name for name, first in steps.items() if first == "-"] == [
        "SGD, rate 0.001 (too small)",
        "SGD, rate 20 (too large)",
    ]
    assert int(steps["SGD, rate 0.1, momentum 0.9"]) < int(steps["SGD, rate 0.1"])
    assert printed.count("checked:") == 5
    program.check_picture("optimizers.png")


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("optim.SGD(0.001)", "optim.SGD(0.1)", "too small does not get there in time"),
        ("optim.Adam(0.001)", "optim.Adam(1e-6)", "all other optimizers do"),
    ],
)
def test_a_rate_that_is_not_what_it_is_said_to_be_fails(example, right, wrong, message):
    program = example(NAME)
    program.sabotage(right, wrong)
    done = program(*DIGITS)
    assert done.returncode == 1
    assert re.search(f"check failed: .*{message}", done.stderr)


def test_the_limit_need_not_be_a_measurement(example):
    done = example(NAME)(*DIGITS, "--steps", "3", "--every", "2")
    assert "check failed: gradient descent with the right rate" in done.stderr  # no time for it
    assert done.stdout.count("SGD, ") == 4


def test_help(example):
    example(NAME).check_help()


def test_the_real_mnist(example):
    data = os.environ.get("XPNET_DATA")
    if not data:
        pytest.skip("XPNET_DATA names no folder with MNIST")
    program = example(NAME)
    printed = program.succeeds("numpy", "--every", "125", XPNET_DATA=data)
    assert "checked: gradient descent with the right rate reaches 92%" in printed
    assert printed.count("checked:") == 5
