"""The network and its training step in other libraries, as their own users would write them."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from network import CLASSES, Contestant, Problem, UnavailableError, require

# For those that add it before the bias is corrected: what the usual 1e-8 is to them at step 3.
EARLY_EPS = 1e-8 * math.sqrt(1 - 0.999**3)


def torch_default(problem: Problem) -> Contestant:
    """PyTorch as its tutorials show it, with the optimizer's default implementation."""
    return _torch(problem)


def torch_fused(problem: Problem) -> Contestant:
    """PyTorch with the fused implementation of the optimizer."""
    return _torch(problem, fused=True)


def torch_compile(problem: Problem) -> Contestant:
    """PyTorch with model and loss through torch.compile, and the fused optimizer."""
    return _torch(problem, fused=True, compiled=True)


def _torch(problem: Problem, *, fused: bool | None = None, compiled: bool = False) -> Contestant:
    torch = require("torch")
    layers = []
    for weight, bias in problem.weights:
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        layers += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    kind = getattr(torch.optim, problem.optimizer)
    optimizer = kind(model.parameters(), lr=problem.rate, fused=fused)
    schedule, steps = problem.schedule, itertools.count()

    def forward(x: Any) -> Any:
        return model(x.float().div_(255) if problem.from_bytes else x)

    def loss_of(x: Any, y: Any) -> Any:
        return torch.nn.functional.cross_entropy(forward(x), y)

    if compiled:
        _check_compiler()
        torch.compiler.reset()  # else what was compiled for an earlier model counts against it
        loss_of = torch.compile(loss_of, dynamic=False)

    def step(x: Any, y: Any) -> float:
        if schedule is not None:
            optimizer.param_groups[0]["lr"] = schedule(next(steps))
        optimizer.zero_grad()
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def predict(x: Any) -> np.ndarray:
        return forward(x).numpy()

    return Contestant(step, torch.from_numpy, predict)


@functools.cache
def _check_compiler() -> None:
    torch = require("torch")
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.ones(2))
    except Exception as error:  # what a compiler that is missing or broken raises is not fixed
        reason = next(iter(str(error).split("\n")), "")
        raise UnavailableError(f"torch.compile does not work here: {reason}") from error


def jax_jit(problem: Problem) -> Contestant:
    """JAX with the whole step under jit, the state donated; the optimizer is optax's if there."""
    jax = require("jax")
    jnp = jax.numpy

    # By hand if optax is missing: state and parameters are lists of arrays, as optax takes them.
    try:
        optax = require("optax")
    except UnavailableError:
        start, update = written_out(problem)
    else:
        rule = {"SGD": optax.sgd, "Adam": optax.adam}[problem.optimizer](problem.rate)
        start = rule.init

        def update(parameters: Any, grads: Any, state: Any) -> tuple[Any, Any]:
            changes, state = rule.update(grads, state)
            return optax.apply_updates(parameters, changes), state

    def forward(parameters: Any, x: Any) -> Any:
        for layer in range(0, len(parameters), 2):
            x = (jax.nn.relu(x) if layer else x) @ parameters[layer] + parameters[layer + 1]
        return x

    def loss_fn(parameters: Any, x: Any, y: Any) -> Any:
        scores = jax.nn.log_softmax(forward(parameters, x))
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def jitted(parameters: Any, state: Any, x: Any, y: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_fn)(parameters, x, y)
        return *update(parameters, grads, state), loss

    parameters = [jnp.array(array) for pair in problem.weights for array in (pair[0].T, pair[1])]
    held = [parameters, start(parameters)]

    def step(x: Any, y: Any) -> float:
        *held[:], loss = jitted(*held, x, y)
        return float(loss)

    predict = jax.jit(forward)
    return Contestant(step, jnp.array, lambda x: np.asarray(predict(held[0], x)))


