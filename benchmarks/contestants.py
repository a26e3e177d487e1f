"""All that train the same network: the products alone, ours, and those of other libraries.

A multilayer perceptron with ReLU and cross-entropy. What a library is missing, or cannot do here,
raises `UnavailableError` with the reason.
"""

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import mock

import numpy as np
import peers
from network import Contestant, Problem, UnavailableError, require


def products(problem: Problem) -> Contestant:
    """Only the matrix products of a step, into arrays that are there and warm."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.random(shape, np.float32)

    calls = []
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(problem.widths)):
        x, w, y = array(problem.batch, n_in), array(n_in, n_out), array(problem.batch, n_out)
        calls += [(x, w, y), (x.T, y, array(n_in, n_out))]
        if layer:
            calls.append((y, w.T, array(problem.batch, n_in)))

    def step(x: Any, y: Any) -> float:
        for first, second, out in calls:
            np.matmul(first, second, out=out)
        return math.nan

    return Contestant(step)


def xpnet_plain(problem: Problem) -> Contestant:
    """Our library, every operation called as it comes."""
    return _xpnet(problem, lambda function: function)


def xpnet_compiled(problem: Problem) -> Contestant:
    """Our library, the step recorded once and then replayed by NumPy alone."""
    return _xpnet(problem, functools.partial(_compile, numba=False))


def xpnet_fast(problem: Problem) -> Contestant:
    """Our library, the step recorded and replayed with kernels that Numba compiles."""
    with _switched(numba=True):  # which it reads when it is imported
        require("numba")
    return _xpnet(problem, functools.partial(_compile, numba=True))


def _compile(function: Callable[..., Any], *, numba: bool) -> Callable[..., Any]:
    """Return a compiled function that finds Numba switched on or off when it is recorded.

    That may happen twice: a step that makes new state is recorded once more.
    """
    import xpnet as xn

    compiled = xn.compile(function)
    switched = iter(range(2))

    def call(*args: Any) -> Any:
        if next(switched, None) is None:
            return compiled(*args)
        with _switched(numba=numba):
            return compiled(*args)

    return call


def _switched(*, numba: bool) -> Any:
    return mock.patch.dict(os.environ, NUMBA_DISABLE_JIT=str(int(not numba)))


def model_of(problem: Problem) -> Any:
    """Return the network as a model of ours, on NumPy."""
    import xpnet as xn
    from xpnet import nn

    layers: list[Any] = [nn.Rescale()] if problem.from_bytes else []
    with xn.use_backend("numpy"):
        for n_in, n_out in itertools.pairwise(problem.widths):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        model.load_state_dict(
            {
                f"{2 * layer + problem.from_bytes}.{name}": array
                for layer, pair in enumerate(problem.weights)
                for name, array in zip(("weight", "bias"), pair, strict=True)
            }
        )
    return model


def _xpnet(problem: Problem, transform: Callable[[Any], Any]) -> Contestant:
    import xpnet as xn
    from xpnet import losses, optim

    model = model_of(problem)
    kind = {"SGD": optim.SGD, "Adam": optim.Adam}[problem.optimizer]
    optimizer = kind(problem.schedule or problem.rate)

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return losses.cross_entropy(model(x), y)

    @transform
    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return loss

    @transform
    def predict(model: Any, x: Any) -> Any:
        return model(x)

    return Contestant(
        lambda x, y: float(step(model, optimizer, x, y)),
        predict=lambda x: np.asarray(predict(model, x)),
    )


CONTESTANTS: dict[str, Callable[[Problem], Contestant]] = {
    "products": products,
    "xpnet": xpnet_plain,
    "xpnet-compiled": xpnet_compiled,
    "xpnet-fast": xpnet_fast,
    "torch": peers.torch_default,
    "torch-fused": peers.torch_fused,
    "torch-compile": peers.torch_compile,
    "jax": peers.jax_jit,
    "sklearn": peers.scikit_learn,
    "thinc": peers.thinc,
    "autograd": peers.hips_autograd,
}
TITLES = {
    "products": "the products alone",
    "xpnet": "xpnet",
    "xpnet-compiled": "xpnet, compiled",
    "xpnet-fast": "xpnet, compiled with Numba",
    "torch": "PyTorch",
    "torch-fused": "PyTorch, fused optimizer",
    "torch-compile": "PyTorch, torch.compile",
    "jax": "JAX, jit",
    "sklearn": "scikit-learn, partial_fit",
    "thinc": "thinc",
    "autograd": "HIPS autograd",
}


def available(
    makes: Mapping[str, Callable[[Problem], Contestant]], problem: Problem
) -> tuple[list[str], dict[str, str]]:
    """Return the names of those that can take part, and the reasons of those that cannot."""
    there, missing = [], {}
    for name, make in makes.items():
        try:
            make(problem)
        except UnavailableError as error:
            missing[name] = str(error)
        else:
            there.append(name)
    return there, missing


def losses(names: Iterable[str], problem: Problem, steps: int = 5) -> dict[str, list[float]]:
    """Return the losses of the first steps of each that computes any."""
    found = {}
    for name in names:
        call = CONTESTANTS[name](problem).training(problem)
        found[name] = [call(i) for i in range(steps)]
    return {name: values for name, values in found.items() if not math.isnan(values[0])}


def check_agreement(results: Mapping[str, Any], *, tolerance: float = 1e-4) -> None:
    """End the program unless all have computed the same, relative to the largest number.

    Rounding alone makes up to half of that: where a sum before a ReLU is within rounding of zero,
    libraries disagree whether its weights have a gradient, and Adam enlarges a small one.
    """
    if not results:
        return
    (first, truth), *others = results.items()
    allowed = tolerance * float(np.max(np.abs(truth)))
    for name, values in others:
        error = float(np.max(np.abs(np.asarray(values) - np.asarray(truth))))
        if not error <= allowed:
            raise SystemExit(
                f"{name} and {first} do not compute the same: they differ by {error:.2g}, "
                f"allowed is {allowed:.2g}"
            )
