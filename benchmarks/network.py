"""What the contestants are given, and what each of them is."""

import dataclasses
import importlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import common
import numpy as np

PIXELS, CLASSES = 784, 10
RATES = {"SGD": 0.1, "Adam": 1e-3}


class UnavailableError(Exception):
    """A contestant cannot take part, for the reason that is said."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """What all are given: sizes, optimizer, initial weights, and batches to take turns with."""

    batch: int
    hidden: tuple[int, ...]
    optimizer: str
    weights: Sequence[tuple[np.ndarray, np.ndarray]]
    batches: Sequence[tuple[np.ndarray, np.ndarray]] = ()
    schedule: Callable[[int], float] | None = None  # of the rate, by the number of the step
    from_bytes: bool = False  # whether images come as bytes, to be divided by 255

    @classmethod
    def make(
        cls, batch: int, hidden: Sequence[int], optimizer: str, *, batches: int = 16, seed: int = 0
    ) -> "Problem":
        """Return one with random images; several batches, since real ones are not in the caches."""
        rng = np.random.default_rng(seed)
        return cls(
            batch,
            tuple(hidden),
            optimizer,
            initial_weights(hidden, rng),
            [
                (rng.random((batch, PIXELS), np.float32), rng.integers(0, CLASSES, batch))
                for _ in range(batches)
            ],
        )

    @property
    def widths(self) -> list[int]:
        """Numbers of features, from the pixels to the classes."""
        return [self.weights[0][0].shape[1], *self.hidden, CLASSES]

    @property
    def rate(self) -> float:
        """The learning rate, where it is constant."""
        return RATES[self.optimizer]

    @property
    def layers(self) -> str:
        """The widths as text, such as 784-64-10."""
        return "-".join(map(str, self.widths))

    def __str__(self) -> str:
        return f"{self.layers}, batch {self.batch}, {self.optimizer}"


def initial_weights(
    hidden: Sequence[int], rng: np.random.Generator, *, pixels: int = PIXELS
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a weight and a bias for each layer, from PyTorch's initial distribution."""
    weights = []
    for n_in, n_out in itertools.pairwise([pixels, *hidden, CLASSES]):
        bound = 1 / math.sqrt(n_in)
        both = rng.uniform(-bound, bound, (n_out, n_in + 1)).astype(np.float32)
        weights.append((both[:, 1:].copy(), both[:, 0].copy()))
    return weights


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A model with its optimizer, in one library."""

    step: Callable[[Any, Any], float]  # trains on a batch and returns its loss
    place: Callable[[np.ndarray], Any] = np.asarray  # makes an array its own
    predict: Callable[[Any], np.ndarray] | None = None  # returns logits in host memory

    def training(self, problem: Problem) -> common.Call:
        """Return a call that trains on the next batch and returns the loss."""
        batches = [tuple(map(self.place, batch)) for batch in problem.batches]
        count = len(batches)
        step = self.step
        return lambda i: step(*batches[i % count])


def require(name: str) -> Any:
    """Return a module, or say that it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnavailableError(f"not installed: {error.name or name}") from error
