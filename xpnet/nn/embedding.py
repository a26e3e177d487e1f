"""Tables of vectors."""

from __future__ import annotations

from xpnet._typing import Array, Device, DType
from xpnet.autodiff import stop_gradient
from xpnet.namespace import array_namespace, device_of
from xpnet.nn import init
from xpnet.nn.module import Module
from xpnet.nn.parameter import Parameter
from xpnet.random import Generator
from xpnet.special.indices import widen

__all__ = ["Embedding"]


class Embedding(Module):
    """A table with a vector for each index: ``y = weight[x]``.

    Parameters
    ----------
    num_embeddings : int
        How many vectors.
    embedding_dim : int
        The length of each.
    padding_idx : int, optional
        An index whose vector starts as zeros and is not trained; a negative one counts from the
        end.
    rng : Generator, optional
        Draws the initial values; by default the one that `xpnet.seed` sets.
    dtype : str or dtype, optional
        Of the vectors.
    device : str or device, optional
        By default the selected one.

    Attributes
    ----------
    weight : array, shape (num_embeddings, embedding_dim)
        From N(0, 1), as in PyTorch.

    Raises
    ------
    ValueError
        If a size is not positive, or `padding_idx` is no index.
    TypeError
        If the input is not of integers, or is of another library (when called).

    Notes
    -----
    An index outside of ``[0, num_embeddings)`` gives a vector of nan, on every library: an error
    would have to wait for the device. The gradient of a vector is the sum of those that arrive
    at its copies.

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.Embedding(3, 2)
    >>> layer.weight = xn.asarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> layer(xn.asarray([2, 0, 3]))
    array([[ 5.,  6.],
           [ 1.,  2.],
           [nan, nan]], dtype=float32)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None = None,
        rng: Generator | None = None,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> None:
        if num_embeddings < 1 or embedding_dim < 1:
            raise ValueError(
                "Embedding: num_embeddings and embedding_dim must be positive, got "
                f"{num_embeddings} and {embedding_dim}"
            )
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(
                f"Embedding: expected padding_idx in [{-num_embeddings}, {num_embeddings}), got "
                f"{padding_idx}"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        shape = num_embeddings, embedding_dim
        weight = init.normal(shape, rng=rng, dtype=dtype, device=device)
        if self.padding_idx is not None:
            xp = array_namespace(weight)
            rows = xp.arange(num_embeddings, device=device_of(weight))
            weight = xp.where(xp.expand_dims(rows == self.padding_idx, axis=1), 0.0, weight)
        self.weight = Parameter(weight)

    def forward(self, x: Array) -> Array:
        """Map integers of shape (...) to vectors: (..., embedding_dim)."""
        xp = array_namespace(x, self.weight)
        if not xp.isdtype(x.dtype, "integral"):
            raise TypeError(
                f"Embedding: expected integer indices, got dtype {x.dtype}; convert them with "
                "xp.astype"
            )
        indices = xp.reshape(widen(xp.asarray(x)), (-1,))
        valid = (indices >= 0) & (indices < self.num_embeddings)
        rows = xp.take(self.weight, xp.where(valid, indices, 0), axis=0)
        rows = xp.where(xp.expand_dims(valid, axis=-1), rows, xp.nan)
        if self.padding_idx is not None:
            padding = xp.expand_dims(indices == self.padding_idx, axis=-1)
            rows = xp.where(padding, stop_gradient(rows), rows)
        return xp.reshape(rows, (*x.shape, self.embedding_dim))

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
