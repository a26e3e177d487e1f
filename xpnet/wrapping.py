"""An Array API namespace over another one: the mechanism that autodiff and recording share.

A transformation brings two things: a subclass of `WrappedArray`, and a function that, for each
function of the standard, returns what is to be called in its place. Everything else, the array
object with its operators and attributes and the namespace with its constants, is made here.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, NoReturn

from xpnet._typing import Array, Device, DType, Namespace
from xpnet.errors import TracedArrayError
from xpnet.standard import CONSTANTS, DTYPES, FUNCTIONS, OPERATORS

__all__ = ["WrappedArray", "WrappedNamespace", "wrap_namespace"]

_REFLECTED = (
    *("add", "and", "floordiv", "lshift", "matmul", "mod", "mul"),
    *("or", "pow", "rshift", "sub", "truediv", "xor"),
)


class WrappedArray:
    """An array that answers to a wrapped namespace and holds an array of the one below.

    It has the attributes and operators of the standard's array object and no other methods.
    Library functions that would silently make something else of it (NumPy would build an array
    of Python objects) raise instead and name the cure.
    """

    __slots__ = ("value",)
    __array_ufunc__ = None  # NumPy's operators then leave the operation to ours
    __hash__ = None  # type: ignore[assignment]
    namespace: Namespace  # set on the subclass that `wrap_namespace` makes

    value: Array

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
        return self.value.device

    @property
    def T(self) -> Array:  # noqa: N802 - the standard's name
        """The transpose of a matrix."""
        if self.ndim != 2:
            raise ValueError(
                f".T takes 2-D arrays, got shape {tuple(self.shape)}; use xp.permute_dims"
            )
        return self.namespace.matrix_transpose(self)

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

    def __getattr__(self, name: str) -> NoReturn:
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
        name = getattr(function, "__name__", str(function))
        raise TracedArrayError(
            f"{name} of {function.__module__} was called on a {self.namespace.__name__} array, "
            f"which it would not differentiate. Call xp.{name} with xp = xn.array_namespace(x)"
        )

    def __dlpack__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.__array__()

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TracedArrayError(
            f"x[...] = value on a {self.namespace.__name__} array: it cannot be written to, "
            "because the operations before it still need it. Use xp.where(mask, value, x), or "
            "build the pieces and join them with xp.concat or xp.stack"
        )

    def _refuse_in_place(self, other: Any) -> NoReturn:
        raise TracedArrayError(
            f"in-place operator on a {self.namespace.__name__} array: it cannot be written to, "
            "because the operations before it still need it. Write x = x + y instead of x += y"
        )


for _name in _REFLECTED:
    setattr(WrappedArray, f"__i{_name}__", WrappedArray._refuse_in_place)


class WrappedNamespace:
    """The functions, constants and dtypes of the standard, over the namespace below."""

    wrapped_namespace: Namespace
    array: type[Any]  # the class of its arrays

    def __init__(self, base: Namespace, name: str) -> None:
        self.wrapped_namespace = base
        self.__name__ = name
        for constant in (*CONSTANTS, *DTYPES):
            if hasattr(base, constant):
                setattr(self, constant, getattr(base, constant))

    def __repr__(self) -> str:
        return f"<namespace {self.__name__}>"

    def __getattr__(self, name: str) -> Any:
        if name in FUNCTIONS:
            raise AttributeError(f"{self.wrapped_namespace.__name__} has no function {name!r}")
        raise AttributeError(
            f"{self.__name__} has no {name!r}: it has the main functions of the Array API "
            "standard, and only those run on every library"
        )


Maker = Callable[[WrappedNamespace, type, str, Callable[..., Any]], Callable[..., Any]]


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
        the promotion rules of the library's own operators.

    Returns
    -------
    WrappedNamespace
        Its arrays are of the class ``namespace.array``.
    """
    namespace = WrappedNamespace(base, name)
    cls = type(array_type.__name__, (array_type,), {"__slots__": (), "namespace": namespace})
    cls.__module__ = array_type.__module__
    namespace.array = cls
    for method, function in OPERATORS.items():
        setattr(cls, method, make(namespace, cls, function, getattr(operator, method)))
    for stem in _REFLECTED:
        setattr(cls, f"__r{stem}__", _reflect(getattr(cls, f"__{stem}__")))
    setattr(cls, "__getitem__", make(namespace, cls, "__getitem__", operator.getitem))  # noqa: B010
    for function in FUNCTIONS:
        if hasattr(base, function):
            made = make(namespace, cls, function, getattr(base, function))
            made.__name__ = made.__qualname__ = function
            setattr(namespace, function, made)
    if hasattr(base, "__array_namespace_info__"):
        vars(namespace)["__array_namespace_info__"] = base.__array_namespace_info__
    return namespace


def _reflect(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda self, other: operation(other, self)
