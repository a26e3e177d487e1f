"""A training that was interrupted ends as if it had never been."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import callbacks, losses, nn, optim
from xpnet.train import History, Trainer

pytest.importorskip("safetensors", reason="checkpoints are safetensors files")

RNG = np.random.default_rng(4)
X = RNG.normal(size=(66, 4)).astype("float32")  # six batches of one shape
Y = np.argmax(X @ RNG.normal(size=(4, 3)) + RNG.normal(size=(66, 3)), axis=-1)


def make_callbacks() -> list[Any]:
    """Return new ones whose states all matter."""
    return [
        callbacks.EarlyStopping(patience=4),
        callbacks.ReduceOnPlateau(factor=0.5, patience=1),
    ]


def train(
    *more: Any, resume: Any = None, epochs: int = 4, compiled: bool = False
) -> tuple[Any, History]:
    """Train anew, as a program that was started again would."""
    xn.seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8, bias=False),  # its gradient would be nothing but rounding
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(None, 3),
        nn.Dropout(0.1, rng=xn.Generator(5)),
    )
    optimizer = optim.Adam(optim.schedules.Cosine(0.1, 20))
    mean = xn.metrics.Mean(losses.cross_entropy, name="mean")  # whose sums have more digits
    metrics = ["accuracy", "f1", mean]
    trainer = Trainer(model, losses.cross_entropy, optimizer, metrics=metrics, compile=compiled)
    history = trainer.fit(
        (xn.asarray(X), xn.asarray(Y)),
        epochs=epochs,
        batch_size=11,
        rng=xn.Generator(1),
        validation_data=(xn.asarray(X), xn.asarray(Y)),
        validation_freq=4,
        validation_unit="step",
        class_weight={0: 1.0, 1: 2.0, 2: 0.5},
        callbacks=[*more, *make_callbacks()],
        verbose=0,
        resume=resume,
    )
    return model, history


def assert_equal(found: tuple[Any, History], expected: tuple[Any, History], rtol: float) -> None:
    for name, array in expected[0].state_dict().items():
        ours = xn.to_host(found[0].state_dict()[name])
        np.testing.assert_allclose(ours, xn.to_host(array), rtol=rtol, atol=rtol, err_msg=name)
    assert list(found[1]) == list(expected[1])
    for key, values in expected[1].items():
        np.testing.assert_allclose(found[1][key], values, rtol=rtol, err_msg=key)
    assert found[1].positions == expected[1].positions


class Stop(callbacks.Callback):
    """Interrupt the training after so many steps, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_end(self, trainer: Trainer, loss: Any) -> None:
        if trainer.steps == self.step:
            trainer.stop("Ctrl-C")


@pytest.fixture(scope="module")
def whole() -> Callable[[str], tuple[Any, History]]:
    """Return what trains on the library in use without interruption, once for each."""
    return functools.cache(lambda library: train())


@pytest.mark.parametrize("step", [1, 4, 5, 6, 7, 12, 13, 18])
def test_resumed_after_any_step(lib: Any, tmp_path: Path, whole: Any, step: int) -> None:
    expected = whole(lib.name)
    saving = callbacks.Checkpoint(tmp_path / "run")
    _, part = train(saving, Stop(step))
    assert part.stopped == "Ctrl-C"
    again = callbacks.Checkpoint(tmp_path / "run")
    assert again.latest() == tmp_path / "run" / f"step-{step:08}"
    found = train(again, resume=again.latest())
    # The same operations in the same order: bit for bit where the library is.
    assert_equal(found, expected, rtol=0.0)


def test_resumed_with_compiled_steps(lib: Any, tmp_path: Path) -> None:
    expected = train(epochs=1, compiled=True)
    saving = callbacks.Checkpoint(tmp_path / "run")
    train(saving, Stop(3), epochs=1, compiled=True)
    found = train(resume=saving.latest(), epochs=1, compiled=True)
    assert_equal(found, expected, rtol=0.0)  # every step is the same program


