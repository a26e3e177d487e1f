"""Cross-entropy of two classes is exact where the sigmoid or the logarithm saturates."""

import math

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import binary_cross_entropy, cross_entropy

INF = math.inf
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float32", "float64"])
def test_binary_cross_entropy_takes_targets_of_any_dtype(lib, dtype):
    targets = lib.asarray(np.asarray([1, 0]), dtype)
    losses = binary_cross_entropy(lib.asarray([0.0, 0.0], "float32"), targets, reduction="none")
    assert losses.dtype == lib.xp.float32
    lib.close(losses, [math.log(2)] * 2, 1e-7)


@both_dtypes
@pytest.mark.parametrize(
    ("logit", "target", "loss", "gradient"),
    [
        (1e4, 1, 0, 0),
        (1e4, 0, 1e4, 1),
        (-1e4, 0, 0, 0),
        (-1e4, 1, 1e4, -1),
        (INF, 1, 0, 0),
        (INF, 0, INF, 1),
        (-INF, 0, 0, 0),
        (-INF, 1, INF, -1),
        (INF, 0.5, INF, 0.5),
        (1e4, 0.25, 7500, 0.75),
        # where the sigmoid itself rounds to 1 in float32
        (20, 1, math.log1p(math.exp(-20)), -1 / (1 + math.exp(20))),
        (-20, 0, math.log1p(math.exp(-20)), 1 / (1 + math.exp(20))),
    ],
)
def test_binary_cross_entropy_is_exact_at_extreme_logits(lib, dtype, logit, target, loss, gradient):
    x, t = lib.asarray([logit], dtype), lib.asarray([target], dtype)
    value, found = xn.value_and_grad(binary_cross_entropy)(x, t)
    assert value.dtype == found.dtype == x.dtype
    rtol = 1e-6 if dtype == "float32" else 1e-14
    lib.close(value, loss, rtol, atol=0)
    lib.close(found, [gradient], rtol, atol=0)


TINY = 2.0**-60  # 1 - TINY is 1, in float64 too


@both_dtypes
@pytest.mark.parametrize(
    ("p", "target", "loss", "gradient"),
    [
        (0, 0, 0, 1),
        (1, 1, 0, -1),
        (0, 1, INF, -INF),
        (1, 0, INF, INF),
        (0, 0.5, INF, -INF),
        (1, 0.5, INF, INF),
        (0.25, 1, math.log(4), -4),
        (0.25, 0, math.log(4 / 3), 4 / 3),
        (0.25, 0.25, math.log(4) / 4 + 0.75 * math.log(4 / 3), 0),
        (TINY, 0, TINY, 1),
        (TINY, 1, 60 * math.log(2), -1 / TINY),
    ],
)
def test_probabilities_are_taken_as_they_are(lib, dtype, p, target, loss, gradient):
    x, t = lib.asarray([p], dtype), lib.asarray([target], dtype)
    with np.errstate(divide="ignore"):
        value, found = xn.value_and_grad(lambda x: binary_cross_entropy(x, t, from_logits=False))(x)
    assert value.dtype == found.dtype == x.dtype
    rtol = 1e-6 if dtype == "float32" else 1e-14
    lib.close(value, loss, rtol, atol=0)
    lib.close(found, [gradient], rtol)


@pytest.mark.parametrize("p", [-0.5, 1.5, math.nan])
@pytest.mark.parametrize("target", [0, 0.5, 1])
def test_what_is_no_probability_has_no_loss(lib, p, target):
    with np.errstate(invalid="ignore"):
        loss = binary_cross_entropy(lib.asarray([p]), lib.asarray([target]), from_logits=False)
    lib.close(loss, math.nan)


@pytest.mark.parametrize("from_logits", [True, False])
def test_it_is_the_cross_entropy_of_two_classes(lib, from_logits):
    rng = np.random.default_rng(6)
    x, t = rng.normal(size=5), rng.uniform(size=5)
    both = np.stack([np.zeros(5), x], axis=-1)
    if not from_logits:
        x = 1 / (1 + np.exp(-x))
        both = np.stack([1 - x, x], axis=-1)
    expected = cross_entropy(
        lib.asarray(both), lib.asarray(np.stack([1 - t, t], axis=-1)), from_logits=from_logits
    )
    found = binary_cross_entropy(lib.asarray(x), lib.asarray(t), from_logits=from_logits)
    lib.close(found, lib.to_host(expected), 1e-14)


def test_a_weight_of_zero_leaves_an_infinite_loss_out(lib):
    x, t, weight = lib.asarray([0.0, 0.5]), lib.asarray([1.0, 1.0]), lib.asarray([0.0, 1.0])
    with np.errstate(divide="ignore"):
        loss = binary_cross_entropy(x, t, sample_weight=weight, from_logits=False)
    lib.close(loss, math.log(2))
