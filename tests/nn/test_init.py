"""Initial values follow their formulas and are the same numbers on every library."""

import math
import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.nn import init

SHAPE = (300, 200)
# Standard deviation by the papers' formulas, for an array of SHAPE.
UNIFORM = {
    "fan_in_uniform": (lambda **o: init.fan_in_uniform(SHAPE, 200, **o), 1 / math.sqrt(3 * 200)),
    "uniform": (lambda **o: init.uniform(SHAPE, low=-2.0, high=2.0, **o), 2 / math.sqrt(3)),
    "glorot": (lambda **o: init.glorot_uniform(SHAPE, **o), math.sqrt(2 / 500)),
    "glorot gain": (lambda **o: init.glorot_uniform(SHAPE, gain=5 / 3, **o), math.sqrt(1 / 90)),
    "he": (lambda **o: init.he_uniform(SHAPE, **o), math.sqrt(2 / 200)),
    "he out": (lambda **o: init.he_uniform(SHAPE, mode="fan_out", **o), math.sqrt(2 / 300)),
    "lecun": (lambda **o: init.lecun_uniform(SHAPE, **o), math.sqrt(1 / 200)),
}
NORMAL = {
    "normal": (lambda **o: init.normal(SHAPE, std=3.0, **o), 3.0),
    "glorot": (lambda **o: init.glorot_normal(SHAPE, **o), math.sqrt(2 / 500)),
    "glorot gain": (lambda **o: init.glorot_normal(SHAPE, gain=2.0, **o), 2 * math.sqrt(2 / 500)),
    "he": (lambda **o: init.he_normal(SHAPE, **o), math.sqrt(2 / 200)),
    "he gain": (lambda **o: init.he_normal(SHAPE, gain=1.0, **o), math.sqrt(1 / 200)),
    "he out": (lambda **o: init.he_normal(SHAPE, mode="fan_out", **o), math.sqrt(2 / 300)),
    "lecun": (lambda **o: init.lecun_normal(SHAPE, **o), math.sqrt(1 / 200)),
}
DRAWN = {
    **{f"uniform {name}": draw for name, (draw, _) in UNIFORM.items()},
    **{f"normal {name}": draw for name, (draw, _) in NORMAL.items()},
    "truncated": lambda **o: init.truncated_normal((30, 5), **o),
    "orthogonal": lambda **o: init.orthogonal((30, 5), gain=2.0, **o),
}
PLAIN = {
    "zeros": init.zeros,
    "ones": init.ones,
    "constant": lambda shape, **o: init.constant(shape, 0.1, **o),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DRAWN)
def test_the_same_numbers_on_every_library(lib, name, dtype):
    draw = DRAWN[name]
    found = lib.to_host(draw(rng=xn.Generator(7), dtype=dtype))
    with xn.use_backend("numpy"):
        expected = draw(rng=xn.Generator(7), dtype=dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected, strict=True)
    xn.seed(7)
    np.testing.assert_array_equal(lib.to_host(draw(dtype=dtype, device=lib.device)), found)


@pytest.mark.parametrize("name", PLAIN)
def test_constants(lib, name):
    found = PLAIN[name]((2, 3), dtype="float64", device=lib.device)
    value = {"zeros": 0, "ones": 1, "constant": 0.1}[name]
    np.testing.assert_array_equal(lib.to_host(found), np.full((2, 3), float(value)), strict=True)
    assert PLAIN[name](()).dtype == lib.xp.float32


def moments(x: Any, std: float, kurtosis: float) -> None:
    """Compare mean and variance with 4 of their own standard deviations."""
    n = x.size
    assert np.mean(x) == pytest.approx(0, abs=4 * std / math.sqrt(n))
    assert np.mean(x**2) == pytest.approx(std**2, abs=4 * std**2 * math.sqrt((kurtosis - 1) / n))
    assert np.mean(x**4) == pytest.approx(kurtosis * std**4, rel=0.06)


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_ones_have_the_bound_of_the_formula(name):
    draw, std = UNIFORM[name]
    x = draw(dtype="float64")
    moments(x, std, 9 / 5)
    assert 0.999 * math.sqrt(3) * std < np.max(np.abs(x)) <= math.sqrt(3) * std


