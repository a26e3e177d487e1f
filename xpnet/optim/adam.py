"""Adam and its relatives: steps scaled by running averages of the gradient and its square."""

from __future__ import annotations

import math

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.optim.optimizer import Optimizer, Rate

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: adaptive moment estimation.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a schedule from the number of updates made so far to the rate.
    betas : tuple of float, optional
        Decay of the averages of the gradient and of its square, each in [0, 1).
    eps : float, optional
        Added to the root of the second average.
    weight_decay : float, optional
        Coefficient of the L2 penalty ``weight_decay / 2 * parameter**2``, whose gradient is
        averaged with the loss's; `AdamW` keeps the two apart.

    Raises
    ------
    TypeError
        If a keyword is unknown.
    ValueError
        If a number is out of range.

    Notes
    -----
    With the gradient g, the parameter p, the rate r and the number t of the update, from 1::

        m = beta1 * m + (1 - beta1) * g      (m = v = 0 at first)
        v = beta2 * v + (1 - beta2) * g**2
        p = p - r * m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)

    The bias corrections are Python floats, computed in float64 whatever the dtype. The epsilon
    is outside of the root, as in algorithm 1 of [1]_.

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

    moments = ("mean", "mean_square")
    decoupled = False

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        name = type(self).__name__
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{name}: betas must be two numbers in [0, 1), got {betas}")
        for setting, number in (("eps", eps), ("weight_decay", weight_decay)):
            if not number >= 0:
                raise ValueError(f"{name}: {setting} must not be negative, got {number}")
        self.betas = tuple(betas)
        self.eps = eps
        self.weight_decay = weight_decay

    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], rate: float, step: int
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        xp = array_namespace(parameter)
        beta1, beta2 = self.betas
        if self.weight_decay and self.decoupled:
            parameter *= 1 - rate * self.weight_decay
        elif self.weight_decay:
            grad = grad + self.weight_decay * parameter
        mean, mean_square = state["mean"], state["mean_square"]
        mean *= beta1
        mean += (1 - beta1) * grad
        mean_square *= beta2
        mean_square += (1 - beta2) * (grad * grad)
        state.update(mean=mean, mean_square=mean_square)
        scale = xp.sqrt(mean_square)
        scale /= math.sqrt(1 - beta2**step)
        scale += self.eps
        change = mean / scale
        change *= rate / (1 - beta1**step)
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

    Raises
    ------
    TypeError
        If a keyword is unknown.
    ValueError
        If a number is out of range.

    Notes
    -----
    ``p = p - r * weight_decay * p`` and then the update of `Adam` without a penalty.

    References
    ----------
    .. [1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019,
       https://arxiv.org/abs/1711.05101

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.optim.AdamW()
    AdamW(learning_rate=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.01)
    """

    decoupled = True

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(learning_rate, betas=betas, eps=eps, weight_decay=weight_decay)
