"""Save a training while it runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from xpnet import checkpoint
from xpnet._typing import Array
from xpnet.callbacks.monitor import Monitor
from xpnet.checkpoint.tensors import safetensors
from xpnet.checks import positive

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["Checkpoint"]

_NAME = re.compile(r"(step-\d{8,})(\..*)?")  # with an ending: what a killed process has left


class Checkpoint(Monitor):
    """Save model, optimizer and the state of the training, the last ones and the best.

    Parameters
    ----------
    folder : str or path
        Where: ``step-00001200`` holds the state after so many batches, ``best`` that of the best
        measurement. Each is a folder that `xpnet.checkpoint.load` reads.
    every : int, optional
        Save after so many steps, too; by default after every epoch only.
    keep : int, optional
        How many of the last ones are kept.
    overwrite : bool, optional
        Whether a new training may remove the checkpoints of another one from the folder, and a
        continued one those after the checkpoint from which it starts.
    monitor : str, optional
        The quantity whose best value is saved as ``best``; by default ``"val_loss"`` if there
        is a validation, else ``"loss"``.
    mode : {"auto", "min", "max"}, optional
        Which values are good; by default high accuracies and low losses.

    Attributes
    ----------
    best : float
        The best value so far; nan before the first.

    Raises
    ------
    ValueError
        If a number is out of range or `mode` unknown; at the begin of the training, if the
        quantity will not be measured, or if the folder holds those of another training, or of
        later steps.
    OSError
        While training, if a checkpoint cannot be written; the older ones are kept.

    Examples
    --------
    A program that continues where it was, whatever stopped it::

        saving = callbacks.Checkpoint("run", every=500)
        trainer.fit(train, epochs=10, callbacks=[saving], resume=saving.latest())
    """

    runs_last = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int | None = None,
        keep: int = 2,
        overwrite: bool = False,
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        self._chosen = monitor is not None
        super().__init__("val_loss" if monitor is None else monitor, mode=mode)
        positive(self.name, every=1 if every is None else every, keep=keep)
        self.folder = Path(folder)
        self.every, self.keep, self.overwrite = every, keep, overwrite

    def forget(self) -> None:
        """See `Monitor.forget`."""
        super().forget()
        self._saved = 0  # the step that was saved last

    def latest(self) -> Path | None:
        """Return the newest checkpoint in the folder, for ``fit(resume=...)``.

        Returns
        -------
        Path or None
            None if there is none yet.
        """
        whole = [path for path in self._numbered() if path.exists()]
        return whole[-1] if whole else None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Choose what is best by the validation, if there is one."""
        safetensors()  # which is needed at the end of the first epoch
        if not self._chosen:
            self.monitor = "val_loss" if "val_loss" in trainer.keys else "loss"
        super().on_fit_begin(trainer)
        numbered = self._numbered()
        later = [path for path in numbered if path.exists() and int(path.name[5:]) > trainer.steps]
        if later and not self.overwrite:
            which = (
                "later ones than the resumed one" if trainer.steps else "those of another training"
            )
            raise ValueError(
                f"Checkpoint: {self.folder} holds {which}; continue the last one with "
                "fit(resume=...), choose another folder, or pass overwrite=True"
            )
        for path in numbered:
            if path in later or not path.exists():
                checkpoint.remove(path)
        self._remove_old()  # those that a training has left which was killed just then

    def on_batch_end(self, trainer: Trainer, loss: Array) -> None:
        """Save, if it is time."""
        if self.every is not None and trainer.steps % self.every == 0:
            self._save(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Save, as the best one too if it is."""
        super().on_epoch_end(trainer, logs)
        self._save(trainer)

    def measured(self, trainer: Trainer, better: bool) -> None:
        """Save the best one."""
        if better:
            self._write(trainer, self.folder / "best")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Save where Ctrl-C, or another callback, has stopped the training."""
        if trainer.stopped is not None and self._saved != trainer.steps:
            self._save(trainer)

    def _save(self, trainer: Trainer) -> None:
        self._saved = trainer.steps
        self._write(trainer, self.folder / f"step-{trainer.steps:08}")
        self._remove_old()

    def _remove_old(self) -> None:
        """Remove all checkpoints but the last ones, and what is left of others before them."""
        numbered = self._numbered()
        kept = [path for path in numbered if path.exists()][-self.keep :]
        for path in numbered[: numbered.index(kept[0])] if kept else []:
            checkpoint.remove(path)

    def _write(self, trainer: Trainer, path: Path) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint.save(path, trainer.model, trainer.optimizer, trainer=trainer)

    def _numbered(self) -> list[Path]:
        """Return the checkpoints in the order in which they were made, those half removed too."""
        names = os.listdir(self.folder) if self.folder.is_dir() else []
        found = {match[1] for match in map(_NAME.fullmatch, names) if match}
        return [self.folder / name for name in sorted(found, key=lambda name: (len(name), name))]
