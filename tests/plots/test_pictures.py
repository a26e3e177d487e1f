"""Confusion matrix, images and decision boundary, drawn from arrays of every library."""

from __future__ import annotations

import numpy as np
import pytest

import xpnet as xn

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")

from matplotlib import colors
from matplotlib.figure import Figure

MATRIX = [[48, 2, 0], [5, 45, 0], [0, 1, 99]]


def contrast(text, image, value):
    """Return the contrast of a text on its cell, as WCAG 2.1 defines it."""

    def luminance(color):
        c = np.asarray(colors.to_rgb(color))
        linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    a, b = sorted([luminance(text.get_color()), luminance(image.cmap(image.norm(value)))])
    return (b + 0.05) / (a + 0.05)


# Confusion matrix


def test_confusion_matrix_says_all_that_it_shows(lib):
    figure = xn.plots.confusion_matrix(lib.asarray(MATRIX, None), ["cat", "dog", "bird"])
    ax, bar = figure.axes
    assert [cell.get_text() for cell in ax.texts] == [str(x) for row in MATRIX for x in row]
    assert [cell.get_position() for cell in ax.texts][1] == (1, 0)  # the row is the true label
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted label", "true label")
    assert ax.get_title() == "Accuracy 96.0 % (192 of 200)"
    for ticks in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [tick.get_text() for tick in ticks] == ["cat", "dog", "bird"]
    assert bar.get_ylabel() == "samples"


def test_normalized_rows_sum_to_one_and_empty_rows_are_zero():
    ax, bar = xn.plots.confusion_matrix([[3, 1], [0, 0]], normalize=True).axes
    assert [cell.get_text() for cell in ax.texts] == ["0.75", "0.25", "0.00", "0.00"]
    assert ax.get_title() == "Accuracy 75.0 % (3 of 4)"
    assert bar.get_ylabel() == "share of the true class"


def test_numbers_can_be_read_on_every_cell():
    matrix = np.arange(100).reshape(10, 10)
    ax, _ = xn.plots.confusion_matrix(matrix).axes
    [image] = ax.images
    found = [contrast(text, image, x) for text, x in zip(ax.texts, matrix.ravel(), strict=True)]
    assert min(found) > 3.0
    assert {text.get_color() for text in ax.texts} == {"white", "#222222"}


def test_large_and_empty_matrices():
    ax, _ = xn.plots.confusion_matrix(np.eye(31, dtype=int)).axes
    assert list(ax.texts) == []
    ax, _ = xn.plots.confusion_matrix(np.zeros((2, 2), dtype=int)).axes
    assert ax.get_title() == "Accuracy (0 of 0)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1, 2]],), r"expected a matrix of shape \(C, C\), got shape \(1, 2\)"),
        (([1, 2],), r"expected a matrix of shape \(C, C\), got shape \(2,\)"),
        (([[1, -2], [0, 0]],), r"expected counts, got the negative entry -2"),
        (([[1, 2], [3, 4]], ["a"]), r"expected 2 class names .*, got 1"),
    ],
)
def test_confusion_matrix_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"confusion_matrix: {message}"):
        xn.plots.confusion_matrix(*arguments)


# Images


def test_images_are_titled_and_wrong_ones_marked(lib):
    pixels = np.arange(3 * 16, dtype="float32").reshape(3, 16)
    figure = xn.plots.images(
        lib.asarray(pixels, "float32"),
        labels=lib.asarray([0, 1, 2], None),
        predictions=lib.asarray([0, 2, 2], None),
        class_names=["shirt", "coat"],
    )
    titles = [ax.get_title() for ax in figure.axes]
    assert titles == ["shirt\n✓ shirt", "coat\n✗ 2", "2\n✓ 2"]
    right, wrong, _ = [ax.title.get_color() for ax in figure.axes]
    assert right != wrong
    assert figure.get_suptitle() == "true label above, prediction below: ✗ 1 wrong of 3"
    for ax, row in zip(figure.axes, pixels, strict=True):
        np.testing.assert_array_equal(ax.images[0].get_array(), row.reshape(4, 4))


