"""What is shown while a training runs: a bar on a terminal, plain lines everywhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from xpnet._typing import Array
from xpnet.callbacks.callback import Callback

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["Bar", "Lines", "progress"]


def progress(verbose: str | int) -> list[Callback]:
    """Return the callbacks that show what `verbose` asks for.

    Raises
    ------
    ValueError
        If it is not one of the known values.
    """
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(f'Trainer.fit: verbose must be "auto", 0, 1 or 2, got {verbose!r}')
    if verbose == 0:
        return []
    bars = [Bar()] if verbose != 2 and sys.stderr.isatty() and Bar.possible() else []
    return [*bars, Lines()]


class Lines(Callback):
    """Print a line for each epoch, and why training ended early."""

    def __init__(self) -> None:
        self._began = 0.0

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Print what was measured."""
        _line(trainer, f"epoch {trainer.epoch + 1}/{trainer.epochs}, step {trainer.batch}", logs)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Print what was measured."""
        seconds = f"{time.perf_counter() - self._began:.1f} s"
        _line(trainer, f"epoch {trainer.epoch}/{trainer.epochs}", logs, seconds)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Print why training ended early."""
        if trainer.stopped is not None:
            sys.stdout.write(f"stopped after {trainer.epoch} epochs by {trainer.stopped}\n")


def _line(trainer: Trainer, begin: str, logs: dict[str, float], *end: str) -> None:
    shown = [f"{key} {logs[key]:.4f}" for key in trainer.keys if isinstance(logs.get(key), float)]
    sys.stdout.write("  ".join([begin, *shown, *end]) + "\n")
    sys.stdout.flush()


class Bar(Callback):
    """Show a bar with the speed, the loss and the time left, on stderr.

    The loss is read twice a second at most, since reading it makes a GPU wait.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._read = 0.0

    @staticmethod
    def possible() -> bool:
        """Tell whether rich is installed."""
        from importlib.util import find_spec

        return find_spec("rich") is not None

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Open a bar for this epoch."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total}" if trainer.batches else ""),
            TextColumn("{task.fields[speed]:.0f} steps/s  loss {task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            f"epoch {trainer.epoch + 1}/{trainer.epochs}",
            total=trainer.batches or None,
            completed=trainer.batch,
            speed=0.0,
            loss="",
        )

    def on_batch_end(self, trainer: Trainer, loss: Array) -> None:
        """Move the bar."""
        now = time.perf_counter()
        if now - self._read < 0.5:
            return
        self._read = now
        task = self._bar.tasks[0]
        elapsed = task.elapsed or 1.0
        self._bar.update(
            self._task,
            completed=trainer.batch,
            speed=trainer.batch / elapsed,
            loss=f"{float(loss):.4f}",
        )

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Take the bar away; the line of the epoch takes its place."""
        self._close()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take the bar away."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
