"""The same parameters mean the same as in scikit-learn's own estimators."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from sklearn import neural_network as theirs

from xpnet.interop import sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

ADDED = {"dropout": 0.0, "callbacks": None, "backend": None, "device": None, "compile": True}


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters(name: str) -> None:
    """Names, order and defaults are scikit-learn's, and ours come behind."""

    def defaults(module: Any) -> dict[str, Any]:
        signature = inspect.signature(getattr(module, name).__init__)
        return {key: value.default for key, value in list(signature.parameters.items())[1:]}

    added = {"class_weight": None} | ADDED if name == "MLPClassifier" else ADDED
    assert list(defaults(ours).items()) == [*defaults(theirs).items(), *added.items()]


def problem(kind: str) -> tuple[str, np.ndarray, np.ndarray, dict[str, Any]]:
    """Return name of the estimator, data and settings of a kind of problem."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    score = x @ np.array([1.0, -2.0, 0.5])
    if kind == "two classes":
        return "MLPClassifier", x, np.where(score > 0, "yes", "no"), {}
    if kind == "three classes":
        return "MLPClassifier", x, np.digitize(score, [-1, 1]) * 10, {}
    if kind == "labels":
        return "MLPClassifier", x, np.stack([score > 0, score > 1], axis=1).astype(int), {}
    if kind == "numbers":
        return "MLPRegressor", x, score, {}
    if kind == "vectors":
        return "MLPRegressor", x, np.stack([score, score**2], axis=1), {}
    return "MLPRegressor", x, np.floor(np.exp(score / 2)), {"loss": "poisson"}


KINDS = ["two classes", "three classes", "labels", "numbers", "vectors", "counts"]


def twins(kind: str, **settings: Any) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Return their estimator and ours after a first step, with the same weights, and data."""
    name, x, y, own = problem(kind)
    settings = {"hidden_layer_sizes": (6, 4), "warm_start": True} | own | settings
    pair = [getattr(module, name)(random_state=0, **settings) for module in (theirs, ours)]
    for each in pair:
        max_iter = each.max_iter
        each.set_params(max_iter=1).fit(x, y)
        each.set_params(max_iter=max_iter)
        each.best_loss_, each._no_improvement_count = np.inf, 0
    their, our = pair
    for layer, weight, bias in zip(our._layers(), their.coefs_, their.intercepts_, strict=True):
        layer.weight, layer.bias = weight.T, bias
    return their, our, x, y


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
def test_training(kind: str, activation: str, weighted: bool) -> None:
    """From the same weights on, losses, weights and predictions are the same."""
    their, our, x, y = twins(
        kind,
        activation=activation,
        solver="sgd",
        learning_rate_init=0.01,
        alpha=0.3,
        shuffle=False,
        batch_size=16,
        max_iter=3,
    )
    weight = np.linspace(0.5, 2.0, len(x)) if weighted else None
    for each in (their, our):
        each.fit(x, y, sample_weight=weight)
    for theirs_, ours_ in zip(
        their.coefs_ + their.intercepts_, our.coefs_ + our.intercepts_, strict=True
    ):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-8, atol=1e-10)
    if kind != "vectors" and not weighted:
        np.testing.assert_allclose(our.loss_curve_[-3:], their.loss_curve_[-3:], rtol=1e-10)
    np.testing.assert_array_equal(our.predict(x) == y, their.predict(x) == y)
    if hasattr(our, "predict_proba"):
        np.testing.assert_allclose(our.predict_proba(x), their.predict_proba(x), rtol=1e-7)
        np.testing.assert_allclose(our.predict_log_proba(x), their.predict_log_proba(x), rtol=1e-6)
    else:
        np.testing.assert_allclose(our.predict(x), their.predict(x), rtol=1e-7)
    for name in ("n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_", "out_activation_"):
        assert getattr(our, name) == getattr(their, name), name


@pytest.mark.parametrize(
    "settings",
    [
        {"solver": "adam", "epsilon": 1e-14, "beta_1": 0.8, "beta_2": 0.9},
        {"solver": "sgd", "momentum": 0.0},
        {"solver": "sgd", "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "power_t": 0.1},
        {"solver": "sgd", "momentum": 0.0, "learning_rate": "adaptive", "n_iter_no_change": 1},
        {"solver": "lbfgs", "tol": 0.0, "max_iter": 5},
    ],
    ids=["adam", "sgd", "momentum", "invscaling", "adaptive", "lbfgs"],
)
def test_solvers(settings: dict[str, Any]) -> None:
    common = {"shuffle": False, "max_iter": 8, "learning_rate_init": 0.02, "tol": 0.03}
    their, our, x, y = twins("three classes", **(common | settings))
    for each in (their, our):
        each.fit(x, y)
    assert our.loss_ == pytest.approx(their.loss_, rel=1e-6)
    for theirs_, ours_ in zip(their.coefs_, our.coefs_, strict=True):
        np.testing.assert_allclose(ours_, theirs_, rtol=1e-5, atol=1e-8)
    assert our.n_iter_ == their.n_iter_


def test_stopping() -> None:
    """It stops in the same epoch."""
    their, our, x, y = twins(
        *("three classes",),
        max_iter=300,
        learning_rate_init=0.02,
        tol=1e-2,
        batch_size=40,
        epsilon=1e-14,
    )
    for each in (their, our):
        each.fit(x, y)
    assert our.n_iter_ == their.n_iter_ < 300
    assert our.best_loss_ == pytest.approx(their.best_loss_)
    np.testing.assert_allclose(our.loss_curve_[1:], their.loss_curve_[1:], rtol=1e-6)


@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_initial_weights_fill_the_same_interval(activation: str) -> None:
    _, x, y, _ = problem("two classes")
    settings = {"activation": activation, "hidden_layer_sizes": (300,), "max_iter": 1}
    for estimator in (theirs.MLPClassifier, ours.MLPClassifier):
        model = estimator(**settings, learning_rate_init=1e-9, random_state=1).fit(x, y)
        bound = np.sqrt((2 if activation == "logistic" else 6) / 303)
        for drawn in (model.coefs_[0], model.intercepts_[0]):
            assert 0.97 < np.max(np.abs(drawn)) / bound < 1 + 1e-6
            assert abs(np.mean(drawn)) < 0.1 * bound


@pytest.mark.parametrize(
    "settings",
    [
        *({"alpha": -1}, {"batch_size": 0}, {"hidden_layer_sizes": (3, -1)}, {"max_iter": 0}),
        *({"solver": "newton"}, {"activation": "gelu"}, {"beta_1": 1.0}, {"dropout": 1.0}),
        *({"validation_fraction": 1.0}, {"class_weight": "equal"}, {"n_iter_no_change": 0.5}),
        *({"solver": "lbfgs", "dropout": 0.5}, {"solver": "lbfgs", "callbacks": [print]}),
    ],
    ids=str,
)
def test_wrong_parameters(settings: dict[str, Any]) -> None:
    _, x, y, _ = problem("two classes")
    with pytest.raises(ValueError, match="|".join(settings)):
        ours.MLPClassifier(**settings).fit(x, y)
