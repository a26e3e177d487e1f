"""Curves that grow: what is drawn, how often, and where."""

from __future__ import annotations

import sys
import types

import pytest

import xpnet as xn

pytest.importorskip("matplotlib", reason="pictures are drawn with matplotlib")

from matplotlib import image, pyplot, rcParams

from xpnet.plots import live


class Display:
    """IPython's display, which counts."""

    def __init__(self):
        self.shown, self.updates = 0, 0

    def display(self, figure, display_id):
        assert display_id
        assert figure._repr_png_().startswith(b"\x89PNG")
        self.shown += 1
        return self

    def update(self, figure):
        self.updates += 1


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(time=100.0)
    monkeypatch.setattr(live.time, "monotonic", lambda: now.time)
    return now


@pytest.fixture
def no_screen(monkeypatch):
    monkeypatch.setattr(live.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def notebook(monkeypatch, no_screen):
    display = Display()
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=None)
    shell.display = types.ModuleType("IPython.display")
    shell.display.display = display.display
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", shell.display)
    return display


def test_a_script_without_a_screen_shows_nothing_and_saves(tmp_path, no_screen, clock):
    before = dict(rcParams), pyplot.get_fignums()
    path = tmp_path / "curves.png"
    curves = xn.plots.LiveCurves("Digits", path)
    for epoch in range(1, 4):
        clock.time += 1
        curves.add(epoch, train_loss=1 / epoch, train_accuracy=0.1 * epoch, test_accuracy=0.2)
    assert curves.figure.axes == []  # nobody looks, so nothing is drawn
    assert not path.exists()
    curves.close()
    assert image.imread(path).shape[1] == 1380
    loss, accuracy = curves.figure.axes
    assert curves.figure.get_suptitle() == "Digits"
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert [line.get_label() for line in accuracy.lines] == ["train", "test"]
    assert loss.lines[0].get_xydata().tolist() == [[1, 1], [2, 1 / 2], [3, 1 / 3]]
    assert (dict(rcParams), pyplot.get_fignums()) == before


def test_a_notebook_shows_one_picture_that_changes(notebook, clock):
    curves = xn.plots.LiveCurves()
    curves.add(1, loss=1.0)
    assert (notebook.shown, notebook.updates) == (1, 0)
    clock.time += 0.3
    curves.add(2, loss=0.5)
    curves.close()
    assert (notebook.shown, notebook.updates) == (1, 2)
    assert len(curves.figure.axes[0].lines[0].get_xdata()) == 2
    curves.close()  # a second time does nothing
    assert (notebook.shown, notebook.updates) == (1, 2)


def test_at_most_four_drawings_a_second(notebook, clock):
    curves = xn.plots.LiveCurves()
    for step in range(1000):  # ten seconds
        curves.add(step, loss=1.0)
        clock.time += 0.01
    assert notebook.shown + notebook.updates == pytest.approx(40, abs=2)


def test_slow_drawings_leave_nine_tenths_of_the_time(notebook, clock, monkeypatch):
    def slow(self, figure):
        self.updates += 1
        clock.time += 0.3

    monkeypatch.setattr(Display, "update", slow)
    curves = xn.plots.LiveCurves()
    began = clock.time
    while clock.time < began + 30:
        curves.add(clock.time, loss=1.0)
        clock.time += 0.01
    assert notebook.updates * 0.3 == pytest.approx(3.0, abs=0.31)


def test_a_window_opens_only_on_an_interactive_backend(monkeypatch, tmp_path):
    """Agg is none, though there is a display: no window, and no figure is left behind."""
    monkeypatch.setenv("DISPLAY", ":0")
    pyplot.switch_backend("agg")
    curves = xn.plots.LiveCurves()
    assert pyplot.get_fignums() == []
    curves.add(1, loss=1.0)
    curves.save(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


def test_a_window_is_drawn_and_closed(monkeypatch, clock):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    shown = []
    pyplot.switch_backend("agg")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(FigureCanvasAgg, "required_interactive_framework", "pretended")
    monkeypatch.setattr(FigureCanvasAgg, "flush_events", lambda self: shown.append("flush"))
    monkeypatch.setattr(
        FigureCanvasAgg.manager_class, "show", lambda self: shown.append("show"), raising=False
    )
    curves = xn.plots.LiveCurves()
    assert len(pyplot.get_fignums()) == 1
    curves.add(1, loss=1.0)
    assert shown == ["show", "flush"]
    curves.close()
    assert shown == ["show", "flush", "flush"]
    assert pyplot.get_fignums() == []


def test_an_error_in_training_leaves_the_picture(tmp_path, no_screen):
    path = tmp_path / "curves.png"

    def train():
        with xn.plots.LiveCurves(path=path) as curves:
            curves.add(1, loss=1.0)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert path.exists()


def test_numbers_may_be_arrays(lib, no_screen):
    with xn.plots.LiveCurves(xlabel="step") as curves:
        curves.add(lib.asarray(2.0), loss=lib.asarray(0.5))
    [ax] = curves.figure.axes
    assert ax.get_xlabel() == "step"
    assert ax.lines[0].get_xydata().tolist() == [[2.0, 0.5]]


def test_without_points_there_are_no_panels(tmp_path, no_screen):
    curves = xn.plots.LiveCurves(path=tmp_path / "empty.png")
    curves.add(1, loss=float("nan"))
    curves.close()
    assert curves.figure.axes == []
