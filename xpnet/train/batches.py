"""What a training may be given as data: arrays, a loader, or anything that yields batches."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from xpnet._typing import Array
from xpnet.backend import host
from xpnet.data.loader import Loader
from xpnet.metrics.counting import as_indices, widest
from xpnet.namespace import array_namespace, dtype_kind, is_array
from xpnet.random import Generator

__all__ = ["Batch", "Batches", "class_weights"]


class Batch(NamedTuple):
    """Samples that are computed together."""

    x: Array
    y: Array
    weight: Array | None = None


class Batches:
    """Batches of samples, placed where the model is.

    Parameters
    ----------
    where : str
        What messages start with.
    data : tuple of array, Loader or iterable
        ``(x, y)`` or ``(x, y, sample_weight)``, or what yields such tuples, batch by batch.
    place : callable
        Moves an array to where the model is.
    batch_size, shuffle, rng
        Of the `Loader` for arrays.
    sample_weight : array, optional
        Of the samples, if `data` is a pair of arrays.
    class_weight : array, optional
        Weight of each class, by which the samples' are multiplied.
    """

    def __init__(
        self,
        where: str,
        data: Any,
        *,
        place: Callable[[Array], Array],
        batch_size: int = 32,
        shuffle: bool = False,
        rng: Generator | None = None,
        sample_weight: Array | None = None,
        class_weight: Array | None = None,
    ) -> None:
        self._where, self._place, self._class_weight = where, place, class_weight
        # A subclass may change its batches, so these are what counts.
        arrays = data.arrays if type(data) is Loader else data
        # A list of batches, too, is a sequence; only a tuple of arrays is the samples themselves.
        if isinstance(arrays, (tuple, list)) and arrays and all(map(is_array, arrays)):
            if sample_weight is not None:
                arrays = (*arrays, sample_weight)
            placed = self._whole(arrays)
            options: dict[str, Any] = {"batch_size": batch_size, "shuffle": shuffle, "rng": rng}
            if type(data) is Loader:
                names = ("batch_size", "shuffle", "drop_last", "rng")
                options = {name: getattr(data, name) for name in names}
            present = tuple(array for array in placed if array is not None)
            self._source: Iterable[Any] = Loader(present, **options)
            self.rng = options["rng"]
        elif sample_weight is not None:
            raise ValueError(
                f"{where}: sample_weight= is for arrays; batches may be (x, y, sample_weight)"
            )
        elif isinstance(data, Iterable) and not (is_array(data) or type(data) in (str, dict)):
            self._source, self.rng = data, data.rng if isinstance(data, Loader) else None
        else:
            raise TypeError(
                f"{where}: expected a pair of arrays (x, y), a Loader or an iterable of batches, "
                f"got {type(data).__name__}"
            )

    def __len__(self) -> int:
        """Return the number of batches; 0 if it is not known."""
        try:
            return len(self._source)  # type: ignore[arg-type]
        except TypeError:
            return 0

    def from_(self, start: int) -> Iterator[Batch]:
        """Yield the batches of one epoch, without the first `start` ones.

        What is drawn for these, such as their order, is drawn at once, the rest batch by batch.
        """
        if type(self._source) is Loader:
            return itertools.starmap(Batch, self._source.batches(start))
        source = iter(self._source)
        for _ in itertools.islice(source, start):
            pass
        return map(self._whole, source)

    def _whole(self, arrays: Any) -> Batch:
        """Place arrays, and make the weights of the samples out of those of their classes."""
        if not isinstance(arrays, (tuple, list)) or len(arrays) not in (2, 3):
            given = f"{len(arrays)}" if isinstance(arrays, (tuple, list)) else type(arrays).__name__
            raise TypeError(
                f"{self._where}: expected two arrays (x, y), or three with sample_weight, "
                f"got {given}; xn.asarray makes arrays of lists and frames"
            )
        x, y, *weights = arrays
        batch = Batch(self._place(x), self._place(y), *(self._place(_real(w)) for w in weights))
        if 0 in (batch.x.ndim, batch.y.ndim):
            shapes = " and ".join(str(tuple(array.shape)) for array in (batch.x, batch.y))
            raise ValueError(
                f"{self._where}: expected batches of samples, got x and y of shapes {shapes}; of "
                "arrays of all samples, xn.data.Loader((x, y)) makes batches"
            )
        if self._class_weight is None:
            return batch
        weight = _take(self._where, self._place(self._class_weight), batch.y)
        return batch._replace(weight=weight if batch.weight is None else weight * batch.weight)


def _real(weight: Array) -> Array:
    """Return weights as floating-point numbers, by which losses can be multiplied everywhere."""
    if not is_array(weight) or dtype_kind(weight):
        return weight
    xp = array_namespace(weight)
    return xp.astype(weight, widest(xp, weight))


def _take(where: str, class_weight: Array, labels: Array) -> Array:
    """Return the weight of the class of each sample; 0 for a label that is no class."""
    xp = array_namespace(class_weight, labels)
    if not xp.isdtype(labels.dtype, ("bool", "integral")):
        raise TypeError(
            f"{where}: class_weight needs class indices as targets, got dtype {labels.dtype}"
        )
    labels = as_indices(labels)
    known = xp.clip(labels, 0, class_weight.shape[0] - 1)
    weight = xp.reshape(xp.take(class_weight, xp.reshape(known, (-1,)), axis=0), labels.shape)
    return xp.where(labels == known, weight, xp.zeros_like(weight))


def class_weights(where: str, given: Any) -> Array | None:
    """Return the weights of the classes as one array.

    Raises
    ------
    TypeError
        If they are neither an array nor a mapping from class index to weight.
    ValueError
        If the classes of a mapping are not 0, 1, ...
    """
    if given is None or is_array(given):
        return given
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{where}: expected class_weight as an array or a dict from class to weight, got "
            f"{type(given).__name__}"
        )
    if sorted(given) != list(range(len(given))):
        raise ValueError(
            f"{where}: expected class_weight for each of the classes 0, 1, ..., got {sorted(given)}"
        )
    xp = host().namespace()
    return xp.asarray([float(given[index]) for index in range(len(given))], dtype=xp.float64)
