"""Accuracy is the share of right answers, whatever the shapes and dtypes."""

import re

import numpy as np
import pytest

from xpnet.metrics import accuracy


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
    share = accuracy(lib.asarray(scores), lib.asarray([0, 44, 7], dtype))
    lib.close(share, 2 / 3)


def test_labels_out_of_range_are_never_right(lib):
    lib.close(accuracy(lib.asarray(np.eye(3)), lib.asarray([-1, 3, 2], None)), 1 / 3)


@pytest.mark.parametrize("shape", [(3, 1), (2,), (3, 4)])
def test_shapes_must_fit(lib, shape):
    message = f"accuracy: expected targets of shape (3,) for logits of shape (3, 4), got {shape}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        accuracy(lib.asarray(np.zeros((3, 4))), lib.asarray(np.zeros(shape), "int64"))


def test_swapped_arguments_are_recognized(lib):
    with pytest.raises((TypeError, ValueError), match=r"^accuracy: .*swapped"):
        accuracy(lib.asarray([0, 1], None), lib.asarray([[0.5, 1.5], [0.5, 1.5]]))