def test_images_with_one_kind_of_label_or_none():
    pixels = np.zeros((2, 3, 5))
    assert [ax.get_title() for ax in xn.plots.images(pixels).axes] == ["", ""]
    for name in ("labels", "predictions"):
        figure = xn.plots.images(pixels, **{name: [7, 8]})
        assert [ax.get_title() for ax in figure.axes] == ["7", "8"]
        assert figure.get_suptitle() == ""


@pytest.mark.parametrize(("columns", "expected"), [(None, (2, 8)), (3, (4, 3))])
def test_the_grid(columns, expected):
    figure = xn.plots.images(np.zeros((10, 4)), columns=columns)
    assert figure.axes[0].get_gridspec().get_geometry() == expected


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, 15)), {}, r"\(N, H \* H\) for square images, got shape \(2, 15\)"),
        (np.zeros(4), {}, r"got shape \(4,\); a single image is images\[None\]"),
        (np.zeros((0, 4)), {}, r"got shape \(0, 2, 2\)"),
        (np.zeros((2, 4)), {"labels": [1]}, r"expected labels of shape \(2,\), .* got \(1,\)"),
        (np.zeros((2, 4)), {"predictions": 1}, r"expected predictions of shape \(2,\)"),
        (np.zeros((2, 4)), {"columns": 0}, r"expected columns of at least 1, got 0"),
    ],
)
def test_images_refuse(images, options, message):
    with pytest.raises(ValueError, match=f"images: .*{message}"):
        xn.plots.images(images, **options)


# Decision boundary


@pytest.mark.parametrize("shape", ["(M,)", "(M, 1)", "(M, 2)"])
def test_the_boundary_lies_where_the_classes_are_equally_probable(lib, shape):
    def predict(x):
        assert isinstance(x, np.ndarray)
        assert x.dtype == np.float32
        p = 1 / (1 + np.exp(-3 * (x[:, 0] - 0.25)))
        columns = {"(M,)": p, "(M, 1)": p[:, None], "(M, 2)": np.stack([1 - p, p], axis=1)}
        return lib.asarray(columns[shape], "float32")

    points = lib.asarray([[-1.0, 0.0], [0.0, 1.0], [1.0, 0.5], [0.1, 0.2]], "float32")
    figure = xn.plots.decision_boundary(predict, points, lib.asarray([0, 0, 1, 1], None))
    [ax] = figure.axes
    borders = [
        path.vertices
        for line in ax.collections
        for path in line.get_paths()
        if hasattr(line, "levels")
    ]
    assert len(borders) == 2  # of both classes, one upon the other
    for vertices in borders:
        np.testing.assert_allclose(vertices[:, 0], 0.25, atol=2e-2)
    assert ax.get_title() == "3 of 4 points on the right side (75.0 %)"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["class 0", "class 1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_three_classes_have_three_colours_and_markers():
    corners = np.asarray([[2.0, 0.0], [-1.0, 2.0], [-1.0, -2.0]])

    def predict(x):
        e = np.exp(x @ corners.T)
        return e / e.sum(axis=1, keepdims=True)

    panel = Figure().subplots()
    figure = xn.plots.decision_boundary(
        predict, corners, [0, 1, 2], class_names=["a", "b", "c"], title="Three", ax=panel
    )
    assert figure is panel.figure
    assert panel.get_title() == "Three"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["a", "b", "c"]
    pixels = panel.images[0].get_array()
    assert len({tuple(np.round(pixels[i, j], 2)) for i, j in [(100, -1), (-1, 0), (0, 0)]}) == 3


@pytest.mark.parametrize(
    ("points", "labels", "p", "message"),
    [
        (np.zeros((2, 3)), [0, 1], None, r"expected points of shape \(N, 2\), got shape \(2, 3\)"),
        (np.zeros((2, 2)), [0], None, r"expected labels of shape \(2,\), .* got \(1,\)"),
        (np.zeros((2, 2)), [0, 1], np.zeros((4, 1, 1)), r"of shape \(M,\) or \(M, C\), got shape"),
    ],
)
def test_decision_boundary_refuses(points, labels, p, message):
    with pytest.raises(ValueError, match=f"decision_boundary: .*{message}"):
        xn.plots.decision_boundary(lambda x: p, points, labels)
