"""Rows of zeros with a one equal PyTorch's, for any dtype of the indices."""

import numpy as np
import pytest

from xpnet import special


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_one_hot_equals_that_of_torch(lib, dtype):
    torch = pytest.importorskip("torch")
    indices = np.asarray([[2, 0, 1], [4, 4, 3]])
    expected = torch.nn.functional.one_hot(torch.tensor(indices), 5).numpy()
    hot = special.one_hot(lib.asarray(indices, dtype), 5)
    assert hot.dtype == lib.xp.bool
    np.testing.assert_array_equal(lib.to_host(hot), expected)
    numbers = special.one_hot(lib.asarray(indices, dtype), 5, dtype=lib.xp.float32)
    assert numbers.dtype == lib.xp.float32
    np.testing.assert_array_equal(lib.to_host(numbers), expected)


def test_one_hot_of_an_index_out_of_range_is_a_row_of_zeros(lib):
    hot = lib.to_host(special.one_hot(lib.asarray([-1, 3, 1], None), 3))
    np.testing.assert_array_equal(hot, [[False] * 3, [False] * 3, [False, True, False]])


def test_one_hot_takes_more_classes_than_the_dtype_of_the_indices_holds(lib):
    hot = lib.to_host(special.one_hot(lib.asarray([0, 255], "uint8"), 300))
    assert hot.shape == (2, 300)
    np.testing.assert_array_equal(np.argwhere(hot), [[0, 0], [1, 255]])


def test_one_hot_of_one_index(lib):
    hot = special.one_hot(lib.asarray(1, None), 3)
    np.testing.assert_array_equal(lib.to_host(hot), [False, True, False])
