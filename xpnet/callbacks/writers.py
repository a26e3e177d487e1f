"""Files that other programs read while a training runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from xpnet.callbacks.callback import Callback
from xpnet.errors import MissingPackageError

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["CSVLogger", "TensorBoard"]


class CSVLogger(Callback):
    """Write the history as a table, one line an epoch; see `xpnet.train.History.to_csv`.

    Parameters
    ----------
    path : str or path
        The file, rewritten after every measurement, so that a resumed training has all of it.

    Raises
    ------
    OSError
        While training, if it cannot be written.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> table = callbacks.CSVLogger("history.csv")
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Write the table."""
        trainer.history.to_csv(self.path)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Write the table."""
        trainer.history.to_csv(self.path)


class TensorBoard(Callback):
    """Write what is measured, and the learning rate, for TensorBoard.

    Parameters
    ----------
    folder : str or path
        Where ``tensorboard --logdir`` looks; a subfolder for each training keeps them apart.

    Raises
    ------
    MissingPackageError
        At the begin of the training, if tensorboardX is not installed.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> board = callbacks.TensorBoard("runs/first")
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = folder
        self._writer: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Open the file."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                "TensorBoard needs the package tensorboardX. Install: "
                'pip install "xpnet[tensorboard]"'
            ) from error
        purge = trainer.steps + 1 if trainer.steps else None  # what came after the checkpoint
        self._writer = SummaryWriter(os.fspath(self.folder), purge_step=purge)

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Write the numbers, over the number of steps."""
        self._write(trainer, logs)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Write the numbers, over the number of steps."""
        self._write(trainer, logs | {"learning_rate": trainer.optimizer.rate})

    def on_fit_end(self, trainer: Trainer) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, trainer: Trainer, logs: dict[str, float]) -> None:
        for key, value in logs.items():
            if isinstance(value, float):
                self._writer.add_scalar(key, value, trainer.steps)
        self._writer.flush()
