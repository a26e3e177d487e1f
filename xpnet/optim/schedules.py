"""Learning rates that change: functions of the number of updates made so far.

All are plain Python, remember nothing, and stay at their last value after their end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from xpnet.optim.settings import Rate, rate_at

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "Joined",
    "OneCycle",
    "Piecewise",
    "Polynomial",
    "Step",
    "Warmup",
]


@dataclass(frozen=True)
class Constant:
    """The same rate always.

    Parameters
    ----------
    rate : float
        The rate.

    Raises
    ------
    ValueError
        If it is negative or not finite.

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedules.Constant(0.5)(100)
    0.5
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        return float(self.rate)


@dataclass(frozen=True)
class Step:
    """The rate times a factor every so many updates.

    Parameters
    ----------
    rate : float
        Where it starts.
    every : int
        The length of a step, in updates.
    factor : float, optional
        What the rate is multiplied by.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    ``rate * factor**(step // every)``

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Step(8.0, 10, factor=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 20)]
    [8.0, 8.0, 4.0, 2.0]
    """

    rate: float
    every: int
    _: KW_ONLY
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, factor=self.factor)
        _check_steps(self, every=self.every)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        return float(self.rate * self.factor ** (step // self.every))


@dataclass(frozen=True)
class Exponential:
    """The rate times a factor every so many updates, changing at each of them.

    Parameters
    ----------
    rate : float
        Where it starts.
    factor : float
        What the rate is multiplied by; above 1 it grows.
    every : int, optional
        In how many updates.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    ``rate * factor**(step / every)``

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Exponential(8.0, 0.25, every=10)
    >>> [schedule(step) for step in (0, 5, 10)]
    [8.0, 4.0, 2.0]
    """

    rate: float
    factor: float
    _: KW_ONLY
    every: int = 1

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, factor=self.factor)
        _check_steps(self, every=self.every)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        return float(self.rate * self.factor ** (step / self.every))


@dataclass(frozen=True)
class Polynomial:
    """From one rate to another along a power of the remaining updates; a line by default.

    Parameters
    ----------
    rate : float
        Where it starts.
    steps : int
        After how many updates it ends.
    end : float, optional
        The rate from then on.
    power : float, optional
        Larger than 0.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    ``end + (rate - end) * (1 - step / steps)**power``

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Polynomial(8.0, 4)
    >>> [schedule(step) for step in range(6)]
    [8.0, 6.0, 4.0, 2.0, 0.0, 0.0]
    """

    rate: float
    steps: int
    _: KW_ONLY
    end: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, end=self.end)
        _check_steps(self, steps=self.steps)
        if not 0 < self.power < math.inf:
            raise ValueError(f"Polynomial: power must be larger than 0, got {self.power}")

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        left = 1 - min(step, self.steps) / self.steps
        return float(self.end + (self.rate - self.end) * left**self.power)


@dataclass(frozen=True)
class Cosine:
    """From one rate to another along half a wave of a cosine.

    Parameters
    ----------
    rate : float
        Where it starts.
    steps : int
        After how many updates it ends.
    end : float, optional
        The rate from then on.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    ``end + (rate - end) * (1 + cos(pi * step / steps)) / 2``, without restarts.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts",
       ICLR 2017, eq. 5, https://arxiv.org/abs/1608.03983

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Cosine(8.0, 10)
    >>> [round(schedule(step), 6) for step in (0, 5, 10, 11)]
    [8.0, 4.0, 0.0, 0.0]
    """

    rate: float
    steps: int
    _: KW_ONLY
    end: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self, rate=self.rate, end=self.end)
        _check_steps(self, steps=self.steps)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        return _wave(self.rate, self.end, min(step, self.steps) / self.steps)


@dataclass(frozen=True)
class Warmup:
    """A line up to the start of a schedule, which begins when the line ends.

    Parameters
    ----------
    schedule : float or callable
        What follows: a rate, or a schedule that is called with the updates since the warm-up.
    steps : int
        The length of the warm-up, in updates.
    start : float, optional
        Where the line starts; from 0 the first update changes nothing.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    ``start + (schedule(0) - start) * step / steps``, then ``schedule(step - steps)``.

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Warmup(schedules.Polynomial(4.0, 4), 2)
    >>> [schedule(step) for step in range(7)]
    [0.0, 2.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    """

    schedule: Rate
    steps: int
    _: KW_ONLY
    start: float = 0.0

    def __post_init__(self) -> None:
        _check_rates(self, start=self.start)
        _check_steps(self, steps=self.steps)
        rate_at("Warmup", self.schedule, 0)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        if step >= self.steps:
            return rate_at("Warmup", self.schedule, step - self.steps)
        top = rate_at("Warmup", self.schedule, 0)
        return self.start + (top - self.start) * step / self.steps


