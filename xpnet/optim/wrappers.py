"""Optimizers around an optimizer: what is done to gradients before, and to weights after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.nn.module import Module
from xpnet.optim.clipping import check_limit, clip_by_global_norm, clip_by_value
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.parameters import tied_slots, trainable
from xpnet.optim.settings import Rate, check_setting, is_count
from xpnet.program.host import host, note_state
from xpnet.scatter import copy
from xpnet.state import BUFFER, Slot, mismatches
from xpnet.transfer import copy_like

__all__ = ["Accumulate", "Average", "Clip", "Wrapper"]


class Wrapper(Optimizer):
    """Base class of optimizers around an optimizer, which may be such a one as well.

    A subclass defines `update`, and names in `kept` what it keeps for each parameter.

    Parameters
    ----------
    optimizer : Optimizer
        Steps, rate and rate factor are its own, and its state is part of this one's.

    Raises
    ------
    TypeError
        If it is none.
    """

    kept = ""  # the name of the arrays in `arrays`, if there are any

    def __init__(self, optimizer: Optimizer) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(
                f"{type(self).__name__}: expected an optimizer, got {type(optimizer).__name__}"
            )
        self.optimizer = optimizer
        self.arrays: dict[str, Array] = {}

    @property
    def learning_rate(self) -> Rate:
        """That of the wrapped optimizer."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: Rate) -> None:
        self.optimizer.learning_rate = rate

    @property
    def _steps(self) -> int:  # type: ignore[override]
        return self.optimizer._steps

    @property
    def steps(self) -> int:
        """Number of updates that the wrapped optimizer has made."""
        return self.optimizer.steps

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return self.optimizer.rate

    @property
    def rate_factor(self) -> float:
        """What every learning rate is multiplied by."""
        return self.optimizer.rate_factor

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        self.optimizer.rate_factor = factor

    def first(self, parameter: Array) -> Array:
        """Return what is kept for a parameter at first, if anything is; a new array."""
        return copy(parameter)

    def prepare(self, model: Module) -> None:
        """See `Optimizer.prepare`."""
        self.optimizer.prepare(model)
        if self.kept:
            parameters = trainable(model)
            new = [name for name in parameters if name not in self.arrays]
            self.arrays |= {name: self.first(parameters[name][0].array) for name in new}
            if new:
                note_state(self)

    def check(self, model: Module, grads: Mapping[str, Array]) -> None:
        """See `Optimizer.check`."""
        self.optimizer.check(model, grads)

    def host_numbers(self, names: Iterable[str]) -> dict[str, dict[str, float]]:
        """See `Optimizer.host_numbers`."""
        return self.optimizer.host_numbers(names)

    def averaged(self, model: Module) -> AbstractContextManager[None]:
        """See `Optimizer.averaged`."""
        return self.optimizer.averaged(model)

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """See `xpnet.state.Stateful.slots`."""
        start = f"{prefix}." if prefix else ""
        for name in self.arrays:
            yield Slot(f"{start}{self.kept}.{name}", self.arrays, name, BUFFER)
        yield from self.optimizer.slots(f"{start}optimizer")

    def state_dict(self) -> dict[str, Any]:
        """See `Optimizer.state_dict`; what belongs to the wrapped one starts with ``optimizer.``.

        Returns
        -------
        dict
            Arrays and numbers.
        """
        own = {f"{self.kept}.{name}": copy(array) for name, array in self.arrays.items()}
        inner = self.optimizer.state_dict()
        return own | {f"optimizer.{name}": value for name, value in inner.items()}

    def load_state_dict(self, state: Mapping[str, Any], model: Module) -> None:
        """See `Optimizer.load_state_dict`."""
        inner = _below("optimizer.", state)
        own = {name: x for name, x in state.items() if not name.startswith("optimizer.")}
        given = _below(f"{self.kept}.", own) if self.kept else {}
        parameters = {name: tied[0].array for name, tied in tied_slots(model).items()}
        names = {*given, *self._updated(state)} if self.kept else set()
        expected = {f"{self.kept}.{name}": x for name, x in parameters.items() if name in names}
        problems = mismatches(expected, own)
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit:{problems}"
            )
        arrays = {name: copy_like(array, parameters[name]) for name, array in given.items()}
        self.optimizer.load_state_dict(inner, model)
        self.arrays = arrays

    def _updated(self, state: Mapping[str, Any]) -> Iterable[str]:
        return self.optimizer._updated(_below("optimizer.", state))

    def _check_model(self, method: str, model: Module) -> None:
        self.optimizer._check_model(method, model)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self).copy()


