"""Lion: steps of one size, along the sign of an average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rule import recordable
from xpnet.optim.settings import Overrides, Rate

__all__ = ["Lion"]


class Lion(Optimizer):
    """Lion: the sign of an average of gradients.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a schedule from the number of updates made so far to the rate. The paper
        advises a third to a tenth of what suits `AdamW`, and a weight decay that much larger.
    betas : tuple of float, optional
        Share of the average in the direction, and the decay of the average; each in [0, 1).
    weight_decay : float, optional
        The share, times the learning rate, by which each update shrinks the parameter.
    l1_penalty, overrides
        See `Optimizer`.

    Raises
    ------
    TypeError
        If a keyword is unknown, or a setting is no number.
    ValueError
        If a number is out of range.

    Notes
    -----
    With the gradient g, the parameter p and the rate r::

        p = p - r * (sign(beta1 * m + (1 - beta1) * g) + weight_decay * p)      (m = 0 at first)
        m = beta2 * m + (1 - beta2) * g

    The sign of 0 is 0.

    References
    ----------
    .. [1] X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023,
       program 1, https://arxiv.org/abs/2302.06675

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(2, 1)
    >>> layer.bias = xn.asarray([1.0])
    >>> grads = {"weight": xn.asarray([[0.0, 0.0]]), "bias": xn.asarray([-1e-3])}
    >>> xn.optim.Lion(0.5).update(layer, grads)
    >>> float(layer.bias[0])
    1.5
    """

    betas: tuple[float, float]
    decoupled = True

    def __init__(
        self,
        learning_rate: Rate = 1e-4,
        *,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            betas=betas,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        return ("mean",)

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        beta1, beta2 = settings["betas"]
        return {
            "rate": rate,
            "beta1": beta1,
            "beta2": beta2,
            "new1": 1 - beta1,
            "new2": 1 - beta2,
        }

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        mean = state["mean"]
        direction = numbers["beta1"] * mean
        direction += numbers["new1"] * grad
        parameter -= numbers["rate"] * array_namespace(parameter).sign(direction)
        mean *= numbers["beta2"]
        mean += numbers["new2"] * grad
        state["mean"] = mean
        return parameter
