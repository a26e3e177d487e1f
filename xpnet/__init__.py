"""Neural networks and differentiation in pure Array API code, on any array library."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet import autodiff, losses, metrics, nn, optim, random, special
from xpnet.autodiff import (
    check_gradient,
    custom_gradient,
    grad,
    hessian,
    hvp,
    jacobian,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
)
from xpnet.backend import Backend, available_backends, get_backend, use_backend
from xpnet.errors import (
    BackendError,
    DataError,
    DataUnavailableError,
    MissingPackageError,
    MissingRuleError,
    TracedArrayError,
)
from xpnet.namespace import array_namespace
from xpnet.random import Generator, seed
from xpnet.transfer import asarray, to_host

if TYPE_CHECKING:
    from xpnet import callbacks, checkpoint, data, plots, train
    from xpnet.train import Trainer

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "DataError",
    "DataUnavailableError",
    "Generator",
    "MissingPackageError",
    "MissingRuleError",
    "TracedArrayError",
    "Trainer",
    "array_namespace",
    "asarray",
    "autodiff",
    "available_backends",
    "callbacks",
    "check_gradient",
    "checkpoint",
    "custom_gradient",
    "data",
    "get_backend",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "losses",
    "metrics",
    "nn",
    "optim",
    "plots",
    "random",
    "seed",
    "special",
    "stop_gradient",
    "to_host",
    "train",
    "use_backend",
    "value_and_grad",
    "vjp",
]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> Any:
    """Import what works on files in host memory, and NumPy with it, only when it is used."""
    if name in ("callbacks", "checkpoint", "data", "plots", "train"):
        return importlib.import_module(f"xpnet.{name}")
    if name == "Trainer":
        return importlib.import_module("xpnet.train").Trainer
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")