class Clip(Wrapper):
    """Clips gradients before an update: each entry, then the norm of all.

    Parameters
    ----------
    optimizer : Optimizer
        Gets the clipped gradients.
    value : float, optional
        The limit of `clip_by_value`.
    norm : float, optional
        The largest norm of `clip_by_global_norm`.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    ValueError
        If a limit is not larger than 0, or there is none.

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1)
    >>> layer.load_state_dict({"weight": xn.asarray([[1.0]]), "bias": xn.asarray([1.0])})
    >>> optimizer = xn.optim.Clip(xn.optim.SGD(1.0), norm=0.5)
    >>> optimizer.update(layer, {"weight": xn.asarray([[30.0]]), "bias": xn.asarray([40.0])})
    >>> round(float(layer.weight[0, 0]), 6), round(float(layer.bias[0]), 6)
    (0.7, 0.6)
    """

    def __init__(
        self, optimizer: Optimizer, *, value: float | None = None, norm: float | None = None
    ) -> None:
        super().__init__(optimizer)
        if value is None and norm is None:
            raise ValueError("Clip: expected a limit, value= or norm=, got none")
        self.value = None if value is None else check_limit("Clip", "value", value)
        self.norm = None if norm is None else check_limit("Clip", "norm", norm)

    def update(self, model: Module, grads: Mapping[str, Array]) -> None:
        """See `Optimizer.update`."""
        self.check(model, grads)
        clipped = dict(grads)
        if self.value is not None:
            clipped = clip_by_value(clipped, self.value)
        if self.norm is not None and clipped:
            clipped, _ = clip_by_global_norm(clipped, self.norm)
        self.optimizer.update(model, clipped)


class Accumulate(Wrapper):
    """Collects the gradients of several calls and updates once with their mean.

    Parameters
    ----------
    optimizer : Optimizer
        Makes one update in every `every` calls, so its `steps` count updates.
    every : int
        How many calls belong to one update.

    Attributes
    ----------
    calls : int
        How many calls the next update has seen so far.

    Raises
    ------
    TypeError
        If `optimizer` is none.
    ValueError
        If `every` is not an integer from 1.

    Notes
    -----
    Each call counts the same. With a loss that is a mean over a batch, this equals one update
    with one large batch if the small ones have equally many samples; samples of a smaller last
    batch count more. What has been collected stays for the next call, also at the end of an
    epoch, and is part of the state.

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1, bias=False)
    >>> layer.weight = xn.asarray([[1.0]])
    >>> optimizer = xn.optim.Accumulate(xn.optim.SGD(1.0), 2)
    >>> for grad in (0.25, 0.75):
    ...     optimizer.update(layer, {"weight": xn.asarray([[grad]])})
    >>> float(layer.weight[0, 0]), optimizer.steps
    (0.5, 1)
    """

    kept = "sum"

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        super().__init__(optimizer)
        if not is_count(every) or every < 1:
            raise ValueError(f"Accumulate: every must be an integer from 1, got {every!r}")
        self.every = every
        self.calls = 0

    def first(self, parameter: Array) -> Array:
        """See `Wrapper.first`."""
        return array_namespace(parameter).zeros_like(parameter)

    def update(self, model: Module, grads: Mapping[str, Array]) -> None:
        """See `Optimizer.update`."""
        self.check(model, grads)
        self.prepare(model)
        if self.calls + 1 < self.every:
            for name, grad in grads.items():
                self.arrays[name] += grad
            self.calls += 1
        else:
            means = {name: (self.arrays[name] + grad) / self.every for name, grad in grads.items()}
            self.optimizer.update(model, means)
            # New zeros, since 0 times what is not finite is NaN.
            self.arrays.update({name: self.first(x) for name, x in self.arrays.items()})
            self.calls = 0

    def state_dict(self) -> dict[str, Any]:
        """See `Wrapper.state_dict`; ``"calls"`` is added.

        Returns
        -------
        dict
            Arrays and numbers.
        """
        return {"calls": self.calls} | super().state_dict()

    def load_state_dict(self, state: Mapping[str, Any], model: Module) -> None:
        """See `Optimizer.load_state_dict`."""
        rest = dict(state)
        calls = rest.pop("calls", None)
        if not is_count(calls) or calls >= self.every:
            raise ValueError(
                "Accumulate.load_state_dict: the state does not fit:\n"
                f"  calls: expected an integer below {self.every}, got {calls!r}"
            )
        super().load_state_dict(rest, model)
        self.calls = calls


