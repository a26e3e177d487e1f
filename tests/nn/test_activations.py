"""Activations equal PyTorch's to the second derivative, and keep their digits in the tails."""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn

# Away from the kinks; those have a test of their own.
X = np.random.default_rng(1).normal(size=(6, 5)) * 3
LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    "Identity": (nn.Identity, lambda t: t.Identity()),
    "LeakyReLU": (nn.LeakyReLU, lambda t: t.LeakyReLU()),
    "LeakyReLU slope": (lambda: nn.LeakyReLU(0.3), lambda t: t.LeakyReLU(0.3)),
    "ELU": (nn.ELU, lambda t: t.ELU()),
    "ELU alpha": (lambda: nn.ELU(0.7), lambda t: t.ELU(0.7)),
    "GELU": (nn.GELU, lambda t: t.GELU()),
    "GELU tanh": (lambda: nn.GELU("tanh"), lambda t: t.GELU(approximate="tanh")),
    "SiLU": (nn.SiLU, lambda t: t.SiLU()),
    "Softplus": (nn.Softplus, lambda t: t.Softplus(threshold=1e3)),
    "Softplus beta": (lambda: nn.Softplus(2.5), lambda t: t.Softplus(2.5, threshold=1e3)),
    "Hardtanh": (nn.Hardtanh, lambda t: t.Hardtanh()),
    "Hardtanh bounds": (lambda: nn.Hardtanh(-2.5, 0.5), lambda t: t.Hardtanh(-2.5, 0.5)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the weighted sum of what a function returns."""

    def scalar(x: Any, weight: Any) -> Any:
        return xn.array_namespace(x).sum(weight * function(x))

    return scalar


@every_layer
def test_values_and_two_derivatives_equal_those_of_torch(lib, torch, name):
    layer, theirs = (make(torch.nn) if n else make() for n, make in enumerate(LAYERS[name]))
    first, second = np.random.default_rng(2).normal(size=(2, *X.shape))
    leaf = torch.tensor(X, requires_grad=True)
    value = theirs(leaf)
    (slope,) = torch.autograd.grad(value, leaf, torch.tensor(first), create_graph=True)
    bend = torch.zeros_like(leaf)
    if slope.requires_grad:
        (bend,) = torch.autograd.grad(slope, leaf, torch.tensor(second))
    x, first, second = lib.asarray(X), lib.asarray(first), lib.asarray(second)
    with lib.guard():
        ours = layer(x)
        gradient = xn.grad(total(layer))
        of_x = gradient(x, first)
        of_gradient = xn.grad(total(lambda x: gradient(x, first)))(x, second)
    lib.close(ours, value.detach())
    lib.close(of_x, slope.detach())
    lib.close(of_gradient, bend.detach())


@every_layer
def test_float32_stays_float32(lib, name):
    layer, x = LAYERS[name][0](), lib.asarray(X, "float32")
    assert layer(x).dtype == lib.xp.float32
    assert xn.grad(total(layer))(x, 1.0).dtype == lib.xp.float32


@pytest.mark.parametrize(
    ("name", "kinks"),
    [("LeakyReLU slope", [-0.0, 0]), ("ELU alpha", [-0.0, 0]), ("Hardtanh bounds", [-2.5, 0.5])],
)
def test_the_derivative_at_a_kink_is_that_of_torch(lib, torch, name, kinks):
    layer, theirs = (make(torch.nn) if n else make() for n, make in enumerate(LAYERS[name]))
    leaf = torch.tensor(kinks, dtype=torch.float64, requires_grad=True)
    theirs(leaf).sum().backward()
    lib.close(xn.grad(total(layer))(lib.asarray(kinks), 1.0), leaf.grad)


def test_infinities_and_nan(lib):
    x = lib.asarray([-math.inf, math.inf, math.nan])
    limits = {
        "Identity": (-math.inf, math.inf, 1, 1),
        "LeakyReLU": (-math.inf, math.inf, 0.01, 1),
        "ELU": (-1, math.inf, 0, 1),
        "GELU": (0, math.inf, 0, 1),
        "GELU tanh": (0, math.inf, 0, 1),
        "SiLU": (0, math.inf, 0, 1),
        "Softplus": (0, math.inf, 0, 1),
        "Hardtanh": (-1, 1, 0, 0),
    }
    for name, (low, high, slope_low, slope_high) in limits.items():
        layer = LAYERS[name][0]()
        lib.close(layer(x), [low, high, math.nan])
        for n, slope in enumerate((slope_low, slope_high)):
            lib.close(xn.grad(total(layer))(x[n], 1.0), slope)


@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 2e-15), ("float32", 1e-6)])
def test_gelu_has_all_digits_in_the_tail(lib, dtype, rtol):
    mpmath = pytest.importorskip("mpmath")
    x = np.linspace(-12 if dtype == "float32" else -37, 3, 400).astype(dtype)
    mpmath.mp.dps = 30
    expected = np.asarray([float(t * mpmath.ncdf(mpmath.mpf(t))) for t in x.tolist()])
    lib.close(nn.gelu(lib.asarray(x, dtype)), expected, rtol, atol=0)


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        ("gelu", lambda x, p: p.ncdf(x) + x * p.npdf(x)),
        ("silu", lambda x, p: p.exp(x) * (1 + x + p.exp(x)) / (1 + p.exp(x)) ** 2),
    ],
)
def test_the_slope_has_all_digits_in_the_tail(lib, function, slope):
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 40
    x = np.linspace(-30, -2, 50)
    expected = [float(slope(mpmath.mpf(t), mpmath)) for t in x.tolist()]
    lib.close(xn.grad(total(getattr(nn, function)))(lib.asarray(x), 1.0), expected, 1e-13, atol=0)


def test_softplus_is_exact_where_torch_is_linear(lib):
    lib.close(nn.Softplus(2.0)(lib.asarray([15.0])) - 15.0, [math.exp(-30) / 2], 0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Softplus(0.0), "Softplus: beta must be positive, got 0.0"),
        (lambda: nn.Softplus(math.nan), "Softplus: beta must be positive, got nan"),
        (lambda: nn.Hardtanh(1, 1), "Hardtanh: max_val must exceed min_val, got 1 and 1"),
        (
            lambda: nn.hardtanh(X, min_val=2.0),
            "hardtanh: max_val must exceed min_val, got 2.0 and 1.0",
        ),
        (
            lambda: nn.GELU("exact")(X),
            'gelu: approximate must be "none" or "tanh", got \'exact\'',
        ),
    ],
)
def test_settings_are_checked(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_reprs_show_the_settings():
    assert [repr(LAYERS[name][0]()) for name in LAYERS] == [
        "Identity()",
        "LeakyReLU(negative_slope=0.01)",
        "LeakyReLU(negative_slope=0.3)",
        "ELU(alpha=1.0)",
        "ELU(alpha=0.7)",
        "GELU(approximate='none')",
        "GELU(approximate='tanh')",
        "SiLU()",
        "Softplus(beta=1.0)",
        "Softplus(beta=2.5)",
        "Hardtanh(-1.0, 1.0)",
        "Hardtanh(-2.5, 0.5)",
    ]
