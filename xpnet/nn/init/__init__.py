"""Initial values of parameters, bit-equal on every array library.

Use one by assignment, ``layer.weight = init.he_normal(layer.weight.shape)``: the layer then owns a
copy.
"""

from xpnet.nn.init.orthogonality import orthogonal
from xpnet.nn.init.plain import constant, normal, ones, truncated_normal, uniform, zeros
from xpnet.nn.init.scaled import (
    calculate_gain,
    fan_in_uniform,
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
)

__all__ = [
    "calculate_gain",
    "constant",
    "fan_in_uniform",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "truncated_normal",
    "uniform",
    "zeros",
]
