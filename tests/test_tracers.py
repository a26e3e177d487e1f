"""Within JAX's own transformations: its tracers are arrays that have no device."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn, special
from xpnet.errors import TracedArrayError

jax = pytest.importorskip("jax")

LABELS = np.asarray([2, 0, 1, 1])
TRANSFORMATIONS: dict[str, Any] = {
    "jit": jax.jit,
    "vmap": lambda f: lambda x: jax.vmap(f)(x[None])[0],
    "differentiate": lambda f: lambda x: jax.vjp(f, x)[0],
    "differentiate in jit": lambda f: jax.jit(lambda x: jax.vjp(f, x)[0]),
}


def loss(x: Any) -> Any:
    return losses.cross_entropy(x, jax.numpy.asarray(LABELS))


def energy(x: Any) -> Any:
    xp = xn.array_namespace(x)
    return xp.sum(xp.cumulative_sum(x[:, 1:] ** 3, axis=0) * x[:1, :2])


FUNCTIONS: dict[str, Any] = {
    "cross_entropy": loss,
    "gradient of cross_entropy": xn.grad(loss),
    "gradient": xn.grad(energy),
    "hessian": xn.hessian(energy),
    "a trace": xn.grad(lambda x: xn.array_namespace(x).linalg.trace(x[:3] @ x[1:])),
    "device": xn.grad(lambda x: xn.array_namespace(x).ones(4, device=x.device) @ x[:, 0]),
    "dropout": lambda x: nn.Dropout(0.5, rng=xn.Generator(3))(x),
    "metric": lambda x: metrics.accuracy(x, jax.numpy.asarray(LABELS)),
    "one_hot": lambda x: special.one_hot(xn.array_namespace(x).argmax(x, axis=1), 5),
    "scatter_add": lambda x: special.scatter_add(x, x[1:3] > 0, x[0]),
}


@pytest.fixture
def x() -> Iterator[Any]:
    with xn.use_backend("jax"):
        yield xn.asarray(np.random.default_rng(0).normal(size=(4, 3)))


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions(function: str, x: Any) -> None:
    compute = FUNCTIONS[function]
    np.testing.assert_allclose(jax.jit(compute)(x), compute(x), rtol=1e-12)


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
def test_a_compiled_function_is_the_plain_one(transformation: str, x: Any) -> None:
    model = nn.Linear(3, 3, dtype="float64")
    step = xn.compile(lambda model, x: model(x) * 2)
    for expected in (0, 1):  # before and after it was recorded
        actual = TRANSFORMATIONS[transformation](lambda x: step(model, x))(x)
        assert step.recordings == expected
        np.testing.assert_allclose(actual, step(model, x), rtol=1e-12)
    assert step.recordings == 1


def test_a_program_keeps_nothing_of_a_call_within_jit(x: Any) -> None:
    """All that is computed there is a tracer, also of arrays that are none."""

    def step(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return x * xp.arange(3, dtype=x.dtype)

    compiled = xn.compile(step)
    jitted = jax.jit(lambda: compiled(x))
    for _ in range(2):
        np.testing.assert_allclose(jitted(), step(x), rtol=1e-12)
        np.testing.assert_allclose(compiled(x), step(x), rtol=1e-12)


def test_random_numbers_keep_nothing_of_a_call_within_jit() -> None:
    shape = (7, 13)
    draws, expected = xn.Generator(3), xn.Generator(3)
    for n in range(12):
        draw = jax.jit(lambda: draws.bernoulli(jax.numpy, 0.5, shape)) if n < 9 else None
        actual = draw() if draw else draws.bernoulli(jax.numpy, 0.5, shape)
        np.testing.assert_array_equal(actual, expected.bernoulli(np, 0.5, shape))


def test_a_first_batch_makes_no_parameters(x: Any) -> None:
    model = nn.Linear(None, 2)
    with pytest.raises(TracedArrayError, match=r"xn\.grad or a transformation of the library"):
        jax.jit(model)(x)
    assert model.weight is None
