"""Metrics add up batches where the arrays live, and can be found, kept and continued."""

import functools
import inspect
import math
import re

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, metrics, nn

RNG = np.random.default_rng(1)
SCORES = RNG.normal(size=(11, 4))
LABELS = RNG.integers(0, 4, 11)
WEIGHT = RNG.uniform(0.5, 2, 11)
BATCHES = [slice(0, 1), slice(1, 6), slice(6, 11)]  # uneven

CASES = {
    "accuracy": (metrics.Accuracy, metrics.accuracy),
    "top-k": (lambda: metrics.TopK(2), functools.partial(metrics.top_k_accuracy, k=2)),
    "precision": (metrics.Precision, metrics.precision),
    "recall": (metrics.Recall, metrics.recall),
    "f1": (metrics.F1, metrics.f1),
    "confusion matrix": (metrics.ConfusionMatrix, metrics.confusion_matrix),
    "mean of a loss": (lambda: metrics.Mean(losses.cross_entropy), losses.cross_entropy),
}
every_metric = pytest.mark.parametrize(("make", "function"), CASES.values(), ids=CASES)


def batches(lib, *, weighted=False):
    for rows in BATCHES:
        weights = {"sample_weight": lib.asarray(WEIGHT[rows])} if weighted else {}
        yield lib.asarray(SCORES[rows]), lib.asarray(LABELS[rows], None), weights


@every_metric
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_uneven_batches_equal_all_at_once(lib, make, function, weighted):
    metric = make()
    expected = function(SCORES, LABELS, **({"sample_weight": WEIGHT} if weighted else {}))
    given = list(batches(lib, weighted=weighted))
    with lib.guard():
        for x, t, options in given:
            metric.update(x, t, **options)
        found = metric.compute()
        again = metric.compute()
    lib.close(found, expected)
    lib.close(again, expected)
    metric.reset()
    x, t, options = given[1]
    metric.update(x, t, **options)
    lib.close(metric.compute(), lib.to_host(function(x, t, **options)))


@every_metric
def test_totals_are_new_arrays_of_the_library(lib, make, function):
    metric = make()
    (x, t, _), (y, u, _), _ = batches(lib)
    metric.update(x, t)
    before = dict(metric.totals)
    kept = {name: lib.to_host(array) for name, array in before.items()}
    metric.update(y, u)
    for name, array in before.items():
        np.testing.assert_array_equal(lib.to_host(array), kept[name])
        assert metric.totals[name] is not array


@every_metric
def test_a_metric_continues_from_its_state(lib, make, function):
    (x, t, _), *rest = batches(lib)
    first, second = make(), make()
    first.update(x, t)
    host = {name: xn.to_host(array) for name, array in first.state_dict().items()}
    second.load_state_dict(host, like=x)
    for metric in (first, second):
        for y, u, _ in rest:
            metric.update(y, u)
    np.testing.assert_array_equal(lib.to_host(second.compute()), lib.to_host(first.compute()))
    second.load_state_dict({})
    assert second.state_dict() == {}


def test_a_loaded_state_stays_where_it_is(lib):
    metric = metrics.Accuracy()
    metric.load_state_dict({"hits": np.asarray(1), "samples": np.asarray(4)})
    assert isinstance(metric.compute(), (np.ndarray, np.generic))
    assert float(metric.compute()) == 0.25


def test_the_state_is_a_copy(lib):
    metric = metrics.ConfusionMatrix()
    metric.update(lib.asarray(SCORES), lib.asarray(LABELS, None))
    state = metric.state_dict()
    metric.load_state_dict(state)
    assert state["matrix"] is not metric.totals["matrix"]
    if lib.writable:
        state["matrix"] *= 0
    assert int(lib.xp.sum(metric.compute())) == len(LABELS)