class Average(Wrapper):
    """Keeps an exponential moving average of the weights, which often predicts better.

    Parameters
    ----------
    optimizer : Optimizer
        Makes the updates.
    decay : float, optional
        The share of the average that an update leaves, in [0, 1).

    Raises
    ------
    TypeError
        If `optimizer` is none, or `decay` is no number.
    ValueError
        If `decay` is out of range.

    Notes
    -----
    The average a starts as the weights p before the first update. After update t, from 1::

        d = min(decay, (1 + t) / (10 + t))
        a = d * a + (1 - d) * p

    The second term of the minimum is the usual warm-up, as in TensorFlow's
    ``ExponentialMovingAverage``: the average follows quickly at first. Buffers, as the running
    statistics of a normalization, and frozen parameters are not averaged. `averaged` puts the
    averages into the model for a while.

    References
    ----------
    .. [1] B. T. Polyak, A. B. Juditsky, "Acceleration of stochastic approximation by averaging",
       SIAM J. Control Optim. 30 (1992).

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1, bias=False)
    >>> layer.weight = xn.asarray([[0.0]])
    >>> optimizer = xn.optim.Average(xn.optim.SGD(1.0))
    >>> optimizer.update(layer, {"weight": xn.asarray([[-11.0]])})
    >>> with optimizer.averaged(layer):
    ...     round(float(layer.weight[0, 0]), 5)  # 11 * (1 - 2 / 11)
    9.0
    >>> float(layer.weight[0, 0])
    11.0
    """

    kept = "average"

    def __init__(self, optimizer: Optimizer, decay: float = 0.999) -> None:
        super().__init__(optimizer)
        self.decay: float = check_setting("Average", "decay", decay)

    def share(self, step: int) -> float:
        """Return the share of the weights in the average after update `step`, from 1."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    def update(self, model: Module, grads: Mapping[str, Array]) -> None:
        """See `Optimizer.update`.

        Raises
        ------
        ValueError
            Also if the model has the averaged weights at the time.
        """
        self.check(model, grads)
        parameters = trainable(model)
        if any(tied[0].array is self.arrays.get(name) for name, tied in parameters.items()):
            raise ValueError(
                "Average.update: the model has its averaged weights; leave `with "
                "optimizer.averaged(model)` first"
            )
        self.prepare(model)
        before = self._steps
        self.optimizer.update(model, grads)
        if self._steps == before:  # an `Accumulate` inside is still collecting
            return
        share = host(lambda: self.share(self._steps))
        for name, tied in parameters.items():
            self.arrays[name] += share * (tied[0].array - self.arrays[name])

    @contextlib.contextmanager
    def averaged(self, model: Module) -> Iterator[None]:
        """Put the averages into the model, and its own weights back afterwards.

        Parameters
        ----------
        model : Module
            The one that is updated; not to be updated meanwhile.

        Yields
        ------
        None
            Whatever happens inside, the weights come back.

        Raises
        ------
        ValueError
            If another model was updated before.
        """
        self._check_model("averaged", model)
        slots = [(slot, name) for name, tied in tied_slots(model).items() for slot in tied]
        weights = [slot.array for slot, _ in slots]
        try:
            for slot, name in slots:
                slot.put(self.arrays.get(name, slot.array))
            yield
        finally:
            for (slot, _), array in zip(slots, weights, strict=True):
                slot.put(array)


def _below(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {name[len(prefix) :]: x for name, x in state.items() if name.startswith(prefix)}
