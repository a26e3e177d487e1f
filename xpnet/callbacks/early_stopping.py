"""Stop when nothing gets better any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xpnet._typing import Array
from xpnet.callbacks.monitor import Monitor
from xpnet.checks import positive

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
    """Stop when a quantity has not got better for a while, and go back to the best weights.

    Parameters
    ----------
    monitor : str, optional
        A key of the history.
    patience : int, optional
        How many measurements in a row may fail to be better.
    min_delta : float, optional
        By how much a value must be better to count as better.
    mode : {"auto", "min", "max"}, optional
        Which values are good; by default high accuracies and low losses.
    restore_best : bool, optional
        Whether the model has the parameters and buffers of the best measurement at the end,
        whatever ended the training. They are kept in memory.

    Attributes
    ----------
    best : float
        The best value so far; nan before the first.
    waited : int
        Measurements since then.

    Raises
    ------
    ValueError
        If `patience` is below 1, `min_delta` negative or `mode` unknown; at the begin of the
        training, if the quantity will not be measured.

    Notes
    -----
    What a `xpnet.Trainer` measures, and what is kept, are the weights that the optimizer updates.
    Averages that `xpnet.optim.Average` keeps of them are neither looked at nor restored: within
    ``with optimizer.averaged(model)`` are those of the last update.

    References
    ----------
    .. [1] L. Prechelt, "Early stopping - but when?", in "Neural networks: tricks of the trade",
       1998.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> stopping = callbacks.EarlyStopping("val_accuracy", patience=3)
    >>> stopping.mode
    'max'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        positive(self.name, patience=patience)
        self.patience = patience
        self.restore_best = restore_best

    def forget(self) -> None:
        """See `Monitor.forget`."""
        super().forget()
        self._weights: dict[str, Array] | None = None

    def measured(self, trainer: Trainer, better: bool) -> None:
        """Keep the weights if they are the best, and stop if they have been long ago."""
        if better and self.restore_best:
            self._weights = trainer.model.state_dict()
        if self.waited >= self.patience:
            trainer.stop(f"EarlyStopping: {self.monitor} was best at {self.best:.6g}")

    def on_fit_end(self, trainer: Trainer) -> None:
        """Go back to the best weights."""
        if self._weights is not None:
            trainer.model.load_state_dict(self._weights)

    def state_dict(self) -> dict[str, Any]:
        """See `Callback.state_dict`."""
        return super().state_dict() | {"weights": self._weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `Callback.load_state_dict`."""
        super().load_state_dict(state)
        self._weights = state["weights"]
