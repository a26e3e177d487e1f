"""Clipped gradients: values, the norm at the ends of the range, and what stays visible."""

import math
import re

import numpy as np
import pytest

from xpnet.optim import clip_by_global_norm, clip_by_value

RNG = np.random.default_rng(3)
GRADS = {"a": RNG.normal(size=(3, 4)), "b": [RNG.normal(size=()), RNG.normal(size=5)]}
NORM = math.sqrt(sum(np.sum(x**2) for x in (GRADS["a"], *GRADS["b"])))


def given(lib, dtype="float64"):
    return {
        "a": lib.asarray(GRADS["a"], dtype),
        "b": [lib.asarray(x, dtype) for x in GRADS["b"]],
    }


def test_by_value(lib):
    grads = given(lib)
    with lib.guard():
        clipped = clip_by_value(grads, 0.5)
    lib.close(clipped["a"], np.clip(GRADS["a"], -0.5, 0.5))
    lib.close(clipped["b"][1], np.clip(GRADS["b"][1], -0.5, 0.5))
    lib.close(grads["a"], GRADS["a"], 0)


def test_by_value_at_the_ends(lib):
    grads = lib.asarray([math.inf, -math.inf, math.nan, 0.0])
    lib.close(clip_by_value(grads, 2.0), [2.0, -2.0, math.nan, 0.0])


@pytest.mark.parametrize("max_norm", [0.01, 1.0, 1e6])
def test_by_norm(lib, max_norm):
    grads = given(lib)
    with lib.guard():
        clipped, norm = clip_by_global_norm(grads, max_norm)
    assert norm.shape == ()
    lib.close(norm, NORM, 1e-14)
    scale = min(1, max_norm / NORM)
    lib.close(clipped["a"], GRADS["a"] * scale, 1e-14)
    for i in range(2):
        lib.close(clipped["b"][i], GRADS["b"][i] * scale, 1e-14)
    lib.close(grads["a"], GRADS["a"], 0)


def test_by_norm_against_torch():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor(GRADS["a"], requires_grad=True)
    tensor.grad = torch.tensor(GRADS["a"])
    norm = torch.nn.utils.clip_grad_norm_([tensor], 0.5)
    [clipped], found = clip_by_global_norm([GRADS["a"]], 0.5)
    np.testing.assert_allclose(found, norm, rtol=1e-14)
    np.testing.assert_allclose(clipped, tensor.grad, rtol=1e-6)  # which adds 1e-6 to the norm


def test_by_norm_against_optax():
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    theirs = optax.clip_by_global_norm(0.5)
    grads = jax.tree.map(jax.numpy.asarray, GRADS)
    expected, _ = theirs.update(grads, theirs.init(grads))
    clipped, _ = clip_by_global_norm(grads, 0.5)
    np.testing.assert_allclose(clipped["b"][1], expected["b"][1], rtol=1e-14)


def test_within_the_norm_nothing_changes(lib):
    grads = given(lib, "float32")
    clipped, norm = clip_by_global_norm(grads, NORM * 1.0001)
    assert norm.dtype == lib.xp.float32
    assert clipped["a"].dtype == lib.xp.float32
    np.testing.assert_array_equal(lib.to_host(clipped["a"]), GRADS["a"].astype("float32"))


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_squares_neither_overflow_nor_underflow(lib, size):
    grads = [lib.asarray([3 * size], "float32"), lib.asarray([-4 * size], "float32")]
    clipped, norm = clip_by_global_norm(grads, size)
    lib.close(norm, 5 * size, 1e-6)
    lib.close(clipped[0], [0.6 * size], 1e-6)
    lib.close(clipped[1], [-0.8 * size], 1e-6)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_stays_visible_where_it_is(lib, bad):
    grads = {"a": lib.asarray([bad, 1.0]), "b": lib.asarray([2.0])}
    clipped, norm = clip_by_global_norm(grads, 0.5)
    lib.close(clipped["a"], [bad, 1.0])
    lib.close(clipped["b"], [2.0])
    assert not np.isfinite(lib.to_host(norm))


def test_gradients_of_zero_and_without_entries(lib):
    grads = [lib.asarray([0.0, 0.0]), lib.asarray(np.zeros((0, 3)))]
    clipped, norm = clip_by_global_norm(grads, 1.0)
    lib.close(norm, 0.0)
    lib.close(clipped[0], [0.0, 0.0])
    assert clipped[1].shape == (0, 3)


def test_dtypes_may_differ(lib):
    grads = [lib.asarray([3.0], "float32"), lib.asarray([4.0])]
    clipped, norm = clip_by_global_norm(grads, 1.0)
    assert (norm.dtype, clipped[0].dtype) == (lib.xp.float64, lib.xp.float32)
    lib.close(clipped[1], [0.8], 1e-14)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf])
def test_limits_out_of_range(bad):
    for function, name in [(clip_by_value, "limit"), (clip_by_global_norm, "max_norm")]:
        message = f"{function.__name__}: {name} must be finite and larger than 0, got {bad}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            function([np.ones(2)], bad)


def test_there_must_be_gradients():
    with pytest.raises(ValueError, match=r"^clip_by_global_norm: expected at least one gradient"):
        clip_by_global_norm({}, 1.0)
