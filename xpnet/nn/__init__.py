"""Layers, and the modules that are made of them."""

from xpnet.nn import init
from xpnet.nn.activations import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh, relu
from xpnet.nn.containers import Sequential
from xpnet.nn.dropout import Dropout
from xpnet.nn.linear import Linear
from xpnet.nn.module import Buffer, Module, Parameter
from xpnet.nn.shape import Flatten

__all__ = [
    "Buffer",
    "Dropout",
    "Flatten",
    "Linear",
    "LogSoftmax",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "init",
    "relu",
]
