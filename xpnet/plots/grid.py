"""Images beside each other, with what they are and what they were taken for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xpnet._typing import Array, HostArray
from xpnet.plots.figure import COLORS, DARK, FONT, axes_for, class_name, figure_of, host_array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["images"]

_RIGHT, _WRONG = "\N{CHECK MARK}", "\N{BALLOT X}"
_SIDE = 1.25  # inches of an image


def images(
    images: Array,
    *,
    labels: Array | None = None,
    predictions: Array | None = None,
    class_names: Sequence[str] | None = None,
    columns: int | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    r"""Draw images in a grid, each titled with its true and its predicted label.

    Parameters
    ----------
    images : array, shape (N, H, W) or (N, H * H)
        Grey values, large ones bright; rows are read as square images. Of any library.
    labels : array, integer, shape (N,), optional
        Indices of the true classes: the first line of the title.
    predictions : array, integer, shape (N,), optional
        Indices of the predicted classes: the second line, or the only one. Given both, right and
        wrong ones differ in colour and symbol.
    class_names : sequence of str, optional
        Names to be shown instead of the indices.
    columns : int, optional
        Images in a row, at most 8 by default.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one for each image; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook displays it; ``figure.savefig("images.png")`` writes it.

    Raises
    ------
    ValueError
        If there is no image, if rows are not square images, if `labels` or `predictions` are not
        as many as the images, if `columns` is not positive, or if `axes` are too few.
    MissingPackageError
        If matplotlib is not installed.

    Examples
    --------
    >>> import xpnet as xn
    >>> figure = xn.plots.images(
    ...     xn.asarray([[0.0, 1.0, 1.0, 0.0]] * 2),
    ...     labels=xn.asarray([0, 1]),
    ...     predictions=xn.asarray([0, 0]),
    ...     class_names=["coat", "bag"],
    ... )
    >>> [panel.get_title() for panel in figure.axes]
    ['coat\n✓ coat', 'bag\n✗ coat']
    """
    pixels = _square(host_array(images))
    n = len(pixels)
    true, predicted = _indices("labels", labels, n), _indices("predictions", predictions, n)
    if columns is not None and columns < 1:
        raise ValueError(f"images: expected columns of at least 1, got {columns}")
    columns = min(n, columns or 8)
    lines = sum(given is not None for given in (true, predicted))
    each = axes_for("images", axes, n, columns, _SIDE, _SIDE + 0.17 * lines)
    wrong = 0
    for i, ax in enumerate(each):
        ax.imshow(pixels[i], cmap="gray")
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
        words = [class_name(given[i], class_names) for given in (true, predicted) if given]
        color = DARK
        if true and predicted:
            missed = true[i] != predicted[i]
            wrong += missed
            color = COLORS[1] if missed else COLORS[0]
            words[1] = f"{_WRONG if missed else _RIGHT} {words[1]}"
        ax.set_title("\n".join(words), fontsize=FONT - 1, color=color, pad=3)
    if true and predicted and axes is None:
        title = f"true label above, prediction below: {_WRONG} {wrong} wrong of {n}"
        # As many characters as fit above a narrow grid.
        size = min(FONT + 1, 72 * 1.7 * _SIDE * columns / len(title))
        figure_of(each[0]).suptitle(title, fontsize=size, color=DARK)
    return figure_of(each[0])


def _square(pixels: HostArray) -> HostArray:
    """Return images of shape (N, H, W), rows of pixels made square."""
    side = math.isqrt(pixels.shape[1]) if pixels.ndim == 2 else 0
    if pixels.ndim == 2 and side * side == pixels.shape[1]:
        pixels = pixels.reshape(-1, side, side)
    if pixels.ndim != 3 or not pixels.size:
        raise ValueError(
            "images: expected an array of shape (N, H, W), or (N, H * H) for square images, got "
            f"shape {pixels.shape}; a single image is images[None]"
        )
    return pixels


def _indices(name: str, given: Array | None, n: int) -> list[int] | None:
    if given is None:
        return None
    indices = host_array(given)
    if indices.shape != (n,):
        raise ValueError(
            f"images: expected {name} of shape ({n},), one for each image, got {indices.shape}"
        )
    return [int(index) for index in indices]
