"""`Loader` yields each sample once a loop, in the same order on every library."""

import itertools
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.backend import discover
from xpnet.data import Loader

# The first two orders of seven samples for the seed 3: the argsort of 53 bits of each pair of
# words that `jax.extend.random.threefry_2x32` gives for the key (3, 0), the counters
# (sample, order).
ORDERS = [[4, 0, 5, 3, 2, 1, 6], [5, 1, 3, 4, 0, 6, 2]]


def data(lib: Any, n: int = 7) -> tuple[Any, Any]:
    """Return bytes in two axes, and labels, both of which tell the number of their sample."""
    rows = np.arange(n)
    return lib.asarray(np.stack([rows, 100 + rows], axis=1), "uint8"), lib.asarray(rows, "int32")


def samples(lib: Any, batches: Any) -> list[list[int]]:
    """Return the samples in each batch, after checking that both arrays hold the same ones."""
    found = []
    for images, labels in batches:
        pixels, numbers = lib.to_host(images), lib.to_host(labels)
        assert (pixels.dtype, numbers.dtype) == (np.uint8, np.int32)
        np.testing.assert_array_equal(pixels, np.stack([numbers, 100 + numbers], axis=1))
        found.append(numbers.tolist())
    return found


# What is in a loop


@pytest.mark.parametrize(
    ("size", "drop_last", "expected"),
    [
        (3, False, [[0, 1, 2], [3, 4, 5], [6]]),
        (3, True, [[0, 1, 2], [3, 4, 5]]),
        (7, True, [[0, 1, 2, 3, 4, 5, 6]]),
        (1, False, [[0], [1], [2], [3], [4], [5], [6]]),
        (8, False, [[0, 1, 2, 3, 4, 5, 6]]),
        (8, True, []),
    ],
)
def test_batches_in_order(lib: Any, size: int, drop_last: bool, expected: list[Any]) -> None:
    loader = Loader(data(lib), size, drop_last=drop_last)
    with lib.guard():
        first, second = list(loader), list(loader)
    assert len(loader) == len(expected)
    assert samples(lib, first) == samples(lib, second) == expected


@pytest.mark.parametrize("drop_last", [False, True])
def test_shuffled_batches(lib: Any, drop_last: bool) -> None:
    loader = Loader(data(lib), 3, shuffle=True, drop_last=drop_last, rng=xn.Generator(3))
    with lib.guard():
        loops = [list(loader), list(loader)]
    for batches, order in zip(loops, ORDERS, strict=True):
        expected = [order[:3], order[3:6], order[6:]][: 2 if drop_last else 3]
        assert samples(lib, batches) == expected
        assert len(loader) == len(expected)


def test_without_a_generator_the_default_one_draws(lib: Any) -> None:
    loader = Loader(data(lib), 7, shuffle=True)
    xn.seed(3)
    assert [samples(lib, loader), samples(lib, loader)] == [[order] for order in ORDERS]
    xn.seed(3)
    assert samples(lib, loader) == [ORDERS[0]]


def test_a_generator_of_its_own_leaves_the_default_one_alone(lib: Any) -> None:
    own = xn.Generator(3)
    samples(lib, Loader(data(lib), 7, shuffle=True, rng=own))
    assert own.draws == 1
    xn.seed(3)
    assert samples(lib, Loader(data(lib), 7, shuffle=True)) == [ORDERS[0]]


def test_only_shuffling_draws(lib: Any) -> None:
    rng = xn.Generator(3)
    assert samples(lib, Loader(data(lib), 7, rng=rng)) == [list(range(7))]
    assert rng.draws == 0


def test_two_loops_at_once_do_not_disturb_each_other(lib: Any) -> None:
    loader = Loader(data(lib), 7, shuffle=True, rng=xn.Generator(3))
    first, second = iter(loader), iter(loader)
    pairs = itertools.zip_longest(first, second)
    for batches in pairs:
        assert samples(lib, batches) == ORDERS


@pytest.mark.parametrize("start", [0, 1, 2, 3])
@pytest.mark.parametrize("shuffle", [False, True])
def test_from_a_batch_on(lib: Any, shuffle: bool, start: int) -> None:
    """The rest of the loop that was interrupted, and then the loop that would have come next."""
    loader = Loader(data(lib), 3, shuffle=shuffle, rng=xn.Generator(3))
    with lib.guard():
        rest, following = list(loader.batches(start)), list(loader)
    first, second = ORDERS if shuffle else [list(range(7))] * 2
    assert samples(lib, rest) == [first[:3], first[3:6], first[6:]][start:]
    assert samples(lib, following) == [second[:3], second[3:6], second[6:]]