def test_a_state_that_does_not_fit_is_refused(lib):
    metric = metrics.ConfusionMatrix()
    metric.update(lib.asarray(SCORES), lib.asarray(LABELS, None))
    before = lib.to_host(metric.compute())
    message = (
        "ConfusionMatrix.load_state_dict: the state does not fit this metric:\n"
        "  missing: matrix\n  unknown: hits"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        metric.load_state_dict({"hits": lib.asarray([1])})
    with pytest.raises(ValueError, match=r"matrix: expected shape \(4, 4\), got \(1,\)$"):
        metric.load_state_dict({"matrix": lib.asarray([1])})
    with pytest.raises(ValueError, match=r"hits: expected an array, got int$"):
        metrics.Accuracy().load_state_dict({"hits": 3})
    np.testing.assert_array_equal(lib.to_host(metric.compute()), before)


def test_totals_are_slots(lib):
    metric = metrics.Accuracy()
    assert list(metric.slots()) == []
    metric.update(lib.asarray(SCORES), lib.asarray(LABELS, None))
    assert [(slot.name, slot.role) for slot in metric.slots("train")] == [
        ("train.hits", "buffer"),
        ("train.samples", "buffer"),
    ]
    assert [slot.name for slot in metric.slots()] == ["hits", "samples"]
    for slot in metric.slots():
        assert slot.array is metric.totals[slot.key]


@pytest.mark.parametrize("passed", [False, True], ids=["closed over", "passed"])
def test_a_metric_may_be_updated_inside_of_grad(lib, passed):
    metric = metrics.Mean(losses.cross_entropy)
    model = nn.Linear(4, 3, dtype="float64")
    given = [(lib.asarray(SCORES[rows]), lib.asarray(LABELS[rows] % 3, None)) for rows in BATCHES]

    def loss_fn(model, x, y, *others):
        logits = model(x)
        (others or (metric,))[0].update(logits, y)
        return losses.cross_entropy(logits, y)

    with lib.guard():
        for x, y in given:
            xn.value_and_grad(loss_fn)(model, x, y, *([metric] if passed else []))
        found = metric.compute()
    x, y = lib.asarray(SCORES), lib.asarray(LABELS % 3, None)
    lib.close(found, lib.to_host(losses.cross_entropy(model(x), y)))
    assert all(lib.backend.owns(type(array)) for array in metric.totals.values())


def test_functions_may_be_called_inside_of_grad(lib):
    x, y = lib.asarray(SCORES), lib.asarray(LABELS, None)
    functions = [
        function
        for name, (_, function) in CASES.items()
        if name not in ("mean of a loss", "confusion matrix")
    ]

    def loss_fn(x, y):
        xp = xn.array_namespace(x)
        matrix = metrics.confusion_matrix(x, y)
        shares = xp.stack([function(x, y) for function in functions])
        return losses.cross_entropy(x, y), (shares, matrix)

    with lib.guard():
        (_, (shares, matrix)), gradient = xn.value_and_grad(loss_fn, has_aux=True)(x, y)
    lib.close(shares, [lib.to_host(function(x, y)) for function in functions])
    lib.close(matrix, lib.to_host(metrics.confusion_matrix(x, y)))
    lib.close(gradient, lib.to_host(xn.grad(losses.cross_entropy)(x, y)))


# Errors of all metrics


@every_metric
def test_nothing_to_compute(make, function):
    metric = make()
    message = re.escape(
        f"{type(metric).__name__}.compute: expected at least one update(predictions, targets) "
        "before, got none"
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        metric.compute()


def test_batches_of_other_classes_are_refused(lib):
    metric = metrics.ConfusionMatrix()
    metric.update(lib.asarray(SCORES), lib.asarray(LABELS, None))
    with pytest.raises(
        ValueError,
        match=r"^ConfusionMatrix.update: expected matrix of shape and dtype \(\(4, 4\), .*int64.*"
        r"\) as in the batches before, got \(\(2, 2\), .*\); call reset\(\) before other classes, ",
    ):
        metric.update(lib.asarray([0.5]), lib.asarray([1], None))
    assert int(lib.xp.sum(metric.compute())) == len(LABELS)


def test_weights_in_some_batches_only_are_refused(lib):
    metric = metrics.Accuracy()
    x, t = lib.asarray(SCORES), lib.asarray(LABELS, None)
    metric.update(x, t)
    with pytest.raises(ValueError, match=r"give sample_weight in all batches or in none$"):
        metric.update(x, t, sample_weight=lib.asarray(WEIGHT))
    assert int(metric.totals["samples"]) == len(LABELS)


# Means


def test_a_mean_weighs_batches_by_their_samples(lib):
    metric = metrics.Mean(lambda y, t: xn.array_namespace(y).mean(y - t), name="bias")
    assert metric.name == "bias"
    metric.update(lib.asarray([1, 1, 1], "float32"), lib.asarray([0, 0, 0], "float32"))
    metric.update(lib.asarray(5, "float32"), lib.asarray(0, "float32"))
    lib.close(metric.compute(), 2)


def test_a_batch_without_weight_does_not_count(lib):
    metric = metrics.Mean(losses.mse_loss)
    y, t = lib.asarray([1.0, 3.0]), lib.asarray([0.0, 0.0])
    metric.update(y, t, sample_weight=lib.asarray([1.0, 1.0]))
    with np.errstate(invalid="ignore"):
        metric.update(y, t, sample_weight=lib.asarray([0.0, 0.0]))
    lib.close(metric.compute(), 5)


def test_a_mean_needs_one_number_where_the_arrays_are(lib):
    x = lib.asarray([1.0, 2.0])
    with pytest.raises(TypeError, match=r"^Mean of loss: expected an array, got float; leave the"):
        metrics.Mean(lambda y, t: 0.5, name="loss").update(x, x)
    message = "Mean of loss: expected one number, an array of shape (), got shape (2,); reduce it "
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        metrics.Mean(lambda y, t: y - t, name="loss").update(x, x)
    with pytest.raises(TypeError, match=r"^Mean: expected a function of .*, got int$"):
        metrics.Mean(3)


# Names


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("accuracy", metrics.Accuracy),
        ("top_5_accuracy", metrics.TopK),
        ("top_12_accuracy", metrics.TopK),
        ("precision", metrics.Precision),
        ("recall", metrics.Recall),
        ("f1", metrics.F1),
        ("confusion_matrix", metrics.ConfusionMatrix),
    ],
)
def test_a_name_gives_a_new_metric(name, cls):
    metric = metrics.get(name)
    assert type(metric) is cls
    assert metric.name == name
    assert metrics.get(name) is not metric
    assert metrics.get(metric) is metric


