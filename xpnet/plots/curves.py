"""Curves of training: one panel for each quantity, training and validation in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from xpnet.plots.figure import (
    COLORS,
    DARK,
    FONT,
    MUTED,
    axes_for,
    figure_of,
    matplotlib_module,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Curve", "curve", "draw_panel", "history", "panels"]

# The part of the data that a key's first word names; without one it is the training data.
_PARTS = {"train": "train", "val": "validation", "test": "test"}
_LINES = {"train": "-", "validation": "--", "test": "-."}  # told apart without colour, too
_LOWER_IS_BETTER = {"loss", "error", "mse", "rmse", "mae", "perplexity"}
_HIGHER_IS_BETTER = {"accuracy", "precision", "recall", "f1", "auc", "score", "r2"}
_COLUMNS, _WIDTH, _HEIGHT = 3, 4.6, 3.4  # panels in a row, inches of a panel


class Curve(NamedTuple):
    """The finite points of one key."""

    quantity: str
    part: str
    x: list[float]
    y: list[float]


def history(
    history: Mapping[str, Sequence[float | None]],
    *,
    keys: Sequence[str] | None = None,
    axes: Sequence[Axes] | None = None,
) -> Figure:
    r"""Draw loss and metrics over the epochs, and mark the best epoch.

    Parameters
    ----------
    history : mapping from str to sequence of float or None
        One number for each epoch under keys such as ``"loss"``, ``"val_loss"``, ``"accuracy"``,
        ``"val_accuracy"``. Keys that differ in their first word ``train_``, ``val_`` or ``test_``
        only share a panel. None and what is not finite was not measured, and is left out. Where
        the mapping has an attribute ``positions``, a mapping from keys to as many x values in
        epochs, these are used; otherwise epochs count from 1.
    keys : sequence of str, optional
        What to draw, by default everything that is one number each time, not a matrix.
    axes : sequence of matplotlib.axes.Axes, optional
        Where to draw, one for each panel; by default in a new figure.

    Returns
    -------
    matplotlib.figure.Figure
        A notebook displays it; ``figure.savefig("history.png")`` writes it.

    Raises
    ------
    ValueError
        If a key is unknown, if there is no finite number to draw, if positions and values differ
        in number, or if `axes` are too few.
    MissingPackageError
        If matplotlib is not installed.

    Notes
    -----
    The best epoch of a panel is that of the lowest loss or error, or of the highest accuracy,
    precision, recall, F1, AUC or score, on the validation data where there are any, else on the
    test data, else on the training data. Of other quantities, such as a learning rate, none is
    best.

    Examples
    --------
    >>> import xpnet as xn
    >>> figure = xn.plots.history({"loss": [0.9, 0.5, 0.3], "val_loss": [0.8, 0.6, 0.7]})
    >>> [panel.get_ylabel() for panel in figure.axes]
    ['loss']
    >>> [note.get_text() for note in figure.axes[0].texts]
    ['best 0.6\nepoch 2']
    """
    unknown = [key for key in keys or () if key not in history]
    if unknown:
        raise ValueError(
            f"history: expected keys out of {', '.join(history)}, got {', '.join(unknown)}"
        )
    if keys is None:
        matrices = {key for key in history if any(isinstance(x, list) for x in history[key])}
        keys = [key for key in history if key not in matrices]
    positions = getattr(history, "positions", {})
    curves = [
        curve("history", key, positions.get(key, range(1, len(history[key]) + 1)), history[key])
        for key in keys
    ]
    grouped = panels(curves)
    if not grouped:
        raise ValueError(
            f"history: expected a finite number under some key, found none under "
            f"{', '.join(map(repr, keys)) or 'no key at all'}; train an epoch first"
        )
    columns = min(len(grouped), _COLUMNS)
    each = axes_for("history", axes, len(grouped), columns, _WIDTH, _HEIGHT)
    for ax, group in zip(each, grouped, strict=True):
        draw_panel(ax, group, mark_best=True)
    return figure_of(each[0])


def curve(where: str, key: str, x: Iterable[float], y: Sequence[float | None]) -> Curve:
    """Return the curve of a key, without what was not measured."""
    x = [float(number) for number in x]
    if len(x) != len(y):
        raise ValueError(
            f"{where}: expected as many positions as values of {key!r}, got {len(x)} and {len(y)}"
        )
    first, _, rest = key.partition("_")
    quantity, part = (rest, _PARTS[first]) if rest and first in _PARTS else (key, "train")
    values = [math.nan if number is None else float(number) for number in y]
    finite = [(a, b) for a, b in zip(x, values, strict=True) if math.isfinite(b)]
    return Curve(quantity, part, [a for a, _ in finite], [b for _, b in finite])


def panels(curves: Iterable[Curve]) -> list[list[Curve]]:
    """Return the curves that have points, grouped by quantity."""
    groups: dict[str, list[Curve]] = {}
    for each in curves:
        if each.x:
            groups.setdefault(each.quantity, []).append(each)
    return list(groups.values())


def draw_panel(
    ax: Axes, curves: Sequence[Curve], *, mark_best: bool, xlabel: str = "epoch"
) -> None:
    """Draw the curves of one quantity, and its best point on the data that decide."""
    name = curves[0].quantity.replace("_", " ")
    parts = list(_LINES)
    for each in curves:
        marker = "o" if len(each.x) <= 30 else ""  # a single point has no line
        ax.plot(
            each.x,
            each.y,
            color=COLORS[parts.index(each.part)],
            linestyle=_LINES[each.part],
            linewidth=1.6,
            marker=marker,
            markersize=3,
            label=each.part,
        )
    ax.set_title(name[:1].upper() + name[1:], fontsize=FONT + 2, color=DARK)
    ax.set_xlabel(xlabel, fontsize=FONT)
    ax.set_ylabel(name, fontsize=FONT)
    ax.xaxis.set_major_locator(
        matplotlib_module("ticker", "history").MaxNLocator("auto", integer=True, min_n_ticks=1)
    )
    ax.margins(y=0.12)
    tidy(ax)
    choose = _direction(curves)
    if mark_best and choose is not None:
        _mark_best(ax, curves, choose, xlabel)
    if len(curves) > 1 or choose is not None:  # "train" says nothing about a learning rate
        ax.legend(fontsize=FONT, frameon=False)


def _direction(curves: Sequence[Curve]) -> Callable[[list[float]], float] | None:
    """Return what chooses the best number of a quantity; None if none is better than another."""
    words = set(curves[0].quantity.lower().split("_"))
    return min if words & _LOWER_IS_BETTER else max if words & _HIGHER_IS_BETTER else None


def _mark_best(
    ax: Axes, curves: Sequence[Curve], choose: Callable[[list[float]], float], xlabel: str
) -> None:
    by_part = {each.part: each for each in curves}
    deciding = next(by_part[part] for part in ("validation", "test", "train") if part in by_part)
    lowest = choose is min
    best = choose(deciding.y)
    x = deciding.x[deciding.y.index(best)]
    ax.axvline(x, color=MUTED, linewidth=0.8, linestyle=":", zorder=0)
    ax.plot([x], [best], marker="*", markersize=11, color=DARK, linestyle="", label="best")
    # Where a curve that turns at its best leaves room, but never out of the panel.
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    to_the_left = x > (left + right) / 2
    height = (best - bottom) / (top - bottom)
    above = height < (0.7 if lowest else 0.3)
    ax.annotate(
        f"best {best:.4g}\n{xlabel} {x:g}",
        (x, best),
        xytext=(-10 if to_the_left else 10, 22 if above else -22),
        textcoords="offset points",
        ha="right" if to_the_left else "left",
        va="bottom" if above else "top",
        fontsize=FONT,
        color=DARK,
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.8},
    )
