"""What scikit-learn's own estimators have not, and life among scikit-learn's tools."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import recall_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xpnet as xn
from xpnet import callbacks
from xpnet.interop.sklearn import MLPClassifier, MLPRegressor

SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "learning_rate_init": 0.05,
    "tol": 0.0,
    "max_iter": 5,
    "batch_size": 30,
    "random_state": 0,
}
quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
Blobs = tuple[np.ndarray, np.ndarray]


# What was asked for


def test_balanced_weights_raise_the_recall_of_a_rare_class() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(600) % 20 == 0
    x = rng.normal(size=(600, 2)) + 1.2 * y[:, None]
    settings = {"hidden_layer_sizes": (), "solver": "lbfgs", "random_state": 0}
    recall = [
        recall_score(y, MLPClassifier(**settings, class_weight=weight).fit(x, y).predict(x))
        for weight in (None, "balanced")
    ]
    assert recall[1] > recall[0] + 0.4


@quiet
def test_weights_of_classes_multiply_those_of_samples(blobs: Blobs) -> None:
    x, y = blobs
    weight = np.linspace(1.0, 2.0, len(y))
    own = MLPClassifier(**SETTINGS, class_weight={1: 3.0}).fit(x, y, sample_weight=weight)
    expected = MLPClassifier(**SETTINGS).fit(x, y, sample_weight=np.where(y == 1, 3, 1) * weight)
    assert own.loss_curve_ == pytest.approx(expected.loss_curve_)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, -np.inf])
def test_weights_of_classes_that_are_none(blobs: Blobs, weight: float) -> None:
    message = f"class_weight: expected weights that are not negative,.* got {weight} for class 1"
    with pytest.raises(ValueError, match=message):
        MLPClassifier(**SETTINGS, class_weight={0: 0.0, 1: weight}).fit(*blobs)


@quiet
def test_samples_of_weight_zero_do_not_count(blobs: Blobs) -> None:
    """Nor do batches of them, which have no mean."""
    x, y = blobs
    settings = SETTINGS | {"solver": "sgd", "shuffle": False, "momentum": 0.0, "alpha": 0.0}
    weight = np.where(np.arange(90) < 30, 0.0, 1.0)
    own = MLPClassifier(**settings).fit(x, y, sample_weight=weight)
    expected = MLPClassifier(**settings).fit(x[30:], y[30:])
    np.testing.assert_allclose(own.coefs_[0], expected.coefs_[0], rtol=1e-10)


@quiet
def test_dropout(blobs: Blobs) -> None:
    x, y = blobs
    runs = [MLPClassifier(**SETTINGS, dropout=0.5).fit(x, y) for _ in range(2)]
    assert runs[0].loss_curve_ == runs[1].loss_curve_
    assert runs[0].loss_curve_ != MLPClassifier(**SETTINGS).fit(x, y).loss_curve_
    probabilities = runs[0].predict_proba(x)
    np.testing.assert_array_equal(probabilities, runs[0].predict_proba(x))
    again = pickle.loads(pickle.dumps(runs[0]))
    for run in (runs[0], again):
        run.partial_fit(x, y)
    assert again.loss_curve_ == runs[0].loss_curve_


@quiet
def test_validation(blobs: Blobs) -> None:
    """The weights of the best score stay; the losses do not contain the penalty."""
    x, y = blobs
    rng = np.random.default_rng(0)
    y = np.where(rng.random(90) < 0.3, rng.integers(0, 3, 90), y)
    model = MLPClassifier(**SETTINGS | {"max_iter": 30, "alpha": 10.0}, early_stopping=True)
    seen: list[np.ndarray] = []
    keep = lambda trainer, logs: seen.append(model.coefs_[0].copy())  # noqa: E731
    model.set_params(callbacks=[keep]).fit(x, y)
    assert len(model.validation_scores_) == len(model.validation_loss_curve_) == model.n_iter_
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    best = int(np.argmax(model.validation_scores_))
    np.testing.assert_array_equal(model.coefs_[0], seen[best])
    assert model.loss_curve_[0] > model.validation_loss_curve_[0] + 0.1
    plain = MLPClassifier(**SETTINGS).fit(x, y)
    assert plain.validation_loss_curve_ is None
    assert plain.validation_scores_ is None


@quiet
def test_validation_data_have_a_share_of_each_class() -> None:
    y = np.repeat([0, 1, 2], [60, 30, 10])
    taken: list[np.ndarray] = []

    def look(trainer: Any, logs: Any) -> None:
        taken.append(
            np.concatenate([np.asarray(batch[0]) for batch in trainer._validation.from_(0)])
        )

    x = np.arange(100.0)[:, None]
    settings = SETTINGS | {"callbacks": [look], "max_iter": 1, "early_stopping": True}
    for seed in range(3):
        MLPClassifier(**settings | {"random_state": seed}, validation_fraction=0.2).fit(x, y)
        rows = taken[-1][:, 0].astype(int)
        assert np.bincount(y[rows]).tolist() == [12, 6, 2]
    assert not np.array_equal(taken[0], taken[1])


@quiet
def test_callbacks(blobs: Blobs) -> None:
    stopping = callbacks.EarlyStopping("val_loss", patience=2, min_delta=10.0)
    settings = SETTINGS | {"max_iter": 50, "early_stopping": True}
    model = MLPClassifier(**settings, callbacks=[stopping]).fit(*blobs)
    assert model.n_iter_ == 3


def test_seeds(blobs: Blobs) -> None:
    """No global state is read or changed; without a seed each training is another."""

    def curve(random_state: Any) -> Any:
        with pytest.warns(ConvergenceWarning):
            model = MLPClassifier(**SETTINGS | {"random_state": random_state}).fit(*blobs)
        return model.loss_curve_

    before = np.random.get_state()[1].copy()
    assert curve(None) != curve(None)
    assert curve(np.random.RandomState(3)) == curve(np.random.RandomState(3)) != curve(3)
    xn.seed(5)
    expected = curve(3)
    xn.seed(6)
    assert curve(3) == expected
    np.testing.assert_array_equal(np.random.get_state()[1], before)


# Data


@quiet
@pytest.mark.parametrize("kind", ["csr_matrix", "csc_array"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_samples(blobs: Blobs, kind: str, solver: str) -> None:
    x, y = blobs
    x = np.where(x > 0.5, x, 0.0)
    settings = SETTINGS | {"solver": solver, "early_stopping": True}
    dense = MLPClassifier(**settings).fit(x, y)
    model = MLPClassifier(**settings).fit(getattr(sparse, kind)(x), y)
    assert model.loss_ == pytest.approx(dense.loss_)
    np.testing.assert_allclose(
        model.predict_proba(getattr(sparse, kind)(x)), dense.predict_proba(x), rtol=1e-8
    )


@quiet
def test_sparse_labels(blobs: Blobs, tmp_path: Path) -> None:
    """They are predicted as what they were given as, as by scikit-learn's, and by copies."""
    x, y = blobs
    several = np.stack([y == 0, y != 1], axis=1).astype(int)
    dense = MLPClassifier(**SETTINGS).fit(x, several)
    model = MLPClassifier(**SETTINGS).fit(x, sparse.csc_array(several))
    for each in (model, *copies(model, tmp_path)):
        found = each.predict(x)
        assert isinstance(found, sparse.csr_matrix)
        np.testing.assert_array_equal(found.toarray(), dense.predict(x))
        assert each.score(x, sparse.csr_matrix(several)) == dense.score(x, several)
    assert isinstance(model.fit(x, several).predict(x), np.ndarray)