def test_a_function_gives_its_streaming_form_or_its_mean():
    for name in ("accuracy", "precision", "recall", "f1", "confusion_matrix"):
        assert type(metrics.get(getattr(metrics, name))) is type(metrics.get(name))
    assert type(metrics.get(metrics.top_k_accuracy)) is metrics.TopK
    metric = metrics.get(losses.huber_loss)
    assert type(metric) is metrics.Mean
    assert (metric.function, metric.name) == (losses.huber_loss, "huber_loss")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("acuracy", "; did you mean 'accuracy'?"),
        ("top_k_accuracy", "; did you mean 'top_5_accuracy'?"),
        ("top_0_accuracy", "; did you mean 'top_5_accuracy'?"),
        ("zzz", ""),
    ],
)
def test_an_unknown_name_is_answered_with_the_known(name, hint):
    message = (
        "metrics.get: expected one of 'accuracy', 'top_5_accuracy', 'precision', 'recall', 'f1', "
        f"'confusion_matrix', got {name!r}{hint}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        metrics.get(name)


def test_something_else_is_no_metric():
    with pytest.raises(TypeError, match=r"^metrics.get: expected a name, a metric or .*, got int$"):
        metrics.get(3)
    with pytest.raises(TypeError, match=r"got the class Accuracy; write Accuracy\(\)$"):
        metrics.get(metrics.Accuracy)


# A metric of one's own


class Largest(metrics.Metric):
    """Counts what is above 1, without weights, and has a constructor that calls nobody else's."""

    name = "large"

    def __init__(self, limit):
        self.limit = limit

    def count(self, predictions, targets):
        xp = xn.array_namespace(predictions)
        return {"large": xp.count_nonzero(predictions - targets > self.limit)}

    def result(self, totals):
        return totals["large"]


def test_a_metric_of_ones_own(lib):
    metric = Largest(1.0)
    for values in ([1.0, 2.0], [3.0]):
        metric.update(lib.asarray(values), lib.asarray(0.0))
    assert int(metric.compute()) == 2
    with pytest.raises(TypeError, match="sample_weight"):
        metric.update(lib.asarray([1.0]), lib.asarray(0.0), sample_weight=lib.asarray([1.0]))
    bare = metrics.Metric()
    with pytest.raises(NotImplementedError, match=r"^Metric defines no count"):
        bare.update(1, 2)
    with pytest.raises(NotImplementedError, match=r"^Metric defines no result\(totals\)"):
        bare.result({})


def test_no_samples_at_all(lib):
    x, t = lib.asarray(np.zeros((0, 3))), lib.asarray(np.zeros(0), "int64")
    metric = metrics.Accuracy()
    metric.update(x, t)
    lib.close(metric.compute(), math.nan)
    lib.close(metrics.confusion_matrix(x, t), np.zeros((3, 3)))
    lib.close(metrics.f1(x, t), 0)


@pytest.mark.parametrize("function", [function for _, function in CASES.values()][2:6])
def test_all_after_the_second_argument_is_given_by_keyword(function):
    first, second, *rest = inspect.signature(function).parameters.values()
    assert (first.name, second.name) == ("logits", "targets")
    assert {parameter.kind for parameter in rest} == {inspect.Parameter.KEYWORD_ONLY}
