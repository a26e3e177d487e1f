"""Random numbers that are equal on every array library."""

from xpnet.random.generator import Generator, default_generator, seed
from xpnet.random.threefry import threefry2x32

__all__ = ["Generator", "default_generator", "seed", "threefry2x32"]
