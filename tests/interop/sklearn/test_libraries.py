"""Arrays of any library in, arrays of the same library and device out."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sklearn
from scipy import sparse

from xpnet.backend import host
from xpnet.interop.sklearn import MLPClassifier, MLPRegressor, targets

# All batches have one shape, since each takes some libraries long to compile.
SETTINGS: dict[str, Any] = {
    "hidden_layer_sizes": (5,),
    "solver": "sgd",
    "learning_rate_init": 0.05,
    "tol": 0.0,
    "max_iter": 6,
    "batch_size": 30,
    "validation_fraction": 1 / 3,
    "random_state": 0,
}
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

Blobs = tuple[np.ndarray, np.ndarray]


@pytest.fixture
def other(lib: Any) -> Any:
    """The library, unless its arrays are in host memory anyway."""
    if lib.backend is host():
        pytest.skip("arrays of host memory go through scikit-learn")
    return lib


@pytest.fixture
def fitted(lib: Any, blobs: Blobs) -> MLPClassifier:
    return MLPClassifier(**SETTINGS).fit(lib.asarray(blobs[0]), lib.asarray(blobs[1], None))


@pytest.mark.parametrize("early_stopping", [False, True])
def test_classifier(lib: Any, blobs: Blobs, early_stopping: bool) -> None:
    """It computes what it computes on NumPy, where the arrays are."""
    x, y = blobs
    options = SETTINGS | {"early_stopping": early_stopping, "compile": not early_stopping}
    own = MLPClassifier(**options).fit(lib.asarray(x), lib.asarray(y, None))
    on_host = MLPClassifier(**options).fit(x, y)
    np.testing.assert_array_equal(own.classes_, on_host.classes_)
    np.testing.assert_allclose(own.loss_curve_, on_host.loss_curve_, rtol=1e-10)
    if early_stopping:
        np.testing.assert_allclose(own.validation_scores_, on_host.validation_scores_, rtol=1e-6)
    lib.close(own.predict_proba(lib.asarray(x)), on_host.predict_proba(x), rtol=1e-8)
    lib.close(own.predict_log_proba(lib.asarray(x)), on_host.predict_log_proba(x), rtol=1e-8)
    np.testing.assert_array_equal(lib.to_host(own.predict(lib.asarray(x))), on_host.predict(x))
    assert own.score(lib.asarray(x), lib.asarray(y, None)) == pytest.approx(on_host.score(x, y))
    lib.close(own.coefs_[0], on_host.coefs_[0], rtol=1e-8)


def test_regressor_in_single_precision(quick: Any, blobs: Blobs) -> None:
    x, _ = blobs
    y, weight = x[:, :2] ** 2, np.arange(1.0, 91.0)
    own, on_host = (MLPRegressor(**SETTINGS | {"learning_rate_init": 0.002}) for _ in range(2))
    samples = quick.asarray(x, "float32")
    own.fit(samples, quick.asarray(y), sample_weight=quick.asarray(weight))
    on_host.fit(x.astype("float32"), y, sample_weight=weight)
    np.testing.assert_allclose(own.loss_curve_, on_host.loss_curve_, rtol=1e-5)
    predicted = own.predict(samples)
    assert predicted.dtype == own.coefs_[0].dtype == quick.xp.float32
    quick.close(predicted, on_host.predict(x), rtol=1e-4)
    scores = [
        own.score(samples, quick.asarray(y), quick.asarray(weight)),
        on_host.score(x, y, weight),
    ]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_scores_of_columns_and_of_wrong_shapes(quick: Any, blobs: Blobs) -> None:
    x, y = quick.asarray(blobs[0]), quick.asarray(blobs[1], None)
    labels = MLPClassifier(**SETTINGS).fit(x, y)
    score = labels.score(x, y)
    assert score > 0.5
    assert labels.score(x, y[:, None]) == labels.score(x, blobs[1][:, None]) == score
    numbers = MLPRegressor(**SETTINGS | {"learning_rate_init": 0.001}).fit(x, x[:, 0])
    assert numbers.score(x, x[:, :1]) == numbers.score(x, x[:, 0])
    if quick.backend is not host():
        for model, wrong in ((labels, blobs[1][:, None] == np.arange(3)), (numbers, blobs[0])):
            name, shape = type(model).__name__, tuple(wrong.shape)
            message = rf"{name}.score: expected y of shape \(90,\), .* got {re.escape(str(shape))}"
            with pytest.raises(ValueError, match=message):
                model.score(x, quick.asarray(wrong, None))
            with pytest.raises(ValueError, match=r"expected y of shape \(90,\), .* got \(89,\)"):
                model.score(x, y[:89])


@pytest.mark.parametrize("shape", [(1,), (5,), (90, 1)])
def test_weights_of_scores_are_one_for_each_sample(
    other: Any, blobs: Blobs, shape: tuple[int, ...]
) -> None:
    """Those that broadcast would give another score, such as 90."""
    x, weight = other.asarray(blobs[0]), np.ones(shape)
    numbers = MLPRegressor(**SETTINGS).fit(x, x[:, 0])
    labels = MLPClassifier(**SETTINGS).fit(x, other.asarray(blobs[1], None))
    for model, y in ((numbers, x[:, 0]), (labels, blobs[1])):
        message = rf"{type(model).__name__}\.score: expected a sample_weight of shape \(90,\)"
        for given in (weight, other.asarray(weight), weight.tolist()):
            with pytest.raises(ValueError, match=message):
                model.score(x, y, given)


def test_accuracies_are_quotients_of_counts(quick: Any) -> None:
    """So they are those of the host, to the last digit."""
    x = quick.asarray([[-1.0]] * 7 + [[1.0]] * 3)
    y = np.asarray([0] * 6 + [1] * 4)
    settings = SETTINGS | {"hidden_layer_sizes": (), "max_iter": 50, "batch_size": 10}
    model = MLPClassifier(**settings).fit(x, quick.asarray(y, None))
    assert model.score(x, quick.asarray(y, None)) == 0.9
    weight = np.asarray([1.0] * 6 + [7.0] + [1.0] * 3)
    assert model.score(x, y, quick.asarray(weight)) == pytest.approx(9 / 16, rel=1e-15)
    assert model.score(x, y, quick.asarray(weight, "float32")) == 9 / 16


def test_several_labels(quick: Any, blobs: Blobs) -> None:
    x, y = blobs
    several = np.stack([y == 0, y != 1], axis=1).astype(int)
    own, on_host = MLPClassifier(**SETTINGS), MLPClassifier(**SETTINGS)
    own.fit(quick.asarray(x), quick.asarray(several, None))
    on_host.fit(x, several)
    quick.close(own.predict_proba(quick.asarray(x)), on_host.predict_proba(x), rtol=1e-8)
    np.testing.assert_array_equal(quick.to_host(own.predict(quick.asarray(x))), on_host.predict(x))
    for truth in (quick.asarray(several, None), several, sparse.csr_matrix(several)):
        assert own.score(quick.asarray(x), truth) == on_host.score(x, several)
    found = own.fit(quick.asarray(x), sparse.csr_matrix(several)).predict(quick.asarray(x))
    found = found.toarray() if quick.backend is host() else quick.to_host(found)
    np.testing.assert_array_equal(found, on_host.predict(x))


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 2: 0.5}])
def test_weights_of_classes(quick: Any, blobs: Blobs, class_weight: Any) -> None:
    x, y = blobs
    y = np.where(np.arange(90) < 60, 0, y)
    options = SETTINGS | {"class_weight": class_weight}
    own = MLPClassifier(**options).fit(quick.asarray(x), quick.asarray(y, None))
    weight = sklearn.utils.compute_sample_weight(class_weight, y)
    on_host = MLPClassifier(**SETTINGS).fit(x, y, sample_weight=weight)
    np.testing.assert_allclose(own.loss_curve_, on_host.loss_curve_, rtol=1e-10)


def test_lbfgs(quick: Any, blobs: Blobs) -> None:
    options = SETTINGS | {"solver": "lbfgs", "max_iter": 4}
    own = MLPClassifier(**options).fit(quick.asarray(blobs[0]), quick.asarray(blobs[1], None))
    on_host = MLPClassifier(**options).fit(*blobs)
    assert own.loss_ == pytest.approx(on_host.loss_)
    quick.close(own.coefs_[1], on_host.coefs_[1], rtol=1e-6)


def test_data_stay_on_the_device(
    other: Any, blobs: Blobs, reads: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reaches the host in `fit` are flags, a few labels and a loss for each epoch."""
    monkeypatch.setattr(targets, "_MOST", 8)
    x, y = other.asarray(blobs[0]), other.asarray(blobs[1], None)
    model = MLPClassifier(**SETTINGS)
    with reads(other) as seen:
        model.fit(x, y)
    shapes = {shape for shape in seen if shape != ()}
    assert {(1,), (10,)} <= shapes  # flags and losses; the labels
    assert shapes <= {(0,), (1,), (10,)}
    assert len(seen) <= 2 * (SETTINGS["max_iter"] + 8)


