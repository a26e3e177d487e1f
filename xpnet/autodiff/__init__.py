"""Reverse-mode differentiation of Array API code, on any array library."""

import importlib
from typing import TYPE_CHECKING, Any

from xpnet.autodiff.check import check_gradient
from xpnet.autodiff.custom import custom_gradient, stop_gradient
from xpnet.autodiff.jacobian import hessian, jacobian
from xpnet.autodiff.products import hvp, jvp, vjp
from xpnet.autodiff.recompute import checkpoint
from xpnet.autodiff.transform import grad, value_and_grad

if TYPE_CHECKING:
    from xpnet.autodiff.conformance import namespace

__all__ = [
    "check_gradient",
    "checkpoint",
    "custom_gradient",
    "grad",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "namespace",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


def __getattr__(name: str) -> Any:
    """Import when it is used what needs all the rules; else the first gradient imports them."""
    if name == "namespace":
        return importlib.import_module("xpnet.autodiff.conformance").namespace
    raise AttributeError(f"module 'xpnet.autodiff' has no attribute {name!r}")
