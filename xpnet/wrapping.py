"""An Array API namespace over another one: the mechanism that autodiff and recording share.

A transformation brings two things: a subclass of `WrappedArray`, and a function that, for each
function of the standard, returns what is to be called in its place. Everything else, the array
object with its operators and attributes and the namespace with its constants, is made here.
"""

from __future__ import annotations

import functools
import math
import operator
import types
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from xpnet._typing import Array, Device, DType, Namespace
from xpnet.aliasing import OUTSIDE, Group, claim
from xpnet.errors import TracedArrayError
from xpnet.namespace import COMPLEX, REAL, array_namespace, device_of, dtype_kind
from xpnet.scatter import add_at, copy, set_at
from xpnet.standard import CONSTANTS, DTYPES, EXTENSIONS, FUNCTIONS, OPERATORS

__all__ = ["WrappedArray", "WrappedNamespace", "is_writable", "map_argument", "wrap_namespace"]

_SYMBOLS = {
    "add": "+",
    "and": "&",
    "floordiv": "//",
    "lshift": "<<",
    "matmul": "@",
    "mod": "%",
    "mul": "*",
    "or": "|",
    "pow": "**",
    "rshift": ">>",
    "sub": "-",
    "truediv": "/",
    "xor": "^",
}


_KINDS = ("", REAL, COMPLEX)  # which dtypes hold which


