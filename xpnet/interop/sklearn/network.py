"""The network of an estimator, and its training by L-BFGS."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.exceptions import ConvergenceWarning

from xpnet import nn, optim, program
from xpnet._typing import Array, HostArray
from xpnet.autodiff import value_and_grad
from xpnet.interop.sklearn.training import penalised, say
from xpnet.interop.sklearn.warning import warn
from xpnet.random import Generator
from xpnet.transfer import to_host

__all__ = ["ACTIVATIONS", "OPTIMIZERS", "fit_lbfgs", "make_network", "make_optimizer"]

ACTIVATIONS = {
    "identity": nn.Identity,
    "logistic": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
OPTIMIZERS: dict[str, type[optim.Optimizer]] = {"adam": optim.Adam, "sgd": optim.SGD}


def make_network(
    rng: Generator, *, units: Sequence[int], activation: str, dropout: float, dtype: str
) -> nn.Sequential:
    """Return a network of layers of these widths, on the selected backend.

    Weights and biases are drawn from U(-b, b) with ``b = sqrt(6 / (fan_in + fan_out))``, and 2 in
    the place of 6 for logistic units, as in scikit-learn.
    """
    layers: list[nn.Module] = []
    factor = 2.0 if activation == "logistic" else 6.0
    for fan_in, fan_out in itertools.pairwise(units):
        if layers:
            layers.append(ACTIVATIONS[activation]())
            if dropout:
                layers.append(nn.Dropout(dropout, rng=rng))
        layer = nn.Linear(fan_in, fan_out, rng=rng, dtype=dtype)
        bound = math.sqrt(factor / (fan_in + fan_out))
        layer.weight = rng.uniform((fan_out, fan_in), -bound, bound, dtype=dtype)
        layer.bias = rng.uniform((fan_out,), -bound, bound, dtype=dtype)
        layers.append(layer)
    return nn.Sequential(*layers)


def make_optimizer(estimator: Any) -> optim.Optimizer:
    """Return the optimizer that the parameters of an estimator ask for."""
    rate = estimator.learning_rate_init
    if estimator.solver == "adam":
        betas = (estimator.beta_1, estimator.beta_2)
        return optim.Adam(rate, betas=betas, eps=estimator.epsilon)
    momentum = estimator.momentum
    nesterov = bool(estimator.nesterovs_momentum and momentum)
    return optim.SGD(rate, momentum=momentum, nesterov=nesterov)


def fit_lbfgs(
    estimator: Any, model: nn.Sequential, loss: Any, x: Array, y: Array, weight: Array | None
) -> None:
    """Train by L-BFGS on all samples at once; the weights go to the host and back every time."""
    alpha = float(estimator.alpha)

    def forward(model: nn.Module, x: Array, y: Array, weight: Array | None) -> Array:
        return penalised(model, loss, alpha, x, y, weight)[0]

    step: Any = value_and_grad(forward)
    if estimator.compile:
        step = program.compile(step)
    names = list(model.parameters())

    def packed(arrays: dict[str, Array]) -> HostArray:
        return np.concatenate([to_host(arrays[name]).ravel() for name in names], dtype=np.float64)

    def unpack(vector: HostArray) -> None:
        shapes = [tuple(array.shape) for array in model.parameters().values()]
        parts = np.split(vector, np.cumsum([math.prod(shape) for shape in shapes])[:-1])
        state = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
        model.load_state_dict(dict(zip(names, state, strict=True)))

    def evaluate(vector: HostArray) -> tuple[float, HostArray]:
        unpack(vector)
        value, grads = step(model, x, y, weight)
        return float(to_host(value)), packed(grads)

    def show(intermediate_result: Any) -> None:
        say(estimator, f"loss = {intermediate_result.fun:.8f}")

    found = minimize(
        evaluate,
        packed(model.parameters()),
        method="L-BFGS-B",
        jac=True,
        callback=show,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
        },
    )
    unpack(found.x)
    estimator.n_iter_, estimator.loss_ = min(found.nit, estimator.max_iter), float(found.fun)
    if not found.success:
        warn(
            f"L-BFGS has not converged after {found.nit} iterations and {found.nfev} evaluations "
            f"of the loss ({found.message}); scale the data, or raise max_iter, max_fun or tol.",
            ConvergenceWarning,
        )
