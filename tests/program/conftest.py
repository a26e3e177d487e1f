"""What the tests of programs share: the comparison of a compiled run with a plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from xpnet import tree
from xpnet.namespace import is_array


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
        if lib.name == "jax":
            # XLA fuses operations, and sums in another order than it does one by one.
            lib.close(a, lib.to_host(b), rtol=1e-5, atol=1e-10)
        else:
            assert lib.to_host(a).tobytes() == lib.to_host(b).tobytes()