@quiet
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(blobs: Blobs, library: str) -> None:
    frames = pytest.importorskip(library)
    x, y = blobs
    names = list("abcd")
    frame = frames.DataFrame(dict(zip(names, x.T, strict=True)))
    labels = frames.Series(np.array(["p", "q", "r"])[y].tolist())
    model = MLPClassifier(**SETTINGS).fit(frame, labels)
    assert model.feature_names_in_.tolist() == names
    expected = MLPClassifier(**SETTINGS).fit(x, np.array(["p", "q", "r"])[y])
    np.testing.assert_array_equal(model.predict(frame), expected.predict(x))
    assert model.score(frame, labels) == expected.score(x, np.array(["p", "q", "r"])[y])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("abdc")])
    numbers = MLPRegressor(**SETTINGS).fit(frame, frame[["a", "b"]])
    assert numbers.predict(frame).shape == (90, 2)


# Going on


@quiet
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_epochs_one_by_one(estimator: Any, blobs: Blobs) -> None:
    """Calls of `partial_fit` are the epochs of `fit`, with a pickle between them too."""
    x, y = blobs
    whole = estimator(**SETTINGS).fit(x, y)
    model = estimator(**SETTINGS)
    classes = {"classes": np.unique(y)} if estimator is MLPClassifier else {}
    for _ in range(SETTINGS["max_iter"]):
        model = pickle.loads(pickle.dumps(model.partial_fit(x, y, **classes)))
    np.testing.assert_allclose(model.loss_curve_, whole.loss_curve_, rtol=1e-12)
    np.testing.assert_allclose(model.coefs_[1], whole.coefs_[1], rtol=1e-10)
    assert model.n_iter_ == 1
    assert model.t_ == whole.t_