class WrappedArray:
    """An array that answers to a wrapped namespace and holds an array of the one below.

    It has the attributes and operators of the standard's array object and no other methods.
    Library functions that would silently make something else of it (NumPy would build an array
    of Python objects) raise instead and name the cure.
    """

    __slots__ = ("__weakref__", "group", "origin", "value")
    __array_ufunc__ = None  # NumPy's operators then leave the operation to ours
    __hash__ = None  # type: ignore[assignment]
    namespace: Namespace  # set on the subclass that `wrap_namespace` makes

    value: Array
    group: Group | None  # the arrays that share its memory, see `xpnet.aliasing`
    origin: Any  # of an item: the array, and the key

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.value.shape  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.value.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.value.shape)  # a method in some libraries

    @property
    def dtype(self) -> DType:
        """Kind of the elements."""
        return self.value.dtype

    @property
    def device(self) -> Device:
        """Where the elements are."""
        return device_of(self.value)

    @property
    def T(self) -> Array:  # noqa: N802 - the standard's name
        """The transpose of a matrix."""
        if self.value.ndim != 2:
            raise ValueError(
                f".T takes 2-D arrays, got shape {tuple(self.shape)}; use xp.permute_dims"
            )
        return self.wrapped_transpose()

    @property
    def mT(self) -> Array:  # noqa: N802 - the standard's name
        """The transpose of each matrix in a stack."""
        return self.namespace.matrix_transpose(self)

    def __array_namespace__(self, *, api_version: str | None = None) -> Namespace:
        return self.namespace

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d array")
        return self.shape[0]

    def __iter__(self) -> Any:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return iter(self.namespace.unstack(self))

    def __getattr__(self, name: str) -> Any:
        if name in ("group", "origin"):
            return None  # until they are set, which few are
        cure = f"; write xp.{name}(x)" if name in FUNCTIONS else ""
        raise AttributeError(
            f"{self.namespace.__name__} arrays have no attribute {name!r}: they have what the "
            f"Array API standard gives an array, with xp = xn.array_namespace(x){cure}"
        )

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TracedArrayError(
            f"a {self.namespace.__name__} array cannot become an ordinary array, which would lose "
            "its gradient. In code to be differentiated call functions of "
            "xp = xn.array_namespace(x); for the numbers alone, xn.to_host(xn.stop_gradient(x))"
        )

    def __array_function__(self, function: Any, *args: Any, **kwargs: Any) -> NoReturn:
        name, module = getattr(function, "__name__", str(function)), function.__module__
        extension = module.rpartition(".")[2]
        path = f"{extension}.{name}" if extension in EXTENSIONS else name
        raise TracedArrayError(
            f"{name} of {module} was called on a {self.namespace.__name__} array, "
            f"which it would not differentiate. Call xp.{path} with xp = xn.array_namespace(x)"
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        aliased = False
        if isinstance(value, WrappedArray):
            if value.origin is not None:
                base, at, *restore = value.origin
                if base is self and _same(at, key) and restore:  # the end of x[key] += y
                    restore[0]()
            if _KINDS.index(dtype_kind(value)) > _KINDS.index(dtype_kind(self)):
                raise TypeError(
                    f"x[...] = value: x has dtype {self.dtype}, which cannot hold a value of "
                    f"dtype {value.dtype}; convert it with xp.astype"
                )
            aliased = self.group is not None and value.group is self.group
        claim(self, "x[...] = value", but=value if aliased else None)
        out = self.wrapped_set_at(value, key)
        if aliased:  # a view of x: the library might show the write through it
            value._hide()
        self._become(out)

    def _become(self, other: Any) -> None:
        """Take over the value and the history of another array."""
        raise NotImplementedError

    def _hide(self) -> Callable[[], None]:
        """Put this array out of use; return what undoes it."""
        raise NotImplementedError


def _in_place(symbol: str, operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return the in-place form of an operator: the same object, with a new value.

    Where the library's own array cannot be written to (a NumPy scalar, any array of JAX), Python
    makes a new one, and so does this.
    """

    def update(self: Any, other: Any) -> Any:
        out = operation(self, other)
        if not is_writable(self):
            return out
        if out.shape != self.shape or out.dtype != self.dtype:
            raise TypeError(
                f"x {symbol}= y: x has shape {tuple(self.shape)} and dtype {self.dtype}, the "
                f"result {tuple(out.shape)} and {out.dtype}; write x = x {symbol} y"
            )
        if self.origin is not None:
            base, key, *restore = self.origin
            if base.group is OUTSIDE:
                claim(base, f"x[...] {symbol}= y")
            out.origin = (base, key, *restore) if restore else (base, key, base._hide())
            return out
        claim(self, f"x {symbol}= y")
        self._become(out)
        return self

    return update


def is_writable(x: Any) -> bool:
    """Tell whether the library's own array under a wrapped one has in-place operators."""
    while isinstance(x, WrappedArray):
        x = x.value
    return hasattr(type(x), "__iadd__")


def _same(at: Any, key: Any) -> bool:
    """Tell whether two keys are one; Python may make the slice of ``x[a:b] += y`` twice."""
    return at is key or (type(at) is slice and type(key) is slice and at == key)


Maker = Callable[["WrappedNamespace", type, str, Callable[..., Any]], Callable[..., Any]]


class WrappedNamespace:
    """The functions, constants and dtypes of the standard, over the namespace below.

    Made by `wrap_namespace`. Its arrays are of the class `array`.
    """

    def __init__(self, base: Namespace, array: type[Any], name: str, make: Maker) -> None:
        self.wrapped_namespace = base
        self.array = array
        self.__name__ = name
        self._make = make
        for constant in (*CONSTANTS, *DTYPES, "__array_api_version__", "__array_namespace_info__"):
            if hasattr(base, constant):
                setattr(self, constant, getattr(base, constant))
        self._fill(self, base, FUNCTIONS)

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}>"

    def __getattr__(self, name: str) -> Any:
        if name in EXTENSIONS:  # made when it is first asked for, since a library may have none
            extension = types.SimpleNamespace()
            base = getattr(self.wrapped_namespace, name)
            self._fill(extension, base, EXTENSIONS[name].split())
            setattr(self, name, extension)
            return extension
        if name in FUNCTIONS:
            raise AttributeError(f"{self.wrapped_namespace.__name__} has no function {name!r}")
        raise AttributeError(
            f"{self.__name__} has no {name!r}: it has the functions of the Array API standard, "
            "linalg and fft included, and only those run on every library"
        )

    def _fill(self, target: Any, base: Any, names: Iterable[str]) -> None:
        for name in names:
            if hasattr(base, name):
                setattr(target, name, self.wrap(name, getattr(base, name)))

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return what stands in for a function of the namespace below, documented like it."""
        made = self._make(self, self.array, name, function)
        functools.update_wrapper(made, function)
        made.__name__ = made.__qualname__ = name
        return made


def wrap_namespace(
    base: Namespace, array_type: type[WrappedArray], name: str, make: Maker
) -> WrappedNamespace:
    """Return a namespace over `base` whose arrays are of a new subclass of `array_type`.

    Parameters
    ----------
    base : namespace
        The namespace below.
    array_type : type
        A subclass of `WrappedArray` without operators.
    name : str
        What the namespace calls itself in messages.
    make : callable
        ``make(namespace, array_class, function_name, function)`` returns what stands in for
        `function` of the namespace below; operators come with their Python function, which keeps
        the promotion rules of the library's own operators. Besides the names of the standard it
        is asked for ``"getitem"``, ``"to_device"``, and ``"add_at"`` and ``"set_at"``, see
        `xpnet.scatter`.

    Returns
    -------
    WrappedNamespace
        Its arrays are of the class ``namespace.array``.
    """
    cls: Any = type(array_type.__name__, (array_type,), {"__slots__": ()})
    cls.__module__ = array_type.__module__
    namespace = cls.namespace = WrappedNamespace(base, cls, name, make)
    for method, function in OPERATORS.items():
        setattr(cls, method, namespace.wrap(function, getattr(operator, method)))
    for stem, symbol in _SYMBOLS.items():
        operation = getattr(cls, f"__{stem}__")
        setattr(cls, f"__r{stem}__", _reflect(operation))
        setattr(cls, f"__i{stem}__", _in_place(symbol, operation))
    cls.__getitem__ = namespace.wrap("getitem", operator.getitem)
    cls.wrapped_transpose = namespace.wrap("matrix_transpose", _transpose)
    cls.to_device = namespace.wrap("to_device", _to_device)
    cls.wrapped_add_at = namespace.wrap("add_at", _add_at)
    cls.wrapped_set_at = namespace.wrap("set_at", _set_at)
    return namespace


def _reflect(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, self)


def _to_device(x: Array, device: Device, /, *, stream: Any = None) -> Array:
    return array_namespace(x).asarray(x, device=device)  # a method that some libraries lack


def _transpose(x: Array) -> Array:
    return x.T  # of matrices, and much faster than the function of some libraries


def _add_at(x: Array, values: Array, positions: Array) -> Array:
    return add_at(copy(x), values, positions)  # the array below may be kept, or somebody else's


def _set_at(x: Array, values: Array, key: Any) -> Array:
    return set_at(copy(x), values, key)


def map_argument(function: Callable[[Any], Any], x: Any) -> Any:
    """Apply `function` to an argument, or to the members of lists and tuples of arguments."""
    if type(x) in (list, tuple):
        return type(x)([map_argument(function, member) for member in x])
    return function(x)
