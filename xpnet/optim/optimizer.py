"""What all optimizers share: state by parameter name, steps, rates and updates."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.nn.module import Module
from xpnet.scatter import copy
from xpnet.state import BUFFER, PARAMETER, Slot, Stateful, mismatches
from xpnet.transfer import copy_like

__all__ = ["Optimizer", "Rate"]

Rate = float | Callable[[int], float]


class Optimizer(Stateful):
    """Base class of optimizers.

    A subclass names the arrays it keeps for each parameter in `moments` and computes one update
    in `step_parameter`.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule: called with the number of updates made so far, from 0, it
        returns the rate of the next one.

    Attributes
    ----------
    steps : int
        Updates made so far.
    state : dict
        For each parameter name, the arrays that are kept for it, by name; empty before the first
        update.

    Raises
    ------
    TypeError
        If a keyword is unknown; the message suggests the one that may be meant.
    ValueError
        If the learning rate is a negative number.
    """

    moments: tuple[str, ...] = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse unknown keywords with a suggestion."""
        known = _settings(cls)
        for name in kwargs:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                meant = "learning_rate" if name == "lr" else close[0] if close else None
                hint = (
                    f"did you mean {meant}?" if meant else f"expected some of: {', '.join(known)}"
                )
                raise TypeError(f"{cls.__name__}: unknown keyword {name!r}; {hint}")
        return super().__new__(cls)

    def __init__(self, learning_rate: Rate) -> None:
        if not callable(learning_rate) and not learning_rate >= 0:
            raise ValueError(
                f"{type(self).__name__}: learning_rate must not be negative, got {learning_rate}"
            )
        self.learning_rate = learning_rate
        self.steps = 0
        self.state: dict[str, dict[str, Array]] = {}
        self._updates: dict[str, int] = {}  # of each parameter: one may be unfrozen later

    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], rate: float, step: int
    ) -> Array:
        """Return one parameter after one update, and leave its new moments in `state`.

        Written with augmented assignment, so that arrays are updated in place by the libraries
        whose arrays can be; `grad` must not be written to.

        Parameters
        ----------
        parameter, grad : array
            Of one shape and dtype.
        state : dict from str to array
            The moments of this parameter.
        rate : float
            The learning rate of this update.
        step : int
            The number of this update of this parameter, from 1.

        Returns
        -------
        array
            `parameter` itself, or what takes its place.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no step_parameter")

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
            If names are missing or unknown, or shapes or dtypes differ; nothing is changed then.
        """
        slots = {
            name: tied
            for name, tied in _tied_slots(model).items()
            if all(slot.role == PARAMETER for slot in tied)
        }
        expected = {name: tied[0].array for name, tied in slots.items()}
        problems = mismatches(expected, grads, fits=_same_dtype)
        problems += "".join(
            f"\n  {name}: the optimizer has the moments of another model"
            for name, parameter in expected.items()
            for moment in self.state.get(name, {}).values()
            if tuple(moment.shape) != tuple(parameter.shape)
        )
        if problems:
            raise ValueError(
                f"{type(self).__name__}.update: the gradients do not fit the trainable parameters "
                f"of the model:{problems}"
            )
        schedule = self.learning_rate
        rate = float(schedule(self.steps) if callable(schedule) else schedule)
        for name, parameter in expected.items():
            if name not in self.state:
                zeros = array_namespace(parameter).zeros_like
                self.state[name] = {moment: zeros(parameter) for moment in self.moments}
            step = self._updates[name] = self._updates.get(name, 0) + 1
            updated = self.step_parameter(parameter, grads[name], self.state[name], rate, step)
            for slot in slots[name]:
                slot.put(updated)
        self.steps += 1

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """See `xpnet.state.Stateful.slots`."""
        start = f"{prefix}." if prefix else ""
        for name, moments in self.state.items():
            for moment in moments:
                yield Slot(f"{start}{name}.{moment}", moments, moment, BUFFER)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of all that is needed to continue.

        Returns
        -------
        dict
            ``"steps"``, the number of updates; ``"updates"``, that of each parameter; and the
            moments by dotted name. Settings such as the learning rate are not part of it.
        """
        counts = {"steps": self.steps, "updates": dict(self._updates)}
        return counts | {slot.name: copy(slot.array) for slot in self.slots()}

    def load_state_dict(self, state: Mapping[str, Any], model: Module) -> None:
        """Continue where another optimizer of the same class was when it gave `state`.

        Parameters
        ----------
        state : mapping
            From `state_dict`; arrays of any library.
        model : Module
            Whose parameters the moments belong to; they take on its library, devices and dtypes.

        Raises
        ------
        ValueError
            If the state does not fit the model or the class of the optimizer; all that is wrong
            is listed, and nothing is changed.
        """
        arrays = dict(state)
        steps, updates = arrays.pop("steps", None), arrays.pop("updates", None)
        problems = "" if _is_count(steps) else f"\n  steps: expected a number, got {steps!r}"
        if not isinstance(updates, dict) or not all(map(_is_count, updates.values())):
            problems += f"\n  updates: expected a number for each parameter, got {updates!r}"
            updates = {}
        parameters = {name: tied[0].array for name, tied in _tied_slots(model).items()}
        problems += "".join(f"\n  unknown: {name}" for name in updates if name not in parameters)
        expected = {
            f"{name}.{moment}": parameters[name]
            for name in updates
            for moment in self.moments
            if name in parameters
        }
        problems += mismatches(expected, arrays)
        if problems:
            raise ValueError(
                f"{type(self).__name__}.load_state_dict: the state does not fit:{problems}"
            )
        self.state = {
            name: {
                moment: copy_like(arrays[f"{name}.{moment}"], parameters[name])
                for moment in self.moments
            }
            for name in updates
        }
        self.steps = steps
        self._updates = dict(updates)

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in _settings(type(self)))
        return f"{type(self).__name__}({settings})"


def _settings(cls: type[Optimizer]) -> list[str]:
    """Return the names of the arguments of an optimizer's constructor."""
    return list(inspect.signature(cls.__init__).parameters)[1:]


def _tied_slots(model: Module) -> dict[str, list[Slot]]:
    """Return the slots of each parameter, tied ones together, under the first name."""
    tied: dict[int, list[Slot]] = {}
    for slot in model.slots():
        if slot.role != BUFFER:
            tied.setdefault(id(slot.array), []).append(slot)
    return {group[0].name: group for group in tied.values()}


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and number >= 0


def _same_dtype(array: Array, like: Array) -> bool:
    return bool(array.dtype == like.dtype)
