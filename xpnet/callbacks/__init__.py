"""Callbacks: what can be hung on `xpnet.Trainer.fit`."""

from xpnet.callbacks.callback import Callback, Function
from xpnet.callbacks.checkpoint import Checkpoint
from xpnet.callbacks.early_stopping import EarlyStopping
from xpnet.callbacks.live_plot import LivePlot
from xpnet.callbacks.monitor import Monitor
from xpnet.callbacks.reduce_on_plateau import ReduceOnPlateau
from xpnet.callbacks.terminate_on_nan import TerminateOnNaN
from xpnet.callbacks.writers import CSVLogger, TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Function",
    "LivePlot",
    "Monitor",
    "ReduceOnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
]
