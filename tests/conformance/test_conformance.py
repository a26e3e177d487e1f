"""The check of ``run.py`` with few examples, on every array library that is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "run.py"
LIBRARIES = ("numpy", "array_api_strict", "torch", "jax", "cupy")

pytestmark = pytest.mark.skipif(
    "XPNET_ARRAY_API_TESTS" not in os.environ,
    reason="takes minutes; set XPNET_ARRAY_API_TESTS to a checkout of data-apis/array-api-tests, "
    "see tests/conformance/README.md",
)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_namespace_passes_what_the_library_passes(library: str) -> None:
    done = subprocess.run(
        [sys.executable, str(RUN), "--libraries", library, "--max-examples", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stdout.startswith(f"{library}: not tested"):
        pytest.skip(done.stdout.splitlines()[0])
    assert done.returncode == 0, done.stdout + done.stderr
