"""The divergence of distributions equals SciPy's and Optax's, impossible classes included."""

import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import cross_entropy, kl_div
from xpnet.special import log_softmax

INF = math.inf
P, Q = np.random.default_rng(1).dirichlet(np.ones(4), (2, 5))
Q[0] = [0, 0.5, 0.5, 0]


def logarithm(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(x)


@pytest.mark.parametrize("log_target", [False, True])
def test_the_divergence_of_each_sample_equals_that_of_scipy(lib, log_target):
    stats = pytest.importorskip("scipy.stats")
    targets = lib.asarray(logarithm(Q) if log_target else Q)
    found = kl_div(lib.asarray(np.log(P)), targets, log_target=log_target, reduction="none")
    lib.close(found, stats.entropy(Q, P, axis=-1))


def test_the_mean_is_the_batchmean_of_torch(lib):
    torch = pytest.importorskip("torch")
    expected = torch.nn.functional.kl_div(
        torch.tensor(np.log(P)), torch.tensor(Q), reduction="batchmean"
    )
    lib.close(kl_div(lib.asarray(np.log(P)), lib.asarray(Q)), expected)


def test_it_equals_that_of_optax(lib):
    optax = pytest.importorskip("optax")
    expected = np.asarray(optax.losses.kl_divergence(np.log(P), Q))
    lib.close(kl_div(lib.asarray(np.log(P)), lib.asarray(Q), reduction="none"), expected)


def test_it_is_the_cross_entropy_less_the_entropy(lib):
    logits, q = lib.asarray(np.log(P) + 3), lib.asarray(P[::-1])
    entropy = -np.sum(P * np.log(P)) / 5
    loss, gradient = xn.value_and_grad(lambda z: kl_div(log_softmax(z), q))(logits)
    expected, expected_gradient = xn.value_and_grad(cross_entropy)(logits, q)
    lib.close(loss, lib.to_host(expected) - entropy)
    lib.close(gradient, lib.to_host(expected_gradient))


@pytest.mark.parametrize("log_target", [False, True])
@pytest.mark.parametrize(
    ("log_p", "q", "loss", "by_log_p", "by_q"),
    [
        # the class that cannot be does not count, whatever the prediction
        ([-INF, 0.0], [0.0, 1.0], 0, [0, -1], [0, 1]),
        ([-1.0, -2.0], [0.0, 1.0], 2, [0, -1], [0, 3]),
        # one that can be, and was ruled out
        ([-INF, 0.0], [0.5, 0.5], INF, [-0.5, -0.5], [INF, math.log(0.5) + 1]),
        # equal distributions
        ([math.log(0.25), math.log(0.75)], [0.25, 0.75], 0, [-0.25, -0.75], [1, 1]),
    ],
)
def test_impossible_classes(lib, log_target, log_p, q, loss, by_log_p, by_q):
    targets = lib.asarray([logarithm(np.asarray(q)) if log_target else q])
    by_q = [a * b if a else 0 for a, b in zip(q, by_q, strict=True)] if log_target else by_q

    def function(log_p, targets):
        return kl_div(log_p, targets, log_target=log_target)

    value, found = xn.value_and_grad(function, argnums=(0, 1))(lib.asarray([log_p]), targets)
    lib.close(value, loss, atol=1e-15)
    lib.close(found[0], [by_log_p])
    lib.close(found[1], [by_q])


def test_class_indices_are_refused(lib):
    message = (
        r"^kl_div: expected floating-point probabilities as targets, got .*int64; "
        r"class indices are for cross_entropy or nll_loss$"
    )
    with pytest.raises(TypeError, match=message):
        kl_div(lib.asarray(np.log(P)), lib.asarray(np.zeros((5, 4)), "int64"))


@pytest.mark.parametrize("axis", [2, -3])
def test_the_axis_must_be_there(lib, axis):
    message = f"kl_div: predictions of shape (5, 4) have no axis {axis}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        kl_div(lib.asarray(np.log(P)), lib.asarray(Q), axis=axis)
