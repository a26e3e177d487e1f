"""Sigmoid, softmax and their logarithms equal those of PyTorch and JAX, gradients too."""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import special

# Name in xpnet.special and in jax.nn, and its options. Only JAX's softplus is exact everywhere.
FUNCTIONS = {
    "expit": ("expit", "sigmoid", {}),
    "softplus": ("softplus", "softplus", {}),
    "softmax": ("softmax", "softmax", {"axis": -1}),
    "softmax_axis0": ("softmax", "softmax", {"axis": 0}),
    "log_softmax": ("log_softmax", "log_softmax", {"axis": -1}),
    "log_softmax_axis0": ("log_softmax", "log_softmax", {"axis": 0}),
}
RNG = np.random.default_rng(1)
X = RNG.normal(size=(5, 4)) * 5
COTANGENT = RNG.normal(size=(5, 4))
DIRECTION = RNG.normal(size=(5, 4))

LOG2 = math.log(2)

every_function = pytest.mark.parametrize("case", FUNCTIONS)


def ours(case: str) -> Callable[[Any], Any]:
    name, _, options = FUNCTIONS[case]
    return lambda x: getattr(special, name)(x, **options)


@functools.cache
def theirs(case: str) -> dict[str, np.ndarray]:
    """Return the value, the gradient and the second derivative along a direction, of JAX."""
    jax = pytest.importorskip("jax")
    _, name, options = FUNCTIONS[case]

    def function(x: Any) -> Any:
        return getattr(jax.nn, name)(x, **options)

    gradient = jax.grad(lambda x: (function(x) * COTANGENT).sum())
    second = jax.grad(lambda x: (gradient(x) * DIRECTION).sum())
    found = {"value": function, "gradient": gradient, "second": second}
    return {key: np.asarray(jax.jit(each)(X)) for key, each in found.items()}


