"""What a training measured, and when."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xpnet.errors import DataError

__all__ = ["History", "is_better", "resolve_mode"]

# Quantities that grow when a model gets better; all others are losses.
_GROWING = ("accuracy", "precision", "recall", "f1", "auc")


class History(Mapping[str, "list[float]"]):
    """What was measured while training: for each key the values, in order.

    Keys are ``"loss"`` and the names of the metrics, and the same with ``"val_"`` in front for
    the validation data.

    Attributes
    ----------
    history : dict from str to list
        The values; ``history["loss"]`` is short for ``history.history["loss"]``.
    positions : dict from str to list of float
        For each value, how many epochs were done by then: 1.0, 2.0, ..., or fractions where the
        validation is more frequent.
    stopped : str or None
        Why training ended before its last epoch, such as ``"Ctrl-C"``; None if it did not.

    Examples
    --------
    >>> import xpnet as xn
    >>> history = xn.train.History()
    >>> history.record({"loss": 0.5, "val_loss": 0.4}, 1.0)
    >>> history.record({"loss": 0.3, "val_loss": 0.6}, 2.0)
    >>> history["loss"], history.best("val_loss")
    ([0.5, 0.3], (1.0, 0.4))
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.positions: dict[str, list[float]] = {}
        self.stopped: str | None = None

    def __getitem__(self, key: str) -> list[float]:
        return self.history[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.history)

    def __len__(self) -> int:
        return len(self.history)

    def __repr__(self) -> str:
        last = ", ".join(f"{key}={values[-1]}" for key, values in self.history.items())
        why = f", stopped by {self.stopped}" if self.stopped else ""
        return f"History({self.epochs} epochs{', ' if last else ''}{last}{why})"

    @property
    def epochs(self) -> int:
        """How many whole epochs were recorded."""
        return len(self.history.get("loss", ()))

    def record(self, values: Mapping[str, float], position: float) -> None:
        """Append one value for each key.

        Parameters
        ----------
        values : mapping from str to float
            What was measured.
        position : float
            How many epochs were done by then.
        """
        for key, value in values.items():
            self.history.setdefault(key, []).append(value)
            self.positions.setdefault(key, []).append(position)

    def best(self, key: str = "val_loss", *, mode: str = "auto") -> tuple[float, float]:
        """Return where a quantity was at its best, and its value there.

        Parameters
        ----------
        key : str, optional
            What to look at.
        mode : {"auto", "min", "max"}, optional
            Which values are good; by default high accuracies and low losses.

        Returns
        -------
        tuple of float
            How many epochs were done, and the value; the first of several equal ones.

        Raises
        ------
        KeyError
            If nothing of that name was recorded; the message lists what was.
        ValueError
            If `mode` is unknown.
        """
        if not self.history.get(key):
            known = ", ".join(self.history) or "nothing"
            raise KeyError(f"History.best: {key!r} was not recorded; there is: {known}")
        mode = resolve_mode(mode, key, "History.best")
        index = 0
        for i, value in enumerate(self.history[key]):
            if is_better(value, self.history[key][index], mode):
                index = i
        return self.positions[key][index], self.history[key][index]

    def plot(self, **options: Any) -> Any:
        """Draw the curves; see `xpnet.plots.history`.

        Parameters
        ----------
        **options
            Of `xpnet.plots.history`.

        Returns
        -------
        matplotlib.figure.Figure
            Its ``savefig`` writes it to a file.

        Raises
        ------
        MissingPackageError
            If matplotlib is not installed.
        """
        from xpnet import plots

        return plots.history(self, **options)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table: one line for each position, one column for each key.

        Parameters
        ----------
        path : str or path
            The file; replaced if it is there.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        rows: dict[float, dict[str, float]] = {}
        for key, values in self.history.items():
            for position, value in zip(self.positions[key], values, strict=True):
                rows.setdefault(position, {"epoch": position})[key] = value
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["epoch", *self.history])
            writer.writeheader()
            writer.writerows(rows[position] for position in sorted(rows))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all of it as JSON, for `load`.

        Parameters
        ----------
        path : str or path
            The file; replaced if it is there.

        Raises
        ------
        OSError
            If it cannot be written.
        """
        Path(path).write_text(json.dumps(self.state_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> History:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        History
            An equal one.

        Raises
        ------
        DataError
            If the file is damaged or holds something else.
        OSError
            If it cannot be read.
        """
        history = cls()
        try:
            history.load_state_dict(json.loads(Path(path).read_bytes()))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not a history that xpnet has written ({error})") from error
        return history

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all there is, as JSON can hold it."""
        return {
            "values": {key: list(values) for key, values in self.history.items()},
            "positions": {key: list(values) for key, values in self.positions.items()},
            "stopped": self.stopped,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Become equal to the history that gave `state`.

        Parameters
        ----------
        state : mapping
            From `state_dict`.

        Raises
        ------
        ValueError
            If it is none; nothing is changed then.
        """
        values, positions = (_lists(state, part) for part in ("values", "positions"))
        lengths = [{key: len(each) for key, each in part.items()} for part in (values, positions)]
        stopped = state.get("stopped")
        if lengths[0] != lengths[1] or not isinstance(stopped, str | None):
            raise ValueError("History: values and positions do not belong together")
        self.history, self.positions, self.stopped = values, positions, stopped


def _lists(state: Any, part: str) -> dict[str, list[float]]:
    """Return a dict of lists of numbers out of a state, or raise."""
    lists = state.get(part) if isinstance(state, Mapping) else None
    if not isinstance(lists, dict) or not all(isinstance(each, list) for each in lists.values()):
        raise ValueError(f"History: expected a state with a list for each key in {part!r}")
    return {key: list(each) for key, each in lists.items()}


def resolve_mode(mode: str, key: str, where: str) -> str:
    """Return ``"min"`` or ``"max"``, which of them is good for a quantity."""
    if mode == "auto":
        return "max" if any(word in key for word in _GROWING) else "min"
    if mode not in ("min", "max"):
        raise ValueError(f'{where}: mode must be "auto", "min" or "max", got {mode!r}')
    return mode


def is_better(value: float, best: float, mode: str, *, by: float = 0.0) -> bool:
    """Tell whether `value` beats `best` by more than `by`; anything beats nan, nan nothing."""
    if best != best:
        return value == value
    return value < best - by if mode == "min" else value > best + by
