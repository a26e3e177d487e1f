"""The question that array code starts with: which namespace do these arrays answer to."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from xpnet.backend import discover, owner
from xpnet.errors import MixedArraysError

if TYPE_CHECKING:
    from xpnet._typing import Array, Device, DType, Namespace

__all__ = [
    "COMPLEX",
    "REAL",
    "array_namespace",
    "device_of",
    "dtype_kind",
    "has_dtype",
    "is_array",
    "one_library",
    "one_place",
]

_SCALAR = None  # passed over: it has no namespace and needs none
_NO_ARRAY = object()
_known: dict[type, Namespace] = dict.fromkeys([bool, int, float, complex, type(None)], _SCALAR)


def array_namespace(*arrays: Array | complex | None) -> Namespace:
    """Return the namespace whose functions take these arrays.

    Use it as the first line of a function that is to run on any array library, and to be
    differentiable: inside `xpnet.grad` the arrays answer to the differentiable namespace.

    Parameters
    ----------
    *arrays : array, Python scalar or None
        Arrays of one library. Scalars and None are passed over.

    Returns
    -------
    namespace
        The array library as the Array API standard describes it; where some of the arrays are
        traced, the namespace that traces.

    Raises
    ------
    TypeError
        If there is no array among the arguments, or something else than an array.
    MixedArraysError
        If there are arrays of two libraries.

    Examples
    --------
    >>> import xpnet as xn
    >>> x = xn.asarray([3.0, 4.0])
    >>> xp = xn.array_namespace(x)
    >>> float(xp.sqrt(xp.sum(x**2)))
    5.0
    """
    namespace = None
    for array in arrays:
        found = _lookup(array)
        if found is namespace or found is _SCALAR:
            continue
        if found is _NO_ARRAY:
            raise TypeError(
                f"array_namespace: expected arrays, got {type(array).__name__}; "
                "make an array of it first, for example with xn.asarray"
            )
        namespace = found if namespace is None else _outer(namespace, found)
    if namespace is None:
        given = ", ".join(type(array).__name__ for array in arrays) or "nothing"
        raise TypeError(f"array_namespace: expected at least one array, got {given}")
    return namespace


def one_library(where: str, *arrays: Array) -> Namespace:
    """Return the namespace of arrays; the error for others says who was given them."""
    try:
        return array_namespace(*arrays)
    except MixedArraysError as error:
        raise MixedArraysError(str(error), where=where) from None
    except TypeError as error:
        raise TypeError(str(error).replace("array_namespace", where, 1)) from None


def one_place(where: str, *arrays: Array) -> Namespace:
    """Return the namespace of arrays that are to meet: of one library, and on one device.

    `array_namespace` does not look at devices, since every layer of every step would wait half as
    long again for it. This is for arrays that come from outside, and for finding out why something
    has failed. Devices that the library itself combines are as good as one.

    Raises
    ------
    TypeError
        If they are no arrays.
    MixedArraysError
        If they are of two libraries, or on two devices.
    """
    xp = one_library(where, *arrays)
    first, *others = arrays
    for other in others:
        if device_of(other) != device_of(first):
            _check_devices(where, _bare(first), _bare(other))
    return xp


def device_of(x: Array) -> Device | None:
    """Return the device of an array, None if that is not known, as while a library records."""
    return getattr(x, "device", None)


def _check_devices(where: str, first: Array, other: Array) -> None:
    """Raise an error if the library does not combine arrays of one element of these devices."""
    xp = array_namespace(first)
    one, two = (xp.reshape(xp.any(x == x), (1,)) for x in (first, other))
    try:
        one & two
    except Exception as error:  # each library has its own
        names, cure = [str(device_of(x)) for x in (first, other)], ""
        backend = owner(type(first))
        if backend is not None:
            names = [backend.device_name(x.device) for x in (first, other)]
            cure = f", for example by xn.asarray(x) under xn.use_backend{(backend.name, names[0])}"
        raise MixedArraysError(
            f"arrays on two devices: {names[0]} and {names[1]}; bring them to one device "
            f"first{cure}",
            where=where,
        ) from error


def _bare(x: Array) -> Array:
    """Return the array of a library that a traced array holds."""
    while owner(type(x)) is None and hasattr(type(x), "value"):
        x = x.value
    return x


def is_array(x: object) -> bool:
    """Tell whether `x` is an array of any library, traced or not."""
    found = _lookup(x)
    return found is not _SCALAR and found is not _NO_ARRAY


REAL = "real floating"
COMPLEX = "complex floating"
_has: dict[tuple[type, DType, str], bool] = {}


def has_dtype(x: Array, kind: str) -> bool:
    """Tell whether the dtype of an array is of a kind that `isdtype` knows, but faster."""
    key = type(x), x.dtype, kind  # dtypes of two libraries may warn when they are compared
    try:
        return _has[key]
    except KeyError:
        return _has.setdefault(key, bool(array_namespace(x).isdtype(x.dtype, kind)))


def dtype_kind(x: Array) -> str:
    """Return ``"real floating"``, ``"complex floating"`` or ``""`` for the dtype of an array."""
    return REAL if has_dtype(x, REAL) else COMPLEX if has_dtype(x, COMPLEX) else ""


def _lookup(x: object) -> Namespace:
    kind = type(x)
    try:
        return _known[kind]
    except KeyError:
        pass
    backend = owner(kind)
    if backend is not None:
        found = backend.namespace()
    elif not isinstance(x, type) and hasattr(kind, "__array_namespace__"):
        found = x.__array_namespace__()  # type: ignore[attr-defined]
        if found in [sys.modules.get(backend.package) for backend in discover().values()]:
            found = _NO_ARRAY  # a class of a library that its backend does not take
    else:
        found = _NO_ARRAY
    _known[kind] = found
    return found


def _outer(a: Namespace, b: Namespace) -> Namespace:
    """Return the one of two namespaces that is wrapped around the other."""
    if _wraps(a, b):
        return a
    if _wraps(b, a):
        return b
    raise MixedArraysError(
        f"arrays of two libraries: {_name(a)} and {_name(b)}; "
        "bring them to one library first, for example with xn.asarray"
    )


def _wraps(outer: Namespace, inner: Namespace) -> bool:
    while outer is not None and outer is not inner:
        outer = getattr(outer, "wrapped_namespace", None)
    return outer is inner


def _name(namespace: Namespace) -> str:
    """Return what users call an array library."""
    if hasattr(namespace, "wrapped_namespace"):
        return f"{_name(namespace.wrapped_namespace)} (traced)"
    for backend in discover().values():
        if backend.package in sys.modules and backend.namespace() is namespace:
            return backend.title
    return getattr(namespace, "__name__", repr(namespace))
