"""Stop before a number that is not finite spoils the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from xpnet._typing import Array
from xpnet.callbacks.callback import Callback
from xpnet.namespace import array_namespace, dtype_kind
from xpnet.nn import Module, observe
from xpnet.nn.modes import undisturbed

if TYPE_CHECKING:
    from xpnet.train.trainer import Trainer

__all__ = ["TerminateOnNaN"]


class TerminateOnNaN(Callback):
    """Stop when the loss or a gradient is infinite or nan, and name where it came from.

    The step is not made, so the parameters stay finite; the running averages of a `BatchNorm1d`
    have seen the batch. The reason names the first layer whose
    output is not finite; if the outputs are, the last layer whose gradient is not, since
    gradients are computed from the end.

    Attributes
    ----------
    reason : str or None
        What was found.

    Notes
    -----
    Looking at the values in every step makes a GPU wait in every step. To find the layer, the
    model is computed once more on the same batch; dropout then draws other masks.

    Examples
    --------
    >>> from xpnet import callbacks
    >>> guard = callbacks.TerminateOnNaN()
    """

    def __init__(self) -> None:
        self.reason: str | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Forget the training before, if any."""
        self.reason = None

    def on_gradients(self, trainer: Trainer, loss: Array, grads: Mapping[str, Array]) -> None:
        """Look at the loss and all gradients."""
        if not _finite([loss, *grads.values()]):
            where = f"epoch {trainer.epoch + 1}, batch {trainer.batch + 1}"
            self.reason = f"TerminateOnNaN: {where}: {_origin(trainer, loss, grads)}"
            trainer.stop(self.reason)


def _origin(trainer: Trainer, loss: Array, grads: Mapping[str, Array]) -> str:
    """Say what the first thing is that is not finite."""
    x = trainer.batch_data.x
    if not _finite([x]):
        return "the inputs of the batch are not finite"
    outputs: list[str] = []

    def look(name: str, module: Module, output: Array) -> None:
        if not outputs and not _finite([output]):
            kind = type(module).__name__
            outputs.append(f"the output of layer {name!r} ({kind}) is not finite")

    with undisturbed(trainer.model), observe(trainer.model, look):
        trainer.model(x)
    if outputs:
        return outputs[0]
    if not _finite([loss]):
        return "the loss is not finite, while all outputs are"
    wrong = [name for name, grad in grads.items() if not _finite([grad])]
    return f"the gradient of {wrong[-1]!r} is not finite"


def _finite(arrays: Iterable[Array]) -> bool:
    """Tell whether all elements are finite, in one wait for the device."""
    flags = [_all_finite(array) for array in arrays if dtype_kind(array)]
    xp = array_namespace(*flags)
    return bool(xp.all(xp.stack(flags)))


def _all_finite(array: Array) -> Array:
    xp = array_namespace(array)
    return xp.all(xp.isfinite(array))
