"""Data of users: where it is, whether it is fit to be trained on, and parts of it.

Arrays of host memory, frames, lists and sparse matrices are validated by scikit-learn. Arrays of
other libraries stay where they are: what is asked of them is answered there, and only the answers
are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
import sklearn
from scipy import sparse
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import _check_sample_weight, validate_data

from xpnet._typing import Array, Device
from xpnet.backend import Backend, get_backend, host, owner, use_backend
from xpnet.data import Loader
from xpnet.interop.sklearn.warning import warn
from xpnet.namespace import array_namespace, is_array
from xpnet.random import Generator
from xpnet.transfer import put_like, to_host

__all__ = [
    "Flag",
    "Place",
    "SparseBatches",
    "as_floats",
    "batches",
    "bring",
    "bring_targets",
    "bring_weight",
    "check_flags",
    "check_length",
    "check_together",
    "check_weight",
    "check_x",
    "column",
    "finite",
    "is_placed",
    "place_for",
    "place_of",
    "put_where",
    "take",
]

Flag = tuple[Array, str]  # what must be true, and what to say if it is not


class Place(NamedTuple):
    """A library and one of its devices."""

    backend: Backend
    device: Device | None

    def __str__(self) -> str:
        if self.device is None:
            return self.backend.title
        return f"{self.backend.title} on {self.backend.device_name(self.device)}"

    def selected(self) -> AbstractContextManager[Backend]:
        """Return a context in which new arrays are made here."""
        return use_backend(self.backend.name, self.device)

    def float_dtype(self, like: Any) -> str:
        """Return float32 for data of that dtype, and else the widest that the library has."""
        if str(like).endswith("float32"):
            return "float32"
        try:
            self.backend.dtype("float64")
        except (TypeError, ValueError):
            return "float32"
        return "float64"


def is_placed(x: Any) -> bool:
    """Tell whether this is an array of another library than that of host memory."""
    backend = owner(type(x)) if is_array(x) else None
    return backend is not None and backend is not host()


def place_of(x: Any) -> Place:
    """Return where something is; all that is no array of another library is in host memory."""
    if not is_placed(x):
        return Place(host(), None)
    backend = owner(type(x))
    assert backend is not None
    return Place(backend, x.device)


def place_for(where: str, x: Any, backend: str | None, device: str | None) -> Place:
    """Return where to compute: where an array is, or what was asked for if it is on the host."""
    place = place_of(x)
    if backend is None and device is None:
        return place
    chosen = get_backend(place.backend.name if backend is None else backend)
    asked = Place(chosen, None if device is None else chosen.device(device))
    if not is_placed(x):
        return asked
    if asked.backend is not place.backend or asked.device not in (None, place.device):
        raise ValueError(
            f"{where}: expected X on {asked}, as backend= and device= say, or in host memory, got "
            f"an array of {place}; leave them out to compute where X is"
        )
    return place


def check_together(where: str, x: Any, **others: Any) -> None:
    """Check that targets and weights are where the samples are, or in host memory."""
    place = place_of(x)
    for name, other in others.items():
        if is_placed(other) and place_of(other) != place:
            raise ValueError(
                f"{where}: expected {name} where X is, {place}, or in host memory, got an array "
                f"of {place_of(other)}; bring them together, for example with xn.asarray"
            )


def check_x(estimator: Any, x: Array, *, reset: bool, **y: Any) -> tuple[Array, list[Flag]]:
    """Return samples on a device as floating-point numbers, and what to check of their values."""
    where = type(estimator).__name__
    if x.ndim != 2:
        raise ValueError(
            f"{where}: expected 2D array as X, got {x.ndim}D array instead of shape "
            f"{tuple(x.shape)}; xp.reshape(X, (-1, 1)) makes one feature of it"
        )
    if 0 in x.shape:
        raise ValueError(f"{where}: expected samples and features, got X of shape {tuple(x.shape)}")
    xp = array_namespace(x)
    if xp.isdtype(x.dtype, "complex floating"):
        raise ValueError(f"{where}: expected real numbers as X, got dtype {x.dtype}")
    validate_data(estimator, x, skip_check_array=True, reset=reset, **y)
    flags = [] if sklearn.get_config()["assume_finite"] else finite("X", x)
    return as_floats(x), flags


def check_length(where: str, x: Any, **others: Any) -> None:
    """Check that there is one of each for every sample."""
    for name, other in others.items():
        if other.shape[0] != x.shape[0]:
            raise ValueError(
                f"{where}: expected one {name} for each of the {x.shape[0]} samples of X, got "
                f"{other.shape[0]}"
            )


def as_floats(x: Array) -> Array:
    """Return an array of a device in float32 if it is that, else in the widest there is."""
    xp = array_namespace(x)
    return xp.astype(x, getattr(xp, place_of(x).float_dtype(x.dtype)), copy=False)


def finite(name: str, x: Array) -> list[Flag]:
    """Return what is to be checked of the values of an array."""
    xp = array_namespace(x)
    if not xp.isdtype(x.dtype, "real floating"):
        return []
    return [(xp.all(xp.isfinite(x)), f"expected finite numbers, got NaN or infinity in {name}")]


def check_flags(where: str, flags: Sequence[Flag]) -> None:
    """Raise for the first flag that is not true; all are read at once."""
    if not flags:
        return
    xp = array_namespace(flags[0][0])
    for true, (_, message) in zip(to_host(xp.stack([f for f, _ in flags])), flags, strict=True):
        if not true:
            raise ValueError(f"{where}: {message}")


def bring(x: Any, like: Array) -> Array | None:
    """Return numbers where `like` is, if they are in host memory, in a dtype that there is."""
    if x is None or is_placed(x):
        return x
    x = np.asarray(x)
    if x.dtype.kind == "f":
        x = x.astype(place_of(like).float_dtype(x.dtype), copy=False)
    return put_like(x, like)


def bring_targets(where: str, y: Any, predicted: Array) -> Array:
    """Return targets where predictions are, as a vector if those are one, or raise."""
    y = bring(y.toarray() if sparse.issparse(y) else y, predicted)
    if y.ndim == 2 and y.shape[1] == 1 and predicted.ndim == 1:
        y = y[:, 0]
    expected, given = tuple(predicted.shape), tuple(y.shape)
    if given != expected:
        raise ValueError(
            f"{where}: expected y of shape {expected}, as the predictions for X are, got {given}"
        )
    return y


def bring_weight(where: str, weight: Any, predicted: Array) -> Array | None:
    """Return the weights of samples where their predictions are, or raise if they are not one each.

    Another shape could broadcast, and would give a wrong score.
    """
    if weight is None:
        return None
    weight = as_floats(bring(weight, predicted))
    expected, given = (predicted.shape[0],), tuple(weight.shape)
    if given != expected:
        raise ValueError(
            f"{where}: expected a sample_weight of shape {expected}, one for each sample of X, got "
            f"{given}"
        )
    return weight


def put_where(array: Array, x: Any) -> Array:
    """Return an array where `x` is, which may be a frame or the like: in host memory then."""
    if place_of(array) == place_of(x):
        return array
    return put_like(to_host(array), x) if is_placed(x) else to_host(array)


def check_weight(where: str, x: Any, weight: Any) -> Array | None:
    """Return the weights of samples as floating-point numbers, or raise."""
    if weight is None:
        return None
    zero = "expected a sample_weight that is not zero, got zeros only"
    negative = "expected a sample_weight that is not negative, got negative ones"
    if not is_placed(weight):
        like = np.empty((x.shape[0], 0))
        weight = _check_sample_weight(weight, like, dtype=np.float64)
        flags = []
    else:
        if weight.ndim != 1:
            raise ValueError(f"{where}: sample_weight must be 1D, got {tuple(weight.shape)}")
        check_length(where, x, sample_weight=weight)
        flags = finite("sample_weight", weight)
        weight = as_floats(weight)
    xp = array_namespace(weight)
    flags += [(xp.any(weight != 0), zero), (xp.all(weight >= 0), negative)]
    check_flags(where, flags)
    return weight


def column(y: Array) -> Array:
    """Return a column as a vector, and say so."""
    warn(
        f"A column-vector y was passed when a 1d array was expected: shape {tuple(y.shape)}; "
        "write y[:, 0].",
        DataConversionWarning,
    )
    return y[:, 0]


def take(array: Any, rows: Array) -> Any:
    """Return some rows of an array or of a sparse matrix, where it is."""
    if sparse.issparse(array):
        return array[to_host(rows)]
    return array_namespace(array).take(array, rows, axis=0)


def batches(
    x: Any, *others: Array, size: int, rng: Generator | None = None
) -> Loader | SparseBatches:
    """Return batches of samples, in a new order every time if there is a generator."""
    kind = SparseBatches if sparse.issparse(x) else Loader
    return kind((x, *others), size, shuffle=rng is not None, rng=rng)


class SparseBatches:
    """As `Loader`, of a sparse matrix: each batch of it becomes dense when it is its turn."""

    def __init__(
        self, arrays: tuple[Any, ...], batch_size: int, *, shuffle: bool, rng: Generator | None
    ) -> None:
        self.samples, *self.others = arrays
        rows = host().namespace().arange(self.samples.shape[0])
        self.rows = Loader((rows,), batch_size, shuffle=shuffle, rng=rng)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        for (rows,) in self.rows:
            others = (take(other, put_like(rows, other)) for other in self.others)
            yield self.samples[rows].toarray(), *others
