"""The confusion matrix, precision, recall and F1 equal scikit-learn's."""

import re

import numpy as np
import pytest

from xpnet.metrics import F1, ConfusionMatrix, Precision, confusion_matrix, f1, precision, recall

RNG = np.random.default_rng(1)
C = 5
SCORES = RNG.normal(size=(60, C))
SCORES[:, 3] -= 9  # so that class 3 is never predicted
LABELS = RNG.choice([0, 1, 2, 3], 60)  # and class 4 never true
WEIGHT = RNG.uniform(0.5, 2, 60)
PREDICTED = SCORES.argmax(axis=-1)
FUNCTIONS = {"precision": precision, "recall": recall, "f1": f1}

every_function = pytest.mark.parametrize("name", FUNCTIONS)
plain_and_weighted = pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])


@pytest.fixture
def sklearn():
    return pytest.importorskip("sklearn.metrics")


@plain_and_weighted
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_confusion_matrix_equals_that_of_sklearn(lib, sklearn, weighted, dtype):
    weight = WEIGHT if weighted else None
    expected = sklearn.confusion_matrix(LABELS, PREDICTED, sample_weight=weight, labels=range(C))
    x, t = lib.asarray(SCORES, "float32"), lib.asarray(LABELS, dtype)
    w = None if weight is None else lib.asarray(weight)
    with lib.guard():
        found = confusion_matrix(x, t, sample_weight=w)
        of_classes = confusion_matrix(lib.asarray(PREDICTED, dtype), t, sample_weight=w, classes=C)
    kind = "real floating" if weighted else "integral"
    assert lib.xp.isdtype(found.dtype, kind)
    assert found.dtype == of_classes.dtype
    lib.close(found, expected)
    lib.close(of_classes, expected)


@plain_and_weighted
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_confusion_matrix_of_one_score_equals_that_of_sklearn(lib, sklearn, weighted, threshold):
    scores, positive = SCORES[:, 0], LABELS > 1
    weight = WEIGHT if weighted else None
    expected = sklearn.confusion_matrix(positive, scores > threshold, sample_weight=weight)
    w = None if weight is None else lib.asarray(weight)
    x, t = lib.asarray(scores), lib.asarray(positive, None)
    lib.close(confusion_matrix(x, t, threshold=threshold, sample_weight=w), expected)


def test_what_is_no_class_is_not_counted(lib):
    scores, labels = lib.asarray(np.eye(3)[[0, 1, 2]]), lib.asarray([-1, 3, 2], None)
    lib.close(confusion_matrix(scores, labels), np.diag([0, 0, 1]))
    predicted, labels = lib.asarray([7, -1, 2], None), lib.asarray([0, 1, 2], None)
    lib.close(confusion_matrix(predicted, labels, classes=3), np.diag([0, 0, 1]))


def test_the_number_of_classes_must_be_that_of_the_logits(lib):
    scores, labels = lib.asarray(np.zeros((3, 4))), lib.asarray([0, 1, 2], None)
    message = "confusion_matrix: expected logits of 3 classes, got shape (3, 4), which is for 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        confusion_matrix(scores, labels, classes=3)
    with pytest.raises(TypeError, match=r"^confusion_matrix: .*convert them with xp\.astype$"):
        confusion_matrix(labels, labels)
    with pytest.raises(TypeError, match=r"^confusion_matrix: .*swapped"):
        confusion_matrix(labels, scores, classes=4)


def test_the_result_is_not_the_total(lib):
    metric = ConfusionMatrix(2)
    metric.update(lib.asarray([0, 1], None), lib.asarray([0, 0], None))
    assert metric.compute() is not metric.totals["matrix"]
    if lib.writable:
        matrix = metric.compute()
        matrix += 1
    lib.close(metric.compute(), [[1, 1], [0, 0]])


@every_function
@plain_and_weighted
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
@pytest.mark.parametrize("zero_division", [0.0, 1.0])
def test_values_equal_those_of_sklearn(lib, sklearn, name, weighted, average, zero_division):
    weight = WEIGHT if weighted else None
    options = {"average": average, "zero_division": zero_division}
    expected = getattr(sklearn, f"{name}_score")(
        LABELS, PREDICTED, sample_weight=weight, labels=range(C), **options
    )
    x, t = lib.asarray(SCORES), lib.asarray(LABELS, None)
    w = None if weight is None else lib.asarray(weight)
    with lib.guard():
        found = FUNCTIONS[name](x, t, sample_weight=w, **options)
    assert found.dtype == x.dtype
    lib.close(found, expected)


@every_function
@plain_and_weighted
@pytest.mark.parametrize("average", ["macro", "micro", "weighted", None])
def test_one_score_a_sample_is_the_binary_case_of_sklearn(lib, sklearn, name, weighted, average):
    scores, positive = SCORES[:, 0], LABELS > 1
    weight = WEIGHT if weighted else None
    expected = getattr(sklearn, f"{name}_score")(
        positive, scores > 0.5, sample_weight=weight, average="binary"
    )
    w = None if weight is None else lib.asarray(weight)
    found = FUNCTIONS[name](
        lib.asarray(scores),
        lib.asarray(positive, None),
        threshold=0.5,
        average=average,
        sample_weight=w,
    )
    lib.close(found, [expected] if average is None else expected)


@every_function
@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_nothing_to_divide_by(lib, name, average):
    function = FUNCTIONS[name]
    x, t = lib.asarray([-1.0, -1.0]), lib.asarray([0, 0], None)
    lib.close(function(x, t, average=average), 0)
    lib.close(function(x, t, average=average, zero_division=0.5), 0.5)


def test_a_target_that_is_no_class_makes_a_prediction_wrong(lib):
    x, t = lib.asarray(np.eye(2)[[0, 0, 1]]), lib.asarray([0, 9, -1], None)
    lib.close(precision(x, t, average=None), [0.5, 0])
    lib.close(recall(x, t, average=None), [1, 0])


@pytest.mark.parametrize("cls", [F1, Precision])
def test_settings_are_checked(cls):
    message = f'{cls.__name__}: average must be "macro", "micro", "weighted" or None, got '
    with pytest.raises(ValueError, match=f"^{re.escape(message)}'binary'$"):
        cls(average="binary")
    with pytest.raises(ValueError, match=rf"^{cls.__name__}: zero_division must be in \[0, 1\]"):
        cls(zero_division=2.0)
