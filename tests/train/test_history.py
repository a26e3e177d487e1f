"""The history remembers what was measured, and can be kept in files."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest

import xpnet as xn
from xpnet.train import History


def example() -> History:
    history = History()
    history.record({"val_loss": 0.7}, 0.5)
    history.record({"loss": 0.5, "accuracy": 0.25, "val_loss": 0.4}, 1.0)
    history.record({"loss": 0.1 + 0.2, "accuracy": 0.5, "val_loss": math.nan}, 2.0)
    history.stopped = "Ctrl-C"
    return history


def test_it_is_a_mapping() -> None:
    history = example()
    assert list(history) == ["val_loss", "loss", "accuracy"]
    assert history["loss"] == [0.5, 0.1 + 0.2]
    assert history.positions["val_loss"] == [0.5, 1.0, 2.0]
    assert history.epochs == 2
    assert repr(history) == (
        "History(2 epochs, val_loss=nan, loss=0.30000000000000004, accuracy=0.5, stopped by Ctrl-C)"
    )
    assert repr(History()) == "History(0 epochs)"


@pytest.mark.parametrize(
    ("key", "mode", "expected"),
    [
        ("loss", "auto", (2.0, 0.1 + 0.2)),
        ("loss", "max", (1.0, 0.5)),
        ("accuracy", "auto", (2.0, 0.5)),
        ("accuracy", "min", (1.0, 0.25)),
        ("val_loss", "auto", (1.0, 0.4)),
    ],
)
def test_the_best(key: str, mode: str, expected: tuple[float, float]) -> None:
    assert example().best(key, mode=mode) == expected


def test_the_first_of_equal_ones_and_nan_never() -> None:
    history = History()
    for position, value in enumerate([math.nan, 0.5, 0.5], 1):
        history.record({"val_loss": value}, float(position))
    assert history.best() == (2.0, 0.5)


def test_what_is_not_there() -> None:
    with pytest.raises(KeyError, match="'val_f1' was not recorded; there is: val_loss, loss"):
        example().best("val_f1")
    with pytest.raises(KeyError, match="there is: nothing"):
        History().best()
    with pytest.raises(ValueError, match='mode must be "auto", "min" or "max", got \'up\''):
        example().best("loss", mode="up")


def test_a_table(tmp_path: Path) -> None:
    example().to_csv(tmp_path / "history.csv")
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "0.5", "val_loss": "0.7", "loss": "", "accuracy": ""},
        {"epoch": "1.0", "val_loss": "0.4", "loss": "0.5", "accuracy": "0.25"},
        {"epoch": "2.0", "val_loss": "nan", "loss": "0.30000000000000004", "accuracy": "0.5"},
    ]


def test_saved_and_loaded(tmp_path: Path) -> None:
    example().save(tmp_path / "history.json")
    loaded = History.load(tmp_path / "history.json")
    assert repr(loaded) == repr(example())
    assert loaded.positions == example().positions
    assert str(loaded.history) == str(example().history)  # nan is not equal to itself


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"3", b"{}", b"\xff", b"[" * 99999),
        *(b'{"values": {"loss": [1]}}', b'{"values": {"loss": 1}}'),
        b'{"values": {"loss": [1]}, "positions": {"loss": []}}',
    ],
)
def test_a_damaged_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "history.json").write_bytes(content)
    with pytest.raises(xn.DataError, match=r"history\.json: not a history that xpnet has written"):
        History.load(tmp_path / "history.json")


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    history = example()
    state: Any = {"values": {"loss": [1.0]}, "positions": {"loss": [1.0]}, "stopped": 3}
    with pytest.raises(ValueError, match="values and positions do not belong together"):
        history.load_state_dict(state)
    assert history.epochs == 2


def test_plot() -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="pictures need matplotlib")
    assert isinstance(example().plot(), figure.Figure)
