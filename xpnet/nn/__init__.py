"""Layers, and the modules that are made of them."""

from xpnet.nn import init
from xpnet.nn.activations import (
    ELU,
    GELU,
    Hardtanh,
    Identity,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from xpnet.nn.containers import Sequential
from xpnet.nn.dropout import Dropout
from xpnet.nn.embedding import Embedding
from xpnet.nn.functional import elu, gelu, hardtanh, leaky_relu, relu, silu
from xpnet.nn.linear import Linear
from xpnet.nn.module import Module
from xpnet.nn.normalization import BatchNorm1d, LayerNorm
from xpnet.nn.observe import observe
from xpnet.nn.parameter import Buffer, Parameter
from xpnet.nn.rescale import Rescale
from xpnet.nn.shape import Flatten

__all__ = [
    "ELU",
    "GELU",
    "BatchNorm1d",
    "Buffer",
    "Dropout",
    "Embedding",
    "Flatten",
    "Hardtanh",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "Module",
    "Parameter",
    "ReLU",
    "Rescale",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "elu",
    "gelu",
    "hardtanh",
    "init",
    "leaky_relu",
    "observe",
    "relu",
    "silu",
]
