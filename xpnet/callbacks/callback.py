"""Callback: what can be hung on a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet._typing import Array
    from xpnet.train.trainer import Trainer

__all__ = ["Callback", "Function", "arranged"]


class Callback:
    """Base class of what is to happen during `xpnet.Trainer.fit`; override the hooks you need.

    The hooks are called in the order in which they stand here. A callback may call
    ``trainer.stop("why")`` in any of them. A plain function ``f(trainer, logs)`` may be given
    instead of a callback: it is called where `on_epoch_end` would be.

    Notes
    -----
    Arrays that a hook is given stay where they are computed: reading their values makes a GPU
    wait. Numbers in `logs` are Python numbers already.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> class Goal(callbacks.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         if logs["val_accuracy"] > 0.98:
    ...             trainer.stop("the goal")
    """

    # Whether the hooks run after those of the others, as a checkpoint's must, to hold their state.
    runs_last = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step; after a checkpoint was loaded."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Before the batches of an epoch; ``trainer.epoch`` epochs are done."""

    def on_gradients(self, trainer: Trainer, loss: Array, grads: Mapping[str, Array]) -> None:
        """Before a parameter is changed; ``trainer.batch_data`` is the batch."""

    def on_batch_end(self, trainer: Trainer, loss: Array) -> None:
        """After the update; ``trainer.batch`` batches of this epoch are done."""

    def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """After a validation in the middle of an epoch, with its numbers."""

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """After an epoch and its validation, with the numbers of both."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end, whatever the reason; those called last so far are called first.

        Where the training has not begun, since an `on_fit_begin` failed, only for those before.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for this callback: numbers, texts and arrays."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another one was when it gave `state`."""


class Function(Callback):
    """Call a function ``f(trainer, logs)`` after every epoch.

    Parameters
    ----------
    function : callable
        What to call.

    Raises
    ------
    TypeError
        If it cannot be called, or is a class of callbacks.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> show = callbacks.Function(lambda trainer, logs: print(logs["loss"]))
    """

    function: Callable[[Trainer, dict[str, float]], Any]

    def __init__(self, function: Callable[[Trainer, dict[str, float]], Any]) -> None:
        if not callable(function):
            raise TypeError(
                f"callbacks: expected a Callback or a function f(trainer, logs), got "
                f"{type(function).__name__}"
            )
        if isinstance(function, type) and issubclass(function, Callback):
            name = function.__name__
            raise TypeError(f"callbacks: expected a callback, got the class {name}; write {name}()")
        self.function = function

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """See `Callback.on_epoch_end`."""
        self.function(trainer, logs)


def arranged(callbacks: Iterable[Callback | Callable[..., Any]]) -> dict[str, Callback]:
    """Return callbacks by name, functions made into callbacks, those that run last at the end."""
    named: dict[str, Callback] = {}
    wrapped = [each if isinstance(each, Callback) else Function(each) for each in callbacks]
    for each in sorted(wrapped, key=lambda callback: callback.runs_last):
        kind = type(each).__name__
        number = sum(type(other) is type(each) for other in named.values()) + 1
        named[kind if number == 1 else f"{kind} {number}"] = each
    return named
