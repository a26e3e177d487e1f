"""``examples/softmax_regression.py`` as a user runs it."""

from __future__ import annotations

import os
import re

import pytest

NAME = "softmax_regression"
LAST = r"epoch \d+/\d+  train loss (\S+)  train accuracy (\S+)  test accuracy (\S+)"


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_it_learns_the_digits_and_draws(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend, "--dataset", "digits", "--output", "curves.png")
    loss, *accuracies = map(float, re.findall(LAST, printed)[-1])
    assert loss < 0.5
    assert min(accuracies) > 0.8
    assert printed.count("checked:") == 3
    program.check_picture("curves.png")
    program.check_picture("curves_predictions.png")


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (["--max-loss", "1e-6"], r"check failed: train loss \S+ < 1e-06"),
        (["--max-loss", "9"], r"check failed: train accuracy 0\.\d+ > 0\.8"),
    ],
)
def test_a_result_that_is_not_good_enough_fails(example, limits, message):
    done = example(NAME)("--dataset", "digits", "--epochs", "1", *limits)
    assert done.returncode == 1
    assert re.search(message, done.stderr)


def test_missing_data_are_one_line(example):
    done = example(NAME)("--data", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("softmax_regression.py: ")
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_help(example):
    example(NAME).check_help()


def test_the_real_fashion_mnist(example):
    data = os.environ.get("XPNET_DATA")
    if not data:
        pytest.skip("XPNET_DATA names no folder with Fashion-MNIST")
    program = example(NAME)
    printed = program.succeeds("numpy", XPNET_DATA=data)
    assert float(re.findall(LAST, printed)[-1][0]) < 0.5
    assert printed.count("checked:") == 3
    program.check_picture("softmax_regression_predictions.png")
