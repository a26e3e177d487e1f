"""Data sets and batches."""

from xpnet.data.datasets import Images, digits, fashion_mnist, load, mnist
from xpnet.data.idx import read_idx
from xpnet.data.loader import Loader

__all__ = ["Images", "Loader", "digits", "fashion_mnist", "load", "mnist", "read_idx"]
