"""Dropout."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.namespace import array_namespace, device_of
from xpnet.nn.module import Module
from xpnet.random import Generator
from xpnet.random.generator import chosen

__all__ = ["Dropout"]


class Dropout(Module):
    """Set elements to zero at random while training, and scale the others up to compensate.

    Parameters
    ----------
    p : float, optional
        Probability of dropping an element, in [0, 1].
    rng : Generator, optional
        Draws the masks, where the arrays are; by default the one that `xpnet.seed` sets.

    Raises
    ------
    ValueError
        If `p` is not in [0, 1].

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Dropout(0.5, rng=xn.Generator(0))
    >>> layer(xn.asarray([1.0, 1.0, 1.0, 1.0]))
    array([0., 0., 2., 2.], dtype=float32)
    >>> layer.eval()(xn.asarray([1.0, 1.0, 1.0, 1.0]))
    array([1., 1., 1., 1.], dtype=float32)
    """

    def __init__(self, p: float = 0.5, *, rng: Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p must be a probability in [0, 1], got {p}")
        self.p = float(p)  # a NumPy scalar would promote what it multiplies
        self.rng = rng

    def forward(self, x: Array) -> Array:
        """Drop elements in training; return the input itself in evaluation."""
        if not self.training or self.p == 0:
            return x
        xp = array_namespace(x)
        if self.p == 1:
            return xp.zeros_like(x)
        keep = chosen(self.rng).bernoulli(xp, 1 - self.p, x.shape, device=device_of(x))
        return xp.where(keep, x / (1 - self.p), xp.zeros_like(x))

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        return f"p={self.p}"