def written_out(problem: Problem) -> tuple[Callable[[Any], Any], Callable[..., tuple[Any, Any]]]:
    """Return functions that start and make an update, in operators that all arrays have."""
    rate = problem.rate

    def sgd(parameters: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        return [p - rate * g for p, g in zip(parameters, grads, strict=True)], state

    def adam(parameters: Any, grads: Any, state: Any) -> tuple[Any, Any]:
        count, first, second = state
        count = count + 1
        first = [0.9 * m + 0.1 * g for m, g in zip(first, grads, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(second, grads, strict=True)]
        a, b = 1 - 0.9**count, 1 - 0.999**count
        parameters = [
            p - rate * (m / a) / ((v / b) ** 0.5 + 1e-8)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return parameters, (count, first, second)

    def start(parameters: Any) -> Any:
        return 0, [0 * p for p in parameters], [0 * p for p in parameters]

    return start, {"SGD": sgd, "Adam": adam}[problem.optimizer]


def scikit_learn(problem: Problem) -> Contestant:
    """One call of partial_fit for each batch, which also checks its input each time."""
    network = require("sklearn.neural_network")
    model = network.MLPClassifier(
        problem.hidden,
        solver=problem.optimizer.lower(),
        alpha=0.0,
        batch_size=problem.batch,
        learning_rate_init=problem.rate,
        epsilon=EARLY_EPS,
        momentum=0.0,
        shuffle=False,
    )
    # There is no other way to give it weights than to let it make its own and to overwrite them.
    model.partial_fit(*problem.batches[0], classes=np.arange(CLASSES))
    for own, pair in zip(
        zip(model.coefs_, model.intercepts_, strict=True), problem.weights, strict=True
    ):
        own[0][...], own[1][...] = pair[0].T, pair[1]
    del model._optimizer  # it has the moments of that call; the next one makes another

    def step(x: Any, y: Any) -> float:
        return float(model.partial_fit(x, y).loss_)

    return Contestant(step)


def hips_autograd(problem: Problem) -> Contestant:
    """HIPS autograd on NumPy, which leaves loss and optimizer to its users."""
    autograd, anp = require("autograd"), require("autograd.numpy")
    start, update = written_out(problem)

    def loss_fn(parameters: Any, x: Any, y: Any) -> Any:
        for layer in range(0, len(parameters), 2):
            x = anp.maximum(x, 0) if layer else x
            x = anp.dot(x, parameters[layer]) + parameters[layer + 1]
        x = x - anp.max(x, axis=1, keepdims=True)
        x = x - anp.log(anp.sum(anp.exp(x), axis=1, keepdims=True))
        return -anp.mean(x[np.arange(len(y)), y])

    gradient = autograd.value_and_grad(loss_fn)
    parameters = [np.array(array) for pair in problem.weights for array in (pair[0].T, pair[1])]
    held = [parameters, start(parameters)]

    def step(x: Any, y: Any) -> float:
        loss, grads = gradient(held[0], x, y)
        held[:] = update(held[0], grads, held[1])
        return float(loss)

    return Contestant(step)


def thinc(problem: Problem) -> Contestant:
    """Thinc, whose Softmax layer takes the gradient of the logits; the loss is by hand."""
    api = require("thinc.api")
    shapes = list(itertools.pairwise(problem.widths))
    layers = [api.Relu(n_out, n_in) for n_in, n_out in shapes[:-1]]
    model = api.chain(*layers, api.Softmax(*reversed(shapes[-1])))
    model.initialize()
    for layer, (weight, bias) in zip(model.layers, problem.weights, strict=True):
        layer.set_param("W", weight.copy())
        layer.set_param("b", bias.copy())
    settings = {"L2": 0.0, "grad_clip": 0.0, "use_averages": False}
    if problem.optimizer == "Adam":
        optimizer = api.Adam(problem.rate, eps=EARLY_EPS, **settings)
    else:
        optimizer = api.SGD(problem.rate, **settings)

    def step(x: Any, y: Any) -> float:
        rows = np.arange(len(y))
        probabilities, pull = model.begin_update(x)
        loss = -np.mean(np.log(probabilities[rows, y]))
        gradient = probabilities.copy()
        gradient[rows, y] -= 1
        gradient /= len(y)
        pull(gradient)
        model.finish_update(optimizer)
        return float(loss)

    return Contestant(step)
