"""The random generator: the same numbers from the same seed on every array library."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from xpnet._typing import Array, Device, DType, HostArray, Namespace
from xpnet.backend import Backend, host, selection
from xpnet.program.host import host as host_number
from xpnet.program.host import refuse_recording
from xpnet.random.threefry import key_schedule, signed32
from xpnet.random.words import computed_blocks, encrypted_blocks

__all__ = ["Generator", "chosen", "default_generator", "seed", "undrawn", "upload"]

_WORDS = 2**32


class Generator:
    """A stream of random numbers that depends on nothing but its seed and how often it was used.

    Each draw encrypts the counters (block, number of the draw) with the key (seed, stream), so a
    draw needs no state but three integers, and streams never overlap. No array library's own
    random state is read or changed.

    Parameters
    ----------
    seed : int
        In [0, 2**32).
    stream : int, optional
        In [0, 2**32); generators with one seed and different streams are independent.

    Raises
    ------
    ValueError
        If `seed` or `stream` is out of range.

    Examples
    --------
    >>> import xpnet as xn
    >>> rng = xn.random.Generator(0)
    >>> rng.permutation(5)
    array([1, 2, 0, 4, 3])
    >>> rng
    Generator(seed=0, stream=0, draws=1)
    """

    def __init__(self, seed: int, stream: int = 0) -> None:
        _refuse_setting()
        self.seed = _word("seed", seed)
        self.stream = _word("stream", stream)
        self.draws = 0

    def __repr__(self) -> str:
        return f"Generator(seed={self.seed}, stream={self.stream}, draws={self.draws})"

    def state_dict(self) -> dict[str, int]:
        """Return all there is to remember: seed, stream and number of draws."""
        return {"seed": self.seed, "stream": self.stream, "draws": self.draws}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where another generator was when it gave `state`.

        Parameters
        ----------
        state : dict
            From `state_dict`.

        Raises
        ------
        ValueError
            If `state` is not such a dict; nothing is changed then.
        """
        _refuse_setting()
        if set(state) != {"seed", "stream", "draws"}:
            raise ValueError(
                f"Generator: expected a state with seed, stream and draws, got {state!r}"
            )
        vars(self).update({name: _word(name, number) for name, number in state.items()})

    def reserve(self, draws: int) -> Generator:
        """Set draws aside for later.

        Parameters
        ----------
        draws : int
            How many; this generator goes on behind them.

        Returns
        -------
        Generator
            Makes them: its numbers are those that this one would have made now.

        Raises
        ------
        ValueError
            If there are not as many left.
        """
        reserved = Generator(self.seed, self.stream)
        reserved.draws = self._advance(draws)
        return reserved

    def bits(self, xp: Namespace, n: int, *, device: Device | None = None) -> Array:
        """Draw random bits where they are needed.

        Parameters
        ----------
        xp : namespace
            Makes them and owns them.
        n : int
            How many words.
        device : device, optional
            Where they are made.

        Returns
        -------
        array, shape (n,), int32
            Uniform in [-2**31, 2**31).

        Raises
        ------
        ValueError
            If `n` is more than 2**32, or if this generator has made its 2**32 draws.
        """
        return self._bits(encrypted_blocks, xp, n, device)

    def bernoulli(
        self, xp: Namespace, p: float, shape: tuple[int, ...], *, device: Device | None = None
    ) -> Array:
        """Draw booleans that are true with probability `p`, where they are needed.

        Parameters
        ----------
        xp : namespace
            Makes them and owns them.
        p : float
            In [0, 1]; rounded to a multiple of 2**-32.
        shape : tuple of int
            Of the result.
        device : device, optional
            Where they are made.

        Returns
        -------
        array, bool
            Equal on every library, because integers are compared.
        """
        threshold = round(p * _WORDS) - _WORDS // 2
        bits = self.bits(xp, math.prod(shape), device=device)
        # The largest word is below any p of 1, and one more does not fit into 32 bits.
        chosen = bits <= threshold - 1 if threshold > -(2**31) else bits < -(2**31)
        return xp.reshape(chosen, shape)

    def uniform(
        self,
        shape: tuple[int, ...],
        low: float = 0.0,
        high: float = 1.0,
        *,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> Array:
        """Draw uniform numbers on the host and move them to the selected backend.

        Parameters
        ----------
        shape : tuple of int
            Of the result.
        low, high : float, optional
            Bounds; `high` may be hit by rounding.
        dtype : str or dtype, optional
            float64 takes 53 random bits, every other dtype 24.
        device : device, optional
            By default the selected one.

        Returns
        -------
        array
            Of the selected backend, bit-equal on every one.
        """
        backend, _ = selection()
        unit = self._uniform(shape, double=_is_double(backend, dtype))
        return upload(unit * (high - low) + low, dtype, device)

    def normal(
        self,
        shape: tuple[int, ...],
        mean: float = 0.0,
        std: float = 1.0,
        *,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> Array:
        """Draw normally distributed numbers on the host and move them to the selected backend.

        Parameters
        ----------
        shape : tuple of int
            Of the result.
        mean, std : float, optional
            Mean and standard deviation.
        dtype : str or dtype, optional
            Of the result.
        device : device, optional
            By default the selected one.

        Returns
        -------
        array
            Of the selected backend, bit-equal on every one.

        Notes
        -----
        The Box-Muller transform ``sqrt(-2 log(1 - u)) cos(2 pi v)`` of two uniform numbers, in
        float64.
        """
        xp = host().namespace()
        u, v = self._uniform(shape, double=True), self._uniform(shape, double=True)
        z = xp.sqrt(-2 * xp.log1p(-u)) * xp.cos(2 * math.pi * v)
        return upload(mean + std * z, dtype, device)

    def permutation(self, n: int) -> HostArray:
        """Draw an order of ``0, ..., n - 1``.

        Parameters
        ----------
        n : int
            How many.

        Returns
        -------
        numpy.ndarray, shape (n,), int64
            On the host, where orders are kept.
        """
        xp = host().namespace()
        keys = xp.astype(self._uniform((n,), double=True) * 2.0**53, xp.int64)
        order: HostArray = xp.arange(n)
        for shift in (0, 16, 32, 48):  # digits of 16 bits are sorted by counting, which is faster
            digits = xp.astype((keys >> shift) & 0xFFFF, xp.uint16)
            order = order[xp.argsort(digits[order], stable=True)]
        return order

    def _advance(self, draws: int) -> int:
        """Count some draws as made; return the number of the first."""
        first = self.draws
        if first + draws > _WORDS:
            raise ValueError("Generator: no draws are left of 2**32; use another stream")
        watching = _watching.get()
        if watching is not None:
            watching.setdefault(self, first)
        self.draws += draws
        return first

    def _bits(
        self, words: Callable[..., list[Array]], xp: Namespace, n: int, device: Device | None
    ) -> Array:
        """Draw random bits by a function of `xpnet.random.words`."""
        blocks = (n + 1) // 2
        if blocks > _WORDS // 2:
            raise ValueError(f"Generator: {n} words are too many for one draw, at most 2**32")
        numbers: Any = host_number(
            lambda: [key_schedule(self.seed, self.stream), signed32(self._advance(1))]
        )
        keys, number = numbers
        return xp.concat(words(xp, blocks, device, keys, number))[:n]

    def _uniform(self, shape: tuple[int, ...], *, double: bool) -> HostArray:
        """Draw multiples of 2**-24 in float32, or of 2**-53 in float64, in [0, 1), on the host."""
        refuse_recording(
            "random numbers are drawn on the host",
            "draw them outside of the step and pass them as arguments, or draw where the arrays "
            "are, with rng.bits or rng.bernoulli",
        )
        xp = host().namespace()
        n = math.prod(shape)
        # Orders are drawn once an epoch, weights once: a program would take longer to record.
        if not double:
            bits = (self._bits(computed_blocks, xp, n, None) >> 8) & (2**24 - 1)
            unit: HostArray = xp.astype(bits, xp.float32) * 2.0**-24
        else:
            bits = self._bits(computed_blocks, xp, 2 * n, None)
            high = xp.astype((bits[:n] >> 5) & (2**27 - 1), xp.float64)
            low = xp.astype((bits[n:] >> 6) & (2**26 - 1), xp.float64)
            unit = (high * 2.0**26 + low) * 2.0**-53
        return xp.reshape(unit, shape)  # type: ignore[no-any-return]


def _refuse_setting() -> None:
    refuse_recording(
        "random numbers are started anew within the step",
        "make generators and seed them outside of it",
    )


def _word(name: str, number: int) -> int:
    """Return an integer that fits into 32 bits."""
    try:
        word = operator.index(number)
    except TypeError:
        word = -1
    if not 0 <= word < _WORDS:
        raise ValueError(f"Generator: {name} must be an integer in [0, 2**32), got {number!r}")
    return word


def _is_double(backend: Backend, dtype: DType | str) -> bool:
    return bool(backend.dtype(dtype) == backend.namespace().float64)


def upload(array: HostArray, dtype: DType | str, device: Device | None) -> Array:
    """Move a host array to the selected backend."""
    backend, chosen = selection()
    if isinstance(device, str):
        device = backend.device(device)
    xp = host().namespace()
    wide = xp.float64 if _is_double(backend, dtype) else xp.float32
    array = xp.astype(array, wide, copy=False)
    moved = backend.from_host(array, device=chosen if device is None else device)
    return backend.namespace().astype(moved, backend.dtype(dtype), copy=False)


# Which generators were used, and how many draws each had made before.
_watching: ContextVar[dict[Generator, int] | None] = ContextVar("xpnet_draws", default=None)


@contextmanager
def watched() -> Iterator[dict[Generator, int]]:
    """Note which generators are used, to be used in the same way again by `replayed`."""
    outer: dict[Generator, int] | None = _watching.get()
    draws: dict[Generator, int] = {}
    token = _watching.set(draws)
    try:
        yield draws
    finally:
        _watching.reset(token)
        if outer is not None:
            for generator, count in draws.items():
                outer.setdefault(generator, count)


@contextmanager
def replayed(draws: dict[Generator, int]) -> Iterator[None]:
    """Draw again what was drawn while it was `watched`."""
    now = {generator: generator.draws for generator in draws}
    _put_back(draws)
    try:
        yield
    finally:
        _put_back(now)


@contextmanager
def undrawn() -> Iterator[None]:
    """Put the generators that are used meanwhile back to where they were."""
    with watched() as draws:
        try:
            yield
        finally:
            _put_back(draws)


def _put_back(draws: dict[Generator, int]) -> None:
    """Go on with other draws, in every run of a program as many of them earlier or later."""
    steps = {generator: count - generator.draws for generator, count in draws.items()}

    def move() -> list[int]:
        for generator, step in steps.items():
            generator.draws += step
        return []

    host_number(move)


_default = Generator(0)


def default_generator() -> Generator:
    """Return the generator that is used where none is given.

    Returns
    -------
    Generator
        The one that `seed` starts anew.
    """
    return _default


def chosen(rng: Generator | None) -> Generator:
    """Return the generator that was given, or the default one in the place of None."""
    if rng is None:
        return _default
    if not isinstance(rng, Generator):
        raise TypeError(
            f"rng: expected an xpnet.Generator, got {type(rng).__name__}; of a seed one is made by "
            "xn.Generator(0)"
        )
    return rng


def seed(value: int) -> None:
    """Start the default generator anew.

    Parameters
    ----------
    value : int
        In [0, 2**32). Without a call the seed is 0.

    Raises
    ------
    ValueError
        If `value` is out of range.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.seed(0)
    >>> a = xn.nn.Linear(3, 2)
    >>> xn.seed(0)
    >>> b = xn.nn.Linear(3, 2)
    >>> bool((a.weight == b.weight).all())
    True
    """
    _default.load_state_dict(Generator(value).state_dict())
