"""Adagrad and its relatives: each coordinate has a rate of its own, from its squared gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array
from xpnet.namespace import array_namespace
from xpnet.optim.optimizer import Optimizer
from xpnet.optim.rule import recordable
from xpnet.optim.settings import Overrides, Rate

__all__ = ["Adadelta", "Adagrad", "RMSprop"]


class Adagrad(Optimizer):
    """Adagrad: the step shrinks with the sum of the squared gradients.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a schedule from the number of updates made so far to the rate.
    lr_decay : float, optional
        The rate is divided by ``1 + (t - 1) * lr_decay`` at update t.
    initial_accumulator_value : float, optional
        Where the sum of squares starts.
    eps : float, optional
        Added to the root of the sum.
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
    With the gradient g, the parameter p and the rate r::

        s = s + g**2                         (s = initial_accumulator_value at first)
        p = p - r * g / (sqrt(s) + eps)

    References
    ----------
    .. [1] J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and
       stochastic optimization", JMLR 12 (2011), figure 1, with diagonal matrices.

    Examples
    --------
    The first step is as long as the rate, whatever the size of the gradient:

    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1, bias=False)
    >>> layer.weight = xn.asarray([[2.0]])
    >>> xn.optim.Adagrad(0.5).update(layer, {"weight": xn.asarray([[1e3]])})
    >>> layer.weight
    array([[1.5]], dtype=float32)
    """

    lr_decay: float
    initial_accumulator_value: float
    eps: float

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        lr_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            lr_decay=lr_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        return ("sum_square",)

    def initial(self, parameter: Array, settings: Mapping[str, Any]) -> dict[str, Array]:
        """See `Optimizer.initial`."""
        first = settings["initial_accumulator_value"]
        return {"sum_square": array_namespace(parameter).full_like(parameter, first)}

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        return {"rate": rate / (1 + (step - 1) * settings["lr_decay"]), "eps": settings["eps"]}

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        sum_square = state["sum_square"]
        sum_square += grad * grad
        state["sum_square"] = sum_square
        scale = array_namespace(parameter).sqrt(sum_square)
        scale += numbers["eps"]
        parameter -= numbers["rate"] * (grad / scale)
        return parameter


class RMSprop(Optimizer):
    """RMSprop: the step is scaled by a running average of the squared gradient.

    Parameters
    ----------
    learning_rate : float or callable, optional
        A number, or a schedule from the number of updates made so far to the rate.
    alpha : float, optional
        Decay of the averages, in [0, 1).
    eps : float, optional
        Added to the root of the average.
    momentum : float, optional
        In [0, 1); the share of the last direction that is kept.
    centered : bool, optional
        Whether the variance of the gradient takes the place of its mean square.
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
    With the gradient g, the parameter p and the rate r, all averages being 0 at first::

        v = alpha * v + (1 - alpha) * g**2
        m = alpha * m + (1 - alpha) * g      (if centered, else m = 0)
        d = momentum * d + g / (sqrt(v - m**2) + eps)
        p = p - r * d

    A variance that rounding makes negative counts as 0.

    References
    ----------
    .. [1] T. Tieleman, G. Hinton, "Lecture 6.5 - RMSProp", Coursera: Neural networks for machine
       learning, 2012.
    .. [2] A. Graves, "Generating sequences with recurrent neural networks", 2013, eq. 38 to 45
       (centered), https://arxiv.org/abs/1308.0850

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1, bias=False)
    >>> layer.weight = xn.asarray([[2.0]])
    >>> xn.optim.RMSprop(0.5, alpha=0.75).update(layer, {"weight": xn.asarray([[1e3]])})
    >>> layer.weight  # 2 - 0.5 / sqrt(0.25)
    array([[1.]], dtype=float32)
    """

    alpha: float
    eps: float
    momentum: float
    centered: bool

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            alpha=alpha,
            eps=eps,
            momentum=momentum,
            centered=centered,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        mean = ("mean",) if self.centered else ()
        velocity = ("velocity",) if self.uses("momentum") else ()
        return "mean_square", *mean, *velocity

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        alpha = settings["alpha"]
        return {
            "rate": rate,
            "alpha": alpha,
            "new": 1 - alpha,
            "eps": settings["eps"],
            "momentum": settings["momentum"],
        }

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        xp = array_namespace(parameter)
        square = state["mean_square"]
        square *= numbers["alpha"]
        square += numbers["new"] * (grad * grad)
        state["mean_square"] = square
        if self.centered:
            mean = state["mean"]
            mean *= numbers["alpha"]
            mean += numbers["new"] * grad
            state["mean"] = mean
            square = xp.clip(square - mean * mean, 0.0, None)
        scale = xp.sqrt(square)
        scale += numbers["eps"]
        change = grad / scale
        if "velocity" in state:
            velocity = state["velocity"]
            velocity *= numbers["momentum"]
            velocity += change
            state["velocity"] = change = velocity
        parameter -= numbers["rate"] * change
        return parameter


class Adadelta(Optimizer):
    """Adadelta: the step is scaled by the ratio of two averages, of past steps and gradients.

    Parameters
    ----------
    learning_rate : float or callable, optional
        What the step is multiplied by; 1, the default, is the algorithm of the paper.
    rho : float, optional
        Decay of the averages, in [0, 1).
    eps : float, optional
        Added to the averages, inside of the roots; it sets the size of the first steps.
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
    With the gradient g, the parameter p and the rate r, both averages being 0 at first::

        v = rho * v + (1 - rho) * g**2
        d = g * sqrt(u + eps) / sqrt(v + eps)
        u = rho * u + (1 - rho) * d**2
        p = p - r * d

    References
    ----------
    .. [1] M. D. Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1,
       https://arxiv.org/abs/1212.5701

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Linear(1, 1, bias=False)
    >>> layer.weight = xn.asarray([[2.0]])
    >>> optimizer = xn.optim.Adadelta(rho=0.0, eps=1.0)
    >>> optimizer.update(layer, {"weight": xn.asarray([[0.75]])})
    >>> round(float(layer.weight[0, 0]), 6)  # 2 - 0.75 / sqrt(0.75**2 + 1)
    1.4
    """

    rho: float
    eps: float

    def __init__(
        self,
        learning_rate: Rate = 1.0,
        *,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        l1_penalty: float = 0.0,
        overrides: Overrides | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            rho=rho,
            eps=eps,
            weight_decay=weight_decay,
            l1_penalty=l1_penalty,
            overrides=overrides,
        )

    @property
    def moments(self) -> tuple[str, ...]:
        """See `Optimizer.moments`."""
        return "mean_square", "mean_square_step"

    def numbers(self, settings: Mapping[str, Any], rate: float, step: int) -> dict[str, float]:
        """See `Optimizer.numbers`."""
        rho = settings["rho"]
        return {"rate": rate, "rho": rho, "new": 1 - rho, "eps": settings["eps"]}

    @recordable
    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], numbers: Mapping[str, float]
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        xp = array_namespace(parameter)
        square, square_step = state["mean_square"], state["mean_square_step"]
        square *= numbers["rho"]
        square += numbers["new"] * (grad * grad)
        change = xp.sqrt(square_step + numbers["eps"])
        change /= xp.sqrt(square + numbers["eps"])
        change *= grad
        square_step *= numbers["rho"]
        square_step += numbers["new"] * (change * change)
        state.update(mean_square=square, mean_square_step=square_step)
        parameter -= numbers["rate"] * change
        return parameter
