"""Curves that grow while a training runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from xpnet.callbacks.callback import Callback

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["LivePlot"]


class LivePlot(Callback):
    """Draw what is measured, after every epoch: in a notebook, in a window, into a file.

    Parameters
    ----------
    path : str or path, optional
        A picture that is written at the end.
    title : str, optional
        What stands above the curves.

    Raises
    ------
    MissingPackageError
        At the begin of the training, if matplotlib is not installed.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> curves = callbacks.LivePlot("curves.png")
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, title: str | None = None
    ) -> None:
        self.path, self.title = path, title
        self._curves: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Open the picture, with what a resumed training has measured before."""
        from xpnet.plots import LiveCurves

        self._curves = LiveCurves(title=self.title)
        history = trainer.history
        for key, values in history.items():
            for position, value in zip(history.positions[key], values, strict=True):
                self._add(position, {key: value})

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Add points."""
        self._add(trainer.epoch + trainer.batch / trainer.batches, logs)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Add points."""
        self._add(float(trainer.epoch), logs)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Write the picture."""
        if self._curves is not None:
            if self.path is not None:
                self._curves.save(self.path)
            self._curves.close()
            self._curves = None

    def _add(self, position: float, logs: dict[str, Any]) -> None:
        """Add what is one number, which a confusion matrix is not."""
        numbers = {key: value for key, value in logs.items() if isinstance(value, float)}
        self._curves.add(position, **numbers)
