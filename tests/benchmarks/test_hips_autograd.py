"""``benchmarks/hips_autograd.py``: ours are all right, and the documents say what it prints."""

from __future__ import annotations

import re
import runpy
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xpnet.autodiff.rules import RULES

ROOT = Path(__file__).parents[2]
PROGRAM = runpy.run_path(str(ROOT / "benchmarks" / "hips_autograd.py"))
LINES = PROGRAM["lines"]()
# Not of the standard, or for arrays of other libraries.
NOT_CALLED = {"add_at", "getitem", "set_at", "from_dlpack", "to_device"}


@pytest.mark.parametrize("line", LINES, ids=[line.code for line in LINES])
def test_our_gradient_is_right(line: Any) -> None:
    assert PROGRAM["ours"](line) == "right"


def test_every_function_with_a_rule_is_there() -> None:
    called = re.findall(r"xp\.(?:fft\.|linalg\.)?(\w+)\(", " ".join(x.code for x in LINES))
    assert set(RULES) - NOT_CALLED - set(called) == set()


def judge(code: str, gradient: Any) -> Any:
    line = PROGRAM["Line"]("any", code)
    return PROGRAM["judge"](
        line, lambda _: np.asarray(gradient() if callable(gradient) else gradient)
    )


def test_a_gradient_is_judged() -> None:
    truth = 2 * np.asarray(PROGRAM["INPUTS"]["x"])
    weights = np.cos(1.0 + np.arange(6))
    assert judge("x * x", truth * weights * (1 + 1e-9)) == "right"
    assert judge("x * x", truth * weights * (1 + 1e-6)).startswith("wrong (off by ")
    assert judge("x * x", truth * weights + 0.25) == "wrong (off by 1.5)"
    assert judge("x * x", truth * float("nan")) == "wrong (nan)"
    assert judge("x * x", lambda: [][0]) == "error (IndexError)"


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ([0.5, 0.5], "right"),
        ([1.0, 0.0], "right"),
        ([1.0, 1.0], "wrong (off by 0.54)"),
        ([1.5, -0.5], "wrong (off by 0.27)"),
    ],
)
def test_a_gradient_at_a_tie_is_judged(shares: list[float], verdict: str) -> None:
    one_number = np.cos(1.0)  # the weight of the first number
    gradient = np.asarray([shares[0], 0.0, 0.0, shares[1], 0.0]) * one_number
    assert judge("xp.max(ties)", gradient) == verdict


def test_the_document_says_what_it_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("autograd", reason="pip install autograd")
    document = (ROOT / "docs" / "benchmarks.md").read_text()
    if f"| autograd {version('autograd')} |" not in document:
        pytest.skip(f"docs/benchmarks.md compares with another version than {version('autograd')}")
    monkeypatch.setattr("sys.argv", ["hips_autograd.py"])
    assert PROGRAM["main"]() == 0
    assert capsys.readouterr().out in document