def test_prediction_reads_one_flag_or_nothing(
    other: Any, blobs: Blobs, reads: Any, fitted: MLPClassifier
) -> None:
    x = other.asarray(blobs[0])
    for predict in (fitted.predict, fitted.predict_proba):
        with reads(other) as seen:
            predict(x)
        assert set(seen) == {(1,)}
        with other.guard(), sklearn.config_context(assume_finite=True), reads(other) as seen:
            predict(x)
        assert seen == []


def test_dispatch_makes_no_difference(lib: Any, blobs: Blobs, fitted: MLPClassifier) -> None:
    x, y = lib.asarray(blobs[0]), lib.asarray(blobs[1], None)
    with sklearn.config_context(array_api_dispatch=True):
        model = MLPClassifier(**SETTINGS).fit(x, y)
        probabilities = lib.to_host(model.predict_proba(x))
        assert model.score(x, y) == pytest.approx(fitted.score(x, y))
    assert model.loss_curve_ == pytest.approx(fitted.loss_curve_)
    lib.close(fitted.predict_proba(x), probabilities, rtol=1e-8)


def test_data_from_elsewhere_are_moved_to_the_network(quick: Any, blobs: Blobs) -> None:
    x, y = blobs
    on_host = MLPClassifier(**SETTINGS).fit(x, y)
    quick.close(on_host.predict_proba(quick.asarray(x)), on_host.predict_proba(x), rtol=1e-8)
    np.testing.assert_array_equal(
        quick.to_host(on_host.predict(quick.asarray(x))), on_host.predict(x)
    )


