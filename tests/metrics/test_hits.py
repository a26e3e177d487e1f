"""Accuracy is the share of right answers, whatever the shapes and dtypes."""

import math
import re

import numpy as np
import pytest

from xpnet.metrics import Accuracy, TopK, accuracy, top_k_accuracy


@pytest.mark.parametrize("shape", [(6,), (2, 3), ()])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_accuracy_counts_right_answers(lib, shape, dtype):
    rng = np.random.default_rng(1)
    scores, targets = rng.normal(size=(*shape, 4)), rng.integers(0, 4, shape)
    x, labels = lib.asarray(scores, "float32"), lib.asarray(targets, dtype)
    with lib.guard():
        share = accuracy(x, labels)
    assert share.dtype == x.dtype
    assert tuple(share.shape) == ()
    rows = zip(scores.reshape(-1, 4).tolist(), targets.ravel().tolist(), strict=True)
    right = sum(row[label] == max(row) for row, label in rows)
    lib.close(share, right / targets.size, 1e-6)


@pytest.mark.parametrize(("labels", "share"), [([0, 0], 1.0), ([1, 2], 0.0), ([0, 2], 0.5)])
def test_of_equal_scores_the_first_counts(lib, labels, share):
    lib.close(accuracy(lib.asarray(np.zeros((2, 3))), lib.asarray(labels, None)), share)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_more_classes_than_the_dtype_of_the_labels_holds(lib, dtype):
    scores = np.eye(300)[[256, 300 - 256, 7]]  # 256 wraps around to 0 in 8 bits
    labels = lib.asarray([0, 44, 7], dtype)
    lib.close(accuracy(lib.asarray(scores), labels), 2 / 3)
    lib.close(top_k_accuracy(lib.asarray(scores), labels, k=1), 2 / 3)


def test_labels_out_of_range_are_never_right(lib):
    labels = lib.asarray([-1, 3, 2], None)
    lib.close(accuracy(lib.asarray(np.eye(3)), labels), 1 / 3)
    for k in (1, 3, 5):
        lib.close(top_k_accuracy(lib.asarray(np.eye(3)), labels, k=k), 1 / 3)
    lib.close(accuracy(lib.asarray([1.0, -1.0, 1.0]), lib.asarray([2, -1, 1], None)), 1 / 3)


@pytest.mark.parametrize("shape", [(4,), (2, 2)])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
@pytest.mark.parametrize(("threshold", "share"), [(0.0, 0.75), (0.5, 0.5)])
def test_one_score_a_sample_is_compared_with_the_threshold(lib, shape, dtype, threshold, share):
    scores = np.reshape([0.2, 0.7, -1.0, 0.0], shape)
    labels = lib.asarray(np.reshape([1, 1, 1, 0], shape), dtype)
    with lib.guard():
        found = accuracy(lib.asarray(scores), labels, threshold=threshold)
    lib.close(found, share)


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("weighted", [False, True])
def test_top_k_accuracy_equals_that_of_sklearn(lib, k, weighted):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(2)
    scores, labels = rng.normal(size=(50, 10)), rng.integers(0, 10, 50)
    weight = rng.uniform(0.5, 2, 50) if weighted else None
    expected = metrics.top_k_accuracy_score(
        labels, scores, k=k, sample_weight=weight, labels=range(10)
    )
    x, t = lib.asarray(scores), lib.asarray(labels, None)
    w = None if weight is None else lib.asarray(weight)
    with lib.guard():
        found = top_k_accuracy(x, t, k=k, sample_weight=w)
        same = top_k_accuracy(  # of any shape
            lib.xp.reshape(x, (5, 10, 10)),
            lib.xp.reshape(t, (5, 10)),
            k=k,
            sample_weight=None if w is None else lib.xp.reshape(w, (5, 10)),
        )
    lib.close(found, expected)
    lib.close(same, expected)


def test_of_equal_scores_the_top_k_count_all(lib):
    x, labels = lib.asarray([[1.0, 1.0, 2.0]] * 3), lib.asarray([0, 1, 2], None)
    lib.close(top_k_accuracy(x, labels, k=1), 1 / 3)
    lib.close(top_k_accuracy(x, labels, k=2), 1)


