"""What docs/other-peoples-code.md says of each line: works, raises this error, is to be replaced.

The lines are read from the document, so that it lists what is tested and nothing else.
"""

from __future__ import annotations

import builtins
import math
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn

xpx = pytest.importorskip("array_api_extra")
einops = pytest.importorskip("einops")
scipy = pytest.importorskip("scipy", minversion="1.17")
sklearn = pytest.importorskip("sklearn", minversion="1.9")
for _name in ("einops.array_api", "sklearn.metrics.pairwise", "sklearn.preprocessing"):
    pytest.importorskip(_name)

DOCUMENT = (Path(__file__).parents[2] / "docs" / "other-peoples-code.md").read_text()
ROWS = [
    [cell.strip() for cell in row.strip("|").split(" | ")]
    for row in re.findall(r"^\| `.*\|$", DOCUMENT, flags=re.M)
]
WORK = [code.strip("`") for code, *rest in ROWS if not rest]
ERRORS = [row for row in ROWS if len(row) == 3 and row[1] != "nan"]
NAN = [row for row in ROWS if len(row) == 3 and row[1] == "nan"]
INSTEAD = sorted({row[2].strip("`") for row in ERRORS + NAN} - set(WORK))

SCOPE = {
    "einops": einops,
    "math": math,
    "np": np,
    "scipy": scipy,
    "sklearn": sklearn,
    "xn": xn,
    "xpx": xpx,
}
INPUTS = {
    "x": np.asarray([0.3, 0.7, 1.55, 0.2, 0.9]),
    "A": np.asarray([[2.0, 0.3, 0.5], [-0.4, 1.5, 0.2], [0.1, 0.6, 1.1]]),
}

on_both = pytest.mark.parametrize("lib", ["numpy", "torch"], indirect=True)


@pytest.fixture(autouse=True)
def _dispatch() -> Any:
    with sklearn.config_context(array_api_dispatch=True):
        yield


def variable(code: str) -> str:
    return "x" if re.search(r"\bx\b", code) else "A"


def evaluate(code: str, variable: str, value: Any) -> Any:
    """Return the weighted sum of the numbers that a line gives."""
    xp = xn.array_namespace(value)
    out = eval(code, SCOPE | {"xp": xp, variable: value})
    weights = np.reshape(np.cos(1.0 + np.arange(math.prod(out.shape))), tuple(out.shape))
    return xp.sum(out * xp.asarray(weights, device=out.device))


def gradient(lib: Any, code: str) -> np.ndarray:
    name = variable(code)
    out: np.ndarray = lib.to_host(
        xn.grad(lambda value: evaluate(code, name, value))(lib.asarray(INPUTS[name]))
    )
    return out


def differences(code: str, h: float = 1e-3) -> np.ndarray:
    """Return the gradient by central differences of sixth order, from NumPy arrays."""
    name = variable(code)
    x = INPUTS[name]
    steps = h * np.reshape(np.eye(x.size), (x.size, *x.shape))

    def slope(step: np.ndarray) -> Any:
        return sum(
            c * (evaluate(code, name, x + k * step) - evaluate(code, name, x - k * step)) / h
            for k, c in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
        )

    return np.reshape(np.asarray([slope(step) for step in steps]), x.shape)


def test_the_preparation_runs() -> None:
    exec(re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.S)[0], {})
    assert sklearn.get_config()["array_api_dispatch"]


def test_the_document_has_lines_of_each_kind() -> None:
    assert (len(WORK) > 70, len(ERRORS) > 15, len(NAN)) == (True, True, 1)
    assert len(ROWS) == len(WORK) + len(ERRORS) + len(NAN)
    assert len({row[0] for row in ROWS}) == len(ROWS)


@on_both
@pytest.mark.parametrize("code", WORK + INSTEAD)
def test_it_is_differentiated(lib: Any, code: str) -> None:
    # With PyTorch some constants of SciPy are float32.
    np.testing.assert_allclose(gradient(lib, code), differences(code), rtol=1e-7, atol=1e-8)


@on_both
@pytest.mark.parametrize(("code", "error"), [row[:2] for row in ERRORS])
def test_it_raises(lib: Any, code: str, error: str) -> None:
    kind, _, message = error.partition(": ")
    expected = getattr(xn, kind, None) or getattr(builtins, kind)
    with pytest.raises(expected, match=re.escape(message)):
        gradient(lib, code.strip("`"))


@on_both
@pytest.mark.parametrize("code", [row[0] for row in NAN])
def test_it_gives_nan(lib: Any, code: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        assert np.all(np.isnan(gradient(lib, code.strip("`"))))


# Three that must work, against closed forms.


@on_both
def test_logsumexp_of_scipy(lib: Any) -> None:
    x = INPUTS["x"]
    gradient = xn.grad(scipy.special.logsumexp)(lib.asarray(x))
    lib.close(gradient, np.exp(x) / np.sum(np.exp(x)), 1e-14)


@on_both
def test_cov_of_array_api_extra(lib: Any) -> None:
    """C = Y Y^T / (n - 1), with centred rows Y: sum(W C) has gradient (W + W^T) Y / (n - 1)."""
    x = np.asarray([[1.0, 2.0, 4.0, 8.0], [3.0, -1.0, 0.5, 2.0]])
    weights = np.asarray([[1.0, 2.0], [-3.0, 0.5]])
    centred = x - np.mean(x, axis=1, keepdims=True)

    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.sum(xpx.cov(x) * xp.asarray(weights))

    gradient = xn.grad(function)(lib.asarray(x))
    lib.close(gradient, (weights + weights.T) @ centred / 3, 1e-14)


@on_both
def test_rbf_kernel_of_scikit_learn(lib: Any) -> None:
    """K_ij = exp(-g |x_i - y_j|^2), so dK_ij / dx_i = -2 g (x_i - y_j) K_ij."""
    x, y, gamma = INPUTS["A"], INPUTS["A"][:2] + 0.5, 0.7
    apart = x[:, None, :] - y[None, :, :]
    kernel = np.exp(-gamma * np.sum(apart**2, axis=-1))

    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        y_traced = xp.asarray(lib.asarray(y))
        return xp.sum(sklearn.metrics.pairwise.rbf_kernel(x, y_traced, gamma=gamma))

    gradient = xn.grad(function)(lib.asarray(x))
    lib.close(gradient, np.sum(-2 * gamma * apart * kernel[..., None], axis=1), 1e-12)
