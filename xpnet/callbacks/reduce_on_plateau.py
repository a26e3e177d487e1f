"""Lower the learning rate when nothing gets better any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet.callbacks.monitor import Monitor
from xpnet.checks import positive

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["ReduceOnPlateau"]


class ReduceOnPlateau(Monitor):
    """Multiply the learning rate by a factor when a quantity has not got better for a while.

    The optimizer's ``rate_factor`` is lowered, so this works with schedules too.

    Parameters
    ----------
    monitor : str, optional
        A key of the history.
    factor : float, optional
        In (0, 1).
    patience : int, optional
        How many measurements in a row may fail to be better.
    min_delta : float, optional
        By how much a value must be better to count as better.
    cooldown : int, optional
        How many measurements after a reduction do not count.
    min_factor : float, optional
        The product of all reductions does not go below this.
    mode : {"auto", "min", "max"}, optional
        Which values are good; by default high accuracies and low losses.

    Attributes
    ----------
    best : float
        The best value so far; nan before the first.
    waited : int
        Measurements since then, or since the last reduction and its cooldown.

    Raises
    ------
    ValueError
        If a number is out of range or `mode` unknown; at the begin of the training, if the
        quantity will not be measured.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> plateau = callbacks.ReduceOnPlateau(factor=0.5, patience=2)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 5,
        min_delta: float = 0.0,
        cooldown: int = 0,
        min_factor: float = 0.0,
        mode: str = "auto",
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        positive(self.name, patience=patience)
        if not 0 < factor < 1:
            raise ValueError(f"{self.name}: factor must be in (0, 1), got {factor}")
        if cooldown < 0 or not 0 <= min_factor <= 1:
            raise ValueError(
                f"{self.name}: cooldown must not be negative and min_factor must be in [0, 1], "
                f"got {cooldown} and {min_factor}"
            )
        self.factor, self.patience = factor, patience
        self.cooldown, self.min_factor = cooldown, min_factor

    def measured(self, trainer: Trainer, better: bool) -> None:
        """Lower the rate if it is time."""
        if self.waited >= self.patience:
            optimizer = trainer.optimizer
            optimizer.rate_factor = max(optimizer.rate_factor * self.factor, self.min_factor)
            self.waited = -self.cooldown