@dataclass(frozen=True)
class OneCycle:
    """Up to a peak, and down to almost nothing.

    Parameters
    ----------
    peak : float
        The largest rate.
    steps : int
        The number of updates; the last of them has the lowest rate.
    warmup : float, optional
        The share of the updates on the way up, in [0, 1).
    start_factor : float, optional
        The first rate as a share of the peak.
    end_factor : float, optional
        The last rate as a share of the first.
    cosine : bool, optional
        Whether both ways follow half a wave of a cosine; else a line.

    Raises
    ------
    ValueError
        If a number is out of range.

    Notes
    -----
    As PyTorch's ``OneCycleLR``, whose ``div_factor`` is ``1 / start_factor`` and whose
    ``final_div_factor`` is ``1 / end_factor``; the momentum is not changed. The peak is at
    ``warmup * steps - 1``, which need not be an integer.

    References
    ----------
    .. [1] L. N. Smith, N. Topin, "Super-convergence: very fast training of neural networks using
       large learning rates", 2018, https://arxiv.org/abs/1708.07120

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.OneCycle(1.0, 100)
    >>> [round(schedule(step), 6) for step in (0, 29, 64, 99)]
    [0.04, 1.0, 0.500002, 4e-06]
    """

    peak: float
    steps: int
    _: KW_ONLY
    warmup: float = 0.3
    start_factor: float = 1 / 25
    end_factor: float = 1e-4
    cosine: bool = True

    def __post_init__(self) -> None:
        _check_rates(
            self, peak=self.peak, start_factor=self.start_factor, end_factor=self.end_factor
        )
        _check_steps(self, steps=self.steps)
        if not 0 <= self.warmup < 1:
            raise ValueError(f"OneCycle: warmup must be in [0, 1), got {self.warmup}")

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        start = self.peak * self.start_factor
        along = _wave if self.cosine else _line
        top, last = self.warmup * self.steps - 1, self.steps - 1
        if step < top:
            return along(start, self.peak, step / top)
        return along(self.peak, start * self.end_factor, (min(step, last) - top) / (last - top))


@dataclass(frozen=True)
class Piecewise:
    """One rate after another.

    Parameters
    ----------
    boundaries : sequence of int
        The numbers of updates at which the rate changes, rising.
    rates : sequence of float
        One more than boundaries.

    Raises
    ------
    ValueError
        If the lengths do not fit, the boundaries do not rise, or a rate is out of range.

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Piecewise([2, 3], [4.0, 2.0, 1.0])
    >>> [schedule(step) for step in range(5)]
    [4.0, 4.0, 2.0, 1.0, 1.0]
    """

    boundaries: Sequence[int]
    rates: Sequence[float]

    def __post_init__(self) -> None:
        _check_pieces(self, "rates", self.rates, self.boundaries)
        for rate in self.rates:
            _check_rates(self, rates=rate)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        return float(self.rates[bisect_right(self.boundaries, step)])


@dataclass(frozen=True)
class Joined:
    """One schedule after another, each counting from its own beginning.

    Parameters
    ----------
    schedules : sequence of float or callable
        Rates, or schedules that are called with the updates since they began.
    boundaries : sequence of int
        The numbers of updates at which the second and each further one begins, rising.

    Raises
    ------
    ValueError
        If the lengths do not fit, or the boundaries do not rise.

    Examples
    --------
    >>> from xpnet.optim import schedules
    >>> schedule = schedules.Joined([8.0, schedules.Polynomial(4.0, 2)], [3])
    >>> [schedule(step) for step in range(6)]
    [8.0, 8.0, 8.0, 4.0, 2.0, 0.0]
    """

    schedules: Sequence[Rate]
    boundaries: Sequence[int]

    def __post_init__(self) -> None:
        _check_pieces(self, "schedules", self.schedules, self.boundaries)

    def __call__(self, step: int) -> float:
        """Return the rate after `step` updates."""
        index = bisect_right(self.boundaries, step)
        begun = self.boundaries[index - 1] if index else 0
        return rate_at("Joined", self.schedules[index], step - begun)


def _wave(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def _line(start: float, end: float, share: float) -> float:
    return start * (1 - share) + end * share


def _check_rates(schedule: object, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be finite and not negative, got {number}"
            )


def _check_steps(schedule: object, **counts: int) -> None:
    for name, count in counts.items():
        if not (isinstance(count, int) and count >= 1):
            raise ValueError(
                f"{type(schedule).__name__}: {name} must be an integer from 1, got {count!r}"
            )


def _check_pieces(
    schedule: object, name: str, pieces: Sequence[object], boundaries: Sequence[int]
) -> None:
    where = type(schedule).__name__
    if len(pieces) != len(boundaries) + 1:
        raise ValueError(
            f"{where}: expected one more of {name} than boundaries, got {len(pieces)} and "
            f"{len(boundaries)}"
        )
    rising = all(a < b for a, b in zip([0, *boundaries], boundaries, strict=False))
    if not rising or not all(isinstance(boundary, int) for boundary in boundaries):
        raise ValueError(
            f"{where}: boundaries must be integers from 1 that rise, got {list(boundaries)}"
        )
