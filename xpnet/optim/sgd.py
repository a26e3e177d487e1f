"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rule import recordable
from xpnet.optim.settings import Overrides, Rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and penalties if asked for.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule from the number of updates made so far to the rate.
    momentum : float, optional
        In [0, 1); the share of the last direction that is kept.
    nesterov : bool, optional
        Whether to look ahead along the new direction; needs momentum.
    weight_decay, l1_penalty, overrides
        See `Optimizer`.

    Raises
    ------
    TypeError
        If a keyword is unknown, or a setting is no number.
    ValueError
        If a number is out of range, or `nesterov` is asked for without momentum.

    Notes
    -----
    With the gradient g, the parameter p, the direction v and the rate r::

        g = g + weight_decay * p + l1_penalty * sign(p)
        v = momentum * v + g                 (v = 0 at first)
        p = p - r * v                        (nesterov: p - r * (g + momentum * v))

    as in PyTorch. Reference [1]_ has the rate inside of v, which differs when the rate changes.

    References
    ----------
    .. [1] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and
       momentum in deep learning", ICML 2013, eq. 1 to 4.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.optim.SGD(0.1, momentum=0.9)
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0, l1_penalty=0.0)
    """

    momentum: float
    nesterov: bool

    def __init__(
        self,
        learning_rate: Rate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )
        if nesterov and not self.uses("momentum"):
            raise ValueError("SGD: nesterov=True needs a momentum, such as momentum=0.9")

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        return ("velocity",) if self.uses("momentum") else ()

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        return {"rate": rate, "momentum": settings["momentum"]}

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        if "velocity" in state:
            velocity = state["velocity"]
            velocity *= numbers["momentum"]
            velocity += grad
            state["velocity"] = velocity
            grad = grad + numbers["momentum"] * velocity if self.nesterov else velocity
        parameter -= numbers["rate"] * grad
        return parameter
