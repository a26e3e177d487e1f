"""What all pictures share: where they are drawn, their colours, and arrays from any library."""

from __future__ import annotations

import functools
import importlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.errors import MissingPackageError
from xpnet.namespace import is_array
from xpnet.transfer import to_host

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLORS",
    "DARK",
    "DPI",
    "FONT",
    "MARKERS",
    "MUTED",
    "axes_for",
    "class_name",
    "figure_of",
    "host_array",
    "matplotlib_module",
    "new_figure",
    "tidy",
]

DPI = 150
FONT = 9  # points
DARK = "#222222"
MUTED = "#777777"
# M. Okabe, K. Ito, "Color Universal Design", 2008: told apart with any colour vision. Blue and
# vermilion, which differ the most, come first; markers differ as well.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*")


def matplotlib_module(name: str, where: str) -> Any:
    """Import a module of matplotlib, which only pictures need."""
    try:
        return importlib.import_module(f"matplotlib.{name}")
    except ImportError as error:
        raise MissingPackageError(
            f"{where}: expected the package matplotlib, which cannot be imported ({error}); "
            'run: pip install "xpnet[plot]"'
        ) from error


def new_figure(where: str, width: float, height: float) -> Figure:
    """Return a figure of a size in inches that pyplot does not know, and so never keeps alive."""
    size = (width, height)
    return cast("Figure", _figure_class(where)(figsize=size, dpi=DPI, layout="constrained"))


@functools.cache
def _figure_class(where: str) -> Any:
    figure = matplotlib_module("figure", where)

    class Picture(figure.Figure):  # type: ignore[misc, name-defined]
        """A figure that a notebook shows by itself, whether or not pyplot has been imported."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png")
            return buffer.getvalue()

    return Picture


def axes_for(
    where: str, axes: Sequence[Axes] | None, panels: int, columns: int, width: float, height: float
) -> list[Axes]:
    """Return one Axes for each panel: those given, or those of a new figure, row by row."""
    if axes is not None:
        given = list(np.ravel(np.asarray(axes, dtype=object)))
        if len(given) < panels:
            raise ValueError(
                f"{where}: expected at least {panels} axes, one for each panel, got {len(given)}; "
                "without axes= a figure is made that has them"
            )
        return given[:panels]
    rows = -(-panels // columns)
    figure = new_figure(where, width * columns, height * rows)
    return [figure.add_subplot(rows, columns, i + 1) for i in range(panels)]


def figure_of(ax: Axes) -> Figure:
    """Return the whole figure that a panel is in, though it be in a part of it."""
    return ax.figure.figure


def host_array(x: Array | Sequence[Any]) -> HostArray:
    """Return an array of any library, or a nested list, in host memory."""
    return to_host(x) if is_array(x) else np.asarray(x)


def class_name(index: int, class_names: Sequence[str] | None) -> str:
    """Return the name of a class: that given, or its number."""
    if class_names is not None and 0 <= index < len(class_names):
        return str(class_names[index])
    return str(index)


def tidy(ax: Axes) -> None:
    """Leave of the frame what is read: two axes and a faint grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.6)
    ax.tick_params(labelsize=FONT)
