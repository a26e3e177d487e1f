"""The likelihood under normal distributions equals SciPy's, however small the variance."""

import re

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import gaussian_nll_loss

RNG = np.random.default_rng(1)
MEAN, TARGETS, LOG_VARIANCE = RNG.normal(size=(3, 5, 3))


def test_it_is_the_log_likelihood_of_scipy(lib):
    stats = pytest.importorskip("scipy.stats")
    expected = -stats.norm.logpdf(TARGETS, MEAN, np.exp(LOG_VARIANCE / 2))
    found = gaussian_nll_loss(
        lib.asarray(MEAN),
        lib.asarray(TARGETS),
        log_variance=lib.asarray(LOG_VARIANCE),
        full=True,
        reduction="none",
    )
    lib.close(found, expected)


def test_of_all_variances_the_squared_error_is_best(lib):
    mean, t = lib.asarray([3.0]), lib.asarray([1.0])
    slope = xn.grad(lambda s: gaussian_nll_loss(mean, t, log_variance=s))
    lib.close(slope(lib.asarray([np.log(4)])), [0], atol=1e-15)
    lib.close(slope(lib.asarray([0.0])), [(1 - 4) / 2])


def test_a_variance_that_float32_does_not_hold(lib):
    """exp(100) and the square of 1e-22 are infinite and 0 there, their product is 0.27."""
    mean, t = lib.asarray([1e-22], "float32"), lib.asarray([0], "float32")
    s = lib.asarray([-100], "float32")
    loss, slope = xn.value_and_grad(lambda y: gaussian_nll_loss(y, t, log_variance=s))(mean)
    square = 1e-44 * np.exp(100)
    lib.close(loss, (square - 100) / 2, 1e-6)
    lib.close(slope, [np.exp(100) * 1e-22], 1e-5)


def test_log_variances_that_do_not_fit_are_refused(lib):
    x = lib.asarray(np.zeros(3))
    message = (
        "gaussian_nll_loss: expected log_variance of the shape of mean, (3,), got (3, 1); "
        "write xp.squeeze(log_variance, axis=-1)"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        gaussian_nll_loss(x, x, log_variance=lib.asarray(np.zeros((3, 1))))
    message = (
        r"^gaussian_nll_loss: expected floating-point log_variance, got .*int64; "
        r"convert it with xp\.astype$"
    )
    with pytest.raises(TypeError, match=message):
        gaussian_nll_loss(x, x, log_variance=lib.asarray(np.zeros(3), "int64"))