def test_partial_fit_compiles_once(blobs: Blobs) -> None:
    model = MLPRegressor(**SETTINGS)
    for _ in range(3):
        model.partial_fit(*blobs)
    assert model._training._compiled.recordings == 1


def test_wrong_calls_of_partial_fit(blobs: Blobs) -> None:
    x, y = blobs
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        MLPClassifier().partial_fit(x, y)
    model = MLPClassifier().partial_fit(x[:9], y[:9] % 2, classes=[0, 1, 2])
    assert model.predict_proba(x).shape == (90, 3)
    with pytest.raises(ValueError, match="classes of the first call"):
        model.partial_fit(x, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"not in `self\.classes_`"):
        model.partial_fit(x, y + 1)
    with pytest.raises(ValueError, match="indicators of labels"):
        model.partial_fit(x, np.stack([y == 0, y == 1, y == 2], axis=1).astype(int))
    with pytest.raises(ValueError, match="balanced"):
        MLPClassifier(class_weight="balanced").partial_fit(x, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="early_stopping"):
        MLPRegressor(early_stopping=True).partial_fit(x, y)
    assert not hasattr(MLPRegressor(solver="lbfgs"), "partial_fit")


def test_warm_start(blobs: Blobs) -> None:
    x, y = blobs
    model = MLPClassifier(**SETTINGS, warm_start=True)
    for fits in (1, 2):
        with pytest.warns(ConvergenceWarning, match="max_iter=5"):
            model.fit(x, y)
        assert len(model.loss_curve_) == 5 * fits
    assert model.loss_curve_[5] < model.loss_curve_[0]
    with pytest.raises(ValueError, match="same classes"):
        model.fit(x, y % 2)


@quiet
@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"solver": "lbfgs"}, {"solver": "adam"}),
        ({"early_stopping": True}, {"early_stopping": False}),
        ({"early_stopping": False}, {"early_stopping": True}),
    ],
)
def test_going_on_with_another_kind_of_training(
    estimator: Any, blobs: Blobs, before: dict[str, Any], after: dict[str, Any]
) -> None:
    x, y = blobs
    model = estimator(**SETTINGS, compile=False, warm_start=True, **before).fit(x, y)
    old = getattr(model, "loss_curve_", [])
    done = len(old)
    model.set_params(**after).fit(x, y)
    assert len(model.loss_curve_) == done + 5
    early = model.early_stopping
    validated = (model.validation_scores_, model.validation_loss_curve_)
    assert [each and len(each) for each in validated] == [5 if early else None] * 2
    assert model.best_loss_ == (None if early else min(model.loss_curve_))
    assert model.best_validation_score_ == (max(model.validation_scores_) if early else None)
    if not early:
        model.partial_fit(x, y)
        assert len(model.loss_curve_) == done + 6


@quiet
def test_curves_are_those_of_the_last_training(blobs: Blobs) -> None:
    model = MLPRegressor(**SETTINGS, early_stopping=True).fit(*blobs)
    model.set_params(solver="lbfgs").fit(*blobs)
    for name in ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_"):
        assert not hasattr(model, name)


@quiet
def test_partial_fit_with_another_solver(blobs: Blobs) -> None:
    """Its first step is that of the new solver, without the averages of the old one."""
    settings = SETTINGS | {"batch_size": 90, "compile": False}
    model = MLPRegressor(**settings, solver="sgd").partial_fit(*blobs)
    before = [x.copy() for x in model.coefs_]
    model.set_params(solver="adam").partial_fit(*blobs)
    steps = [np.abs(new - old) for new, old in zip(model.coefs_, before, strict=True)]
    for step in steps:  # the first step of Adam: the rate, whatever the gradient
        np.testing.assert_allclose(step, SETTINGS["learning_rate_init"], rtol=1e-3)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_weights_that_weigh_nothing_or_less(blobs: Blobs, solver: str) -> None:
    x, y = blobs
    for estimator in (MLPClassifier(solver=solver), MLPRegressor(solver=solver)):
        with pytest.raises(ValueError, match=r"non-zero|got zeros only"):
            estimator.fit(x, y, sample_weight=np.zeros(90))
        with pytest.raises(ValueError, match="fit: expected a sample_weight that is not negative"):
            estimator.fit(x, y, sample_weight=np.where(y == 1, -0.5, 1.0))
    with pytest.raises(ValueError, match="class_weight: expected weights that are not all 0"):
        MLPClassifier(solver=solver, class_weight={0: 0.0, 1: 0.0, 2: 0.0}).fit(x, y)


