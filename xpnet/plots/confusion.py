"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.plots.figure import DARK, FONT, axes_for, class_name, figure_of, host_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["confusion_matrix"]

_MOST_WITH_TEXT = 30  # classes; above, numbers are too small to be read


def confusion_matrix(
    matrix: Array,
    class_names: Sequence[str] | None = None,
    *,
    normalize: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """Draw a confusion matrix with its counts written into it.

    Parameters
    ----------
    matrix : array, shape (C, C), non-negative
        ``matrix[i, j]`` samples of class i were taken for class j. An array of any library, or a
        nested list.
    class_names : sequence of str, optional
        One for each class, by default its number.
    normalize : bool, optional
        Whether to show the share of the true class instead of the count.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook displays it; ``figure.savefig("confusion.png")`` writes it.

    Raises
    ------
    ValueError
        If the matrix is not square, or has a negative entry, or if the names are not as many as
        the classes.
    MissingPackageError
        If matplotlib is not installed.

    Notes
    -----
    The title has the accuracy, the sum of the diagonal divided by the sum of all. Above 30
    classes only colours are shown.

    Examples
    --------
    >>> import xpnet as xn
    >>> figure = xn.plots.confusion_matrix([[8, 2], [1, 9]], ["cat", "dog"])
    >>> figure.axes[0].get_title()
    'Accuracy 85.0 % (17 of 20)'
    >>> [cell.get_text() for cell in figure.axes[0].texts]
    ['8', '2', '1', '9']
    """
    counts = host_array(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(
            "confusion_matrix: expected a matrix of shape (C, C), got shape "
            f"{counts.shape}; it has a row and a column for each class"
        )
    if np.any(counts < 0):
        raise ValueError(
            f"confusion_matrix: expected counts, got the negative entry {counts.min()}"
        )
    n = len(counts)
    if class_names is not None and len(class_names) != n:
        raise ValueError(
            f"confusion_matrix: expected {n} class names for a matrix of shape {counts.shape}, "
            f"got {len(class_names)}"
        )
    rows = counts.sum(axis=1, keepdims=True)
    shown = counts / np.maximum(rows, 1) if normalize else counts
    names = [class_name(i, class_names) for i in range(n)]
    longest = max(map(len, names))
    side = min(max(3.6, 0.55 * n + 1.2 + 0.07 * longest), 12.0)
    [ax] = axes_for("confusion_matrix", None if ax is None else [ax], 1, 1, side + 0.9, side)
    image = ax.imshow(shown, cmap="Blues", vmin=0, vmax=1 if normalize else max(shown.max(), 1))
    if n <= _MOST_WITH_TEXT:
        _write(ax, shown, image, ".2f" if normalize else ",.10g")
    ax.set_xticks(range(n), names, fontsize=FONT)
    if longest > 3:
        for label in ax.get_xticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), names, fontsize=FONT)
    ax.set_xlabel("predicted label", fontsize=FONT + 1)
    ax.set_ylabel("true label", fontsize=FONT + 1)
    right, total = np.trace(counts), counts.sum()
    share = f"{100 * right / total:.1f} % " if total else ""
    ax.set_title(f"Accuracy {share}({right:,.10g} of {total:,.10g})", fontsize=FONT + 2, color=DARK)
    ax.spines[:].set_visible(False)
    bar = figure_of(ax).colorbar(image, ax=ax, shrink=0.8)
    bar.set_label("share of the true class" if normalize else "samples", fontsize=FONT)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=FONT)
    return figure_of(ax)


def _write(ax: Axes, shown: HostArray, image: AxesImage, form: str) -> None:
    """Write each number into its cell, white on dark cells."""
    size = FONT if len(shown) <= 12 else FONT * 12 / len(shown)
    for (i, j), number in np.ndenumerate(shown):
        red, green, blue, _ = image.cmap(image.norm(number))
        # Relative luminance of the cell, ITU-R BT.709; 0.45 is where both contrasts suffice.
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.45
        color = "white" if dark else DARK
        ax.text(j, i, format(number, form), ha="center", va="center", color=color, fontsize=size)
