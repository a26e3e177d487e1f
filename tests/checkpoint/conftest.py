"""What the tests of checkpoints share: a small run of training that can be compared bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import xpnet as xn
from xpnet import checkpoint, nn, optim, tree


class Net(nn.Module):
    """Parameters below two names, and a buffer of integers."""

    def __init__(self, width: int = 4) -> None:
        self.first = nn.Linear(3, width)
        self.scale = nn.Parameter(xn.asarray([1.5, 2.5]))
        self.count = nn.Buffer(xn.asarray([7, 8]))


class Run:
    """A model, its optimizer and a generator after some updates."""

    def __init__(self, updates: int = 0, model: Any = None, optimizer: Any = None) -> None:
        self.model = Net() if model is None else model
        self.optimizer = optim.Adam() if optimizer is None else optimizer
        self.rng = xn.Generator(5)
        self.train(updates)

    def train(self, updates: int) -> Run:
        """Update with gradients that are all drawn, so that no loss is needed."""
        for _ in range(updates):
            parameters = self.model.parameters(trainable_only=True)
            first = {id(array): name for name, array in reversed(parameters.items())}  # of tied
            grads = {
                name: self.rng.uniform(tuple(parameters[name].shape)) for name in first.values()
            }
            self.optimizer.update(self.model, grads)
        return self

    def save(self, path: Path, **parts: Any) -> None:
        checkpoint.save(path, self.model, self.optimizer, rng=self.rng, **parts)

    def load(self, path: Path) -> dict[str, Any]:
        return checkpoint.load(path, self.model, self.optimizer, rng=self.rng)

    @property
    def bits(self) -> Any:
        """All there is to compare."""
        return bits([self.model.state_dict(), self.optimizer.state_dict(), self.rng.state_dict()])


def bits(nested: Any) -> Any:
    """Return a tree in which arrays are replaced by shape, dtype and bytes."""

    def leaf(x: Any) -> Any:
        if not hasattr(x, "shape"):
            return x
        host = xn.to_host(x)
        return host.shape, host.dtype, host.tobytes()

    return tree.map(leaf, nested)


@pytest.fixture
def new() -> type[Run]:
    """Return what makes a run; whoever needs it as a tool takes it from here."""
    return Run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last"