@pytest.mark.parametrize("sizes", [True, (True,), (5, True), (5.0,), [[5]], (5, 0)])
def test_sizes_that_are_none(blobs: Blobs, sizes: Any) -> None:
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be > 0 and whole, got \["):
        MLPClassifier(sizes).fit(*blobs)


@quiet
@pytest.mark.parametrize("sizes", [4, np.int64(4), (np.int32(4),), np.asarray([4])])
def test_sizes(blobs: Blobs, sizes: Any) -> None:
    model = MLPClassifier(sizes, max_iter=1).fit(*blobs)
    assert [layer.shape for layer in model.coefs_] == [(4, 4), (4, 3)]


@quiet
def test_wrong_shares_of_validation_data(blobs: Blobs) -> None:
    """They are told before anything of a training is touched."""
    model = MLPRegressor(**SETTINGS, early_stopping=True, warm_start=True).fit(*blobs)
    optimizer, random = model._optimizer, model._rng.state_dict()
    with pytest.raises(ValueError, match=r"validation set is too small: 1 of 90 .* Increase"):
        model.set_params(validation_fraction=0.01).fit(*blobs)
    with pytest.raises(ValueError, match=r"No samples are left .* 90 .* Lower validation_fraction"):
        model.set_params(validation_fraction=0.99).fit(*blobs)
    assert model._optimizer is optimizer
    assert model._rng.state_dict() == random


def test_unfitted(blobs: Blobs) -> None:
    with pytest.raises(NotFittedError):
        MLPClassifier().predict(blobs[0])
    assert not hasattr(MLPClassifier(), "coefs_")


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # parameters, and arguments of fit
    "sample_weight": ({}, {"sample_weight": np.ones(89)}),
    "class_weight": ({"class_weight": {7: 1.0}}, {}),
    "hidden_layer_sizes": ({"hidden_layer_sizes": (0,)}, {}),
    "validation_fraction": ({"early_stopping": True, "validation_fraction": 0.001}, {}),
    "stratified": ({"early_stopping": True}, {"y": np.maximum(np.arange(90), 88)}),
    "callbacks": ({"callbacks": ["print"]}, {}),
}


@quiet
@pytest.mark.parametrize("wrong", WRONG)
def test_a_fit_that_fails_changes_nothing(blobs: Blobs, wrong: str) -> None:
    """Not even the classes: the first one leaves no model, a later one that of before."""
    x, y = blobs
    changed, arguments = WRONG[wrong]
    other = {"X": x[:, :3], "y": y % 2} | arguments
    model = MLPClassifier(**SETTINGS | changed)
    before = vars(model).copy()
    with pytest.raises((ValueError, TypeError)):
        model.fit(**other)
    assert vars(model) == before
    model = MLPClassifier(**SETTINGS).fit(x, y).set_params(**changed)
    before, probabilities = vars(model).copy(), model.predict_proba(x)
    with pytest.raises((ValueError, TypeError)):
        model.fit(**other)
    assert vars(model).keys() == before.keys()
    assert all(vars(model)[name] is before[name] for name in before)
    np.testing.assert_array_equal(model.predict_proba(x), probabilities)


def test_a_partial_fit_that_fails_changes_nothing(blobs: Blobs) -> None:
    x, y = blobs
    model = MLPClassifier(**SETTINGS)
    with pytest.raises(ValueError, match=r"not in `self\.classes_`"):
        model.partial_fit(x, y + 1, classes=[0, 1, 2])
    assert not hasattr(model, "classes_")
    model.partial_fit(x, y, classes=[0, 1, 2])
    before, weights = vars(model).copy(), model.coefs_[0].copy()
    for wrong in ({"y": y + 1}, {"X": x[:, :3]}, {"sample_weight": np.ones(89)}):
        with pytest.raises(ValueError, match=r"classes_|features|sample_weight"):
            model.partial_fit(**{"X": x, "y": y} | wrong)
    assert all(vars(model)[name] is before[name] for name in before)
    np.testing.assert_array_equal(model.coefs_[0], weights)


