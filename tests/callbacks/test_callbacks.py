"""Callbacks act when they should, on whatever library, and say what they did."""

from __future__ import annotations

import math
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import callbacks, losses, nn, optim
from xpnet.train import Trainer

RNG = np.random.default_rng(3)
X = RNG.normal(size=(30, 4)).astype("float32")
Y = np.argmax(X @ RNG.normal(size=(4, 3)), axis=-1)


def make_trainer(model: nn.Module | None = None, optimizer: Any = None) -> Trainer:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)) if model is None else model
    optimizer = optim.SGD(0.1) if optimizer is None else optimizer
    return Trainer(model, losses.cross_entropy, optimizer, metrics=["accuracy"])


def fit(trainer: Trainer, *given: Any, epochs: int = 1, **options: Any) -> xn.train.History:
    data = xn.asarray(X), xn.asarray(Y)
    options = {"validation_data": data, "verbose": 0, **options}
    return trainer.fit(data, epochs=epochs, batch_size=10, callbacks=given, **options)


class Script(callbacks.Callback):
    """Replace what is measured by what a test needs."""

    def __init__(self, key: str, *values: float) -> None:
        self.key, self.values = key, values

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        logs[self.key] = self.values[trainer.epoch - 1]


class Snapshots(callbacks.Callback):
    """Keep the weights and the rate of every epoch."""

    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []
        self.rates: list[float] = []

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        self.weights.append(xn.to_host(next(iter(trainer.model.parameters().values()))))
        self.rates.append(trainer.optimizer.rate)


def test_early_stopping_goes_back_to_the_best(lib: Any) -> None:
    trainer, seen = make_trainer(), Snapshots()
    script = Script("val_loss", 3.0, 1.0, 1.5, math.nan, 1.0, 0.5)
    history = fit(trainer, script, seen, callbacks.EarlyStopping(patience=3), epochs=6)
    assert history.stopped == "EarlyStopping: val_loss was best at 1"
    assert len(seen.weights) == 5
    np.testing.assert_array_equal(xn.to_host(trainer.model[0].weight), seen.weights[1])


@pytest.mark.parametrize(
    ("options", "values", "epochs"),
    [
        ({"patience": 1}, [1.0, 1.0, 0.0], 2),
        ({"patience": 2, "min_delta": 0.5}, [2.0, 1.6, 1.4, 1.2, 1.0], 5),
        ({"patience": 2, "min_delta": 0.5}, [2.0, 1.6, 1.7, 1.2, 1.0], 3),
        ({"patience": 1, "mode": "max"}, [1.0, 2.0, 1.5, 3.0], 3),
        ({"patience": 2}, [math.nan, math.nan, 1.0], 2),
        ({"patience": 1}, [math.inf, 1.0, 0.5, 0.1], 4),
    ],
)
def test_when_early_stopping_stops(
    options: dict[str, Any], values: list[float], epochs: int
) -> None:
    stopping = callbacks.EarlyStopping(**options)
    history = fit(make_trainer(), Script("val_loss", *values), stopping, epochs=len(values))
    assert history.epochs == epochs


def test_early_stopping_may_keep_the_last_weights() -> None:
    trainer, seen = make_trainer(), Snapshots()
    stopping = callbacks.EarlyStopping("val_accuracy", patience=1, restore_best=False)
    fit(trainer, Script("val_accuracy", 0.5, 0.25), seen, stopping, epochs=5)
    np.testing.assert_array_equal(trainer.model[0].weight, seen.weights[-1])
    assert len(seen.weights) == 2


@pytest.mark.parametrize("compile", [False, True])
def test_early_stopping_restores_what_was_measured_where_averages_are_kept(compile: bool) -> None:
    optimizer = optim.Average(optim.SGD(0.1), 0.5)
    model = nn.Linear(4, 3)
    trainer = Trainer(model, losses.cross_entropy, optimizer, compile=compile)
    stopping = callbacks.EarlyStopping(patience=2, mode="max")  # the first is the best
    measured = fit(trainer, stopping, epochs=3)["val_loss"]
    data = xn.asarray(X), xn.asarray(Y)
    assert trainer.evaluate(data)["loss"] == measured[0] == max(measured) > measured[1]
    with optimizer.averaged(model):
        assert measured[0] > trainer.evaluate(data)["loss"] > measured[-1]


