"""The Python in README.md runs as printed, and what it promises about commands is so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)


def test_the_quick_start_learns(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
    exec(BLOCKS[0], {})
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(epoch) for epoch, _ in printed] == list(range(10))
    assert float(printed[-1][1]) < 0.5 < float(printed[0][1])


def test_the_gradient_of_the_energy() -> None:
    scope: dict[str, object] = {}
    *statements, last = BLOCKS[1].strip().splitlines()
    exec("\n".join(statements), scope)
    np.testing.assert_allclose(eval(last.partition("#")[0], scope), [0.0, 0.6])


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "python -m pytest" in README
    assert "\npython -m pytest\n" in (ROOT / ".ci" / "run").read_text()


def test_every_link_to_a_file_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
