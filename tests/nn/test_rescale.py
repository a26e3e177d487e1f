"""Images that stay bytes until a batch of them is computed."""

import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "int64"])
def test_integers_become_real_numbers(lib: Any, kind: str, dtype: str) -> None:
    values = np.arange(256).reshape(8, 32)
    found = nn.Rescale(dtype=dtype)(lib.asarray(values, dtype=kind))
    assert found.dtype == getattr(lib.xp, dtype)
    # XLA multiplies by the reciprocal of a constant.
    rtol = 2 * float(np.finfo(dtype).eps) if lib.name == "jax" else 0.0
    lib.close(found, values.astype(dtype) / np.asarray(255, dtype), rtol=rtol, atol=0.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_numbers_keep_their_dtype_and_are_differentiated(lib: Any, dtype: str) -> None:
    values = np.asarray([[1.5, -4.0]], dtype)
    layer, x = nn.Rescale(-8), lib.asarray(values, dtype=dtype)
    np.testing.assert_array_equal(lib.to_host(layer(x)), values / np.asarray(-8, dtype))
    np.testing.assert_array_equal(lib.to_host(x), values)
    grad = lib.to_host(xn.grad(lambda x: xn.array_namespace(x).sum(layer(x)))(x))
    np.testing.assert_array_equal(grad, np.full_like(values, -0.125), strict=True)


@pytest.mark.parametrize("compiled", [False, True])
def test_training_on_bytes_equals_training_on_their_real_numbers(lib: Any, compiled: bool) -> None:
    images = np.random.default_rng(0).integers(256, size=(48, 3, 4))
    labels = lib.asarray(np.arange(48) % 5, dtype=None)

    def train(x: Any, *first: nn.Module) -> tuple[Any, Any]:
        xn.seed(0)
        body = nn.Sequential(nn.Flatten(), nn.Linear(None, 8), nn.ReLU(), nn.Linear(8, 5))
        model = nn.Sequential(*first, body)
        trainer = xn.Trainer(
            model, losses.cross_entropy, optim.Adam(0.01), metrics=["accuracy"], compile=compiled
        )
        history = trainer.fit(
            (x, labels), epochs=2, batch_size=16, validation_data=(x, labels), verbose=0
        )
        return history, body.state_dict()

    history, state = train(lib.asarray(images, dtype="uint8"), nn.Rescale())
    real = lib.asarray(images, dtype="float32") / 255
    expected_history, expected = train(real)
    # Where all is compiled as one, the division need not be one any more.
    rtol = 1e-5 if compiled and lib.name == "jax" else 0.0
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(history[name], expected_history[name], rtol=rtol)
    for name, array in expected.items():
        lib.close(state[name], lib.to_host(array), rtol=rtol)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"divisor": 0}, "Rescale: expected a finite divisor other than 0, got 0"),
        ({"divisor": float("nan")}, "Rescale: expected a finite divisor other than 0, got nan"),
        ({"dtype": "int8"}, 'Rescale: expected dtype "float32" or "float64", got \'int8\''),
    ],
)
def test_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        nn.Rescale(**arguments)


def test_repr() -> None:
    assert repr(nn.Rescale()) == "Rescale()"
    assert repr(nn.Rescale(16, dtype="float64")) == "Rescale(16, dtype='float64')"
