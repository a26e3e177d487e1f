"""What users of PyTorch, Keras and scikit-learn write at first: the error says what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import callbacks, losses, nn, optim
from xpnet.interop import onnx

X = np.zeros((6, 3), "float32")
Y = np.zeros(6, "int64")


def trainer() -> xn.Trainer:
    return xn.Trainer(nn.Linear(3, 2), losses.cross_entropy, optim.Adam())


def loss_of(model: Any) -> Any:
    return losses.cross_entropy(model(X), Y)


# What is written, and what the error must say.
HABITS: list[tuple[Callable[[], Any], str]] = [
    (lambda: trainer().fit((X, Y), epochs=1.5), "Trainer.fit: epochs must be a whole number"),
    (lambda: trainer().fit((X, Y), rng=0), r"rng: expected .*got int; .*xn\.Generator\(0\)"),
    (lambda: trainer().fit((X.tolist(), Y.tolist())), r"Trainer\.fit: .* xn\.asarray"),
    (
        lambda: trainer().fit((X, Y), callbacks=callbacks.EarlyStopping("loss")),
        r"Trainer\.fit: .*list of callbacks, got EarlyStopping; write callbacks=\[",
    ),
    (lambda: callbacks.EarlyStopping(3), "EarlyStopping: .* such as 'val_loss', got int"),
    (lambda: xn.data.Loader(X, Y), r"Loader: .*\(images, labels\), got ndarray"),
    (lambda: xn.data.Loader((X, [0])), r"Loader: .*\(images, labels\), got \(ndarray, list\)"),
    (lambda: xn.data.Loader((X, Y), "32"), "Loader: batch_size must be a whole number, got '32'"),
    (lambda: xn.data.Loader((X, Y), rng=np.random.default_rng(0)), "rng: expected an xpnet"),
    (lambda: nn.Linear(3, 2, rng=0), r"rng: expected an xpnet\.Generator, got int"),
    (lambda: nn.Embedding(3, 2, rng=0), r"rng: expected an xpnet\.Generator, got int"),
    (lambda: nn.Dropout(0.5, rng=0)(X), r"rng: expected an xpnet\.Generator, got int"),
    (lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU), r"layer 1 is the class ReLU; write ReLU\("),
    (lambda: optim.Adam().update({}, nn.Linear(3, 2)), r"got dict; write .*update\(model, grads\)"),
    (
        lambda: optim.Adam().update(nn.Linear(3, 2), loss_of(nn.Linear(3, 2))),
        r"Adam\.update: expected gradients by the names .* got float32; .*value_and_grad",
    ),
    (lambda: losses.cross_entropy(X, Y.tolist()), "^cross_entropy: expected arrays, got list; "),
    (lambda: losses.mse_loss(X, 1.0), "^mse_loss: expected arrays, got float; make an array"),
    (lambda: xn.metrics.Accuracy().update(X, [0] * 6), "^accuracy: expected arrays, got list; "),
    (lambda: xn.load(nn.Linear(3, 2), {}), "load: .*path of a file, got dict; .*load_state_dict"),
    (lambda: xn.save(nn.Linear(3, 2), 3), "save: expected the path of a file, got int$"),
    (lambda: onnx.export(nn.Linear(3, 2), X, "model.onnx"), r"got ndarray; write export\(model, "),
]

WEIGHTS = np.ones(3, "float32")


class Unmarked(nn.Module):
    """Its weight is no parameter."""

    def __init__(self) -> None:
        self.weight = xn.asarray(np.ones((3, 2)), dtype="float32")

    def forward(self, x: Any) -> Any:
        return x @ self.weight


def of(model: nn.Module, **options: Any) -> xn.Trainer:
    return xn.Trainer(model, losses.cross_entropy, optim.Adam(), **options)


# What would train nothing, or something else, without a word.
MISTAKES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: of(Unmarked()).fit((X, Y)),
        r"update: .* no parameters; .*nn\.Parameter\(array\)",
    ),
    (lambda: trainer().fit((X, Y), class_weight=WEIGHTS), "each of the 2 classes .*, got 3"),
    (lambda: trainer().fit((X, Y), class_weight={0: 1.0}), "each of the 2 classes .*, got 1"),
    (
        lambda: of(nn.Linear(3, 2), compile=True).fit((X, Y), class_weight=WEIGHTS),
        "each of the 2 classes .*, got 3",
    ),
    (lambda: trainer().fit(list(zip(X, Y, strict=True))), r"x and y of shapes \(3,\) and \(\)"),
    (
        lambda: trainer().fit((X, Y), callbacks=[callbacks.EarlyStopping("accuracy")]),
        "will be: loss; the Trainer takes others as metrics=",
    ),
]


@pytest.mark.parametrize("number", range(len(MISTAKES)))
def test_mistakes_do_not_pass(number: int) -> None:
    write, message = MISTAKES[number]
    with pytest.raises(ValueError, match=message):
        write()


@pytest.mark.parametrize("number", range(len(HABITS)))
def test_the_error_says_what_to_write(number: int, tmp_path: Path) -> None:
    write, message = HABITS[number]
    if "export" in message:
        pytest.importorskip("onnx")
    with pytest.raises(TypeError, match=message):
        write()
