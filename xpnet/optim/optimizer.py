"""What all optimizers share: settings, state by parameter name, steps, rates and updates."""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, Self

from xpnet._typing import Array
from xpnet.namespace import device_of, one_place
from xpnet.nn.module import Module
from xpnet.optim.groups import Group, Updates, counts, grouped, loaded, split, spread
from xpnet.optim.parameters import tied_slots, trainable
from xpnet.optim.replay import Replay
from xpnet.optim.rule import UpdateRule, all_numbers, moment_slots, update_parameter
from xpnet.optim.saved import read_state
from xpnet.optim.settings import (
    Overrides,
    Rate,
    check_overrides,
    check_setting,
    hint,
    keywords,
    matching,
    rate_at,
    unmatched,
)
from xpnet.program.host import OutdatedError, host, note_state, note_use, refuse_recording
from xpnet.scatter import copy
from xpnet.state import Slot, mismatches

__all__ = ["Optimizer"]


class Optimizer(UpdateRule):
    """Base class of optimizers.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule: called with the number of updates made so far, from 0, it
        returns the rate of the next one.
    weight_decay : float, optional
        Coefficient of the L2 penalty ``weight_decay / 2 * parameter**2``, whose gradient is added
        to the loss's; `AdamW` and `Lion` shrink the parameter by ``rate * weight_decay`` instead.
    l1_penalty : float, optional
        Coefficient of the penalty ``l1_penalty * abs(parameter)``, whose gradient, 0 at 0, is
        added to the loss's.
    overrides : dict from str to dict, optional
        Settings for some of the parameters: for a pattern of dotted names as of `fnmatch` the
        numbers that differ there, the learning rate included. All patterns that match apply in
        their order, the last one wins.
    **settings
        The other settings of a subclass: numbers, which overrides may change, and booleans, which
        hold for all parameters. They become attributes.

    Attributes
    ----------
    steps : int
        Updates made so far.
    rate : float
        The learning rate of the next update.
    rate_factor : float
        Multiplies every learning rate; 1.0 unless it is set, as by a callback that lowers the rate
        on a plateau.
    state : dict
        For each parameter name, the arrays that are kept for it, by name; empty before the first
        update.

    Raises
    ------
    TypeError
        If a keyword or an overridden setting is unknown, the message suggesting the one that may
        be meant, or a setting is no number.
    ValueError
        If a number is out of range.

    Notes
    -----
    To write one's own, name the arrays that are kept for each parameter in `moments` (they start
    at zero, unless `initial` says otherwise) and compute one update in `step_parameter`, from
    arrays and Python floats. The floats come from `numbers`, by default the rate alone; what
    depends on the step, as a bias correction, belongs there. Penalties, overrides, schedules,
    tied and frozen parameters and checkpoints are the base class's business. With the decorator
    `recordable` on `step_parameter`, updates run as one program where that is faster.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet import nn, optim
    >>> class Heavy(optim.Optimizer):
    ...     moments = ("velocity",)
    ...     def __init__(self, learning_rate, *, friction=0.5, **common):
    ...         super().__init__(learning_rate, friction=friction, **common)
    ...     def numbers(self, settings, rate, step):
    ...         return {"rate": rate, "kept": 1 - settings["friction"]}
    ...     def step_parameter(self, parameter, grad, state, numbers):
    ...         state["velocity"] *= numbers["kept"]
    ...         state["velocity"] += grad
    ...         parameter -= numbers["rate"] * state["velocity"]
    ...         return parameter
    >>> class Point(nn.Module):
    ...     def __init__(self):
    ...         self.x, self.y = (nn.Parameter(xn.asarray(8.0)) for _ in "xy")
    >>> point = Point()
    >>> optimizer = Heavy(1.0, overrides={"y": {"friction": 1.0}})
    >>> for _ in range(2):
    ...     optimizer.update(point, {name: xn.asarray(1.0) for name in "xy"})
    >>> float(point.x), float(point.y)
    (5.5, 6.0)
    """

    weight_decay: float
    l1_penalty: float
    hosted = frozenset({"learning_rate", "_rate_factor", "_steps", "_updates", "_model", "_replay"})

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse unknown keywords with a suggestion."""
        known = keywords(cls, Optimizer)
        for name in kwargs:
            if name not in known:
                raise TypeError(f"{cls.__name__}: unknown keyword {name!r}; {hint(name, known)}")
        return super().__new__(cls)

    def __init__(
        self,
        learning_rate: Rate,
        *,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
        **settings: Any,
    ) -> None:
        where = type(self).__name__
        settings = {
            "learning_rate": learning_rate,
            **settings,
            "weight_decay": weight_decay,
            "l1_penalty": l1_penalty,
        }
        for name, value in settings.items():
            setattr(self, name, check_setting(where, name, value))
        self._tunable = tuple(name for name, x in settings.items() if not isinstance(x, bool))
        self.overrides = check_overrides(where, overrides, self._tunable)
        self.state: dict[str, dict[str, Array]] = {}
        self._rate_factor = 1.0
        self._steps = 0
        self._updates: Updates = {}
        self._model: weakref.ref[Module] | None = None  # whose moments these are
        self._replay = Replay()

    @property
    def learning_rate(self) -> Rate:
        """A number or a schedule."""
        rate: Rate = vars(self)["learning_rate"]
        return rate if callable(rate) else host(lambda: vars(self)["learning_rate"])

    @learning_rate.setter
    def learning_rate(self, rate: Rate) -> None:
        _refuse_setting("learning rate")
        vars(self)["learning_rate"] = rate

    @property
    def steps(self) -> int:
        """Number of updates made so far."""
        return host(lambda: self._steps)

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        return host(lambda: self._rate(vars(self)["learning_rate"]))

    @property
    def rate_factor(self) -> float:
        """What every learning rate is multiplied by."""
        return host(lambda: self._rate_factor)

    @rate_factor.setter
    def rate_factor(self, factor: float) -> None:
        _refuse_setting("rate factor")
        self._rate_factor = check_setting(type(self).__name__, "rate_factor", factor)

    def prepare(self, model: Module) -> None:
        """Make the moments of all trainable parameters that have none; `update` does this first.

        Parameters
        ----------
        model : Module
            The one that will be updated.

        Raises
        ------
        ValueError
            If another model was updated before, or a pattern in `overrides` matches no parameter.
        """
        self._check_model("prepare", model)
        self._prepare(model, trainable(model))

    def update(self, model: Module, grads: Mapping[str, Array]) -> None:
        """Update the trainable parameters of a model.

        Parameters
        ----------
        model : Module
            Its parameters are written to in place where the library allows, else replaced.
        grads : mapping from str to array
            For the dotted name of each trainable parameter its gradient, as `value_and_grad`
            returns them.

        Raises
        ------
        ValueError
            If names are missing or unknown, shapes or dtypes differ, the model is not the one
            that was updated before, a pattern in `overrides` matches no parameter, or a schedule
            returns what is no rate; nothing is changed then.
        MixedArraysError
            If the gradients are of another library or on another device; nothing is changed then.
        """
        note_use(self)
        if not self._is_of_another(model) and self._replay.run(self, model, grads, self._count):
            return
        slots = trainable(model)
        self._check(model, slots, grads)
        self._prepare(model, slots)
        groups = grouped(slots, self._updates, self.overrides)
        self._updates = split(self._updates, groups)
        shared = host(lambda: self._count(groups))
        numbers = spread(slots, groups, shared)
        for name, tied in slots.items():
            parameter, state = tied[0].array, self.state[name]
            updated = update_parameter(self, parameter, grads[name], state, numbers[name])
            for slot in tied:
                slot.put(updated)
        self._replay.note(self, model, grads, groups, shared)

    def check(self, model: Module, grads: Mapping[str, Array]) -> None:
        """Raise what `update` would raise, and change nothing.

        Parameters
        ----------
        model, grads
            See `update`.

        Raises
        ------
        ValueError
            If they do not fit each other, or not this optimizer.
        """
        self._check(model, trainable(model), grads)

    def host_numbers(self, names: Iterable[str]) -> dict[str, dict[str, float]]:
        """Return all numbers of the next update that are computed by Python.

        Parameters
        ----------
        names : iterable of str
            Of the parameters.

        Returns
        -------
        dict from str to dict
            For each parameter its `numbers` and those of its penalties, by name.
        """
        names = list(names)
        groups = grouped(names, self._updates, self.overrides)
        count = counts(self._updates)
        shared = self._shared(groups, [count.get(group.names[0], 0) for group in groups])
        return spread(names, groups, shared)

    def _shared(self, groups: list[Group], made: list[int]) -> list[dict[str, float]]:
        """Return the numbers of each group, which has made so many updates."""
        rates: dict[int, float] = {}  # a schedule is called once an update
        shared = []
        for group, count in zip(groups, made, strict=True):
            settings = self._settings(group.patterns)
            schedule = settings["learning_rate"]
            rate = rates.get(id(schedule))
            if rate is None:
                rate = rates[id(schedule)] = self._rate(schedule)
            shared.append(all_numbers(self, settings, rate, count + 1))
        return shared

    def _count(self, groups: list[Group]) -> list[dict[str, float]]:
        """Return the numbers of each group, and count the update as made."""
        own = vars(self)
        try:
            made = [own["_updates"][names] for names, _ in groups]
        except KeyError:
            raise OutdatedError from None  # some were frozen for a while
        shared = self._shared(groups, made)
        updates = own["_updates"].copy()  # the one before is kept by those who put it back
        for group in groups:
            updates[group.names] += 1
        own["_updates"] = updates
        own["_steps"] += 1
        return shared

    def averaged(self, model: Module) -> AbstractContextManager[None]:
        """Return a context in which the model has its averaged weights, if there are any.

        Parameters
        ----------
        model : Module
            The one that is updated.

        Returns
        -------
        context manager
            Changes nothing, unless this is or wraps an `Average`.
        """
        return contextlib.nullcontext()

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """See `xpnet.state.Stateful.slots`."""
        for name in self.state:
            yield from moment_slots(self, name, f"{prefix}." if prefix else "")

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that is needed to continue.

        Returns
        -------
        dict
            Arrays by dotted name, and what is no array and JSON can hold: ``"steps"``, the number
            of updates; ``"updates"``, that of each parameter; ``"rate_factor"``. Settings such as
            the learning rate are not part of it.
        """
        updates = counts(self._updates)
        numbers = {
            "steps": self._steps,
            "updates": {name: updates[name] for name in self.state},
            "rate_factor": self._rate_factor,
        }
        return numbers | {slot.name: copy(slot.array) for slot in self.slots()}

    def load_state_dict(self, state: Mapping[str, Any], model: Module) -> None:
        """Continue where another optimizer of the same class was when it gave `state`.

        Parameters
        ----------
        state : mapping
            From `state_dict`; arrays of any library. Without ``"rate_factor"`` that is 1.
        model : Module
            Whose parameters the moments belong to; they take on its library, devices and dtypes.

        Raises
        ------
        ValueError
            If the state does not fit the model or the class of the optimizer; all that is wrong
            is listed, and nothing is changed.
        """
        parameters = {name: tied[0].array for name, tied in tied_slots(model).items()}
        saved = read_state(type(self).__name__, state, parameters, self.moments)
        self.state = saved.moments
        self._steps = saved.steps
        self._updates = loaded(self._updates, saved.updates)
        self._rate_factor = saved.rate_factor
        self._model = weakref.ref(model)

    def uses(self, setting: str) -> bool:
        """Tell whether a setting is other than zero for some parameter.

        Parameters
        ----------
        setting : str
            Its name.

        Returns
        -------
        bool
            As the settings and overrides are now.
        """
        changed = any(changes.get(setting) for changes in self.overrides.values())
        return bool(getattr(self, setting)) or changed

    def _rate(self, rate: Rate) -> float:
        return rate_at(type(self).__name__, rate, self._steps) * self._rate_factor

    def _settings(self, patterns: tuple[str, ...]) -> Mapping[str, Any]:
        """Return the settings of parameters that match these patterns of the overrides."""
        own = vars(self)
        settings = {name: own[name] for name in self._tunable}
        for pattern in patterns:
            settings.update(self.overrides[pattern])
        return MappingProxyType(settings)

    def _check(
        self, model: Module, slots: Mapping[str, list[Slot]], grads: Mapping[str, Array]
    ) -> None:
        """See `check`; with the slots of the trainable parameters, which take time to find."""
        self._check_model("update", model)
        expected = {name: tied[0].array for name, tied in slots.items()}
        where = f"{type(self).__name__}.update"
        if not isinstance(grads, Mapping):
            raise TypeError(
                f"{where}: expected gradients by the names of parameters, got "
                f"{type(grads).__name__}; take those of loss, grads = "
                "xn.value_and_grad(loss_fn)(model, x, y)"
            )
        if not expected and not model.parameters():  # none at all; all may be frozen for a while
            raise ValueError(
                f"{where}: the model has no parameters; assign arrays to attributes as "
                "nn.Parameter(array), and make layers in __init__"
            )
        problems = mismatches(expected, grads, fits=functools.partial(_fits, where))
        for name, parameter in expected.items():
            for moment, array in self.state.get(name, {}).items():
                if array.shape != parameter.shape:
                    problems += (
                        f"\n  {name}: its {moment} has shape {tuple(array.shape)}; a parameter "
                        "that was replaced needs a new optimizer"
                    )
        if problems:
            raise ValueError(
                f"{where}: the gradients do not fit the trainable parameters of the model:"
                f"{problems}"
            )

    def _prepare(self, model: Module, slots: Mapping[str, list[Slot]]) -> None:
        """See `prepare`; without its checks."""
        self._model = weakref.ref(model)
        kept = set(self.moments)
        new = {}
        for name, tied in slots.items():
            state = self.state.get(name, {})
            if name not in self.state or not state.keys() >= kept:
                settings = self._settings(matching(name, *self.overrides))
                new[name] = self.initial(tied[0].array, settings) | state
        self.state.update(new)
        known = counts(self._updates)
        uncounted = tuple(name for name in slots if name not in known)
        if uncounted:
            self._updates = {**self._updates, uncounted: 0}
        if new:
            note_state(self)

    def _updated(self, state: Mapping[str, Any]) -> Iterable[str]:
        """Return the names of the parameters of which a state is."""
        updates = state.get("updates")
        return updates if isinstance(updates, dict) else ()

    def _check_model(self, method: str, model: Module) -> None:
        where = f"{type(self).__name__}.{method}"
        if self._is_of_another(model):
            raise ValueError(
                f"{where}: expected the model that was updated before, got another one, with "
                "whose gradients the moments would be mixed; make a second optimizer, or go on "
                "with optimizer.load_state_dict(optimizer.state_dict(), model)"
            )
        if not self.overrides:
            return
        names = tied_slots(model)
        unknown = unmatched(self.overrides, names)
        if unknown:
            raise ValueError(
                f"{where}: overrides: no parameter matches {', '.join(map(repr, unknown))}; "
                f"the model has {', '.join(names) or 'none'}"
            )

    def _is_of_another(self, model: Module) -> bool:
        """Tell whether it was another model that was updated before."""
        return self._model is not None and self._model() is not model

    def __getstate__(self) -> dict[str, Any]:
        # A copy goes with the next model that it meets, which may be a copy as well.
        return vars(self) | {"_model": None, "_replay": Replay()}

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in keywords(type(self), Optimizer)}
        if not settings.get("overrides", True):
            del settings["overrides"]
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in settings.items())})"


def _refuse_setting(name: str) -> None:
    refuse_recording(f"the {name} of an optimizer is set within the step", "give it a schedule")


def _fits(where: str, array: Array, like: Array) -> bool:
    """Tell whether a gradient has the dtype of its parameter; raise if it is somewhere else."""
    if type(array) is not type(like) or device_of(array) != device_of(like):
        one_place(where, like, array)
    return bool(array.dtype == like.dtype)
