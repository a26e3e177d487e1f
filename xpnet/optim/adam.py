"""Adam and its relatives: steps scaled by running averages of the gradient and its square."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rule import recordable
from xpnet.optim.settings import Overrides, Rate

__all__ = ["Adam", "AdamW", "NAdam"]


class Adam(Optimizer):
    """Adam: adaptive moment estimation.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a schedule from the number of updates made so far to the rate.
    betas : tuple of float, optional
        Decay of the averages of the gradient and of its square, each in [0, 1).
    eps : float, optional
        Added to the root of the second average. Parameters in float16 need 1e-5 or more: what is
        added at first is 0.03 of it, which is 0 there for less.
    weight_decay, l1_penalty, overrides
        See `Optimizer`; the gradients of the penalties are averaged with the loss's, `AdamW`
        keeps the L2 penalty apart.

    Raises
    ------
    TypeError
        If a keyword is unknown, or a setting is no number.
    ValueError
        If a number is out of range.

    Notes
    -----
    With the gradient g, the parameter p, the rate r and the number t of the update, from 1::

        m = beta1 * m + (1 - beta1) * g      (m = v = 0 at first)
        v = beta2 * v + (1 - beta2) * g**2
        p = p - r * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    The bias corrections are Python floats, computed in float64 whatever the dtype; those of the
    root are taken into r and eps, which changes no more than the rounding. The epsilon is outside
    of the root, as in algorithm 1 of [1]_.

    References
    ----------
    .. [1] D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015,
       https://arxiv.org/abs/1412.6980

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.optim.Adam(lr=1e-3)
    Traceback (most recent call last):
    ...
    TypeError: Adam: unknown keyword 'lr'; did you mean learning_rate?
    """

    betas: tuple[float, float]
    eps: float

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        return "mean", "mean_square"

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        (beta1, beta2), bias = settings["betas"], _bias_of_root(settings, step)
        return {
            "beta1": beta1,
            "beta2": beta2,
            "new1": 1 - beta1,
            "new2": math.sqrt(1 - beta2) / (1 - beta1),
            "eps": settings["eps"] * bias,
            "rate": rate * bias / (1 - beta1**step),
        }

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        mean, scale = _averages(grad, state, numbers)
        change = mean / scale
        change *= numbers["rate"]
        parameter -= change
        return parameter


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    learning_rate, betas, eps
        See `Adam`.
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
    ``p = p - r * weight_decay * p`` and then the update of `Adam` without an L2 penalty.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019,
       https://arxiv.org/abs/1711.05101

    Examples
    --------
    No decay for biases:

    >>> import xpnet as xn
    >>> xn.optim.AdamW(overrides={"*bias": {"weight_decay": 0}})
    AdamW(learning_rate=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01, l1_penalty=0.0,
          overrides={'*bias': {'weight_decay': 0.0}})
    """

    decoupled = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )


class NAdam(Adam):
    """Adam with Nesterov momentum.

    Parameters
    ----------
    learning_rate, betas, eps
        See `Adam`; the rate is 2e-3 by default.
    momentum_decay : float, optional
        How fast the momentum rises from ``betas[0] / 2`` to ``betas[0]``.
    weight_decay, l1_penalty, overrides
        See `Optimizer`.

    Raises
    ------
    TypeError
        If a keyword is unknown, or a setting is no number.
    ValueError
        If a number is out of range.

    Notes
    -----
    With m, v, g, p, r and t as in `Adam`, and the momenta::

        u(t) = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        U(t) = u(1) * u(2) * ... * u(t)

    the update is, as in PyTorch::

        n = u(t + 1) * m / (1 - U(t + 1)) + (1 - u(t)) * g / (1 - U(t))
        p = p - r * n / (sqrt(v / (1 - beta2**t)) + eps)

    References
    ----------
    .. [1] T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016, algorithm 2
       and section 2.3, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ

    Examples
    --------
    >>> import xpnet as xn
    >>> adam = xn.optim.NAdam(1.0, betas=(0.9, 0.0), momentum_decay=0)
    >>> numbers = adam.host_numbers(["w"])["w"]
    >>> round(numbers["rate_grad"], 6)  # (1 - 0.45) / (1 - 0.45)
    1.0
    >>> round(numbers["rate_mean"], 6)  # 0.45 / (1 - 0.45**2)
    0.564263
    """

    momentum_decay: float

    def __init__(
        self,
        learning_rate: Rate = 2e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        momentum_decay: float = 4e-3,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        Optimizer.__init__(
            self,
            learning_rate,
            betas=betas,
            eps=eps,
            momentum_decay=momentum_decay,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        momentum = functools.partial(_momentum, settings["betas"][0], settings["momentum_decay"])
        product = 1.0
        for t in range(1, step + 1):
            product *= momentum(t)
            if product < 1e-20:  # 1 - product is 1 from here on
                break
        following = momentum(step + 1)
        numbers = super().numbers(settings, rate, step)
        del numbers["rate"]
        rate *= _bias_of_root(settings, step)
        return numbers | {
            "rate_grad": rate * (1 - momentum(step)) / (1 - product),
            "rate_mean": rate * following / (1 - product * following),
        }

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        mean, scale = _averages(grad, state, numbers)
        change = numbers["rate_mean"] * mean
        change += numbers["rate_grad"] * grad
        change /= scale
        parameter -= change
        return parameter


def _averages(
    grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
) -> tuple[Array, Array]:
    """Update the averages; return that of the gradient, and the root of the other as a divisor."""
    mean, mean_square = state["mean"], state["mean_square"]
    mean *= numbers["beta1"]
    fresh = numbers["new1"] * grad
    mean += fresh
    mean_square *= numbers["beta2"]
    fresh *= numbers["new2"]  # which undoes the other one
    fresh *= fresh
    mean_square += fresh
    state.update(mean=mean, mean_square=mean_square)
    scale = array_namespace(grad).sqrt(mean_square)
    scale += numbers["eps"]
    return mean, scale


def _bias_of_root(settings: Mapping[str, Any], step: int) -> float:
    """Return what the root of the average of squares is too small by."""
    return math.sqrt(1 - float(settings["betas"][1]) ** step)


def _momentum(beta: float, decay: float, step: int) -> float:
    return beta * (1 - 0.5 * math.pow(0.96, step * decay))