def test_a_score_that_is_nan_is_no_hit(lib):
    x, labels = lib.asarray([[math.nan] * 3, [math.nan, 1, 0]]), lib.asarray([0, 1], None)
    lib.close(top_k_accuracy(x, labels, k=1), 0)
    lib.close(top_k_accuracy(x, labels, k=2), 0.5)
    lib.close(top_k_accuracy(x, labels, k=9), 0.5)


def test_counts_do_not_stop_where_float32_does(lib):
    metric = Accuracy()
    metric.update(lib.asarray([[1.0, 0.0]], "float32"), lib.asarray([0], None))
    many = metric.totals["hits"] * 2**24
    metric.load_state_dict({"hits": many, "samples": many})
    for _ in range(3):
        metric.update(lib.asarray([[1.0, 0.0]], "float32"), lib.asarray([0], None))
    assert int(metric.totals["hits"]) == 2**24 + 3


def test_weights_of_any_dtype(lib):
    x, labels = lib.asarray(np.eye(3)[[0, 0, 0]]), lib.asarray([0, 1, 2], None)
    lib.close(accuracy(x, labels, sample_weight=lib.asarray([2, 1, 0], None)), 2 / 3)
    lib.close(accuracy(x, labels, sample_weight=lib.asarray([True, True, False], None)), 1 / 2)
    lib.close(accuracy(x, labels, sample_weight=lib.asarray([0.0, 0.0, 0.0])), math.nan)


# Errors

COMMON = "with one logit a sample both have one shape"


@pytest.mark.parametrize(
    ("logits", "targets", "cure"),
    [
        ((3, 4), (3, 1), COMMON),
        ((3, 4), (2,), COMMON),
        ((3,), (3, 1), COMMON),
        ((3, 1), (3,), "with one logit a sample pass xp.squeeze(logits, axis=-1)"),
    ],
)
def test_shapes_must_fit(lib, logits, targets, cure):
    message = (
        f"accuracy: expected targets of shape {logits[:-1]} for logits of shape {logits}, got "
        f"{targets}; {cure}"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracy(lib.asarray(np.zeros(logits)), lib.asarray(np.zeros(targets), "int64"))


@pytest.mark.parametrize("logits", [(3,), (3, 1)])
def test_top_k_needs_a_score_for_each_class(lib, logits):
    message = (
        f"top_5_accuracy: expected targets of shape {logits[:-1]} for logits of shape {logits}, "
        "got (3,); one logit for each class is needed"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        top_k_accuracy(lib.asarray(np.zeros(logits)), lib.asarray(np.zeros(3), "int64"))


@pytest.mark.parametrize("metric", [accuracy, top_k_accuracy])
def test_swapped_arguments_are_recognized(lib, metric):
    with pytest.raises(TypeError, match=r"^(accuracy|top_5_accuracy): .*swapped"):
        metric(lib.asarray([0, 1], None), lib.asarray([[0.5, 1.5], [0.5, 1.5]]))


def test_targets_are_classes(lib):
    message = (
        r"^accuracy: expected integer or bool targets, got .*float64; of 0\.0 and 1\.0 pass "
        r"xp\.astype\(targets, xp\.int64\), of a row of probabilities its xp\.argmax$"
    )
    with pytest.raises(TypeError, match=message):
        accuracy(lib.asarray(np.zeros((2, 3))), lib.asarray(np.zeros((2, 3))))


def test_weights_must_fit(lib):
    x, labels = lib.asarray(np.zeros((3, 4))), lib.asarray([0, 1, 2], None)
    message = "accuracy: expected sample_weight of shape (3,), or of its first axes, got (2,)"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        accuracy(x, labels, sample_weight=lib.asarray([1, 1]))
    with pytest.raises(TypeError, match=r"expected arrays, got list"):
        accuracy(x, labels, sample_weight=[1, 1, 1])


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_k_is_a_positive_integer(k):
    message = re.escape(f"TopK: expected a positive integer as k, got {k}")
    with pytest.raises(ValueError, match=f"^{message}$"):
        TopK(k)
