"""Rules for the `fft` extension: transforms are linear, so a gradient goes through the transposed.

The matrix of a discrete Fourier transform is symmetric: transposed, not conjugated, it is the same
transform again. Cutting an axis transposes to padding it with zeros, and the other way about.
Between real and complex arrays a half spectrum stands for a whole one: all its elements count
twice but the one of frequency 0 and, for an even length, the last.
"""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Namespace
from xpnet.autodiff.rules.tables import one
from xpnet.namespace import device_of

__all__ = ["resize"]

# The transform back under this norm scales as the transform under the other one does.
_BACK = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def resize(xp: Namespace, x: Array, n: int, axis: int = -1) -> Array:
    """Cut `x` along an axis to length `n`, or pad it with zeros at its end."""
    axis %= x.ndim
    missing = n - x.shape[axis]
    if missing > 0:
        shape = (*x.shape[:axis], missing, *x.shape[axis + 1 :])
        return xp.concat([x, xp.zeros(shape, dtype=x.dtype, device=device_of(x))], axis=axis)
    return x if missing == 0 else x[(slice(None),) * axis + (slice(0, n), ...)]


# One axis.


@one()
def fft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d fft(x) = F dx with F^T = F."""
    return resize(xp, xp.fft.fft(grad, axis=axis, norm=norm), x.shape[axis], axis)


@one()
def ifft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d ifft(x) = F^-1 dx with F^-T = F^-1."""
    return resize(xp, xp.fft.ifft(grad, axis=axis, norm=norm), x.shape[axis], axis)


@one()
def rfft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d rfft(x) = half of F dx; x gets Re(F^T g), which is irfft(conj(g) / 2), edges not halved."""
    n = x.shape[axis] if n is None else n
    half = xp.conj(grad) / _counts(xp, grad, n, axis, x.dtype)
    return resize(xp, xp.fft.irfft(half, n=n, axis=axis, norm=_BACK[norm]), x.shape[axis], axis)


@one()
def irfft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d irfft(x) = Re(F^-1 dx), both halves of dx; x gets 2 conj(rfft(g)), edges not doubled."""
    half = xp.conj(xp.fft.rfft(grad, axis=axis, norm=_BACK[norm]))
    half = half * _counts(xp, half, grad.shape[axis], axis, grad.dtype)
    return resize(xp, half, x.shape[axis], axis)


@one()
def hfft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d hfft(x) = d irfft(conj(x)), scaled like a transform forth."""
    return xp.conj(irfft(xp, grad, out, x, n=n, axis=axis, norm=_BACK[norm]))


@one()
def ihfft(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    n: int | None = None,
    axis: int = -1,
    norm: str = "backward",
) -> Array:
    """d ihfft(x) = conj(d rfft(x)), scaled like a transform back."""
    return rfft(xp, xp.conj(grad), out, x, n=n, axis=axis, norm=_BACK[norm])


def _counts(xp: Namespace, half: Array, n: int, axis: int, dtype: Any) -> Array:
    """Return how often each element of a half spectrum stands in the whole one of length `n`."""
    k = xp.arange(half.shape[axis], device=device_of(half))
    counts = 2 - xp.astype((k == 0) | (2 * k == n), dtype)
    return xp.reshape(counts, (-1, *(1,) * (half.ndim - 1 - axis % half.ndim)))


# Several axes.


@one()
def fftn(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    s: Any = None,
    axes: Any = None,
    norm: str = "backward",
) -> Array:
    """d fftn(x) = F dx with F^T = F."""
    return _transposed(xp, xp.fft.fftn, grad, x.shape, _axes(x.ndim, s, axes), norm)


@one()
def ifftn(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    s: Any = None,
    axes: Any = None,
    norm: str = "backward",
) -> Array:
    """d ifftn(x) = F^-1 dx with F^-T = F^-1."""
    return _transposed(xp, xp.fft.ifftn, grad, x.shape, _axes(x.ndim, s, axes), norm)


@one()
def rfftn(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    s: Any = None,
    axes: Any = None,
    norm: str = "backward",
) -> Array:
    """d rfftn(x) = d fftn(rfft(x)), the real transform along the last of the axes."""
    *others, last = _axes(x.ndim, s, axes)
    grad = _transposed(xp, xp.fft.fftn, grad, x.shape, others, norm)
    return rfft(xp, grad, out, x, n=None if s is None else s[-1], axis=last, norm=norm)


@one()
def irfftn(
    xp: Namespace,
    grad: Array,
    out: Array,
    x: Array,
    /,
    *,
    s: Any = None,
    axes: Any = None,
    norm: str = "backward",
) -> Array:
    """d irfftn(x) = d irfft(ifftn(x)), the real transform along the last of the axes."""
    *others, last = _axes(x.ndim, s, axes)
    grad = irfft(xp, grad, out, x, axis=last, norm=norm)
    return _transposed(xp, xp.fft.ifftn, grad, x.shape, others, norm)


def _axes(ndim: int, s: Any, axes: Any) -> list[int]:
    """Return the axes to transform: all, or as many of the last as `s` has lengths."""
    if axes is not None:
        return list(axes)
    return list(range(-(ndim if s is None else len(s)), 0))


def _transposed(
    xp: Namespace, transform: Any, grad: Array, shape: tuple[int, ...], axes: list[int], norm: str
) -> Array:
    """Transform `grad` along `axes` and fit these to `shape`."""
    if not axes:
        return grad
    grad = transform(grad, axes=tuple(axes), norm=norm)
    for axis in axes:
        grad = resize(xp, grad, shape[axis], axis)
    return grad


# The order of the frequencies.


@one()
def fftshift(xp: Namespace, grad: Array, out: Array, x: Array, /, *, axes: Any = None) -> Array:
    """d fftshift(x) = fftshift(dx)."""
    return xp.fft.ifftshift(grad, axes=axes)


@one()
def ifftshift(xp: Namespace, grad: Array, out: Array, x: Array, /, *, axes: Any = None) -> Array:
    """d ifftshift(x) = ifftshift(dx)."""
    return xp.fft.fftshift(grad, axes=axes)
