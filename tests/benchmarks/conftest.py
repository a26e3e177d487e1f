"""Run a benchmark as a user does, or load one of its modules."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import xpnet as xn

FOLDER = Path(__file__).parents[2] / "benchmarks"
PEERS = ("numba", "torch", "jax", "optax", "sklearn", "thinc", "autograd", "onnxruntime", "onnx")
SHORT = ("--repetitions", "2", "--pause", "0")
MODULES = tuple(path.stem for path in FOLDER.glob("*.py"))


class Program:
    """A benchmark, run in an empty folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.script = FOLDER / f"{name}.py"
        self.folder = folder
        self.path = [str(Path(xn.__file__).parents[1])]
        if "PYTHONPATH" in os.environ:
            self.path.append(os.environ["PYTHONPATH"])

    def without(self, *packages: str) -> Program:
        """Go on as if these packages were not installed."""
        stubs = self.folder / "stubs"
        stubs.mkdir()
        for name in packages:
            error = f"raise ModuleNotFoundError('No module named {name}', name='{name}')"
            (stubs / f"{name}.py").write_text(error)
        self.path.insert(0, str(stubs))
        return self

    def __call__(self, *arguments: str) -> tuple[str, dict[str, Any]]:
        """Run it; return what it prints and what it writes."""
        done = subprocess.run(
            [sys.executable, str(self.script), *SHORT, *arguments, "--output", "figures.json"],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(self.path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout, json.loads((self.folder / "figures.json").read_text())


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Program]:
    return lambda name: Program(name, tmp_path)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import modules of the benchmarks, which leave nothing behind."""
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")  # they set it: so it is restored
    monkeypatch.syspath_prepend(FOLDER)
    before = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.modules.update(before)


@pytest.fixture
def peers() -> tuple[str, ...]:
    """Return the packages that a benchmark can do without."""
    return PEERS