def test_batches_that_are_left_out_are_not_gathered() -> None:
    class Asked(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            asked.append(key[0])
            return super().__getitem__(key)

    asked: list[slice] = []
    loader = Loader((np.zeros((7, 2)).view(Asked),), 3)
    assert len(list(loader.batches(2))) == 1
    assert asked == [slice(6, 7)]


@pytest.mark.parametrize("start", [-1, 4])
def test_from_a_batch_that_is_not_there(lib: Any, start: int) -> None:
    message = (
        "Loader.batches: expected a start from 0 to the 3 batches there are, "
        rf"got {start}; was batch_size or the data changed\?"
    )
    with pytest.raises(ValueError, match=message):
        Loader(data(lib), 3).batches(start)  # not only when the first batch is asked for


def test_many_samples_each_once(lib: Any) -> None:
    n = 1000
    labels = lib.asarray(np.arange(n), "int64")
    loader = Loader([labels], 64, shuffle=True)
    loops = [np.concatenate([lib.to_host(batch) for (batch,) in loader]) for _ in range(2)]
    for order in loops:
        assert sorted(order.tolist()) == list(range(n))
        assert np.mean(order == np.arange(n)) < 0.05
    assert np.mean(loops[0] == loops[1]) < 0.05


def test_one_array_or_many(lib: Any) -> None:
    x, y = data(lib)
    for arrays in [(y,), [x, y], (x, y, y)]:
        for batch in Loader(arrays, 3, shuffle=True):
            assert type(batch) is tuple
            assert len(batch) == len(arrays)


@pytest.mark.parametrize("shuffle", [False, True])
def test_bytes_in_the_order_of_another_machine(shuffle: bool) -> None:
    rows = np.arange(7)
    given = [x.astype(x.dtype.newbyteorder("S")) for x in (rows * [[0.5], [1.5]], rows)]
    for x, y in Loader((given[0].T, given[1]), 3, shuffle=shuffle):
        assert x.dtype == np.float64
        assert y.dtype == np.int64
        np.testing.assert_array_equal(x, np.stack([0.5 * y, 1.5 * y], axis=1))


def test_axes_after_the_first_are_kept(lib: Any) -> None:
    x = lib.asarray(np.zeros((5, 2, 3, 4)), "float32")
    for shuffle in (False, True):
        shapes = [tuple(batch.shape) for (batch,) in Loader((x,), 3, shuffle=shuffle)]
        assert shapes == [(3, 2, 3, 4), (2, 2, 3, 4)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_no_samples(lib: Any, shuffle: bool) -> None:
    loader = Loader(data(lib, 0), 3, shuffle=shuffle)
    assert len(loader) == 0
    assert list(loader) == []


def test_the_selected_backend_is_not_asked(lib: Any) -> None:
    arrays = data(lib)
    with xn.use_backend("numpy"):
        loader = Loader(arrays, 7, shuffle=True, rng=xn.Generator(3))
        assert samples(lib, loader) == [ORDERS[0]]


def test_without_shuffling_numpy_is_not_copied() -> None:
    x = np.zeros((4, 2))
    assert all(np.shares_memory(batch, x) for (batch,) in Loader((x,), 2))


# What is refused


@pytest.mark.parametrize("shape", [(3,), (3, 2), ()], ids=str)
def test_a_single_array(lib: Any, shape: tuple[int, ...]) -> None:
    message = r"Loader: expected a tuple of arrays, such as \(images, labels\)"
    with pytest.raises(TypeError, match=message):
        Loader(lib.asarray(np.zeros(shape)), 2)


@pytest.mark.parametrize(
    "arrays", [(), [1.0], ([1.0, 2.0],), {"x": np.zeros(2)}, None, 3], ids=repr
)
def test_what_is_no_tuple_of_arrays(arrays: Any) -> None:
    with pytest.raises(TypeError, match="Loader: expected a tuple of arrays"):
        Loader(arrays, 2)


def test_one_that_is_no_array(lib: Any) -> None:
    x, _ = data(lib)
    with pytest.raises(TypeError, match="Loader: expected a tuple of arrays"):
        Loader((x, list(range(7))), 2)


def test_unequal_sizes(lib: Any) -> None:
    (x, _), (_, y) = data(lib, 7), data(lib, 5)
    message = r"Loader: the arrays differ in their number of samples: \[7, 5\]"
    with pytest.raises(ValueError, match=message):
        Loader((x, y), 2)


def test_an_array_without_samples(lib: Any) -> None:
    with pytest.raises(ValueError, match=r"Loader: .*\(\)"):
        Loader((lib.asarray(1.0),), 2)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_that_is_not_positive(lib: Any, size: int) -> None:
    with pytest.raises(ValueError, match=f"Loader: batch_size must be at least 1, got {size}"):
        Loader(data(lib), size)


def test_arrays_of_two_libraries(lib: Any) -> None:
    other = discover()["array_api_strict" if lib.backend.name == "numpy" else "numpy"]
    if other.unusable() is not None:
        pytest.skip(str(other.unusable()))
    with pytest.raises(xn.MixedArraysError, match=r"^Loader: arrays of two libraries: "):
        Loader((lib.asarray(np.zeros(3)), other.from_host(np.zeros(3))), 2)
