"""Arrays into the selected library, and back to host memory."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Device, DType, HostArray
from xpnet.autodiff.tape import CONSTANT, TracedArray, raw
from xpnet.backend import host, owner, selection
from xpnet.namespace import array_namespace, dtype_kind, is_array
from xpnet.scatter import copy
from xpnet.standard import DTYPES
from xpnet.wrapping import WrappedArray

__all__ = ["asarray", "copy_like", "narrow", "put_like", "to_host"]


def asarray(
    x: Any, /, *, dtype: DType | str | None = None, device: Device | str | None = None
) -> Array:
    """Return `x` as an array of the selected library, on the selected device.

    Parameters
    ----------
    x : array of any library, number, or nested list of numbers
        Copied if it has to move between libraries or devices, or to change its dtype.
    dtype : str or dtype, optional
        By default an array keeps its own, and numbers become float32, int64 or bool.
    device : str or device, optional
        By default the selected one; see `use_backend`.

    Returns
    -------
    array
        Of the library that `use_backend` or ``XPNET_BACKEND`` selects, NumPy by default.

    Raises
    ------
    TypeError
        If `x` is something else, or is traced, or the library does not have the dtype.
    ValueError
        If the library has no dtype or device of that name, or a nested list is ragged.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.asarray([[1, 2], [3, 4]], dtype="float32")
    array([[1., 2.],
           [3., 4.]], dtype=float32)
    """
    backend, chosen = selection()
    if isinstance(device, str):
        device = backend.device(device)
    device = chosen if device is None else device
    if dtype is not None:
        backend.dtype(dtype)  # raises if the library cannot have it
    if isinstance(x, WrappedArray):
        raise TypeError("xn.asarray: a traced array stays in its library; use xp.asarray")
    if not is_array(x) or owner(type(x)) is not backend:
        array = _on_host(x)
        if isinstance(dtype, str) and dtype in DTYPES:  # on the host, which has them all
            xp = host().namespace()
            array = xp.astype(array, getattr(xp, dtype), copy=False)
        x = backend.from_host(array, device=device)
    elif device is not None and x.device != device:
        x = backend.from_host(backend.to_host(x), device=device)
    if dtype is None:
        return x
    return backend.namespace().astype(x, backend.dtype(dtype), copy=False)


def to_host(x: Array, /) -> HostArray:
    """Copy an array to host memory.

    Parameters
    ----------
    x : array of any library
        If its device is not the host, this waits until the device has computed it.

    Returns
    -------
    numpy.ndarray
        A new array that shares no memory with `x`.

    Raises
    ------
    TypeError
        If `x` is being differentiated or is no array of a known library.

    Examples
    --------
    >>> import xpnet as xn
    >>> type(xn.to_host(xn.asarray([1.0, 2.0]))).__name__
    'ndarray'
    """
    if isinstance(x, TracedArray) and x.tape is CONSTANT:
        x = raw(x)
    backend = owner(type(x))
    if backend is None:
        cure = "; to leave its gradient behind, pass xn.stop_gradient(x)"
        cure = cure if isinstance(x, TracedArray) else ""
        raise TypeError(f"to_host: expected an array, got {type(x).__name__}{cure}")
    return backend.to_host(x)


def put_like(array: HostArray, like: Array) -> Array:
    """Copy a host array to the library and device of `like`; an unknown library makes its own."""
    backend = owner(type(like))
    if backend is not None:
        return backend.from_host(array, device=like.device)
    return array_namespace(like).asarray(array, device=like.device)


def copy_like(array: Array, like: Array) -> Array:
    """Copy an array of any library to the library, device and dtype of `like`."""
    xp = array_namespace(like)
    moves = array_namespace(array) is not xp or array.device != like.device
    array = put_like(narrow(to_host(array), like), like) if moves else copy(array)
    return xp.astype(array, like.dtype, copy=False)


def narrow(array: HostArray, like: Array) -> HostArray:
    """Return real numbers as float32 or, if `like` is wider, float64: devices may lack others."""
    xp = host().namespace()
    if not xp.isdtype(array.dtype, "real floating"):
        return array
    wide = dtype_kind(like) and array_namespace(like).finfo(like.dtype).bits > 32
    narrowed: HostArray = xp.astype(array, xp.float64 if wide else xp.float32, copy=False)
    return narrowed


def _on_host(x: Any) -> HostArray:
    """Return numbers, or an array of another library, in host memory."""
    xp = host().namespace()
    if is_array(x):
        array: HostArray = to_host(x) if owner(type(x)) is not None else xp.from_dlpack(x)
        return array
    try:
        array = xp.asarray(x)
    except ValueError as error:
        raise ValueError(f"xn.asarray: {error}") from error
    if not xp.isdtype(array.dtype, ("bool", "numeric")):
        raise TypeError(
            "xn.asarray: expected an array, a number or a nested list of numbers, got "
            f"{type(x).__name__} that would become an array of {array.dtype}"
        )
    if array.dtype == xp.float64:
        array = xp.astype(array, xp.float32)
    elif array.dtype == xp.complex128:
        array = xp.astype(array, xp.complex64)
    return array
