"""The picture of a history: what is in which panel, and what is marked as the best."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

import xpnet as xn

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")

from matplotlib import pyplot, rcParams
from matplotlib.figure import Figure

HISTORY = {
    "loss": [0.9, 0.5, 0.3, 0.2],
    "val_loss": [0.8, 0.6, 0.55, 0.7],
    "accuracy": [0.5, 0.7, 0.8, 0.9],
    "val_accuracy": [0.4, 0.75, 0.7, 0.6],
}


class Placed(dict):
    """A history that knows where its numbers were measured."""

    def __init__(self, **numbers):
        super().__init__(numbers)
        self.positions = {"loss": [1.0, 2.0], "val_loss": [0.5, 1.0, 1.5, 2.0]}


def lines(ax):
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def test_one_panel_for_each_quantity_with_labels_and_title():
    figure = xn.plots.history(HISTORY)
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes] == ["Loss", "Accuracy"]
    assert [ax.get_ylabel() for ax in figure.axes] == ["loss", "accuracy"]
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]
    for ax in figure.axes:
        texts = [text.get_text() for text in ax.get_legend().get_texts()]
        assert texts == ["train", "validation", "best"]
    drawn = lines(figure.axes[0])
    assert drawn["validation"].get_xdata().tolist() == [1, 2, 3, 4]
    assert drawn["validation"].get_ydata().tolist() == HISTORY["val_loss"]
    assert len({line.get_color() for line in drawn.values()}) == 3
    assert drawn["train"].get_linestyle() != drawn["validation"].get_linestyle()


def test_the_best_epoch_is_marked_with_its_value():
    loss, accuracy = xn.plots.history(HISTORY).axes
    assert lines(loss)["best"].get_xydata().tolist() == [[3, 0.55]]
    assert lines(accuracy)["best"].get_xydata().tolist() == [[2, 0.75]]
    assert [note.get_text() for note in loss.texts] == ["best 0.55\nepoch 3"]
    assert [note.get_text() for note in accuracy.texts] == ["best 0.75\nepoch 2"]


def test_without_validation_the_training_data_decide():
    [ax] = xn.plots.history({"loss": [3.0, 1.0, 2.0]}).axes
    assert lines(ax)["best"].get_xydata().tolist() == [[2, 1.0]]


@pytest.mark.parametrize("key", ["learning_rate", "seconds"])
def test_no_epoch_has_the_best_learning_rate(key):
    [ax] = xn.plots.history({key: [0.1, 0.2]}).axes
    assert list(lines(ax)) == ["train"]
    assert ax.get_legend() is None
    assert list(ax.texts) == []


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_was_not_measured_is_left_out(missing):
    [ax] = xn.plots.history({"loss": [3, 2, 1], "val_loss": [missing, 0.5, missing]}).axes
    assert lines(ax)["validation"].get_xydata().tolist() == [[2, 0.5]]
    assert lines(ax)["best"].get_xydata().tolist() == [[2, 0.5]]


def test_positions_place_the_points():
    history = Placed(loss=[0.9, 0.5], val_loss=[0.8, 0.6, 0.4, 0.7], accuracy=[0.1, 0.2])
    loss, accuracy = xn.plots.history(history).axes
    assert lines(loss)["validation"].get_xdata().tolist() == [0.5, 1.0, 1.5, 2.0]
    assert loss.texts[0].get_text() == "best 0.4\nepoch 1.5"
    assert lines(accuracy)["train"].get_xdata().tolist() == [1, 2]


def test_keys_choose_and_axes_place():
    figure = Figure()
    panel = figure.subplots()
    assert xn.plots.history(HISTORY, keys=["val_loss"], axes=[panel]) is figure
    assert list(lines(panel)) == ["validation", "best"]


@pytest.mark.parametrize("value", [0.0, 1e-9, 5.0])
def test_notes_stay_inside_of_the_panel(value):
    for series in ([value], [value, 1, 1], [1, 1, value], [10, value, 10]):
        figure = xn.plots.history({"loss": series})
        figure.canvas.draw()
        [ax] = figure.axes
        inner, note = ax.get_window_extent(), ax.texts[0].get_window_extent()
        assert inner.y0 <= note.y0
        assert note.y1 <= inner.y1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"loss": [1.0]}, ["los"]), r"history: expected keys out of loss, got los"),
        (({"loss": [None, math.nan]}, None), r"found none under 'loss'; train an epoch first"),
        (({}, None), r"found none under no key at all; train an epoch first"),
        (
            (Placed(loss=[1.0, 2.0, 3.0]), None),
            r"history: expected as many positions as values of 'loss', got 2 and 3",
        ),
    ],
)
def test_errors_say_what_is_wrong(arguments, message):
    history, keys = arguments
    with pytest.raises(ValueError, match=message):
        xn.plots.history(history, keys=keys)


def test_too_few_axes():
    with pytest.raises(ValueError, match=r"expected at least 2 axes, one for each panel, got 1"):
        xn.plots.history(HISTORY, axes=[Figure().subplots()])


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    from xpnet.plots import figure

    figure._figure_class.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(xn.MissingPackageError, match=r'pip install "xpnet\[plot\]"') as caught:
        xn.plots.history(HISTORY)
    assert str(caught.value).startswith("history: expected the package matplotlib")


def test_matplotlib_is_imported_by_drawing_only():
    code = "import sys, xpnet; xpnet.plots.history; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_nothing_global_changes():
    before = dict(rcParams), pyplot.get_fignums()
    xn.plots.history(HISTORY)
    assert (dict(rcParams), pyplot.get_fignums()) == before


def test_a_notebook_shows_the_picture():
    png = xn.plots.history(HISTORY)._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert int.from_bytes(png[16:20]) > 1000  # the width in pixels
