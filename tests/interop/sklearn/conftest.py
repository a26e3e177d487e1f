"""Data, and a count of what of it reaches the host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return samples of three classes that are easy to tell apart."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    return rng.normal(size=(90, 4)) + 3.0 * np.eye(3, 4)[y], y


@pytest.fixture
def quick(lib: Any) -> Any:
    """The library, unless it takes seconds to compile every single training."""
    if lib.name == "jax":
        pytest.skip("takes long to compile; other tests of the estimators run on it")
    return lib


@pytest.fixture
def reads(syncs: tuple[str, ...]) -> Callable[[Any], Any]:
    """Return a context that notes the shape of every array whose values reach the host."""

    @contextlib.contextmanager
    def watch(lib: Any) -> Iterator[list[tuple[int, ...]]]:
        seen: list[tuple[int, ...]] = []

        def noting(original: Any, *, position: int) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                seen.append(tuple(args[position].shape))
                return original(*args, **kwargs)

            return call

        with pytest.MonkeyPatch.context() as patch:
            backend = type(lib.backend)
            patch.setattr(backend, "to_host", noting(backend.to_host, position=1))
            if lib.name == "array_api_strict":
                cls = type(lib.xp.empty(0))
                for name in syncs:
                    if hasattr(cls, name):
                        patch.setattr(cls, name, noting(getattr(cls, name), position=0))
            yield seen

    return watch
