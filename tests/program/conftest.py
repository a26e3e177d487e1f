"""What the tests of programs share: the comparison of a compiled run with a plain one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xpnet import tree
from xpnet.namespace import is_array


@pytest.fixture
def kernels(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Compile kernels, which `tests/conftest.py` switches off, into a folder of this process."""
    numba = pytest.importorskip("numba")
    fast = pytest.importorskip("xpnet_backends.numpy.fast")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "kernels"))
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "0")
    monkeypatch.setattr(numba.config, "DISABLE_JIT", 0)
    yield
    fast._import_error.cache_clear()  # what a test has pretended


@pytest.fixture
def assert_same() -> Callable[[Any, Any, Any], None]:
    """Return what asserts that two runs are equal, bit for bit where every operation is kept."""
    return _assert_same


def _assert_same(lib: Any, actual: Any, expected: Any) -> None:
    for a, b in tree.pairs(actual, expected):
        if not is_array(b):
            assert a == b
            continue
        assert type(a) is type(b)
        assert (a.dtype, a.shape, a.device) == (b.dtype, b.shape, b.device)
        if lib.name == "jax" or os.environ["NUMBA_DISABLE_JIT"] == "0":
            # Operations are fused, and sums formed in another order than one by one.
            lib.close(a, lib.to_host(b), rtol=1e-5, atol=1e-10)
        else:
            assert lib.to_host(a).tobytes() == lib.to_host(b).tobytes()