def test_resumed_on_another_library(lib: Any, tmp_path: Path, whole: Any) -> None:
    with xn.use_backend("numpy"):
        expected = whole("numpy")
        train(callbacks.Checkpoint(tmp_path / "run"), Stop(9))
    again = callbacks.Checkpoint(tmp_path / "run")
    found = train(again, resume=again.latest())
    assert_equal(found, expected, rtol=1e-3)  # rounding differs, and training spreads it


class Noisy:
    """Batches that are drawn while they are computed on, as an augmentation is."""

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for x, y in xn.data.Loader((X, Y), 11, shuffle=True):
            yield x + xn.random.default_generator().normal(tuple(x.shape)), y


@pytest.mark.parametrize("step", [3, 6, 8])
def test_data_that_draw_numbers(tmp_path: Path, step: int) -> None:
    def train(*given: Any, resume: Any = None) -> Any:
        xn.seed(2)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3))
        trainer = Trainer(model, losses.cross_entropy, optim.Adam(0.1))
        history = trainer.fit(Noisy(), epochs=2, callbacks=given, verbose=0, resume=resume)
        return model, history

    saving = callbacks.Checkpoint(tmp_path / "run")
    train(saving, Stop(step))
    assert_equal(train(resume=saving.latest()), train(), rtol=0.0)


def test_data_that_come_once(tmp_path: Path) -> None:
    model, saving = nn.Linear(4, 3), callbacks.Checkpoint(tmp_path / "run")
    trainer = Trainer(model, losses.cross_entropy, optim.Adam(0.1))
    trainer.fit([(X, Y)] * 3, callbacks=[saving, Stop(1)], verbose=0)
    seen: list[int] = []

    def once() -> Iterator[tuple[Any, Any]]:
        for number in range(3):
            seen.append(number)
            yield X, Y

    trainer.fit(once(), resume=saving.latest(), verbose=0)
    assert (seen, trainer.steps) == ([0, 1, 2], 3)


def test_a_finished_training_stays_finished(tmp_path: Path) -> None:
    saving = callbacks.Checkpoint(tmp_path / "run")
    model, history = train(saving)
    found, again = train(callbacks.Checkpoint(tmp_path / "run"), resume=saving.latest())
    assert_equal((found, again), (model, history), rtol=0.0)


def test_what_was_to_be_removed_after_the_end_is(tmp_path: Path) -> None:
    """As one that was killed between its last checkpoint and the removal of an old one."""
    saving = callbacks.Checkpoint(tmp_path / "run", keep=1)
    train(saving, epochs=1)
    last = saving.latest()
    shutil.copytree(last, last.with_name("step-00000001"))
    train(callbacks.Checkpoint(tmp_path / "run", keep=1), resume=last, epochs=1)
    assert not last.with_name("step-00000001").exists()
    assert last.exists()


def test_one_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    class Early(callbacks.Callback):
        def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
            trainer.stop("a callback")

    saving = callbacks.Checkpoint(tmp_path / "run")
    train(saving, Early())
    _, history = train(callbacks.Checkpoint(tmp_path / "run"), resume=saving.latest())
    assert (history.epochs, history.stopped) == (1, "a callback")


