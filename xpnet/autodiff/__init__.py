"""Reverse-mode differentiation of Array API code, on any array library."""

from xpnet.autodiff.check import check_gradient
from xpnet.autodiff.conformance import namespace
from xpnet.autodiff.custom import custom_gradient, stop_gradient
from xpnet.autodiff.jacobian import hessian, jacobian
from xpnet.autodiff.products import hvp, jvp, vjp
from xpnet.autodiff.recompute import checkpoint
from xpnet.autodiff.transform import grad, value_and_grad

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