def test_diverged_training_raises(blobs: Blobs) -> None:
    x, y = blobs
    model = MLPRegressor(
        solver="sgd", learning_rate_init=1e3, random_state=0, activation="identity"
    )
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="not finite"):
        model.fit(1e3 * x, y)
    assert not hasattr(model, "model_")


def test_ctrl_c_ends_a_training_as_if_it_were_its_end(blobs: Blobs) -> None:
    def press(trainer: Any, logs: Any) -> None:
        if trainer.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    model = MLPClassifier(**SETTINGS, callbacks=[press])
    with pytest.warns(UserWarning, match=r"interrupted by Ctrl-C"):
        model.fit(*blobs)
    assert model.n_iter_ in (2, 3)  # the signal may come a little later
    assert model.predict(blobs[0]).shape == (90,)


def test_what_it_says(blobs: Blobs, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SETTINGS | {"max_iter": 100, "tol": 10.0, "n_iter_no_change": 1}
    MLPClassifier(**settings, solver="sgd", learning_rate="adaptive", verbose=True).fit(*blobs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Iteration 1, loss = ")
    assert "training stops" in lines[-1]
    assert sum("learning rate is now" in line for line in lines) == 7  # 0.05 / 5**7 < 1e-6


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warnings_name_the_line_of_the_user(blobs: Blobs, solver: str) -> None:
    x, y = blobs
    settings = SETTINGS | {"solver": solver, "batch_size": 200, "max_iter": 1, "compile": False}
    calls = [
        lambda: MLPClassifier(**settings).fit(x, y[:, None]),
        lambda: MLPRegressor(**settings).fit(x, y[:, None]),
        lambda: make_pipeline(MLPRegressor(**settings)).fit(x, y[:, None]),
        lambda: cross_val_score(MLPRegressor(**settings), x, y[:, None], cv=2),
    ]
    for call in calls:
        with pytest.warns() as found:
            call()
        assert {str(each.filename) for each in found} == {__file__}
        assert len({each.category for each in found}) == (3 if solver == "adam" else 2)


# scikit-learn's tools


@pytest.mark.parametrize("estimator", [MLPClassifier, MLPRegressor])
def test_a_new_estimator_has_its_parameters_and_nothing_else(estimator: Any) -> None:
    class Derived(estimator):  # type: ignore[misc]
        def __init__(self, alpha: float = 0.5, *, extra: int = 3) -> None:
            super().__init__(alpha=alpha)
            self.extra = extra

    assert vars(estimator(alpha=0.5)) == estimator().get_params() | {"alpha": 0.5}
    derived = Derived(0.25, extra=4)
    assert derived.get_params() == {"alpha": 0.25, "extra": 4}
    assert vars(derived) == vars(estimator(alpha=0.25)) | {"extra": 4}


@quiet
def test_tools(blobs: Blobs) -> None:
    x, y = blobs
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(**SETTINGS)),
        {"mlpclassifier__alpha": [1e-4, 1e-2], "mlpclassifier__dropout": [0.0, 0.2]},
        cv=2,
    ).fit(x, y)
    assert search.best_score_ > 0.8
    assert clone(search.best_estimator_[-1]).get_params() == search.best_estimator_[-1].get_params()


@quiet
def test_processes_of_joblib(blobs: Blobs) -> None:
    model = MLPClassifier(**SETTINGS)
    alone, together = (cross_val_score(model, *blobs, cv=2, n_jobs=n) for n in (None, 2))
    np.testing.assert_array_equal(alone, together)


# Files


@quiet
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_save(blobs: Blobs, solver: str, tmp_path: Path) -> None:
    """Everything that is fitted, and every parameter, comes back."""
    pytest.importorskip("safetensors")
    frames = pytest.importorskip("pandas")
    x, y = blobs
    names = np.array(["p", "q", "r"])[y]
    model = MLPClassifier(
        **SETTINGS | {"solver": solver, "alpha": np.float64(0.5)},
        class_weight={"p": 2.0},
        n_iter_no_change=np.inf,
    )
    model.fit(frames.DataFrame(x, columns=list("abcd")), names)
    model.save(tmp_path / "model")
    again = MLPClassifier.load(tmp_path / "model")
    assert again.get_params() == model.get_params()
    frame = frames.DataFrame(x, columns=list("abcd"))
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    np.testing.assert_array_equal(again.predict(frame), model.predict(frame))
    ours, theirs = ({k: v for k, v in vars(m).items() if k.endswith("_")} for m in (model, again))
    assert ours.keys() == theirs.keys()
    for name in ours.keys() - {"model_"}:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    if solver == "adam":
        for each in (model, again):
            each.partial_fit(frame, names)
        np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    with pytest.raises(xn.DataError, match="expected a saved MLPRegressor, found MLPClassifier"):
        MLPRegressor.load(tmp_path / "model")
    xn.checkpoint.save(tmp_path / "other", epoch=3)
    with pytest.raises(xn.DataError, match="found something else"):
        MLPRegressor.load(tmp_path / "other")
    with pytest.raises(TypeError, match="RandomState"):
        model.set_params(random_state=np.random.RandomState(0)).save(tmp_path / "third")


