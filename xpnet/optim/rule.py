"""The update of one parameter, in which optimizers differ, with the penalties they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.state import BUFFER, Slot, Stateful

__all__ = ["UpdateRule", "all_numbers", "moment_slots", "recordable", "update_parameter"]

F = TypeVar("F", bound=Callable[..., Any])


class UpdateRule(Stateful):
    """What a subclass of `Optimizer` defines.

    Attributes
    ----------
    decoupled : bool
        Whether weight decay bypasses the gradient.
    state : dict
        See `Optimizer`.
    """

    decoupled = False
    state: dict[str, dict[str, Array]]

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the arrays that are kept for each parameter."""
        return ()

    def initial(self, parameter: Array, settings: Mapping[str, Any]) -> dict[str, Array]:
        """Return what is kept for one parameter before its first update: zeros.

        Parameters
        ----------
        parameter : array
            The parameter.
        settings : mapping
            Its settings by name.

        Returns
        -------
        dict from str to array
            New arrays by the names in `moments`.
        """
        return {moment: array_namespace(parameter).zeros_like(parameter) for moment in self.moments}

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """Return the numbers of one update of one parameter, computed by Python in float64.

        Parameters
        ----------
        settings : mapping
            The settings of this parameter by name.
        rate : float
            The learning rate of this update.
        step : int
            The number of this update of this parameter, from 1.

        Returns
        -------
        dict from str to float
            Which keys there are must not depend on `rate` and `step`.
        """
        return {"rate": rate}

    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """Return one parameter after one update, and leave its new moments in `state`.

        Written with augmented assignment, so that arrays are updated in place by the libraries
        whose arrays can be; `grad` must not be written to. No branch depends on the values of
        `numbers`.

        Parameters
        ----------
        parameter, grad : array
            Of one shape and dtype; the gradient has that of the penalties added.
        state : dict from str to array
            The moments of this parameter.
        numbers : mapping from str to float
            From the method of that name.

        Returns
        -------
        array
            `parameter` itself, or what takes its place.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no step_parameter")


def moment_slots(rule: UpdateRule, name: str, start: str = "") -> Iterator[Slot]:
    """Yield the slots of what is kept for one parameter, if anything is yet."""
    moments = rule.state.get(name, {})
    for moment in moments:
        yield Slot(f"{start}{name}.{moment}", moments, moment, BUFFER)


def all_numbers(
    rule: UpdateRule, settings: Mapping[str, Any], rate: float, step: int
) -> dict[str, float]:
    """Return the numbers of one update and of the penalties, none of which promotes a dtype."""
    decay, l1_penalty = settings["weight_decay"], settings["l1_penalty"]
    numbers = dict(rule.numbers(settings, rate, step))
    if l1_penalty:
        numbers["l1_penalty"] = l1_penalty
    if decay and rule.decoupled:
        numbers["shrink"] = 1 - rate * decay
    elif decay:
        numbers["weight_decay"] = decay
    return {name: float(number) for name, number in numbers.items()}


def update_parameter(
    rule: UpdateRule,
    parameter: Array,
    grad: Array,
    state: dict[str, Array],
    numbers: Mapping[str, float],
) -> Array:
    """Return one parameter after one update with `all_numbers`, penalties included."""
    if "l1_penalty" in numbers:
        grad = grad + numbers["l1_penalty"] * array_namespace(parameter).sign(parameter)
    if "weight_decay" in numbers:
        grad = grad + numbers["weight_decay"] * parameter
    if "shrink" in numbers:
        parameter *= numbers["shrink"]
    return rule.step_parameter(parameter, grad, state, numbers)


def recordable(step_parameter: F) -> F:
    """Let the updates of an optimizer run as one program when they come again.

    A decorator for the method `Optimizer.step_parameter` of one's own optimizer. It promises that
    what the method computes depends on its arguments and on settings alone, and that it changes
    nothing but `state` and the parameter: Python runs it for the first updates only. A method that
    overrides another one makes its own promise.

    Parameters
    ----------
    step_parameter : function
        The method.

    Returns
    -------
    function
        The same one.

    Examples
    --------
    >>> from xpnet import optim
    >>> class Descent(optim.Optimizer):
    ...     @optim.recordable
    ...     def step_parameter(self, parameter, grad, state, numbers):
    ...         parameter -= numbers["rate"] * grad
    ...         return parameter
    """
    vars(step_parameter)["recordable"] = True
    return step_parameter