@pytest.mark.parametrize("name", NORMAL)
def test_normal_ones_have_the_deviation_of_the_formula(name):
    draw, std = NORMAL[name]
    moments(draw(dtype="float64"), std, 3)


@pytest.mark.parametrize(
    ("mean", "std", "low", "high"),
    [(0.0, 1.0, -2.0, 2.0), (1.0, 0.5, 0.9, 4.0), (0.0, 1.0, 3.0, 9.0), (0.0, 1.0, -50.0, 50.0)],
)
def test_truncated_normal_has_the_distribution_between_the_bounds(mean, std, low, high):
    stats = pytest.importorskip("scipy.stats")
    x = init.truncated_normal((20000,), mean=mean, std=std, low=low, high=high, dtype="float64")
    assert low <= x.min() < x.max() <= high
    exact = stats.truncnorm((low - mean) / std, (high - mean) / std, mean, std)
    assert stats.kstest(x, exact.cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (4, 2, 3), (2, 3, 2)])
def test_orthogonal_rows_or_columns(shape):
    w = init.orthogonal(shape, gain=3.0, dtype="float64").reshape(shape[0], -1)
    small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(small, 9 * np.eye(min(w.shape)), atol=1e-13)


def test_orthogonal_matrices_are_uniformly_distributed():
    # The trace of such a matrix of order n has mean 0 and variance 1; without the signs it has not.
    rng = xn.Generator(1)
    traces = np.asarray([np.trace(init.orthogonal((3, 3), rng=rng)) for _ in range(1000)])
    assert traces.mean() == pytest.approx(0, abs=4 / math.sqrt(1000))
    assert traces.var() == pytest.approx(1, abs=0.25)


def test_further_axes_count_for_both_fans():
    torch = pytest.importorskip("torch")
    shape = (40, 30, 5, 2)
    fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    bound = math.sqrt(6 / sum(fans))
    x = init.glorot_uniform(shape)
    assert 0.99 * bound < np.abs(x).max() <= bound * (1 + 1e-6)


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


def test_the_gain_of_a_slope():
    assert init.calculate_gain("leaky_relu", 2.0) == math.sqrt(2 / 5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: init.he_normal((3,)),
            "init.he_normal: expected a shape (out, in) or (out, in, ...) of positive lengths, got "
            "(3,); for other arrays take init.uniform or init.normal",
        ),
        (
            lambda: init.lecun_uniform((3, 0)),
            "init.lecun_uniform: expected a shape (out, in) or (out, in, ...) of positive lengths, "
            "got (3, 0); for other arrays take init.uniform or init.normal",
        ),
        (
            lambda: init.orthogonal((3,)),
            "init.orthogonal: expected a shape (out, in) or (out, in, ...) of positive lengths, "
            "got (3,)",
        ),
        (
            lambda: init.he_uniform((3, 2), mode="fan"),
            'init.he_uniform: mode must be "fan_in" or "fan_out", got \'fan\'',
        ),
        (
            lambda: init.truncated_normal((3,), std=0.0),
            "init.truncated_normal: expected a positive std and high above low, got std=0.0, "
            "low=-2.0, high=2.0",
        ),
        (
            lambda: init.truncated_normal((3,), low=2.0),
            "init.truncated_normal: expected a positive std and high above low, got std=1.0, "
            "low=2.0, high=2.0",
        ),
        (
            lambda: init.calculate_gain("gelu"),
            "init.calculate_gain: expected one of linear, sigmoid, tanh, relu, selu, leaky_relu, "
            "the last with a slope, got 'gelu'",
        ),
        (
            lambda: init.calculate_gain("relu", 1.0),
            "init.calculate_gain: expected one of linear, sigmoid, tanh, relu, selu, leaky_relu, "
            "the last with a slope, got 'relu' with param=1.0",
        ),
    ],
)
def test_settings_are_checked(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()