def test_a_callback_forgets_the_training_before() -> None:
    stopping, plateau = callbacks.EarlyStopping(patience=2), callbacks.ReduceOnPlateau(patience=2)
    fit(make_trainer(), Script("val_loss", 1.0, 2.0, 2.0), stopping, plateau, epochs=3)
    trainer, seen = make_trainer(), Snapshots()
    script = Script("val_loss", 4.0, 3.0, 3.5)
    history = fit(trainer, script, seen, stopping, plateau, epochs=3)
    assert (history.epochs, history.stopped, stopping.best, plateau.waited) == (3, None, 3.0, 1)
    np.testing.assert_array_equal(trainer.model[0].weight, seen.weights[1])
    assert trainer.optimizer.rate_factor == 1.0


def test_a_callback_that_did_not_begin_changes_nothing() -> None:
    stopping = callbacks.EarlyStopping()
    fit(make_trainer(), stopping)
    trainer = make_trainer()
    before = trainer.model.state_dict()
    with pytest.raises(ValueError, match="monitor='val_f1' is not measured"):
        fit(trainer, callbacks.EarlyStopping("val_f1"), stopping)
    np.testing.assert_array_equal(trainer.model[0].weight, before["0.weight"])


@pytest.mark.parametrize("rate", [0.5, optim.schedules.Constant(0.5)])
def test_the_rate_is_lowered_on_a_plateau(rate: Any) -> None:
    values = [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    plateau = callbacks.ReduceOnPlateau(factor=0.1, patience=2, cooldown=1, min_factor=0.05)
    seen = Snapshots()
    fit(
        make_trainer(optimizer=optim.SGD(rate)),
        Script("val_loss", *values),
        plateau,
        seen,
        epochs=len(values),
    )
    factors = [1.0, 1.0, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05]
    assert seen.rates == pytest.approx([0.5 * factor for factor in factors])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: callbacks.EarlyStopping(patience=0), "EarlyStopping: patience must be at least 1"),
        (lambda: callbacks.EarlyStopping(min_delta=-1), "min_delta must not be negative, got -1"),
        (lambda: callbacks.EarlyStopping(mode="up"), 'mode must be "auto", "min" or "max"'),
        (lambda: callbacks.ReduceOnPlateau(factor=1.0), r"factor must be in \(0, 1\), got 1.0"),
        (lambda: callbacks.ReduceOnPlateau(cooldown=-1), "cooldown must not be negative"),
        (lambda: callbacks.Checkpoint("x", every=0), "Checkpoint: every must be at least 1, got 0"),
        (lambda: callbacks.Checkpoint("x", keep=0), "Checkpoint: keep must be at least 1, got 0"),
    ],
)
def test_wrong_settings(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_is_not_measured_cannot_be_watched() -> None:
    message = "EarlyStopping: monitor='val_f1' is not measured; there will be: loss, accuracy, val"
    with pytest.raises(ValueError, match=message):
        fit(make_trainer(), callbacks.EarlyStopping("val_f1"))
    with pytest.raises(ValueError, match="there will be: loss, accuracy; pass validation_data"):
        fit(make_trainer(), callbacks.EarlyStopping(), validation_data=None)


def test_a_measurement_within_an_epoch_counts() -> None:
    stopping = callbacks.EarlyStopping(patience=1, min_delta=1e9)
    history = fit(make_trainer(), stopping, epochs=3, validation_unit="step", validation_freq=1)
    assert history.positions["val_loss"] == [1 / 3, 2 / 3]
    assert history.epochs == 0


class Poison(nn.Module):
    """Hand its input through; from the given call on, spoil the output or its gradient."""

    def __init__(self, call: int, *, output: bool) -> None:
        self.call, self.output, self.calls = call, output, 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        if self.calls < self.call:
            return x
        xp = xn.array_namespace(x)
        return x / 0.0 if self.output else xp.sqrt(x * 0.0) + x  # the root has no slope at 0


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("output", [True, False])
def test_the_layer_that_is_not_finite_is_named(lib: Any, output: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), Poison(2, output=output), nn.Linear(8, 3))
    trainer, seen = make_trainer(model), []

    class Watch(callbacks.Callback):
        def on_batch_end(self, trainer: Trainer, loss: Any) -> None:
            seen.append(xn.to_host(trainer.model[0].weight))

    draws = xn.random.default_generator().draws
    history = fit(trainer, Watch(), callbacks.TerminateOnNaN(), epochs=3, shuffle=False)
    what = "the output of layer '2' (Poison)" if output else "the gradient of '0.bias'"
    assert history.stopped == f"TerminateOnNaN: epoch 1, batch 2: {what} is not finite"
    assert len(seen) == 1
    np.testing.assert_array_equal(xn.to_host(model[0].weight), seen[-1])  # no step was made
    assert trainer.optimizer.steps == 1
    assert xn.random.default_generator().draws == draws


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_inputs_and_losses_that_are_not_finite(lib: Any) -> None:
    trainer = make_trainer()
    x = lib.asarray(np.where(X > 1, np.inf, X), "float32")
    history = trainer.fit(
        (x, lib.asarray(Y, None)),
        batch_size=10,
        verbose=0,
        callbacks=[callbacks.TerminateOnNaN()],
    )
    assert history.stopped is not None
    assert history.stopped.endswith("batch 1: the inputs of the batch are not finite")
    model = nn.Sequential(nn.Linear(4, 3))
    wrong = make_trainer(model).fit(
        (lib.asarray(X, "float32"), lib.asarray(Y + 7, None)),
        batch_size=10,
        verbose=0,
        callbacks=[callbacks.TerminateOnNaN()],
    )
    assert wrong.stopped is not None
    assert wrong.stopped.endswith("the loss is not finite, while all outputs are")


