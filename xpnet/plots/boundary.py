"""Where in the plane a model decides for which class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.plots.figure import (
    COLORS,
    DARK,
    FONT,
    MARKERS,
    axes_for,
    class_name,
    figure_of,
    host_array,
    matplotlib_module,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["decision_boundary"]


def decision_boundary(
    predict: Callable[[HostArray], Array],
    points: Array,
    labels: Array,
    *,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    resolution: int = 200,
    ax: Axes | None = None,
) -> Figure:
    """Draw labelled points of the plane, and the probabilities that a model gives around them.

    Parameters
    ----------
    predict : callable
        Takes a host array of shape (M, 2) in the dtype of `points`, and returns probabilities in
        an array of any library: of shape (M,) or (M, 1) those of class 1 of two, of shape (M, C)
        those of each class.
    points : array, real floating, shape (N, 2)
        Of any library.
    labels : array, integer, shape (N,)
        Indices of the true classes.
    class_names : sequence of str, optional
        Names to be shown instead of the indices.
    title : str, optional
        Above the picture; by default the share of the points on the right side.
    resolution : int, optional
        Points along each axis at which the model is asked.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook displays it; ``figure.savefig("boundary.png")`` writes it.

    Raises
    ------
    ValueError
        If `points`, `labels` or what `predict` returns has another shape.
    MissingPackageError
        If matplotlib is not installed.

    Notes
    -----
    The colour is that of the most probable class, the stronger the surer; a line runs where
    classes are equally probable.

    Examples
    --------
    >>> import xpnet as xn
    >>> points = xn.asarray([[-1.0, 0.0], [2.0, 0.0], [1.0, 1.0]])
    >>> figure = xn.plots.decision_boundary(
    ...     lambda x: xn.special.expit(x[:, 0]), points, xn.asarray([0, 1, 0])
    ... )
    >>> figure.axes[0].get_title()
    '2 of 3 points on the right side (66.7 %)'
    """
    where = "decision_boundary"
    x, y = host_array(points), host_array(labels)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"{where}: expected points of shape (N, 2), got shape {x.shape}")
    if y.shape != (len(x),):
        raise ValueError(
            f"{where}: expected labels of shape ({len(x)},), one for each point, got {y.shape}"
        )
    margin = 0.12 * (x.max(axis=0) - x.min(axis=0)) + 1e-3
    (left, bottom), (right, top) = x.min(axis=0) - margin, x.max(axis=0) + margin
    across, up = np.linspace(left, right, resolution), np.linspace(bottom, top, resolution)
    mesh = np.stack(np.meshgrid(across, up), axis=-1).astype(x.dtype)
    p = _probabilities(where, predict(mesh.reshape(-1, 2))).reshape(resolution, resolution, -1)
    guessed = _probabilities(where, predict(x)).argmax(axis=1)

    [ax] = axes_for(where, None if ax is None else [ax], 1, 1, 5.2, 4.2)
    image = ax.imshow(_blend(p), extent=(left, right, bottom, top), origin="lower", aspect="auto")
    image.set_zorder(0)
    for c in range(p.shape[2]):
        lead = p[..., c] - np.delete(p, c, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0.0], colors=DARK, linewidths=1.2)
        ax.scatter(
            x[y == c, 0],
            x[y == c, 1],
            s=16,
            color=COLORS[c % len(COLORS)],
            marker=MARKERS[c % len(MARKERS)],
            edgecolors="white",
            linewidths=0.4,
            label=f"class {class_name(c, None)}" if class_names is None else class_names[c],
        )
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    ax.set_xlabel("$x_1$", fontsize=FONT)
    ax.set_ylabel("$x_2$", fontsize=FONT)
    hits = int((guessed == y).sum())
    score = f"{hits} of {len(y)} points on the right side ({100 * hits / len(y):.1f} %)"
    ax.set_title(score if title is None else title, fontsize=FONT + 1, color=DARK)
    tidy(ax)
    ax.grid(visible=False)
    ax.legend(fontsize=FONT, loc="upper right", framealpha=0.85, edgecolor="none")
    return figure_of(ax)


def _probabilities(where: str, given: Array) -> HostArray:
    """Return probabilities of shape (M, C) with C of 2 at least."""
    p = host_array(given)
    if p.ndim == 1:
        p = p[:, None]
    if p.ndim != 2:
        raise ValueError(
            f"{where}: expected predict to return probabilities of shape (M,) or (M, C), got "
            f"shape {p.shape}"
        )
    return np.concatenate([1 - p, p], axis=1) if p.shape[1] == 1 else p


def _blend(p: HostArray) -> Any:
    """Return the colour of the most probable class, faded to white where it is a toss-up."""
    colors = matplotlib_module("colors", "decision_boundary")
    palette = np.asarray([colors.to_rgb(COLORS[c % len(COLORS)]) for c in range(p.shape[2])])
    sure = (p.max(axis=2, keepdims=True) * p.shape[2] - 1) / (p.shape[2] - 1)
    strength = 0.08 + 0.42 * np.clip(sure, 0, 1)
    return 1 - strength * (1 - palette[p.argmax(axis=2)])
