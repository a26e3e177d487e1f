"""Batches, gathered on the device where the arrays are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from xpnet._typing import Array
from xpnet.checks import positive
from xpnet.namespace import array_namespace, is_array, one_place
from xpnet.random import Generator
from xpnet.random.generator import chosen
from xpnet.transfer import data_only, put_like

__all__ = ["Loader"]


class Loader:
    """Iterate over arrays in batches, once for each ``for`` loop.

    Parameters
    ----------
    arrays : sequence of array
        All with the same first axis, along which samples are taken; of one library and device.
        Those in host memory whose bytes are in another order than the machine's are converted;
        what a library records for gradients of its own is left behind.
    batch_size : int, optional
        Samples in a batch.
    shuffle : bool, optional
        Whether each loop takes the samples in a new order.
    drop_last : bool, optional
        Whether to leave out the last batch if it is not full.
    rng : Generator, optional
        Draws the orders; by default the one that `xpnet.seed` sets. The same seed gives the same
        orders on every library.

    Raises
    ------
    TypeError
        If `arrays` is not a tuple or list of arrays, or is empty, or `batch_size` is no whole
        number, or `rng` no `Generator`.
    ValueError
        If there is no first axis, or the first axes differ, or `batch_size` is below 1.
    MixedArraysError
        If they are of two libraries, or on two devices.

    Notes
    -----
    Do not write to the arrays within a loop: of samples that are single numbers, such as labels, a
    loop takes a copy in its order at the start, of which batches are views.

    Examples
    --------
    >>> import xpnet as xn
    >>> x, y = xn.asarray([[1.0], [2.0], [3.0]]), xn.asarray([1, 2, 3])
    >>> for inputs, labels in xn.data.Loader((x, y), 2):
    ...     print(inputs.shape, labels)
    (2, 1) [1 2]
    (1, 1) [3]
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        batch_size: int = 32,
        *,
        shuffle: bool = False,
        drop_last: bool = False,
        rng: Generator | None = None,
    ) -> None:
        if not (isinstance(arrays, (tuple, list)) and arrays and all(map(is_array, arrays))):
            kinds = [type(x).__name__ for x in arrays] if isinstance(arrays, (tuple, list)) else []
            given = f"({', '.join(kinds)})" if kinds else type(arrays).__name__
            raise TypeError(
                f"Loader: expected a tuple of arrays, such as (images, labels), got {given}"
            )
        if any(array.ndim == 0 for array in arrays):
            raise ValueError("Loader: expected arrays of samples, got one of shape ()")
        one_place("Loader", *arrays)
        sizes = [array.shape[0] for array in arrays]
        if len(set(sizes)) != 1:
            raise ValueError(f"Loader: the arrays differ in their number of samples: {sizes}")
        positive("Loader", batch_size=batch_size)
        self.arrays = tuple(map(data_only, arrays))
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rng = None if rng is None else chosen(rng)
        self._samples: int = sizes[0]

    def __len__(self) -> int:
        """Return the number of batches."""
        full, rest = divmod(self._samples, self.batch_size)
        return full if self.drop_last or not rest else full + 1

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        return self.batches()

    def batches(self, start: int = 0) -> Iterator[tuple[Array, ...]]:
        """Yield the batches of one loop from number `start` on.

        Parameters
        ----------
        start : int, optional
            How many to leave out. Their samples are not gathered, but the same order is drawn as
            for a whole loop, so that an interrupted one can be gone on with.

        Yields
        ------
        tuple of array
            As a ``for`` loop over the loader does.

        Raises
        ------
        ValueError
            If `start` is negative or more than the number of batches.

        Examples
        --------
        >>> import xpnet as xn
        >>> list(xn.data.Loader((xn.asarray([1, 2, 3]),), 2).batches(1))
        [(array([3]),)]
        """
        if not 0 <= start <= len(self):
            raise ValueError(
                f"Loader.batches: expected a start from 0 to the {len(self)} batches there are, "
                f"got {start}; was batch_size or the data changed?"
            )
        order = None
        if self.shuffle:
            order = put_like(chosen(self.rng).permutation(self._samples), self.arrays[0])
        return self._batches(start, order)

    def _batches(self, first: int, order: Array | None) -> Iterator[tuple[Array, ...]]:
        xp, arrays = array_namespace(*self.arrays), self.arrays
        if order is not None:  # single numbers, such as labels, are put in order all at once
            arrays = tuple(xp.take(x, order, axis=0) if x.ndim == 1 else x for x in arrays)
        for batch in range(first, len(self)):
            start = batch * self.batch_size
            stop = min(start + self.batch_size, self._samples)
            chosen = None if order is None else order[start:stop]
            yield tuple(
                array[start:stop, ...]
                if chosen is None or array.ndim == 1
                else xp.take(array, chosen, axis=0)
                for array in arrays
            )
