"""The matrix: every test that takes `lib` runs on every array library there is."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("JAX_ENABLE_X64", "1")  # read when JAX is imported
os.environ.setdefault("SCIPY_ARRAY_API", "1")  # and this one when SciPy is
# Results of NumPy are compared bit for bit, so compiled loops, which sum in another order, have
# tests of their own.
os.environ["NUMBA_DISABLE_JIT"] = "1"
# A program takes PyTorch seconds to compile, so it runs as printed but for those that test it.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
for _name in ("XPNET_BACKEND", "XPNET_DEVICE"):
    os.environ.pop(_name, None)  # the tests choose for themselves
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")  # there is a process for each core

import numpy as np
import pytest

import xpnet as xn
from xpnet.backend import discover

# Name in the matrix -> backend. Read-only NumPy finds writes into arguments.
MATRIX = {
    "numpy": "numpy",
    "numpy_readonly": "numpy",
    "array_api_strict": "array_api_strict",
    "torch": "torch",
    "jax": "jax",
    "cupy": "cupy",
}
# Not the default one, so that a forgotten `device=` is an error.
STRICT_DEVICE = "device1"
# Everything by which the values of an array reach Python, and thereby make a GPU wait.
SYNCS = (
    *("__bool__", "__float__", "__int__", "__complex__", "__index__"),
    *("__array__", "__buffer__", "__dlpack__"),
)


@dataclass(frozen=True)
class Library:
    """One column of the matrix."""

    name: str
    backend: Any
    device: Any

    @property
    def xp(self) -> Any:
        return self.backend.namespace()

    @property
    def writable(self) -> bool:
        """Whether the library's arrays have in-place operators; JAX's do not."""
        return hasattr(type(self.xp.empty(1)), "__iadd__")

    def asarray(self, values: Any, dtype: str | None = "float64") -> Any:
        """Return `values` on the library's device; integers and booleans with ``dtype=None``."""
        host = np.asarray(values, dtype=dtype)
        array = self.backend.from_host(host, device=self.device)
        if self.name == "numpy_readonly":
            array.flags.writeable = False
        return array

    def to_host(self, array: Any) -> np.ndarray:
        """Return an array in host memory, after checking that it is of this library and device."""
        assert self.backend.owns(type(array)), f"{type(array)} is not an array of {self.name}"
        if self.device is not None:
            assert array.device == self.device
        return self.backend.to_host(array)

    def close(
        self, actual: Any, expected: Any, rtol: float = 1e-10, atol: float | None = None
    ) -> None:
        """Assert that an array of this library equals a host array or a number.

        Without `atol`, numbers are compared relative to the largest expected one, since a sum
        whose terms cancel cannot be better than that.
        """
        expected = np.asarray(expected)
        if atol is None:
            finite = expected[np.isfinite(expected)]
            atol = rtol * float(np.max(np.abs(finite), initial=0.0))
        np.testing.assert_allclose(self.to_host(actual), expected, rtol=rtol, atol=atol)

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        """Fail on a hidden host sync: array-api-strict stands in for a GPU."""
        if self.name != "array_api_strict":
            yield
            return
        cls = type(self.xp.empty(0))
        with pytest.MonkeyPatch.context() as patch:
            for name in SYNCS:
                if hasattr(cls, name):
                    patch.setattr(cls, name, _sync(name))
            yield


def _sync(name: str) -> Any:
    def raise_(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"hidden host sync: {name}")

    return raise_


def _params() -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.gpu if name == "cupy" else ()) for name in MATRIX]


@pytest.fixture(params=_params())
def lib(request: pytest.FixtureRequest) -> Iterator[Library]:
    """Run the test on each library, new arrays being made there; a missing one is a skip."""
    name = request.param
    backend = discover()[MATRIX[name]]
    problem = backend.unusable()
    if problem is not None:
        pytest.skip(str(problem))
    strict = name == "array_api_strict"
    device = backend.device(STRICT_DEVICE) if strict else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(xn.use_backend(backend.name, device))
        if strict:
            flags = backend.namespace().ArrayAPIStrictFlags
            stack.enter_context(
                flags(boolean_indexing=False, data_dependent_shapes=False, enabled_extensions=())
            )
        yield Library(name, backend, device)


@pytest.fixture
def syncs() -> tuple[str, ...]:
    """Return the methods that bring the values of an array to Python."""
    return SYNCS


@pytest.fixture
def kernels(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Compile kernels, which `tests/conftest.py` switches off, into a folder of this process."""
    numba = pytest.importorskip("numba")
    loops = pytest.importorskip("xpnet_backends.numpy.loops")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "kernels"))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    loops._import_error.cache_clear()
    yield
    loops._import_error.cache_clear()  # what a test has pretended


@pytest.fixture(autouse=True)
def _seed() -> None:
    xn.seed(0)


_files = itertools.count(1)


@pytest.fixture(scope="module", autouse=True)
def _programs_of_jax() -> Iterator[None]:
    """Let JAX forget what it has compiled now and then: the more it keeps, the slower it is."""
    yield
    if next(_files) % 6 == 0 and "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def pytest_report_header() -> list[str]:
    """Say which libraries the matrix runs on, and why not on the others."""
    lines = ["array libraries of the matrix:"]
    for name, backend_name in MATRIX.items():
        backend = discover()[backend_name]
        problem = backend.unusable()
        lines.append(f"  {name}: {problem or f'{backend.title} {backend.version()}'}")
    return lines