@pytest.mark.parametrize(
    "labels",
    [
        [3, -1, 3, 7],
        [True, False, True, True],
        [2.0, 0.0, 2.0, 1.0],
        [250, 0, 250, 1],
        [1, 1, 1, 1],
    ],
    ids=["integers", "booleans", "floats", "bytes", "one"],
)
@pytest.mark.parametrize("most", [2, 256])
def test_distinct_labels(
    lib: Any, labels: list[Any], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more classes than are looked for on the device, too."""
    monkeypatch.setattr(targets, "_MOST", most)
    dtype = "uint8" if 250 in labels else None
    y = lib.asarray(labels, dtype)
    classes, indices = np.unique(labels, return_inverse=True)
    found = targets.distinct(y)
    np.testing.assert_array_equal(found, classes)
    assert found.dtype == lib.to_host(y).dtype
    np.testing.assert_array_equal(lib.to_host(targets.encode(y, found)), indices)


@pytest.mark.parametrize("dtype", ["uint16", "uint64"])
def test_labels_that_are_unsigned(quick: Any, blobs: Blobs, dtype: str) -> None:
    """Some libraries have such numbers, but can do little with them."""
    x, y = quick.asarray(blobs[0]), 40000 + blobs[1]
    labels = quick.asarray(y, dtype)
    model = MLPClassifier(**SETTINGS, compile=False).fit(x, labels)
    predicted = model.predict(x)
    assert predicted.dtype == labels.dtype
    score = np.mean(quick.to_host(predicted) == y)
    assert model.score(x, labels) == model.score(x, y) == score > 0.5
    several = quick.asarray(np.stack([blobs[1] == 0, blobs[1] != 1], axis=1), dtype)
    assert MLPClassifier(**SETTINGS, compile=False).fit(x, several).score(x, several) > 0.5


def test_labels_that_are_texts_stay_on_the_host(quick: Any, blobs: Blobs) -> None:
    x, y = blobs
    names = np.array(["one", "three", "two"])[y]
    model = MLPClassifier(**SETTINGS).fit(quick.asarray(x), names)
    predicted = model.predict(quick.asarray(x))
    np.testing.assert_array_equal(predicted, MLPClassifier(**SETTINGS).fit(x, names).predict(x))
    assert model.score(quick.asarray(x), names) == np.mean(predicted == names)


def test_data_of_the_host_are_moved_where_they_are_asked_for(quick: Any, blobs: Blobs) -> None:
    x, y = blobs
    device = None if quick.device is None else quick.backend.device_name(quick.device)
    model = MLPClassifier(**SETTINGS, backend=quick.backend.name, device=device).fit(x, y)
    quick.to_host(model.coefs_[0])
    expected = MLPClassifier(**SETTINGS).fit(x, y).predict_proba(x)
    assert isinstance(model.predict(x), np.ndarray)
    np.testing.assert_allclose(model.predict_proba(x), expected, rtol=1e-8)


def test_integers_become_double_precision(quick: Any, blobs: Blobs) -> None:
    x = np.round(4 * blobs[0]).astype("int32")
    own = MLPClassifier(**SETTINGS).fit(quick.asarray(x, None), quick.asarray(blobs[1], None))
    expected = MLPClassifier(**SETTINGS).fit(x, blobs[1]).predict_proba(x)
    quick.close(own.predict_proba(quick.asarray(x, None)), expected, rtol=1e-8)


def test_pickle(lib: Any, blobs: Blobs, fitted: MLPClassifier) -> None:
    x, y = lib.asarray(blobs[0]), lib.asarray(blobs[1], None)
    again = pickle.loads(pickle.dumps(fitted))
    lib.close(again.predict_proba(x), lib.to_host(fitted.predict_proba(x)), rtol=0)
    for model in (fitted, again):
        model.partial_fit(x, y)
    # The first step of the copy records and runs plainly; XLA may order operations otherwise.
    rtol = 1e-14 if lib.name == "jax" else 0.0
    lib.close(again.coefs_[0], lib.to_host(fitted.coefs_[0]), rtol=rtol)
    assert again.loss_curve_ == pytest.approx(fitted.loss_curve_, rel=rtol, abs=0.0)


def test_save(lib: Any, blobs: Blobs, fitted: MLPClassifier, tmp_path: Any) -> None:
    pytest.importorskip("safetensors")
    x = lib.asarray(blobs[0])
    fitted.save(tmp_path / "model")
    again = MLPClassifier.load(tmp_path / "model")
    lib.close(again.predict_proba(x), lib.to_host(fitted.predict_proba(x)), rtol=0)
    on_host = MLPClassifier.load(tmp_path / "model", backend="numpy")
    np.testing.assert_allclose(
        on_host.predict_proba(blobs[0]), lib.to_host(fitted.predict_proba(x)), rtol=1e-8
    )


def test_what_is_wrong_with_arrays_of_a_device(other: Any, blobs: Blobs) -> None:
    x, y = other.asarray(blobs[0]), other.asarray(blobs[1], None)
    broken = blobs[0].copy()
    broken[3, 1] = np.nan
    weight = np.ones(90)
    for message, arguments in {
        "NaN or infinity in X": (other.asarray(broken), y),
        "expected 2D array as X, got 1D": (x[:, 0], y),
        "one y for each of the 90 samples of X, got 89": (x, y[:89]),
        "requires y to be passed": (x, None),
        "sample_weight must be 1D": (x, y, other.asarray(weight[:, None])),
        "one sample_weight for each": (x, y, other.asarray(weight[:80])),
        "NaN or infinity in sample_weight": (x, y, other.asarray(weight * np.inf)),
        "got zeros only": (x, y, other.asarray(weight * 0.0)),
        "got negative ones": (x, y, other.asarray(weight - 1.5 * (blobs[1] == 1))),
        "Unknown label type": (x, other.asarray(blobs[0][:, 0])),
        "expected 0 and 1 as y": (x, other.asarray(np.stack([blobs[1]] * 2, axis=1), None)),
    }.items():
        with pytest.raises(ValueError, match=message):
            MLPClassifier(**SETTINGS).fit(*arguments)
    with pytest.raises(ValueError, match="expected y where X is, NumPy"):
        MLPClassifier(**SETTINGS).fit(blobs[0], y)
    with pytest.raises(ValueError, match="expected X on NumPy"):
        MLPClassifier(**SETTINGS, backend="numpy").fit(x, y)
    with pytest.raises(ValueError, match="negative"):
        MLPRegressor(**SETTINGS, loss="poisson").fit(x, x[:, 0])
    with pytest.raises(ValueError, match="NaN or infinity in y"):
        MLPRegressor(**SETTINGS).fit(x, other.asarray(broken[:, 1]))
    model = MLPClassifier(**SETTINGS).fit(x, y)
    with pytest.raises(ValueError, match="4 features"):
        model.predict(x[:, :2])
    with pytest.raises(ValueError, match=r"not in `self\.classes_`"):
        model.partial_fit(x, y + 1)
    with pytest.warns(sklearn.exceptions.DataConversionWarning):
        MLPClassifier(**SETTINGS).fit(x, y[:, None])
    lonely = other.asarray(np.where(np.arange(90) == 5, 9, blobs[1]), None)
    with pytest.raises(ValueError, match="has only 1"):
        MLPClassifier(**SETTINGS, early_stopping=True).fit(x, lonely)


def test_libraries_without_double_precision(blobs: Blobs) -> None:
    """There the network is in single precision, and nothing warns."""
    pytest.importorskip("jax")
    code = """if True:
        import warnings
        warnings.simplefilter("error")
        import numpy as np
        from sklearn.exceptions import ConvergenceWarning
        warnings.simplefilter("ignore", ConvergenceWarning)
        import jax.numpy as jnp
        from xpnet.interop.sklearn import MLPClassifier
        x, y = np.eye(4), np.asarray([[0, 1], [1, 0], [1, 1], [0, 0]])
        model = MLPClassifier((3,), max_iter=1).fit(jnp.asarray(x), jnp.asarray(y))
        print(model.predict(jnp.asarray(x)).dtype, model.predict_proba(x).dtype)
        print(model.score(jnp.asarray(x), y, sample_weight=np.linspace(0, 1, 4)) <= 1)
    """
    env = os.environ | {"JAX_ENABLE_X64": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["int32", "float32", "True"]
