"""Stochastic gradient descent."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.optim.optimizer import Optimizer, Rate

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay if asked for.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a schedule from the number of updates made so far to the rate.
    momentum : float, optional
        In [0, 1); the share of the last direction that is kept.
    nesterov : bool, optional
        Whether to look ahead along the new direction; needs momentum.
    weight_decay : float, optional
        Coefficient of the L2 penalty ``weight_decay / 2 * parameter**2``.

    Raises
    ------
    TypeError
        If a keyword is unknown.
    ValueError
        If a number is out of range, or `nesterov` is asked for without momentum.

    Notes
    -----
    With the gradient g, the parameter p, the direction v and the rate r::

        g = g + weight_decay * p
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
    SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    """

    def __init__(
        self,
        learning_rate: Rate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(learning_rate)
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum must be in [0, 1), got {momentum}")
        if nesterov and momentum == 0:
            raise ValueError("SGD: nesterov=True needs a momentum, such as momentum=0.9")
        if not weight_decay >= 0:
            raise ValueError(f"SGD: weight_decay must not be negative, got {weight_decay}")
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.moments = ("velocity",) if momentum else ()

    def step_parameter(
        self, parameter: Array, grad: Array, state: dict[str, Array], rate: float, step: int
    ) -> Array:
        """See `Optimizer.step_parameter`."""
        if self.weight_decay:
            grad = grad + self.weight_decay * parameter
        if self.momentum:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += grad
            state["velocity"] = velocity
            grad = grad + self.momentum * velocity if self.nesterov else velocity
        parameter -= rate * grad
        return parameter
