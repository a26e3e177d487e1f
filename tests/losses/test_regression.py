"""The losses for numbers, where a value can be seen without computing it."""

import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import huber_loss, l1_loss, mse_loss


def test_mse_loss_of_the_worked_example(lib):
    value, gradient = xn.value_and_grad(mse_loss)(lib.asarray([1, 3]), lib.asarray([1, 1]))
    lib.close(value, 2)
    lib.close(gradient, [0, 2])


def test_l1_loss_has_no_slope_where_nothing_is_wrong(lib):
    value, gradient = xn.value_and_grad(l1_loss)(lib.asarray([1, 3, -3]), lib.asarray([1, 1, 1]))
    lib.close(value, 2)
    lib.close(gradient, [0, 1 / 3, -1 / 3])


@pytest.mark.parametrize(
    ("error", "loss", "slope"),
    [
        (0, 0, 0),
        (-1, 0.5, -1),
        (2, 2, 2),  # where both formulas hold
        (-2, 2, -2),
        (3, 4, 2),
        (-1e30, 2e30, -2),  # whose square is infinite in float32
        (math.inf, math.inf, 2),
    ],
)
def test_huber_loss_at_its_joint_and_beyond(lib, error, loss, slope):
    x, t = lib.asarray([error], "float32"), lib.asarray([0], "float32")
    value, gradient = xn.value_and_grad(lambda x: huber_loss(x, t, delta=2.0))(x)
    lib.close(value, loss, 1e-6, atol=0)
    lib.close(gradient, [slope], 1e-6)


def test_huber_loss_of_an_infinite_delta_is_half_the_square(lib):
    x, t = lib.asarray([[3.0], [-4.0]]), lib.asarray([[0.0], [0.0]])
    lib.close(huber_loss(x, t, delta=math.inf), 6.25)


@pytest.mark.parametrize("delta", [0, -1.0, math.nan])
def test_delta_is_positive(delta):
    message = re.escape(f"huber_loss: delta must be positive, got {delta}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        huber_loss(np.zeros(1), np.zeros(1), delta=delta)
