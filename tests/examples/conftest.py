"""Run an example as a user does: as a program, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xpnet as xn
from xpnet.backend import discover

ROOT = Path(__file__).parents[2]
UNSET = {"XPNET_BACKEND", "XPNET_DEVICE", "XPNET_DATA", "DISPLAY", "WAYLAND_DISPLAY"}


class Example:
    """One program of the folder of examples, run in an empty folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.script = ROOT / "examples" / f"{name}.py"
        self.folder = folder

    def __call__(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run it; the library under test is the one that these tests have imported."""
        kept_path = [path] if (path := os.environ.get("PYTHONPATH")) else []
        path = os.pathsep.join([str(Path(xn.__file__).parents[1]), *kept_path])
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        return subprocess.run(
            [sys.executable, "-W", "error", str(self.script), *arguments],
            cwd=self.folder,
            env=kept | {"PYTHONPATH": path} | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def succeeds(self, backend: str, *arguments: str, **environment: str) -> str:
        """Run it on a library and return what it prints."""
        problem = discover()[backend].unusable()
        if problem is not None:
            pytest.skip(str(problem))
        done = self(*arguments, XPNET_BACKEND=backend, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        return done.stdout

    def sabotage(self, right: str, wrong: str) -> None:
        """Go on with a copy of the program in which something is wrong."""
        source = self.script.read_text(encoding="utf-8")
        assert source.count(right) == 1
        shutil.copy(self.script.with_name("common.py"), self.folder)
        self.script = self.folder / "wrong.py"
        self.script.write_text(source.replace(right, wrong), encoding="utf-8")

    def check_picture(self, name: str) -> None:
        """Assert that a PNG of a size worth looking at was written."""
        png = (self.folder / name).read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = (int.from_bytes(png[i : i + 4]) for i in (16, 20))
        assert 600 < width < 4000
        assert 300 < height < 3000
        assert len(png) > 20_000  # an empty one of this size is far smaller

    def check_help(self) -> None:
        """Assert that the program explains itself, the common arguments included."""
        done = self("--help")
        assert done.returncode == 0, done.stderr
        for argument in ("--output", "--seed"):
            assert argument in done.stdout
        assert done.stdout.count("\n") > 8


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Example]:
    """Return what makes an `Example` of a name; skips where it cannot draw or has no digits."""
    for package, reason in {"matplotlib": "draws", "sklearn": "has its digits from there"}.items():
        pytest.importorskip(package, reason=f"the example {reason}")
    return lambda name: Example(name, tmp_path)
