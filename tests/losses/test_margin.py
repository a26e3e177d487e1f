"""The hinge losses equal scikit-learn's, at the hinge too."""

import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import hinge_loss, multiclass_hinge_loss

RNG = np.random.default_rng(1)
SCORES = RNG.normal(size=(20, 4))
LABELS = RNG.integers(0, 4, 20)
WEIGHT = RNG.uniform(0.5, 2, 20)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("low", [-1, 0, False])
def test_hinge_loss_equals_that_of_sklearn(lib, weighted, low):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, positive = SCORES[:, 0], LABELS > 1
    targets = positive if low is False else np.where(positive, 1, low)
    expected = metrics.hinge_loss(positive, scores, sample_weight=WEIGHT if weighted else None)
    weight = lib.asarray(WEIGHT) if weighted else None
    loss = hinge_loss(lib.asarray(scores), lib.asarray(targets, None), sample_weight=weight)
    lib.close(loss, expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_hinge_loss_equals_that_of_sklearn(lib, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    expected = metrics.hinge_loss(
        LABELS, SCORES, labels=range(4), sample_weight=WEIGHT if weighted else None
    )
    weight = lib.asarray(WEIGHT) if weighted else None
    loss = multiclass_hinge_loss(
        lib.asarray(SCORES), lib.asarray(LABELS, None), sample_weight=weight
    )
    lib.close(loss, expected)


@pytest.mark.parametrize("targets", [[1, 1, 1, 1], [True] * 4])
def test_the_hinge(lib, targets):
    scores = lib.asarray([2.0, 1.0, 0.0, -math.inf])
    t = lib.asarray(targets, None)
    lib.close(hinge_loss(scores, t, reduction="none"), [0, 0, 1, math.inf])
    gradient = xn.grad(lambda s: hinge_loss(s, t, reduction="sum"))(scores)
    lib.close(gradient, [0, -0.5, -1, -1])


def test_ties_share_the_gradient(lib):
    scores, label = lib.asarray([[1.0, 0.0, 0.0]]), lib.asarray([0], None)
    loss, gradient = xn.value_and_grad(multiclass_hinge_loss)(scores, label)
    lib.close(loss, 0)
    lib.close(gradient, [[-2 / 3, 1 / 3, 1 / 3]])


def test_other_targets_have_no_loss(lib):
    scores, targets = lib.asarray(np.zeros(4)), lib.asarray([0, 2, -2, 0.5])
    lib.close(hinge_loss(scores, targets, reduction="none"), [1, math.nan, math.nan, math.nan])
    losses = multiclass_hinge_loss(
        lib.asarray(np.zeros((3, 2))), lib.asarray([0, 2, -1], None), reduction="none"
    )
    lib.close(losses, [1, math.nan, math.nan])


def test_a_ruled_out_class_is_no_trouble(lib):
    scores = lib.asarray([[0.5, -math.inf, 0.0]])
    lib.close(multiclass_hinge_loss(scores, lib.asarray([0], None)), 0.5)


def test_multiclass_targets_are_indices(lib):
    scores = lib.asarray(np.zeros((3, 2)))
    message = (
        r"^multiclass_hinge_loss: expected integer class indices as targets, got dtype .*float64; "
        r"one score and one target of -1 or 1 a sample are for hinge_loss$"
    )
    with pytest.raises(TypeError, match=message):
        multiclass_hinge_loss(scores, lib.asarray(np.zeros(3)))
    message = (
        "multiclass_hinge_loss: expected class indices of shape (3,) for scores of shape (3, 2), "
        "got (3, 1)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        multiclass_hinge_loss(scores, lib.asarray(np.zeros((3, 1)), "int64"))
