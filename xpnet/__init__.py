"""Neural networks and differentiation in pure Array API code, on any array library."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet import autodiff, random
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
    CompileError,
    DataError,
    DataUnavailableError,
    ExportError,
    MissingPackageError,
    MissingRuleError,
    MixedArraysError,
    TracedArrayError,
)
from xpnet.namespace import array_namespace
from xpnet.random import Generator, seed
from xpnet.transfer import asarray, to_host

if TYPE_CHECKING:
    from xpnet import (
        callbacks,
        checkpoint,
        data,
        interop,
        losses,
        metrics,
        nn,
        optim,
        plots,
        special,
        train,
    )
    from xpnet.interop.safetensors import load, save
    from xpnet.program import compile  # noqa: A004 - the field's word
    from xpnet.train import Trainer

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "BackendError",
    "CompileError",
    "DataError",
    "DataUnavailableError",
    "ExportError",
    "Generator",
    "MissingPackageError",
    "MissingRuleError",
    "MixedArraysError",
    "TracedArrayError",
    "Trainer",
    "array_namespace",
    "asarray",
    "autodiff",
    "available_backends",
    "callbacks",
    "check_gradient",
    "checkpoint",
    "compile",
    "custom_gradient",
    "data",
    "get_backend",
    "grad",
    "hessian",
    "hvp",
    "interop",
    "jacobian",
    "jvp",
    "load",
    "losses",
    "metrics",
    "nn",
    "optim",
    "plots",
    "random",
    "save",
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


_LATER = frozenset(
    {
        *("callbacks", "checkpoint", "data", "interop", "losses", "metrics", "nn", "optim"),
        *("plots", "special", "train"),
    }
)


def __getattr__(name: str) -> Any:
    """Import a part when it is used for the first time, so that the others cost nothing."""
    if name in _LATER:
        return importlib.import_module(f"xpnet.{name}")
    if name == "compile":
        return importlib.import_module("xpnet.program").compile
    if name in ("load", "save"):
        return getattr(importlib.import_module("xpnet.interop.safetensors"), name)
    if name == "Trainer":
        return importlib.import_module("xpnet.train").Trainer
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")