def copies(model: MLPClassifier, folder: Path) -> list[MLPClassifier]:
    """Return copies that were made in all ways there are."""
    pytest.importorskip("safetensors")
    model.save(folder / "copy")
    loaded = MLPClassifier.load(folder / "copy")
    return [pickle.loads(pickle.dumps(model)), copy.deepcopy(model), loaded]


@quiet
@pytest.mark.parametrize(
    ("solver", "changed"),
    [
        ("adam", {"solver": "sgd"}),
        ("adam", {"solver": "lbfgs", "beta_1": 0.5}),
        ("sgd", {"solver": "adam"}),
        ("sgd", {"momentum": 0.0}),
    ],
)
def test_copies_after_parameters_have_changed(
    blobs: Blobs, solver: str, changed: dict[str, Any], tmp_path: Path
) -> None:
    """They go on with the optimizer there was, as the estimator itself does."""
    model = MLPClassifier(**SETTINGS, solver=solver).fit(*blobs).set_params(**changed)
    again = copies(model, tmp_path)
    for each in (model, *again):
        each.set_params(solver=solver).partial_fit(*blobs)
    for each in again:
        np.testing.assert_array_equal(each.coefs_[0], model.coefs_[0])


@quiet
@pytest.mark.parametrize("learning_rate", ["adaptive", "invscaling"])
def test_copies_have_the_learning_rate_of_now(
    blobs: Blobs, learning_rate: str, tmp_path: Path
) -> None:
    settings = SETTINGS | {"solver": "sgd", "tol": 10.0, "n_iter_no_change": 1}
    model = MLPClassifier(**settings, learning_rate=learning_rate).fit(*blobs)
    again = copies(model, tmp_path)
    assert {each._optimizer.rate for each in again} == {model._optimizer.rate}
    assert model._optimizer.rate < SETTINGS["learning_rate_init"]
    for each in (model, *again):
        each.partial_fit(*blobs)
    for each in again:
        np.testing.assert_array_equal(each.coefs_[0], model.coefs_[0])


@quiet
def test_pickles_that_do_not_say_how_the_optimizer_is_set(blobs: Blobs) -> None:
    """Then the parameters tell, as they did when such were written."""
    model = MLPClassifier(**SETTINGS).fit(*blobs)
    state = model.__getstate__()
    del state["_stored"]["settings"]
    again = MLPClassifier.__new__(MLPClassifier)
    again.__setstate__(state)
    for each in (model, again):
        each.partial_fit(*blobs)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])


@quiet
def test_pickle_of_a_device_that_is_not_there(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and computed in host memory."""
    pytest.importorskip("array_api_strict")
    x, y = blobs
    model = MLPClassifier(**SETTINGS, backend="array_api_strict", device="device1").fit(x, y)
    content = pickle.dumps(model)
    backend = xn.get_backend("array_api_strict")
    gone = xn.BackendError("array-api-strict is gone", cause="not installed")
    monkeypatch.setattr(type(backend), "unusable", lambda self: gone)
    with pytest.warns(UserWarning, match=r"on array_api_strict, device device1.*is gone"):
        again = pickle.loads(content)
    np.testing.assert_allclose(again.predict_proba(x), model.predict_proba(x), rtol=1e-10)


# The package


def test_without_scikit_learn(tmp_path: Path) -> None:
    (tmp_path / "sklearn.py").write_text("raise ModuleNotFoundError('No module named sklearn')")
    code = f"""if True:
        import sys
        import xpnet as xn
        assert not {{name for name in sys.modules if name.startswith("xpnet.interop")}}
        sys.path.insert(0, {str(tmp_path)!r})
        try:
            import xpnet.interop.sklearn
        except xn.MissingPackageError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert 'run: pip install "xpnet[sklearn]"' in done.stdout
