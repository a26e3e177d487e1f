"""Curves that grow while a model trains."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Self

from xpnet.plots.curves import curve, draw_panel, panels
from xpnet.plots.figure import DPI, FONT, matplotlib_module, new_figure

if TYPE_CHECKING:
    from types import TracebackType

    from matplotlib.figure import Figure

__all__ = ["LiveCurves"]

_PERIOD = 0.25  # seconds between two drawings, at least
_REST = 9  # and times as long as a drawing takes, so that nine tenths are left for training
_SIZE = (9.2, 3.4)  # inches


class LiveCurves:
    """Curves that are drawn anew while numbers are added to them.

    A notebook shows one picture that changes in place; a script shows a window if there is a
    display and matplotlib has an interactive backend, and nothing otherwise. The last picture can
    be saved in each case.

    Parameters
    ----------
    title : str, optional
        Above the panels.
    path : str or path, optional
        Where `close` writes the picture; the ending, such as ``.png``, names the format.
    xlabel : str, optional
        What is counted along the x axis.

    Raises
    ------
    MissingPackageError
        If matplotlib is not installed.

    Notes
    -----
    At most four pictures are drawn in a second, taking a tenth of the time at most, and none where
    nobody looks. Curves that differ in their first word ``train_``, ``val_`` or ``test_`` only
    share a panel, as in `history`.

    Examples
    --------
    >>> import xpnet as xn
    >>> with xn.plots.LiveCurves("Training") as curves:
    ...     for epoch in (1, 2, 3):
    ...         curves.add(epoch, train_loss=1 / epoch, test_loss=1.5 / epoch)
    >>> [line.get_label() for line in curves.figure.axes[0].lines]
    ['train', 'test']
    """

    def __init__(
        self,
        title: str | None = None,
        path: str | os.PathLike[str] | None = None,
        *,
        xlabel: str = "epoch",
    ) -> None:
        self.title = title
        self.path = path
        self.xlabel = xlabel
        self._curves: dict[str, tuple[list[float], list[float]]] = {}
        self._due = time.monotonic()
        self._handle: Any = None
        window = None if _in_kernel() else _window()
        self._shown = window is not None or _in_kernel()
        self._manager = window.canvas.manager if window is not None else None
        self.figure: Figure = window or new_figure("LiveCurves", *_SIZE)

    def add(self, x: float, **values: float) -> None:
        """Add a point to each of the named curves, and draw if it is time to.

        Parameters
        ----------
        x : float
            Where the points lie, such as the number of the epoch.
        **values : float
            By name of the curve, such as ``train_loss=0.7``. Each becomes a Python number, for
            which an array on a device is waited for.
        """
        for name, value in values.items():
            xs, ys = self._curves.setdefault(name, ([], []))
            xs.append(float(x))
            ys.append(float(value))
        began = time.monotonic()
        if self._shown and began >= self._due:
            self._show()
            now = time.monotonic()
            self._due = now + max(_PERIOD, _REST * (now - began))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture as it is now.

        Parameters
        ----------
        path : str or path
            The ending, such as ``.png``, names the format.
        """
        self._draw()
        self.figure.savefig(path, dpi=DPI)

    def close(self) -> None:
        """Draw what was added last, write the picture if a path was given, and close the window."""
        if self._shown:
            self._show()
        else:
            self._draw()
        if self.path is not None:
            self.save(self.path)
        if self._manager is not None:
            matplotlib_module("pyplot", "LiveCurves").close(self.figure)
        self._shown, self._manager = False, None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _draw(self) -> None:
        self.figure.clear()
        grouped = panels(curve("LiveCurves", key, *xy) for key, xy in self._curves.items())
        for i, group in enumerate(grouped):
            ax = self.figure.add_subplot(1, len(grouped), i + 1)
            draw_panel(ax, group, mark_best=False, xlabel=self.xlabel)
        if self.title:
            self.figure.suptitle(self.title, fontsize=FONT + 3)

    def _show(self) -> None:
        self._draw()
        if self._manager is not None:
            self.figure.canvas.draw_idle()
            self.figure.canvas.flush_events()
        elif self._handle is None:
            from IPython.display import display

            self._handle = display(self.figure, display_id=True)
        else:
            self._handle.update(self.figure)


def _in_kernel() -> bool:
    """Return whether this runs in a notebook, whose kernel has then imported IPython."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return hasattr(running, "kernel")


def _window() -> Figure | None:
    """Open a window, if there is a display and matplotlib can draw on it."""
    # Without a display pyplot is not asked: choosing a backend for the process is not our matter.
    has_display = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    if not has_display:
        return None
    pyplot = matplotlib_module("pyplot", "LiveCurves")
    figure: Figure = pyplot.figure(figsize=_SIZE, layout="constrained")
    manager = figure.canvas.manager
    if manager is None or figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        return None
    manager.show()
    return figure
