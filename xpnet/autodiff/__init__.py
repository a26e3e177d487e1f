"""Reverse-mode differentiation of Array API code, on any array library."""

from xpnet.autodiff.conformance import namespace
from xpnet.autodiff.custom import custom_gradient, stop_gradient
from xpnet.autodiff.transform import grad, value_and_grad

__all__ = ["custom_gradient", "grad", "namespace", "stop_gradient", "value_and_grad"]
