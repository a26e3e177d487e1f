"""``examples/early_stopping.py`` as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import re

import pytest

NAME = "early_stopping"
DIGITS = ("--dataset", "digits")


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_it_stops_and_goes_back_to_the_best(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend, *DIGITS, "--output", "curves.png", "--patience", "4")
    assert printed.count("checked:") == 5
    program.check_picture("curves.png")

    losses = json.loads((program.folder / "curves.json").read_text())["values"]["val_loss"]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 4
    assert f"best validation loss {losses[best]:.4f} after epoch {best + 1}," in printed
    with (program.folder / "curves.csv").open(newline="") as file:
        assert [float(row["val_loss"]) for row in csv.DictReader(file)] == losses


def test_too_few_epochs_to_stop_early_fail(example):
    done = example(NAME)(*DIGITS, "--epochs", "3")
    assert done.returncode == 1
    assert "check failed: training ended before its last epoch" in done.stderr


def test_weights_that_are_not_restored_fail(example):
    program = example(NAME)
    program.sabotage("patience=args.patience)", "patience=args.patience, restore_best=False)")
    done = program(*DIGITS)
    assert done.returncode == 1
    assert "check failed: the model has its best weights" in done.stderr


def test_help(example):
    example(NAME).check_help()


def test_the_real_mnist(example):
    data = os.environ.get("XPNET_DATA")
    if not data:
        pytest.skip("XPNET_DATA names no folder with MNIST")
    printed = example(NAME).succeeds("numpy", XPNET_DATA=data)
    assert float(re.search(r"weights of that epoch: (\S+)", printed)[1]) > 0.8
    assert printed.count("checked:") == 5