def weighted(function: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the sum of the function's values, weighted: its gradient is a whole vjp."""

    def total(x: Any, weight: Any) -> Any:
        return xn.array_namespace(x).sum(function(x) * weight)

    return total


@every_function
def test_derivatives_equal_those_of_jax(lib, case):
    function, expected = ours(case), theirs(case)
    x, cotangent, direction = (lib.asarray(array) for array in (X, COTANGENT, DIRECTION))
    inner = xn.grad(weighted(function))
    with lib.guard():
        value = function(x)
        gradient = inner(x, cotangent)
        second = xn.grad(weighted(lambda x: inner(x, cotangent)))(x, direction)
    lib.close(value, expected["value"])
    lib.close(gradient, expected["gradient"])
    lib.close(second, expected["second"])


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_equals_that_of_torch(lib, name):
    torch = pytest.importorskip("torch")
    x = torch.tensor(X, requires_grad=True)
    value = getattr(torch, name)(x, dim=1)
    (value * torch.tensor(COTANGENT)).sum().backward()
    function = getattr(special, name)
    lib.close(function(lib.asarray(X), axis=1), value.detach())
    gradient = xn.grad(weighted(lambda x: function(x, axis=1)))
    lib.close(gradient(lib.asarray(X), lib.asarray(COTANGENT)), x.grad)


@every_function
def test_gradient_equals_central_differences(case):
    total, step = weighted(ours(case)), 1e-5
    ahead, behind = (total(X + h * DIRECTION, COTANGENT) for h in (step, -step))
    along = np.sum(xn.grad(total)(X, COTANGENT) * DIRECTION)
    assert along == pytest.approx((ahead - behind) / (2 * step), rel=1e-7)


@every_function
def test_dtype_and_shape_are_kept(lib, case):
    x = lib.asarray(X, "float32")
    value, gradient = ours(case)(x), xn.grad(weighted(ours(case)))(x, x)
    for array in (value, gradient):
        assert array.dtype == lib.xp.float32
        assert tuple(array.shape) == X.shape


E40, E80 = 4.248354255291589e-18, 1.8048513878454153e-35  # e**-40 and e**-80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("case", "value", "derivative"),
    [
        # The derivative has its digits on the right too, where y * (1 - y) is 0.
        ("expit", [0, 0, E80, E40, 0.5, 1, 1, 1], [0, 0, E80, E40, 0.25, E40, 0, 0]),
        (
            "softplus",
            [0, 0, E80, E40, LOG2, 40, 1e4, math.inf],
            [0, 0, E80, E40, 0.5, 1, 1, 1],
        ),
    ],
)
def test_extremes_are_exact(lib, dtype, case, value, derivative):
    x = lib.asarray([-math.inf, -1e4, -80, -40, 0, 40, 1e4, math.inf], dtype)
    rtol = 1e-5 if dtype == "float32" else 1e-12  # e**-80 has 80 times the rounding of 80
    lib.close(ours(case)(x), value, rtol, atol=0)
    one = lib.asarray(np.ones(8), dtype)
    lib.close(xn.grad(weighted(ours(case)))(x, one), derivative, rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_extremes_are_exact(lib, dtype):
    x = lib.asarray([[1e4, 1e4, -1e4], [0, -math.inf, 0], [-1e4, -1e4, -math.inf]], dtype)
    half = np.asarray([[0.5, 0.5, 0], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    lib.close(special.softmax(x), half, 1e-6)
    picked = lib.asarray([[1, 0, 0], [1, 0, 0], [1, 0, 0]], dtype)
    # p_0 (e_0 - p) for p = (1/2, 1/2), whichever class is ruled out
    expected = [[0.25, -0.25, 0], [0.25, 0, -0.25], [0.25, -0.25, 0]]
    lib.close(xn.grad(weighted(special.softmax))(x, picked), expected, 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_softmax_extremes_are_exact(lib, dtype):
    x = lib.asarray([[1e4, 1e4, -1e4], [0, -math.inf, 0]], dtype)
    lib.close(
        special.log_softmax(x),
        [[-LOG2, -LOG2, -2e4 - LOG2], [-LOG2, -math.inf, -LOG2]],
        1e-6,
        atol=0,
    )
    picked = xn.grad(lambda x: special.log_softmax(x)[0, 0] + special.log_softmax(x)[1, 0])
    lib.close(picked(x), [[0.5, -0.5, 0], [0.5, 0, -0.5]], 1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_all_scores_ruled_out_is_nan(name):
    with np.errstate(invalid="ignore"):
        value = getattr(special, name)(np.full((2,), -np.inf))
    assert np.isnan(value).all()


def test_log_softmax_keeps_the_digits_of_large_scores(lib):
    x = lib.asarray([1e6, 1e6 - 3], "float32")
    # -log(1 + e**-3) and that minus 3
    lib.close(special.log_softmax(x), [-0.048587351573742, -3.048587351573742], 1e-6, atol=0)


@pytest.mark.parametrize("n", [2, 1000])
@pytest.mark.parametrize("score", [-1e20, 1.0, 1e4, 1e20])
def test_equal_scores_share_the_probability(lib, n, score):
    x = lib.asarray(np.full((n,), score), "float32")
    lib.close(special.softmax(x), np.full((n,), 1 / n), 1e-6)
    lib.close(special.log_softmax(x), np.full((n,), -math.log(n)), 1e-6)


def test_a_shared_offset_changes_nothing(lib):
    scores = (
        np.random.default_rng(2).integers(-40, 40, (5, 4)) / 8
    )  # multiples of 1/8: adding the offset is exact
    for name in ("softmax", "log_softmax"):
        function = getattr(special, name)
        plain, moved = (function(lib.asarray(scores + c)) for c in (0.0, 2.0**20))
        np.testing.assert_array_equal(lib.to_host(plain), lib.to_host(moved), strict=True)


AXES = [None, 0, -1, (0, 2), (-1, 0, 1), ()]


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp_equals_that_of_scipy(lib, axis, keepdims):
    scipy_special = pytest.importorskip("scipy.special")
    scores = np.random.default_rng(3).normal(size=(2, 3, 4)) * 5
    options = {"axis": axis, "keepdims": keepdims}
    expected = scipy_special.logsumexp(scores, **options)
    x, cotangent = lib.asarray(scores), lib.asarray(np.cos(expected))
    with lib.guard():
        value = special.logsumexp(x, **options)
        gradient = xn.grad(weighted(lambda x: special.logsumexp(x, **options)))(x, cotangent)
    assert tuple(value.shape) == expected.shape
    lib.close(value, expected, 1e-14)
    kept = scipy_special.logsumexp(scores, axis=axis, keepdims=True)
    lib.close(gradient, np.exp(scores - kept) * np.cos(kept), 1e-14)


def test_higher_derivatives_of_logsumexp(lib):
    """Two scores, one tie: those of log(1 + exp(x)) are 1/4, 0 and -1/8 at 0."""

    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return special.logsumexp(xp.stack([x, 0.0 * x]))

    for derivative in (0.5, 0.25, 0.0, -0.125):
        function = xn.grad(function)
        lib.close(function(lib.asarray(0.0)), derivative, 1e-14, 1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("scores", "value", "gradient"),
    [
        ([[1e4, 1e4], [-1e4, -1e4]], [1e4 + LOG2, -1e4 + LOG2], [[0.5, 0.5], [0.5, 0.5]]),
        ([[1e4, -math.inf], [-1e4, 1e4]], [1e4, 1e4], [[1, 0], [0, 1]]),
        ([[-math.inf, -math.inf], [0, 0]], [-math.inf, LOG2], [[0, 0], [0.5, 0.5]]),
        ([[math.inf, 1e4], [math.inf, -math.inf]], [math.inf, math.inf], [[0, 0], [0, 0]]),
        ([[math.nan, 0], [0, 0]], [math.nan, LOG2], [[math.nan, math.nan], [0.5, 0.5]]),
    ],
)
def test_logsumexp_extremes_are_exact(lib, dtype, scores, value, gradient):
    x = lib.asarray(scores, dtype)
    function = functools.partial(special.logsumexp, axis=1)
    lib.close(function(x), value, np.finfo(dtype).eps, atol=0)
    one = lib.asarray([1, 1], dtype)
    lib.close(xn.grad(weighted(function))(x, one), gradient, 1e-6, atol=0)


@pytest.mark.parametrize(
    ("shape", "axis", "expected"),
    [((), None, 3.0), ((0,), None, -math.inf), ((2, 0), 1, [-math.inf] * 2), ((2, 0), 0, [])],
)
def test_logsumexp_of_one_number_and_of_none(lib, shape, axis, expected):
    x = lib.asarray(np.full(shape, 3.0), "float32")
    value, gradient = xn.value_and_grad(
        lambda x: xn.array_namespace(x).sum(special.logsumexp(x, axis=axis))
    )(x)
    assert value.dtype == gradient.dtype == lib.xp.float32
    assert tuple(gradient.shape) == shape
    lib.close(special.logsumexp(x, axis=axis), np.asarray(expected, "float32"))