def test_a_training_that_stays_finite_is_left_alone(lib: Any) -> None:
    models = []
    for given in ([], [callbacks.TerminateOnNaN()]):
        xn.seed(2)
        models.append(make_trainer())
        assert fit(models[-1], *given, epochs=2).stopped is None
    a, b = (xn.to_host(each.model[0].weight) for each in models)
    np.testing.assert_array_equal(a, b)


def test_a_table(tmp_path: Path) -> None:
    history = fit(make_trainer(), callbacks.CSVLogger(tmp_path / "a.csv"), epochs=2)
    first, *rows = (tmp_path / "a.csv").read_text().splitlines()
    assert first == "epoch,loss,accuracy,val_loss,val_accuracy"
    assert [float(row.split(",")[1]) for row in rows] == history["loss"]


def events(folder: Path) -> list[tuple[str, int, float]]:
    """Read what TensorBoard would: length, checksum, message, checksum, again and again."""
    protocol = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = []
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            [length] = struct.unpack("<Q", content[:8])
            event = protocol.Event.FromString(content[12 : 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            content = content[16 + length :]
    return found


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    history = fit(make_trainer(), callbacks.TensorBoard(tmp_path / "run"), epochs=2)
    found = events(tmp_path / "run")
    assert {tag for tag, _, _ in found} == {*history, "learning_rate"}
    losses_ = [(step, value) for tag, step, value in found if tag == "loss"]
    assert losses_ == [(3, np.float32(history["loss"][0])), (6, np.float32(history["loss"][1]))]
    assert ("learning_rate", 6, np.float32(0.1)) in found


def test_live_curves(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    curves = callbacks.LivePlot(tmp_path / "curves.png", title="A training")
    fit(make_trainer(), curves, epochs=2)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_matrices_among_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    trainer = make_trainer()
    trainer = Trainer(
        trainer.model, trainer.loss, trainer.optimizer, metrics=["confusion_matrix", "accuracy"]
    )
    curves = callbacks.LivePlot(tmp_path / "curves.png")
    history = fit(trainer, curves, callbacks.CSVLogger(tmp_path / "a.csv"), epochs=2)
    assert (tmp_path / "curves.png").exists()
    assert np.sum(history["confusion_matrix"][-1]) == len(X)
    assert [panel.get_ylabel() for panel in history.plot().axes] == ["loss", "accuracy"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(xn.MissingPackageError, match=r'pip install "xpnet\[tensorboard\]"'):
        fit(make_trainer(), callbacks.TensorBoard("x"))


def test_a_function_is_a_callback() -> None:
    seen = []
    fit(make_trainer(), lambda trainer, logs: seen.append((trainer.epoch, sorted(logs))), epochs=2)
    keys = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert seen == [(1, keys), (2, keys)]


def test_checkpoints_last_best_and_rotation(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    trainer, seen = make_trainer(), Snapshots()
    saving = callbacks.Checkpoint(tmp_path / "run", every=2, keep=3)
    assert saving.latest() is None
    fit(trainer, saving, Script("val_loss", 2.0, 1.0, 3.0), seen, epochs=3)
    names = sorted(path.name for path in (tmp_path / "run").iterdir())
    assert names == ["best", "step-00000006", "step-00000008", "step-00000009"]
    assert saving.latest() == tmp_path / "run" / "step-00000009"
    model = make_trainer().model
    xn.checkpoint.load(tmp_path / "run" / "best", model)
    np.testing.assert_array_equal(model[0].weight, seen.weights[1])


def test_checkpoints_of_another_training_are_not_mixed_with_ours(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    fit(make_trainer(), callbacks.Checkpoint(tmp_path / "run"))
    message = "holds those of another training; continue the last one"
    with pytest.raises(ValueError, match=message):
        fit(make_trainer(), callbacks.Checkpoint(tmp_path / "run"))


def test_a_training_that_goes_back_replaces_what_came_after_if_told_to(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    fit(make_trainer(), callbacks.Checkpoint(tmp_path, keep=4), epochs=4)
    first, saving = tmp_path / "step-00000003", callbacks.Checkpoint(tmp_path, keep=1)
    with pytest.raises(ValueError, match="holds later ones than the resumed one"):
        fit(make_trainer(), saving, epochs=2, resume=first)
    saving = callbacks.Checkpoint(tmp_path, keep=1, overwrite=True)
    fit(make_trainer(), saving, epochs=2, resume=first)
    assert saving.latest() == tmp_path / "step-00000006"


def test_what_a_killed_training_left_is_removed(tmp_path: Path) -> None:
    """Whether it was writing its first checkpoint, or removing one after writing its last."""
    pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    half = tmp_path / f"step-00000002.tmp-{2**22 + 1}-01234567"  # more than any process number
    for _ in range(2):
        half.mkdir()
        (half / "state.json").write_text("{")
        saving = callbacks.Checkpoint(tmp_path)
        assert fit(make_trainer(), saving, resume=saving.latest()).epochs == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["best", "step-00000003"]


def test_without_a_validation_the_best_loss_is_saved(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="checkpoints are safetensors files")
    saving = callbacks.Checkpoint(tmp_path / "run")
    history = fit(make_trainer(), saving, epochs=2, validation_data=None)
    assert saving.monitor == "loss"
    assert saving.best == min(history["loss"])


def test_checkpoints_without_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    trainer = Trainer(nn.Linear(4, 3), losses.cross_entropy, optim.SGD(0.1))
    with pytest.raises(xn.MissingPackageError, match=r'run: pip install "xpnet\[checkpoint\]"'):
        trainer.fit([], callbacks=[callbacks.Checkpoint(tmp_path / "run")], verbose=0)
    assert trainer.steps == 0
