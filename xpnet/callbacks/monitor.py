"""What callbacks share that watch one quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xpnet.callbacks.callback import Callback
from xpnet.train.history import is_better, resolve_mode

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["Monitor"]


class Monitor(Callback):
    """Base class of callbacks that act on one quantity, whenever it was measured.

    Parameters
    ----------
    monitor : str
        A key of the history, such as ``"val_loss"``.
    mode : {"auto", "min", "max"}
        Which values are good; "auto" means high accuracies and low losses.
    min_delta : float
        By how much a value must be better to count as better.

    Attributes
    ----------
    best : float
        The best value so far; nan before the first.
    waited : int
        Measurements since then.

    Raises
    ------
    TypeError
        If `monitor` is no name.
    ValueError
        If `mode` is unknown or `min_delta` negative.
    """

    def __init__(self, monitor: str, *, mode: str = "auto", min_delta: float = 0.0) -> None:
        self.name = type(self).__name__
        if not isinstance(monitor, str):
            raise TypeError(
                f"{self.name}: expected the name of what to monitor, such as 'val_loss', got "
                f"{type(monitor).__name__}; all others are given by keyword"
            )
        self.monitor = monitor
        self.mode = resolve_mode(mode, monitor, self.name)
        if not min_delta >= 0:
            raise ValueError(f"{self.name}: min_delta must not be negative, got {min_delta}")
        self.min_delta = min_delta
        self.forget()

    def forget(self) -> None:
        """Start anew; what was measured before belongs to another training."""
        self.best = math.nan
        self.waited = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check that the quantity will be measured; forget the training before, if any."""
        if not trainer.steps:  # else a checkpoint was loaded
            self.forget()
        if self.monitor not in trainer.keys:
            validated = any(key.startswith("val_") for key in trainer.keys)
            missing = not validated and self.monitor.startswith("val_")
            cure = "; pass validation_data" if missing else "; the Trainer takes others as metrics="
            raise ValueError(
                f"{self.name}: monitor={self.monitor!r} is not measured; there will be: "
                f"{', '.join(trainer.keys)}{cure}"
            )

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """See `Callback.on_validation_end`."""
        self._look(trainer, logs)

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """See `Callback.on_epoch_end`."""
        self._look(trainer, logs)

    def _look(self, trainer: Trainer, logs: dict[str, float]) -> None:
        if self.monitor not in logs:
            return
        better = is_better(logs[self.monitor], self.best, self.mode, by=self.min_delta)
        if better:
            self.best = logs[self.monitor]
        self.waited = 0 if better else self.waited + 1
        self.measured(trainer, better)

    def measured(self, trainer: Trainer, better: bool) -> None:
        """Act on a measurement; `better` tells whether it is the best so far."""
        raise NotImplementedError(f"{self.name} defines no measured(trainer, better)")

    def state_dict(self) -> dict[str, Any]:
        """See `Callback.state_dict`."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Callback.load_state_dict`."""
        self.best, self.waited = float(state["best"]), int(state["waited"])
