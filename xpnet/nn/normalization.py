"""Layers that give their input mean 0 and variance 1 along some axes, then scale and shift it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from xpnet._typing import Array, Device, DType
from xpnet.autodiff import custom_gradient
from xpnet.namespace import array_namespace
from xpnet.nn import init
from xpnet.nn.lazy import Lazy, check_dtype
from xpnet.nn.parameter import Buffer, Parameter
from xpnet.random import Generator
from xpnet.state import BUFFER, PARAMETER, Role
from xpnet.transfer import asarray

__all__ = ["BatchNorm1d", "LayerNorm"]


class BatchNorm1d(Lazy):
    """Give each channel mean 0 and variance 1 over a batch, then scale and shift it.

    In evaluation, averages of the batches seen in training take the place of mean and variance.

    Parameters
    ----------
    num_features : int or None
        Number of channels C; None takes it from the first batch, on whose library and device the
        arrays are made.
    eps : float, optional
        Is added to the variance.
    momentum : float or None, optional
        The part of a new batch in the averages; None gives all batches the same part.
    affine : bool, optional
        Whether to scale and shift.
    track_running_stats : bool, optional
        Whether to keep the averages; without them evaluation normalizes like training.
    dtype : str or dtype, optional
        Of parameters and averages, and of the inputs that are accepted.
    device : str or device, optional
        By default the selected one.

    Attributes
    ----------
    weight, bias : array, shape (C,), or None
        What the channels are multiplied by, first 1, and what is added, first 0.
    running_mean, running_var : array, shape (C,), or None
        The averages, first 0 and 1.
    num_batches_tracked : array, shape (), int64 where the library has it, or None
        How many batches they are of.

    Raises
    ------
    ValueError
        If `num_features` is not positive, or (when called) if the input does not have the shape
        (N, C) or (N, C, L), or there is only one value of each channel to take the variance of.
    TypeError
        If the input has another dtype than the parameters, or is of another library (when
        called).
    TracedArrayError
        If `num_features` is None and the first batch comes inside of `xpnet.grad` (when called).

    Notes
    -----
    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the mean squared deviation of the
    batch as ``var``. As in PyTorch, the average is one of unbiased variances: those deviations
    summed and divided by one less than their number. The variance is taken in two passes, since
    the mean of squares minus the squared mean has no digits where the mean is large. Mean and
    variance belong to what is differentiated.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by
       reducing internal covariate shift", ICML 2015, algorithm 1.

    Examples
    --------
    >>> import xpnet as xn
    >>> layer = xn.nn.BatchNorm1d(2, eps=0.0)
    >>> layer(xn.asarray([[1.0, 10.0], [3.0, 30.0]]))
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> layer.running_mean
    array([0.2, 2. ], dtype=float32)
    """

    width = "num_features"
    weight: Array | None
    bias: Array | None
    running_mean: Array | None
    running_var: Array | None
    num_batches_tracked: Array

    def __init__(
        self,
        num_features: int | None,
        eps: float = 1e-5,
        *,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> None:
        if num_features is not None and num_features < 1:
            raise ValueError(f"BatchNorm1d: num_features must be positive, got {num_features}")
        self.num_features = num_features
        self.eps = float(eps)  # a NumPy scalar would promote what it is added to
        self.momentum = None if momentum is None else float(momentum)
        self.affine = affine
        self.track_running_stats = track_running_stats
        roles: dict[str, Role] = dict.fromkeys(("weight", "bias"), PARAMETER) if affine else {}
        if track_running_stats:
            averages = "running_mean", "running_var", "num_batches_tracked"
            roles |= dict.fromkeys(averages, BUFFER)
        self.weight = self.bias = None
        self.running_mean = self.running_var = self.num_batches_tracked = None
        self.start(roles, None, dtype, device)

    def make(
        self, width: int, rng: Generator | None, dtype: DType | str, device: Device | None
    ) -> None:
        """See `Lazy.make`."""
        if self.affine:
            self.weight = Parameter(init.ones((width,), dtype=dtype, device=device))
            self.bias = Parameter(init.zeros((width,), dtype=dtype, device=device))
        if self.track_running_stats:
            self.running_mean = Buffer(init.zeros((width,), dtype=dtype, device=device))
            self.running_var = Buffer(init.ones((width,), dtype=dtype, device=device))
            self.num_batches_tracked = Buffer(asarray(0, device=device))

    def width_of(self, state: Mapping[str, Array]) -> Any:
        """See `Lazy.width_of`."""
        return state["weight" if self.affine else "running_mean"].shape[0]

    def forward(self, x: Array) -> Array:
        """Normalize an array of shape (N, C) or (N, C, L)."""
        xp = array_namespace(x, self.weight, self.running_mean)
        if self.num_features is None and x.ndim in (2, 3):
            self.take_width(x, x.shape[1])
        if x.ndim not in (2, 3) or x.shape[1] != self.num_features:
            c = self.num_features
            raise ValueError(
                f"BatchNorm1d: expected an input of shape (N, {c}) or (N, {c}, L), got "
                f"{tuple(x.shape)}"
            )
        for array in (self.weight, self.running_mean):
            if array is not None:
                check_dtype("BatchNorm1d", x, array)
        shape = (-1, 1) if x.ndim == 3 else (-1,)
        if self.training or self.running_mean is None:
            y = self._normalize(x)
        else:
            mean, var = (xp.reshape(a, shape) for a in (self.running_mean, self.running_var))
            y = (x - mean) / xp.sqrt(var + self.eps)
        if self.weight is None:
            return y
        return y * xp.reshape(self.weight, shape) + xp.reshape(self.bias, shape)

    def _normalize(self, x: Array) -> Array:
        """Normalize by the statistics of the batch, and average them in training."""
        axes = (0, 2) if x.ndim == 3 else (0,)
        n = math.prod(x.shape[axis] for axis in axes)
        if n < 2:
            raise ValueError(
                "BatchNorm1d: expected more than one value per channel to take the variance of, "
                f"got an input of shape {tuple(x.shape)}; use larger batches, or model.eval()"
            )
        moments: list[tuple[Array, Array]] = []
        y = _standardize(x, axis=axes, eps=self.eps, note=moments.append)
        if self.training and self.running_mean is not None:
            xp = array_namespace(*moments[-1])
            mean, var = (xp.reshape(moment, (-1,)) for moment in moments[-1])
            self.num_batches_tracked = self.num_batches_tracked + 1
            part: Any = self.momentum
            if part is None:
                count = self.num_batches_tracked
                part = 1 / array_namespace(count).astype(count, x.dtype)
            self.running_mean = self.running_mean * (1 - part) + part * mean
            self.running_var = self.running_var * (1 - part) + part * (n / (n - 1)) * var
        return y

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        settings = {
            "eps": (self.eps, 1e-5),
            "momentum": (self.momentum, 0.1),
            "affine": (self.affine, True),
            "track_running_stats": (self.track_running_stats, True),
        }
        return ", ".join([str(self.num_features), *_changed(settings)])


class LayerNorm(Lazy):
    """Give each sample mean 0 and variance 1 over its last axes, then scale and shift it.

    Parameters
    ----------
    normalized_shape : int, tuple of int or None
        Lengths of the last axes, which are normalized together; an int is the last axis alone,
        and None takes its length from the first batch, on whose library and device the arrays
        are made.
    eps : float, optional
        Is added to the variance.
    elementwise_affine : bool, optional
        Whether to scale and shift.
    bias : bool, optional
        Whether to shift.
    dtype : str or dtype, optional
        Of the parameters, and of the inputs that are accepted.
    device : str or device, optional
        By default the selected one.

    Attributes
    ----------
    weight : array, shape normalized_shape, or None
        What the elements are multiplied by, first 1.
    bias : array, shape normalized_shape, or None
        What is added, first 0.

    Raises
    ------
    ValueError
        If a length is not positive or there is none, or (when called) if the input does not end
        in these axes.
    TypeError
        If the input has another dtype than the parameters, or is of another library (when
        called).
    TracedArrayError
        If `normalized_shape` is None and the first batch comes inside of `xpnet.grad` (when
        called).

    Notes
    -----
    ``y = (x - mean) / sqrt(var + eps) * weight + bias``, with the mean squared deviation as
    ``var``, taken in two passes.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv:1607.06450, 2016,
       equation 4.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.nn.LayerNorm(2, eps=0.0)(xn.asarray([[1.0, 3.0], [10.0, 30.0]]))
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    width = "normalized_shape"
    weight: Array | None
    bias: Array | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...] | None,
        eps: float = 1e-5,
        *,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: DType | str = "float32",
        device: Device | None = None,
    ) -> None:
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        if normalized_shape is not None and not min(normalized_shape, default=0) > 0:
            raise ValueError(
                "LayerNorm: normalized_shape must be one or more positive lengths, got "
                f"{normalized_shape}"
            )
        self.normalized_shape = None if normalized_shape is None else tuple(normalized_shape)
        self.eps = float(eps)
        self.elementwise_affine = elementwise_affine
        self._has_bias = elementwise_affine and bias
        names = {"weight": elementwise_affine, "bias": self._has_bias}
        roles = {name: PARAMETER for name, wanted in names.items() if wanted}
        self.weight = self.bias = None
        self.start(roles, None, dtype, device)

    def make(
        self,
        width: tuple[int, ...],
        rng: Generator | None,
        dtype: DType | str,
        device: Device | None,
    ) -> None:
        """See `Lazy.make`."""
        if self.elementwise_affine:
            self.weight = Parameter(init.ones(width, dtype=dtype, device=device))
        if self._has_bias:
            self.bias = Parameter(init.zeros(width, dtype=dtype, device=device))

    def width_of(self, state: Mapping[str, Array]) -> Any:
        """See `Lazy.width_of`."""
        return tuple(state["weight"].shape)

    def forward(self, x: Array) -> Array:
        """Normalize an array of shape (..., *normalized_shape)."""
        array_namespace(x, self.weight)  # raises if they are of two libraries
        if self.normalized_shape is None and x.ndim:
            self.take_width(x, tuple(x.shape[-1:]))
        width = self.normalized_shape or ()
        if not width or tuple(x.shape[-len(width) :]) != width:
            lengths = ", ".join(map(str, width)) or "features"
            raise ValueError(
                f"LayerNorm: expected an input of shape (..., {lengths}), got {tuple(x.shape)}"
            )
        if self.weight is not None:
            check_dtype("LayerNorm", x, self.weight)
        y = _standardize(x, axis=tuple(range(-len(width), 0)), eps=self.eps)
        y = y if self.weight is None else y * self.weight
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """See `Module.extra_repr`."""
        settings = {
            "eps": (self.eps, 1e-5),
            "elementwise_affine": (self.elementwise_affine, True),
            "bias": (self._has_bias, self.elementwise_affine),
        }
        return ", ".join([str(self.normalized_shape), *_changed(settings)])


@custom_gradient
def _standardize(
    x: Array,
    *,
    axis: tuple[int, ...],
    eps: float,
    note: Callable[[tuple[Array, Array]], None] | None = None,
) -> tuple[Array, Callable[[Array], Array]]:
    """Return ``y = (x - mean) / sqrt(var + eps)``, and tell `note` mean and variance.

    With ``s = sqrt(var + eps)`` its gradient is ``(g - mean(g) - y mean(g y)) / s``.
    """
    xp = array_namespace(x)

    def mean(values: Array) -> Array:
        return xp.mean(values, axis=axis, keepdims=True)

    center = mean(x)
    deviation = x - center
    var = mean(deviation * deviation)
    s = xp.sqrt(var + eps)
    y = deviation / s
    if note is not None:
        note((center, var))  # once for each level of `grad`, ordinary arrays last
    return y, lambda grad: (grad - mean(grad) - y * mean(grad * y)) / s


def _changed(settings: dict[str, tuple[Any, Any]]) -> list[str]:
    """Return the settings that are not the default, as they are written in a call."""
    return [f"{name}={value}" for name, (value, default) in settings.items() if value != default]
