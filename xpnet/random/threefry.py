"""Threefry-2x32 with 20 rounds: random bits as a pure function of a key and a counter.

References
----------
.. [1] J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as
   1, 2, 3", SC 2011, https://doi.org/10.1145/2063384.2063405
"""

from __future__ import annotations

from xpnet._typing import Array, Namespace

__all__ = ["encrypt", "key_schedule", "signed32", "threefry2x32"]

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def threefry2x32(
    xp: Namespace, key: tuple[int, int], counter: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Encrypt a counter of two 32-bit words with a key of two 32-bit words.

    Written in 32-bit *signed* integers, whose sums wrap around in every array library, because
    not every library has unsigned ones. The bits are those of the unsigned algorithm.

    Parameters
    ----------
    xp : namespace
        Of the arrays in `counter`.
    key : tuple of int
        Two words in [0, 2**32).
    counter : tuple of array
        Two int32 arrays of one shape, not 0-d (NumPy's scalars warn when they wrap around).

    Returns
    -------
    tuple of array
        Two int32 arrays of that shape.
    """
    return encrypt(key_schedule(*key), counter)


def key_schedule(k0: int, k1: int) -> list[int]:
    """Return the numbers that are added to the two words, in this order."""
    keys = [k0, k1, k0 ^ k1 ^ _PARITY]
    added = [(keys[group % 3], keys[(group + 1) % 3] + group) for group in range(6)]
    return [signed32(word) for pair in added for word in pair]


def encrypt(keys: list[int], counter: tuple[Array, Array]) -> tuple[Array, Array]:
    """Encrypt a counter with what `key_schedule` has made of a key; see `threefry2x32`."""
    x0, x1 = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            # >> copies the sign bit in from the left, which the mask takes out again.
            low = (x1 >> (32 - rotation)) & ((1 << rotation) - 1)
            x1 = ((x1 << rotation) | low) ^ x0
        x0, x1 = x0 + keys[2 * group + 2], x1 + keys[2 * group + 3]
    return x0, x1


def signed32(word: int) -> int:
    """Return the number whose two's complement in 32 bits is `word`."""
    return (word + 2**31) % 2**32 - 2**31
