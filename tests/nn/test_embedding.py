"""Embeddings look up rows as PyTorch does, and wrong indices show on every library."""

import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn

INDICES = np.asarray([[0, 2, 2], [4, 1, 2]])


def total(layer: Any, x: Any, weight: Any) -> Any:
    y = layer(x)
    return xn.array_namespace(y).sum(y * weight)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_values_and_gradients_equal_those_of_torch(lib, padding_idx):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    theirs = torch.nn.Embedding(5, 3, padding_idx=padding_idx).double()
    theirs.weight.data[...] = torch.tensor(rng.normal(size=(5, 3)))
    layer = nn.Embedding(5, 3, padding_idx=padding_idx, dtype="float64")
    layer.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    weight = rng.normal(size=(2, 3, 3))
    expected = theirs(torch.tensor(INDICES))
    (expected * torch.tensor(weight)).sum().backward()
    x = lib.asarray(INDICES, None)
    with lib.guard():
        value = layer(x)
        grads = xn.grad(total)(layer, x, lib.asarray(weight))
    lib.close(value, expected.detach())
    assert list(grads) == ["weight"]
    lib.close(grads["weight"], theirs.weight.grad)


@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 1, 2)])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64"])
def test_indices_have_any_shape_and_integer_dtype(lib, shape, dtype):
    layer = nn.Embedding(4, 2, dtype="float64")
    x = np.random.default_rng(5).integers(0, 4, shape)
    expected = lib.to_host(layer.weight)[x]
    found = layer(lib.asarray(x, dtype))
    np.testing.assert_array_equal(lib.to_host(found), expected, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_wrong_indices_give_nan_and_no_gradient(lib, dtype):
    layer = nn.Embedding(3, 2, dtype=dtype)
    x = lib.asarray([0, 3, -1, 2], "int64")
    weight = lib.asarray(np.ones((4, 2)), dtype)
    with lib.guard():
        value = layer(x)
        grads = xn.grad(total)(layer, x, weight)
    np.testing.assert_array_equal(np.isnan(lib.to_host(value))[:, 0], [False, True, True, False])
    lib.close(grads["weight"], [[1, 1], [0, 0], [1, 1]])
    assert value.dtype == layer.weight.dtype


def test_the_second_derivative(lib):
    layer = nn.Embedding(3, 2, dtype="float64")
    x = lib.asarray([1, 1, 0], None)

    def slope(layer: Any) -> Any:
        """d sum(w[x]^3) / dw summed, 3 sum(n w^2) with n the number of copies."""
        grads = xn.grad(lambda layer: total(layer, x, layer(x) ** 2))(layer)
        return xn.array_namespace(grads["weight"]).sum(grads["weight"])

    counts = np.asarray([[1.0], [2], [0]])
    lib.close(xn.grad(slope)(layer)["weight"], 6 * counts * lib.to_host(layer.weight))


def test_initial_vectors_are_normal_and_equal_on_every_library(lib):
    weight = nn.Embedding(400, 50, rng=xn.Generator(1)).weight
    expected = np.asarray(xn.to_host(xn.Generator(1).normal((400, 50))))
    np.testing.assert_array_equal(lib.to_host(weight), expected, strict=True)
    assert expected.mean() == pytest.approx(0, abs=4 / np.sqrt(expected.size))
    assert expected.var() == pytest.approx(1, abs=4 * np.sqrt(2 / expected.size))


def test_padding_starts_as_zeros_and_is_the_only_row_that_differs(lib):
    plain = lib.to_host(nn.Embedding(4, 3, rng=xn.Generator(1)).weight)
    padded = lib.to_host(nn.Embedding(4, 3, padding_idx=-2, rng=xn.Generator(1)).weight)
    np.testing.assert_array_equal(padded, plain * [[1], [1], [0], [1]])
    assert padded.dtype == np.float32


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        ((0, 2), {}, "num_embeddings and embedding_dim must be positive, got 0 and 2"),
        ((3, 0), {}, "num_embeddings and embedding_dim must be positive, got 3 and 0"),
        ((3, 2), {"padding_idx": 3}, "expected padding_idx in [-3, 3), got 3"),
        ((3, 2), {"padding_idx": -4}, "expected padding_idx in [-3, 3), got -4"),
    ],
)
def test_settings_are_checked(args, options, message):
    with pytest.raises(ValueError, match=f"^Embedding: {re.escape(message)}$"):
        nn.Embedding(*args, **options)


def test_indices_are_integers(lib):
    x = lib.asarray([1.0])
    message = (
        f"Embedding: expected integer indices, got dtype {x.dtype}; convert them with xp.astype"
    )
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        nn.Embedding(3, 2)(x)


def test_repr():
    assert repr(nn.Embedding(3, 2)) == "Embedding(3, 2)  # weight (3, 2): 6 parameters"
    assert repr(nn.Embedding(3, 2, padding_idx=-1)).startswith("Embedding(3, 2, padding_idx=2)")
