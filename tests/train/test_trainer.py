"""The Trainer does what the loop written by hand does, measures it and waits once an epoch."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import callbacks, losses, metrics, nn, optim
from xpnet.train import Trainer, measures

RNG = np.random.default_rng(3)
X = RNG.normal(size=(50, 4))
Y = np.argmax(X @ RNG.normal(size=(4, 3)) + 0.3 * RNG.normal(size=(50, 3)), axis=-1)
WEIGHT = RNG.uniform(0.1, 2.0, size=50)


def data(lib: Any, dtype: str = "float32") -> tuple[Any, Any]:
    return lib.asarray(X, dtype), lib.asarray(Y, None)


def make_model(dropout: float = 0.2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3))


def make_trainer(model: nn.Module | None = None, **options: Any) -> Trainer:
    model = make_model() if model is None else model
    options = {"metrics": ["accuracy"], **options}
    return Trainer(model, losses.cross_entropy, optim.Adam(0.01), **options)


def to_host(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: xn.to_host(array) for name, array in state.items()}


def assert_equal(found: nn.Module, expected: nn.Module) -> None:
    ours, theirs = to_host(found.state_dict()), to_host(expected.state_dict())
    assert list(ours) == list(theirs)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array, err_msg=name, strict=True)


def by_hand(
    model: nn.Module, x: Any, y: Any, epochs: int, *weights: Any, **options: Any
) -> list[tuple[float, float]]:
    """Train with the loop written out; return loss and accuracy of each epoch."""

    def loss_fn(model: nn.Module, x: Any, y: Any, *weight: Any) -> tuple[Any, Any]:
        logits = model(x)
        more = {"sample_weight": weight[0]} if weight else {}
        return losses.cross_entropy(logits, y, **options, **more), logits

    optimizer, rows = optim.Adam(0.01), []
    for _ in range(epochs):
        total = hits = weight_sum = 0.0
        for batch in xn.data.Loader((x, y, *weights), 16, shuffle=True):
            (loss, logits), grads = xn.value_and_grad(loss_fn, has_aux=True)(model, *batch)
            optimizer.update(model, grads)
            n = float(xn.to_host(batch[2]).sum()) if weights else batch[1].shape[0]
            total, weight_sum = total + float(loss) * n, weight_sum + n
            hits += float(metrics.accuracy(logits, batch[1])) * batch[1].shape[0]
        rows.append((total / weight_sum, hits / 50))
    return rows


def test_it_equals_the_loop_written_by_hand(lib: Any) -> None:
    x, y = data(lib)
    xn.seed(1)
    expected = make_model()
    rows = by_hand(expected, x, y, 3)
    xn.seed(1)
    model = make_model()
    history = make_trainer(model).fit((x, y), epochs=3, batch_size=16, verbose=0)
    assert_equal(model, expected)
    np.testing.assert_allclose(history["loss"], [row[0] for row in rows], rtol=1e-6)
    np.testing.assert_allclose(history["accuracy"], [row[1] for row in rows], rtol=1e-6)
    assert history.positions["loss"] == [1.0, 2.0, 3.0]
    assert history.epochs == 3
    assert history.stopped is None


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64"])
def test_labels_and_weights_of_any_dtype(lib: Any, dtype: str) -> None:
    """As in a problem of two classes, with weights that count or choose samples."""
    labels, counts = (Y > 0).astype(dtype), (Y + 1).astype(dtype)
    weight = np.where(labels, 0.3, 0.1) * counts  # neither is a number of float32
    x, y = lib.asarray(X), lib.asarray(labels[:, None], None)
    model = nn.Linear(4, 1, dtype="float64")
    trainer = Trainer(model, losses.binary_cross_entropy, optim.SGD(0.0), metrics=["accuracy"])
    history = trainer.fit(
        (x, y),
        batch_size=25,
        sample_weight=lib.asarray(counts[:, None], None),
        class_weight={0: 0.1, 1: 0.3},
        verbose=0,
    )
    expected = losses.binary_cross_entropy(model(x), y, sample_weight=lib.asarray(weight[:, None]))
    assert history["loss"] == pytest.approx([float(expected)], rel=1e-12)


def test_a_loader_and_any_iterable_are_data_too(lib: Any) -> None:
    x, y = data(lib)

    class Stream:
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            yield from xn.data.Loader((x, y), 16)

    trained = []
    for source in ((x, y), xn.data.Loader((x, y), 16), Stream(), list(Stream())):
        xn.seed(1)
        trained.append(make_model(0.0))
        history = make_trainer(trained[-1]).fit(
            source, epochs=2, batch_size=16, shuffle=False, verbose=0
        )
        assert history.epochs == 2
        assert_equal(trained[-1], trained[0])


def test_weights_of_samples_and_classes(lib: Any) -> None:
    x, y = data(lib, "float64")
    weight = lib.asarray(WEIGHT)
    classes = lib.asarray([1.0, 2.0, 0.5])

    def model(seed: int) -> nn.Module:
        xn.seed(seed)
        return nn.Sequential(nn.Linear(4, 3, dtype="float64"))

    expected = model(1)
    rows = by_hand(expected, x, y, 2, weight)
    expected_classes = model(1)
    by_hand(expected_classes, x, y, 2, class_weight=classes)
    fits: list[tuple[nn.Module, Any, dict[str, Any]]] = [
        (expected, (x, y), {"sample_weight": weight}),
        (expected, (x, y, weight), {}),
        (expected, xn.data.Loader((x, y, weight), 16, shuffle=True), {}),
        (expected_classes, (x, y), {"class_weight": classes}),
        (expected_classes, (x, y), {"class_weight": {0: 1.0, 2: 0.5, 1: 2.0}}),
        (expected_classes, xn.data.Loader((x, y), 16, shuffle=True), {"class_weight": classes}),
    ]
    for reference, source, options in fits:
        ours = model(1)
        history = make_trainer(ours).fit(source, epochs=2, batch_size=16, verbose=0, **options)
        for name, array in ours.state_dict().items():
            lib.close(array, xn.to_host(reference.state_dict()[name]), rtol=1e-12)
        if reference is expected:
            np.testing.assert_allclose(history["loss"], [row[0] for row in rows], rtol=1e-12)
    host_loss = float(
        losses.cross_entropy(expected(x), y, sample_weight=weight)  # of all samples at once
    )
    found = make_trainer(expected).evaluate((x, y), batch_size=16, sample_weight=weight)
    assert found["loss"] == pytest.approx(host_loss, rel=1e-12)


def test_a_label_that_is_no_class_has_no_class_weight(lib: Any) -> None:
    x, y = data(lib)
    y = lib.asarray(np.where(np.arange(50) % 7 == 0, -100, Y), None)

    def loss(outputs: Any, targets: Any, **weights: Any) -> Any:
        return losses.cross_entropy(outputs, targets, ignore_index=-100, **weights)

    trainer = Trainer(make_model(), loss, optim.SGD(0.1))
    weight = {0: 1.0, 1: 2.0, 2: 3.0}
    history = trainer.fit((x, y), batch_size=16, class_weight=weight, verbose=0)
    assert np.isfinite(history["loss"]).all()


def test_evaluate_and_predict_leave_the_model_alone(lib: Any) -> None:
    x, y = data(lib)
    model = make_model(0.5)
    model[2].eval()
    trainer = make_trainer(model)
    outputs = trainer.predict(x, batch_size=16)
    modes = [module.training for _, module in model.modules()]
    assert modes == [True, True, True, False, True]
    model.eval()
    lib.close(outputs, xn.to_host(model(x)), rtol=1e-6)
    expected = float(losses.cross_entropy(model(x), y))
    accuracy = float(metrics.accuracy(model(x), y))
    model.train()
    found = trainer.evaluate((x, y), batch_size=16)
    assert found == pytest.approx({"loss": expected, "accuracy": accuracy}, rel=1e-6)
    assert model.training


@pytest.mark.parametrize(
    ("unit", "freq", "positions"),
    [
        ("epoch", 1, [1.0, 2.0, 3.0, 4.0]),
        ("epoch", 2, [2.0, 4.0]),
        ("step", 3, [0.75, 1.5, 2.25, 3.0, 3.75]),
        ("step", 2, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]),
        ("step", 7, [1.75, 3.5]),  # less than once an epoch
    ],
)
def test_validation_every_so_many_epochs_or_steps(
    unit: Any, freq: int, positions: list[float]
) -> None:
    seen: list[str] = []

    class Watch(callbacks.Callback):
        def on_validation_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
            assert set(logs) == {"val_loss", "val_accuracy"}
            seen.append("validation")

        def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
            seen.append("epoch")

    x, y = X.astype("float32"), Y
    history = make_trainer().fit(
        (x, y),
        epochs=4,
        batch_size=13,
        validation_data=(x[:20], y[:20]),
        validation_freq=freq,
        validation_unit=unit,
        callbacks=[Watch()],
        verbose=0,
    )
    assert history.positions["val_loss"] == positions
    assert history.positions["loss"] == [1.0, 2.0, 3.0, 4.0]
    assert seen.count("validation") == (len(positions) if unit == "step" else 0)
    assert len(history["val_accuracy"]) == len(positions)


@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_validation_data_without_a_length(unit: Any) -> None:
    class Stream:
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            yield from xn.data.Loader((X, Y), 16)

    expected, found = (
        make_trainer(nn.Sequential(nn.Linear(4, 3, rng=xn.Generator(1)))).fit(
            (X, Y),
            batch_size=25,
            shuffle=False,
            validation_data=validation,
            validation_unit=unit,
            verbose=0,
        )
        for validation in ((X, Y), Stream())
    )
    np.testing.assert_allclose(found["val_loss"], expected["val_loss"], rtol=1e-6)
    assert found.positions == expected.positions


def test_data_are_brought_to_the_model(lib: Any) -> None:
    model = make_model()
    trainer = make_trainer(model)
    history = trainer.fit((X, Y), batch_size=16, verbose=0)  # float64, in host memory
    assert np.isfinite(history["loss"]).all()
    lib.to_host(model[0].weight)
    outputs = trainer.predict(X, batch_size=16)
    assert lib.to_host(outputs).dtype == np.float32
    assert trainer.evaluate((X, Y), batch_size=16)["accuracy"] > 0


def test_data_and_states_with_bytes_in_the_order_of_another_machine(lib: Any) -> None:
    def swapped(x: Any) -> Any:
        return x.astype(x.dtype.newbyteorder("S"))

    def fit(turn: Callable[[Any], Any]) -> Any:
        xn.seed(0)
        model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        state = {name: lib.to_host(array) for name, array in model.state_dict().items()}
        model.load_state_dict({name: turn(array) for name, array in state.items()})
        trainer = xn.Trainer(model, losses.cross_entropy, optim.SGD(0.5))
        data = turn(np.linspace(-1, 1, 12).reshape(4, 3)), turn(np.asarray([0, 1, 1, 0]))
        history = trainer.fit(data, epochs=2, batch_size=2, verbose=0, validation_data=data)
        return history["loss"], history["val_loss"]

    assert fit(swapped) == fit(lambda x: x)


def test_a_library_without_64_bits() -> None:
    """JAX, as it is unless told otherwise."""
    jax = pytest.importorskip("jax")
    with xn.use_backend("jax"), jax.enable_x64(False):
        model = nn.Sequential(nn.Embedding(5, 4), nn.Flatten(), nn.Linear(8, 3))
        pairs = np.stack([Y, Y + 2], axis=-1)
        weight = dict.fromkeys(range(3), 0.1)
        history = make_trainer(model).fit((pairs, Y), batch_size=25, class_weight=weight)
        assert np.isfinite(history["loss"]).all()
        history = make_trainer().fit((X, Y), batch_size=25, validation_data=(X, Y))  # float64
        assert np.isfinite(history["val_loss"]).all()


def test_lazy_layers_take_their_width_from_the_first_batch(lib: Any) -> None:
    xn.seed(1)
    expected = make_model(0.0)
    make_trainer(expected).fit(data(lib), batch_size=16, shuffle=False, verbose=0)
    xn.seed(1)
    model = nn.Sequential(nn.Linear(None, 8), nn.ReLU(), nn.Dropout(0.0), nn.Linear(None, 3))
    make_trainer(model).fit(data(lib), batch_size=16, shuffle=False, verbose=0)
    assert_equal(model, expected)


def test_an_epoch_waits_for_the_device_once(
    monkeypatch: pytest.MonkeyPatch, syncs: tuple[str, ...]
) -> None:
    """array-api-strict stands in for a GPU: whatever brings its values to Python is counted."""
    strict = pytest.importorskip("array_api_strict")
    inside, waits, hidden = [], [], []
    real = measures.to_host

    def counted(array: Any) -> Any:
        waits.append(array.shape)
        inside.append(True)
        try:
            return real(array)
        finally:
            inside.pop()

    def watch(name: str, original: Any) -> Any:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not inside:
                hidden.append(name)
            return original(self, *args, **kwargs)

        return method

    cls = type(strict.empty(0))
    with xn.use_backend("array_api_strict"):
        x, y = xn.asarray(X, dtype="float32"), xn.asarray(Y)
        trainer = make_trainer(metrics=["accuracy", "f1", metrics.TopK(2)])
        stopping = callbacks.EarlyStopping(patience=5)
        for name in syncs:
            if hasattr(cls, name):
                monkeypatch.setattr(cls, name, watch(name, getattr(cls, name)))
        monkeypatch.setattr(measures, "to_host", counted)
        history = trainer.fit(
            (x, y),
            epochs=3,
            validation_data=(x, y),
            class_weight={0: 1.0, 1: 2.0, 2: 3.0},
            callbacks=[stopping, callbacks.ReduceOnPlateau()],
            verbose=0,
        )
        assert hidden == []
        assert waits == [(8,)] * 3
        assert len(history) == 8
        float(x[0, 0])
        assert hidden == ["__float__"]  # the counter counts


def test_ctrl_c_finishes_the_step_and_returns_the_history() -> None:
    class Interrupt(callbacks.Callback):
        def on_gradients(self, trainer: Trainer, loss: Any, grads: Any) -> None:
            if trainer.epoch == 2 and trainer.batch == 1:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    trainer = make_trainer()
    history = trainer.fit((X, Y), epochs=9, batch_size=13, callbacks=[Interrupt()], verbose=0)
    assert history.stopped == "Ctrl-C"
    assert history.epochs == 2
    assert (trainer.epoch, trainer.batch, trainer.steps) == (2, 2, 10)
    assert trainer.optimizer.steps == 10
    assert signal.getsignal(signal.SIGINT) is before
    assert repr(history).endswith("stopped by Ctrl-C)")


def test_a_second_ctrl_c_raises_at_once() -> None:
    class Interrupt(callbacks.Callback):
        def on_gradients(self, trainer: Trainer, loss: Any, grads: Any) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        make_trainer().fit((X, Y), callbacks=[Interrupt()], verbose=0)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_training_starts_anew() -> None:
    trainer = make_trainer()
    first = trainer.fit((X, Y), epochs=2, verbose=0)
    second = trainer.fit((X, Y), epochs=1, verbose=0)
    assert (first.epochs, second.epochs) == (2, 1)
    assert second["loss"][0] < first["loss"][0]
    assert trainer.optimizer.steps == 6


def test_hooks_are_called_in_order() -> None:
    calls: list[str] = []

    def note(name: str) -> Any:
        return lambda self, trainer, *args: calls.append(name)

    hooks = [name for name in vars(callbacks.Callback) if name.startswith("on_")]
    watch = type("Watch", (callbacks.Callback,), {name: note(name) for name in hooks})
    make_trainer().fit(
        (X, Y),
        batch_size=25,
        validation_data=(X, Y),
        validation_unit="step",
        validation_freq=2,
        callbacks=[watch(), lambda trainer, logs: calls.append(f"{logs['loss']:.0f}")],
        verbose=0,
    )
    batch = ["on_gradients", "on_batch_end"]
    assert calls == [
        *("on_fit_begin", "on_epoch_begin", *batch, "on_gradients", "on_validation_end"),
        *("on_batch_end", "on_epoch_end", "1", "on_fit_end"),
    ]
    assert sorted(set(calls) - {"1"}) == sorted(hooks)


def test_a_failing_step_leaves_the_callbacks_closed() -> None:
    ended: list[bool] = []

    class Fail(callbacks.Callback):
        def on_gradients(self, trainer: Trainer, loss: Any, grads: Any) -> None:
            raise RuntimeError("no")

        def on_fit_end(self, trainer: Trainer) -> None:
            ended.append(True)

    class FailAtTheEnd(callbacks.Callback):
        def on_fit_end(self, trainer: Trainer) -> None:
            raise OSError("no space")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="no"):
        make_trainer().fit((X, Y), callbacks=[Fail()], verbose=0)
    with pytest.raises(OSError, match="no space"):
        make_trainer().fit((X, Y), callbacks=[Fail(), FailAtTheEnd()], verbose=0)
    assert ended == [True, True]
    assert signal.getsignal(signal.SIGINT) is before


def test_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    make_trainer().fit((X, Y), epochs=2, validation_data=(X, Y), callbacks=[stop_at(1)])
    out, err = capsys.readouterr()
    number = r"\d+\.\d{4}"
    assert re.fullmatch(
        rf"epoch 1/2  loss {number}  accuracy {number}  val_loss {number}  val_accuracy {number}  "
        r"\d+\.\d s\nstopped after 1 epochs by a friend\n",
        out,
    )
    assert err == ""


def stop_at(epoch: int) -> Any:
    return lambda trainer, logs: trainer.stop("a friend") if trainer.epoch == epoch else None


@pytest.mark.parametrize(
    ("verbose", "bar", "lines"), [("auto", 1, 1), (1, 1, 1), (2, 0, 1), (0, 0, 0)]
)
def test_a_bar_on_a_terminal(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    verbose: Any,
    bar: bool,
    lines: bool,
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    make_trainer().fit((X, Y), epochs=1, verbose=verbose)
    out, err = capsys.readouterr()
    assert ("epoch 1/1" in out) == lines
    assert bool(re.search(r"epoch 1/1 .*1/2.* steps/s  loss \d\.\d+", err)) == bar


def test_a_loader_with_other_batches() -> None:
    class Doubled(xn.data.Loader):
        def __iter__(self) -> Iterator[tuple[Any, ...]]:
            for x, y in super().__iter__():
                yield 2 * x, y

    expected, found = make_model(0.0), make_model(0.0)
    found.load_state_dict(expected.state_dict())
    x = X.astype("float32")
    for model, source in ((expected, xn.data.Loader((2 * x, Y))), (found, Doubled((x, Y)))):
        make_trainer(model).fit(source, verbose=0)
    assert_equal(found, expected)


def test_data_without_batches() -> None:
    trainer = make_trainer(metrics=[])
    once = (batch for batch in [(X, Y)])
    with pytest.raises(ValueError, match="has no batches; an iterator can be used once, a list or"):
        trainer.fit(once, epochs=2, verbose=0)
    assert trainer.steps == 1
    for empty in ((X[:0], Y[:0]), []):
        with pytest.raises(ValueError, match="the data to measure on has no batches; an iterator"):
            trainer.evaluate(empty)
    with pytest.raises(ValueError, match=r"predict: expected samples, got none: shape \(0, 4\)"):
        trainer.predict(X[:0])


def test_ctrl_c_between_two_epochs() -> None:
    trainer = make_trainer()
    interrupt = [lambda trainer, logs: os.kill(os.getpid(), signal.SIGINT)]
    history = trainer.fit((X, Y), epochs=3, callbacks=interrupt, verbose=0)
    assert (history.stopped, history.epochs, trainer.batch) == ("Ctrl-C", 1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "Trainer.fit: epochs must be at least 1, got 0"),
        ({"validation_freq": 0}, "validation_freq must be at least 1, got 0"),
        ({"validation_unit": "batch"}, 'validation_unit must be "epoch" or "step", got \'batch\''),
        ({"verbose": 3}, 'verbose must be "auto", 0, 1 or 2, got 3'),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"data": (X,)}, "expected two arrays (x, y), or three with sample_weight, got 1"),
        ({"data": X}, "expected a pair of arrays (x, y), a Loader or an iterable of batches, got"),
        ({"data": 3}, "a Loader or an iterable of batches, got int"),
        ({"data": [(X,)]}, "expected two arrays (x, y), or three with sample_weight, got 1"),
        ({"data": []}, "the data has no batches"),
        ({"data": iter([]), "validation_unit": "step"}, "needs data with a length"),
        ({"data": [(X, Y)], "sample_weight": WEIGHT}, "sample_weight= is for arrays"),
        ({"class_weight": 2.0}, "expected class_weight as an array or a dict from class to weight"),
        ({"class_weight": {1: 2.0}}, "class_weight for each of the classes 0, 1, ..., got [1]"),
        ({"data": (X, X), "class_weight": {0: 2.0}}, "class_weight needs class indices"),
        ({"data": ([[1.0]], [1])}, "expected"),
        ({"callbacks": [callbacks.LivePlot]}, "got the class LivePlot; write LivePlot()"),
        ({"callbacks": [3]}, "expected a Callback or a function f(trainer, logs), got int"),
    ],
)
def test_wrong_arguments_change_nothing(options: dict[str, Any], message: str) -> None:
    trainer = make_trainer()
    before = to_host(trainer.model.state_dict())
    options = {"data": (X, Y), "verbose": 0, **options}
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        trainer.fit(**options)
    for name, array in to_host(trainer.model.state_dict()).items():
        np.testing.assert_array_equal(array, before[name])
    assert trainer.optimizer.steps == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((3, losses.mse_loss, optim.SGD(1.0)), "expected a Module as model, got int"),
        ((make_model(), "mse", optim.SGD(1.0)), "expected a function as loss, such as losses."),
        ((make_model(), losses.mse_loss, optim.SGD), "expected an optimizer such as optim.Adam"),
    ],
)
def test_wrong_parts(args: Any, message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        Trainer(*args)


def test_wrong_metrics() -> None:
    with pytest.raises(TypeError, match="expected a list of metrics, got 'accuracy'"):
        make_trainer(metrics="accuracy")
    with pytest.raises(ValueError, match="have the same name: loss, accuracy, accuracy"):
        make_trainer(metrics=["accuracy", "accuracy"])


def test_a_compiled_step_trains_the_same(lib: Any) -> None:
    x, y = data(lib)
    models, histories = [], []
    for compiled in (False, True):
        xn.seed(1)
        models.append(make_model())
        trainer = make_trainer(models[-1], compile=compiled)
        histories.append(
            trainer.fit((x, y), epochs=3, batch_size=16, validation_data=(x, y), verbose=0)
        )
    rtol = 1e-5 if lib.name == "jax" else 0.0  # XLA orders operations as it likes
    ours, theirs = (to_host(model.state_dict()) for model in models)
    for name, array in theirs.items():
        np.testing.assert_allclose(ours[name], array, rtol=rtol, atol=rtol, err_msg=name)
    for key, values in histories[0].items():
        np.testing.assert_allclose(histories[1][key], values, rtol=10 * rtol, err_msg=key)


def test_a_compiled_step_shows_no_gradients() -> None:
    trainer = make_trainer(compile=True)
    with pytest.raises(ValueError, match="TerminateOnNaN looks at gradients, which a compiled"):
        trainer.fit((X, Y), callbacks=[callbacks.TerminateOnNaN()], verbose=0)


@pytest.mark.parametrize("lib", ["torch"], indirect=True)
def test_gradients_of_the_library_itself_stay_behind(lib: Any) -> None:
    """Else each step would be kept in memory, since the weights of the next one come from it."""
    x, y = lib.asarray(X).requires_grad_(True), lib.asarray(Y, None)
    model = nn.Linear(X.shape[1], 3)
    trainer = xn.Trainer(model, losses.cross_entropy, optim.Adam())
    for data in ((x, y), xn.data.Loader((x, y)), [(x, y)]):
        trainer.fit(data, verbose=0)
        assert not model.weight.requires_grad
    assert not trainer.predict(x).requires_grad