def test_more_epochs_after_the_end(tmp_path: Path) -> None:
    expected = train()
    saving = callbacks.Checkpoint(tmp_path / "run")
    train(saving, epochs=2)
    found = train(callbacks.Checkpoint(tmp_path / "run"), resume=saving.latest())
    assert found[1].epochs == expected[1].epochs
    assert found[1]["loss"] == expected[1]["loss"]


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    saving = callbacks.Checkpoint(tmp_path / "run")
    train(saving, Stop(4))
    model = nn.Sequential(nn.Linear(4, 3))
    trainer = Trainer(model, losses.cross_entropy, optim.Adam(0.1), metrics=["accuracy"])
    before = xn.to_host(model[0].weight)
    with pytest.raises(ValueError, match=r"unknown: 1\.weight"):
        trainer.fit((X, Y), resume=saving.latest(), verbose=0)
    np.testing.assert_array_equal(model[0].weight, before)
    with pytest.raises((OSError, ValueError), match="nowhere"):
        trainer.fit((X, Y), resume=tmp_path / "nowhere", verbose=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["accuracy"]}, r"has the metrics \['accuracy', 'f1'\], this one"),
        ({"rng": None}, "has the random generators .*'order'.*; give fit and the layers the same"),
    ],
)
def test_another_training_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    saving = callbacks.Checkpoint(tmp_path / "run")
    options: dict[str, Any] = {"rng": xn.Generator(1), "callbacks": make_callbacks()}
    parts: dict[str, Any] = {"metrics": ["accuracy", "f1"]}

    def fit(options: dict[str, Any], parts: dict[str, Any], resume: Any, extra: list[Any]) -> Any:
        xn.seed(0)
        model = nn.Sequential(nn.Linear(4, 3))
        trainer = Trainer(model, losses.cross_entropy, optim.SGD(0.1), **parts)
        options = options | {"callbacks": [*options["callbacks"], *extra]}
        try:
            trainer.fit((X, Y), validation_data=(X, Y), verbose=0, resume=resume, **options)
        finally:
            state = {name: xn.to_host(array) for name, array in model.state_dict().items()}
            seen.append((state, trainer.optimizer.steps))
        return state

    seen: list[Any] = []
    fit(options, parts, None, [saving])
    xn.seed(0)
    fresh = nn.Sequential(nn.Linear(4, 3))
    draws = xn.random.default_generator().draws
    with pytest.raises(ValueError, match=message):
        fit(
            {k: change.get(k, v) for k, v in options.items()},
            {k: change.get(k, v) for k, v in parts.items()},
            saving.latest(),
            [],
        )
    state, steps = seen[-1]
    assert steps == 0
    np.testing.assert_array_equal(state["0.weight"], fresh[0].weight)
    assert xn.random.default_generator().draws == draws


class Trainings:
    """A process from which trainings are forked, of which one is made to end."""

    def __init__(self) -> None:
        program = Path(__file__).parent / "killed.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def run(self, folder: Path, output: Path, delay: float | None) -> int:
        """Train; kill it after `delay` seconds, if that comes first."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{folder}\t{output}\n")
        child = int(self.process.stdout.readline())  # it begins to train
        if delay is not None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)  # one that has ended is waited for only now
        self.process.stdin.write("\n")
        return int(self.process.stdout.readline())


@pytest.fixture
def trainings() -> Iterator[Trainings]:
    if not hasattr(os, "fork"):
        pytest.skip("processes cannot be forked")
    trainings = Trainings()
    yield trainings
    trainings.process.communicate(timeout=60)  # ends its input, and thereby the process
    assert trainings.process.returncode == 0


def test_killed_at_random_moments(tmp_path: Path, trainings: Trainings) -> None:
    """Fifty times SIGKILL: always a checkpoint that is read, in the end the same weights."""
    assert trainings.run(tmp_path / "whole", tmp_path / "whole.npz", None) == 0
    expected = np.load(tmp_path / "whole.npz")
    draw, kills, runs = random.Random(0), 0, 0

    def moment() -> float | None:
        return draw.uniform(0.0, 0.25) if kills < 50 else None

    while kills < 50:
        runs += 1
        folder, output = tmp_path / f"run-{runs}", tmp_path / f"{runs}.npz"
        while trainings.run(folder, output, moment()) == -signal.SIGKILL:
            kills += 1
            for path in folder.glob("step-????????"):
                state = xn.checkpoint.load(path)
                assert state["trainer"]["steps"] == int(path.name.removeprefix("step-"))
        found = np.load(output)
        assert sorted(found) == sorted(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(found[name], array, err_msg=name)
        left = sorted(path.name for path in folder.iterdir())
        assert [name[:5] for name in left] == ["best", "step-", "step-"], left
