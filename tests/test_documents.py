"""The Python in README.md runs as printed, and what it promises about commands is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.interop.onnx.converting import FUNCTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(document: str) -> list[str]:
    """Return the Python in a document."""
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), flags=re.S)


BLOCKS = blocks("README.md")


def test_the_quick_start_learns(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn", reason="the digits come from scikit-learn")
    scope: dict[str, Any] = {}
    exec(BLOCKS[0], scope)
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert scope["history"]["val_accuracy"][-1] > 0.85
    exec(BLOCKS[1], scope)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(epoch) for epoch, _ in printed] == list(range(10))
    assert float(printed[-1][1]) < 0.1
    exec(BLOCKS[2], scope)
    for x, y in xn.data.Loader(scope["train"], batch_size=64, drop_last=True):
        scope["step"](scope["model"], scope["optimizer"], x, y)
    assert scope["step"].recordings == 1


def test_the_gradient_of_the_energy() -> None:
    scope: dict[str, object] = {}
    *statements, last = BLOCKS[3].strip().splitlines()
    exec("\n".join(statements), scope)
    np.testing.assert_allclose(eval(last.partition("#")[0], scope), [0.0, 0.6])


def test_the_guide_to_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks run one after the other, as a reader would."""
    for package in ("sklearn", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks("docs/training.md"):
        exec(block, scope)
    assert scope["trainer"].evaluate(scope["test"])["accuracy"] > 0.8
    assert (tmp_path / "run" / "best" / "SHA256SUMS").exists()


def test_the_guide_to_compile(capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {}
    for block in blocks("docs/compile.md"):
        exec(block, scope)
    assert scope["step"].recordings == 1
    assert capsys.readouterr().out.startswith("def step(s0, ")
    assert float(scope["loss"]) < 0.5


def test_the_guide_to_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("safetensors", "torch"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks("docs/weights.md"):
        exec(block, scope)
    weight = scope["theirs"][0].weight.detach().numpy()
    np.testing.assert_array_equal(scope["model"][0].weight, weight)
    assert capsys.readouterr().out.startswith("Linear: arrays of two libraries: ")


def test_the_guide_to_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks("docs/onnx.md"):
        exec(block, scope)
    expected = xn.to_host(scope["model"].eval()(scope["x"]))
    np.testing.assert_allclose(scope["logits"], expected, rtol=1e-5, atol=1e-6)


def test_the_guide_to_onnx_lists_the_functions_that_are_exported() -> None:
    text = (ROOT / "docs" / "onnx.md").read_text()
    listed = re.search(r"```text\n(.*?)```", text, flags=re.S)
    assert listed is not None
    methods = {"add_at", "getitem", "set_at", "to_device"}  # of arrays
    assert {name.rpartition(".")[2] for name in listed[1].split()} == set(FUNCTIONS) - methods


def test_the_guide_to_scikit_learn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("sklearn", "safetensors"):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for block in blocks("docs/scikit-learn.md"):
        exec(block, scope)
    assert float(capsys.readouterr().out.splitlines()[0]) > 0.9
    again, fitted = scope["again"], scope["fitted"]
    np.testing.assert_array_equal(again.predict(scope["X"]), fitted.predict(scope["X"]))


def test_what_is_written_in_the_place_of_habits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "coming-from.md").read_text()
    _, _, table = text.partition("What is written there, and here:")
    cells = [line.split(" | ")[1] for line in table.splitlines() if line.startswith("| `")]
    snippets = [code for cell in cells for code in re.findall("`([^`]+)`", cell)]
    model, optimizer = xn.nn.Sequential(xn.nn.Linear(4, 3)), xn.optim.Adam()
    x, y = xn.Generator(0).normal((8, 4)), xn.asarray([0, 1, 2, 0] * 2)
    names: dict[str, Any] = {
        "xn": xn,
        "nn": xn.nn,
        "optim": xn.optim,
        "losses": xn.losses,
        "xp": np,
        "model": model,
        "optimizer": optimizer,
        "x": x,
        "y": y,
        "path": "w.safetensors",
        "logits": x[:, :3],
        "w": xn.asarray([1.0, 2.0, 1.0]),
        "metrics": ["accuracy"],
        "x_val": x,
        "y_val": y,
        "F": xn.losses,
        "loss_fn": lambda model, x, y: xn.losses.cross_entropy(model(x), y),
        "a": xn.nn.ReLU(),
        "b": xn.nn.ReLU(),
        "loss": xn.losses.cross_entropy,
        "trainer": xn.Trainer(model, xn.losses.cross_entropy, xn.optim.Adam()),
    }
    run = 0
    for code in snippets:
        if "(" in code and code.isascii() and not code.startswith((".", "with ", "rng=")):
            exec(code, dict(names) | ({"loss": x[0, 0]} if code.startswith("float") else {}))
            model.unfreeze()
            run += 1
    assert run == 19


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "&& python -m pytest -n auto --dist loadfile\n" in README
    assert "\npython -m pytest -n auto --dist loadfile\n" in (ROOT / ".ci" / "run").read_text()


def test_every_link_to_a_file_leads_somewhere() -> None:
    found = 0
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in re.findall(r"\]\((?!http)([^)]+)\)", document.read_text()):
            file, _, heading = link.partition("#")
            target = document.parent / file if file else document
            assert target.exists(), (document.name, link)
            headings = re.findall("^#+ (.*)$", target.read_text(), flags=re.M) if heading else []
            assert heading in ["", *(text.lower().replace(" ", "-") for text in headings)], link
            found += 1
    assert found > 20
