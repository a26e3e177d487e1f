"""Arrays into the selected library, and back to host memory."""

from __future__ import annotations

from typing import Any

from xpnet._typing import Array, Device, DType, HostArray
from xpnet.autodiff.tape import CONSTANT, TracedArray, raw
from xpnet.backend import Backend, host, owner, selection
from xpnet.namespace import array_namespace, device_of, dtype_kind, has_dtype
from xpnet.scatter import copy
from xpnet.standard import DTYPES
from xpnet.wrapping import WrappedArray

__all__ = ["asarray", "copy_like", "data_only", "narrow", "native", "put_like", "to_host"]

_HOST_MEMORY = (1, 3)  # DLPack's numbers for it and for what is pinned there


def asarray(
    x: Any, /, *, dtype: DType | str | None = None, device: Device | str | None = None
) -> Array:
    """Return `x` as an array of the selected library, on the selected device.

    Parameters
    ----------
    x : array of any library, number, or nested list of numbers
        Or anything else that gives its elements away, by ``__array__`` as data frames do, by
        DLPack, ``__cuda_array_interface__`` or Python's buffers. An array of the selected library
        that has the device and dtype already is returned itself, unless its bytes are in another
        order than the machine's; everything else is copied.
    dtype : str or dtype, optional
        By default what has a dtype keeps it, and numbers become float32, int64 or bool.
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

    Notes
    -----
    What moves between libraries goes through host memory. What another library has recorded for
    its own gradients stays behind.

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
    found = owner(type(x))
    if found is None and _is_on_a_device(x):
        x, found = _taken(x, backend), backend
    if found is not backend:
        array = _on_host(x)
        if isinstance(dtype, str) and dtype in DTYPES:  # on the host, which has them all
            xp = host().namespace()
            array = xp.astype(array, getattr(xp, dtype), copy=False)
        x = backend.from_host(array, device=device)
    else:
        _check_numbers(x, x)
        x = native(x)
        if device is not None and device_of(x) not in (None, device):
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
    backend, array = owner(type(like)), native(array)
    if backend is not None:
        return backend.from_host(array, device=device_of(like))
    return array_namespace(like).asarray(array, device=device_of(like))


def copy_like(array: Array, like: Array) -> Array:
    """Copy an array of any library to the library, device and dtype of `like`."""
    xp = array_namespace(like)
    moves = array_namespace(array) is not xp or device_of(array) != device_of(like)
    array = put_like(narrow(to_host(array), like), like) if moves else copy(array)
    return xp.astype(array, like.dtype, copy=False)


def native(array: Array) -> Array:
    """Return an array of any library with the bytes of its elements in the machine's order."""
    if getattr(array.dtype, "isnative", True):  # only host memory knows another one
        return array
    return host().namespace().astype(array, array.dtype.newbyteorder("="))


def data_only(array: Array) -> Array:
    """Return an array as data to train on: `native`, and with nothing but its numbers.

    What its library records for gradients of its own stays behind: weights that have met it would
    keep all steps that have made them in memory.
    """
    backend = owner(type(array)) if getattr(array, "requires_grad", False) else None
    return native(array if backend is None else backend.copy(array))


def narrow(array: HostArray, like: Array) -> HostArray:
    """Return real numbers as float32 or, if `like` is wider, float64: devices may lack others."""
    xp = host().namespace()
    if not xp.isdtype(array.dtype, "real floating"):
        return array
    wide = dtype_kind(like) and array_namespace(like).finfo(like.dtype).bits > 32
    narrowed: HostArray = xp.astype(array, xp.float64 if wide else xp.float32, copy=False)
    return narrowed


def _is_on_a_device(x: Any) -> bool:
    """Tell whether something that is no array of a backend is in memory other than the host's."""
    if hasattr(type(x), "__dlpack_device__"):
        return x.__dlpack_device__()[0] not in _HOST_MEMORY
    return hasattr(type(x), "__cuda_array_interface__")


def _taken(x: Any, backend: Backend) -> Array:
    """Return a copy of what is in the memory of a device, which the library must reach."""
    xp = backend.namespace()
    try:
        array = xp.from_dlpack(x) if hasattr(type(x), "__dlpack__") else xp.asarray(x)
        _check_numbers(array, x)
    except Exception as error:  # each library has its own
        raise TypeError(
            f"xn.asarray: {backend.title} cannot read a {type(x).__name__}, which is in the memory "
            f"of a device ({error}); select a library of that device with xn.use_backend"
        ) from error
    return backend.copy(array)


def _on_host(x: Any) -> HostArray:
    """Return numbers, or an array of another library, in host memory."""
    xp = host().namespace()
    array = _untyped(x)
    _check_numbers(array, x)
    if not _has_dtype(x):
        if array.dtype == xp.float64:
            array = xp.astype(array, xp.float32)
        elif array.dtype == xp.complex128:
            array = xp.astype(array, xp.complex64)
    turned: HostArray = native(array)
    return turned


def _untyped(x: Any) -> HostArray:
    """Return whatever host memory makes of `x`."""
    xp = host().namespace()
    backend = owner(type(x))
    array: HostArray
    if hasattr(type(x), "filled"):
        raise TypeError(
            f"xn.asarray: expected an array without gaps, got a {type(x).__name__}, whose mask "
            "would be lost; fill them first, with x.filled(value)"
        )
    if backend is not None:
        try:
            return backend.to_host(x)
        except TypeError as error:  # such as bfloat16, which host memory does not have
            raise TypeError(
                f"xn.asarray: {error}; convert the {type(x).__name__} first, for example to float32"
            ) from error
    if hasattr(type(x), "__dlpack__") and not hasattr(type(x), "__array__"):
        array = xp.from_dlpack(x)
        return array
    try:
        array = xp.asarray(x)
    except ValueError as error:
        raise ValueError(f"xn.asarray: {error}") from error
    return array


def _has_dtype(x: Any) -> bool:
    """Tell whether something has a dtype of its own, which lists of numbers do not."""
    if any(hasattr(x, name) for name in ("__array__", "__array_interface__", "__dlpack__")):
        return True
    try:
        memoryview(x)
    except TypeError:
        return False
    return True


def _check_numbers(array: Array, given: Any) -> None:
    try:
        known = has_dtype(array, "numeric") or has_dtype(array, "bool")
    except TypeError:  # a dtype that another package has added to the library's
        known = False
    if not known:
        raise TypeError(
            "xn.asarray: expected an array, a data frame, a number or a nested list of numbers, "
            f"got {type(given).__name__} that would become an array of {array.dtype}; convert it "
            "first, for example to float32"
        )
