"""``examples/custom_gradient.py`` as a user runs it."""

from __future__ import annotations

import pytest

NAME = "custom_gradient"


@pytest.mark.parametrize("backend", ["numpy", "torch"])
def test_the_chain_of_jacobians_is_the_gradient(example, backend):
    program = example(NAME)
    printed = program.succeeds(backend, "--dataset", "digits", "--hidden", "32")
    assert printed.startswith("A network 64-32-10, one image of class 0\n")
    assert printed.count("checked:") == 13
    assert "checked: dC/dW1 32 x 64 is xn.grad" in printed
    program.check_picture("custom_gradient.png")


def test_a_wrong_gradient_fails(example):
    program = example(NAME)
    program.sabotage("grad * (e / total - onehot)", "grad * (e / total - 0.999 * onehot)")
    done = program("--dataset", "digits", "--hidden", "4")
    assert done.returncode == 1
    assert "check failed: its gradient softmax(z) - onehot(y)" in done.stderr


def test_help(example):
    example(NAME).check_help()
