"""The estimators side by side, on small images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def test_it_compares_both(program: Callable[[str], Any]) -> None:
    pytest.importorskip("sklearn")
    printed, figures = program("sklearn_estimator")(
        *("--contestants", "sklearn", "xpnet", "--dataset", "digits", "--epochs", "4"),
        *("--batch-sizes", "200"),
    )
    found = figures["batches of 200"]
    assert set(found) == {"sklearn", "xpnet"}
    for each in found.values():
        assert len(each["seconds"]) == 2
        assert each["mean accuracy"] > 0.3
        assert each["median speed"] > 0
    assert set(figures["recall of a rare class"]) == {"None", "balanced"}
    assert "| scikit-learn |" in printed
