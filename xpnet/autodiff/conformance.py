"""The differentiable namespace by itself, to be tested like any library of the standard."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

from xpnet._typing import Namespace
from xpnet.autodiff.rules import RULES, Composed
from xpnet.autodiff.tape import Tape, TracedArray, backward, traced_namespace
from xpnet.autodiff.wrappers import make
from xpnet.errors import MissingRuleError
from xpnet.namespace import dtype_kind
from xpnet.wrapping import WrappedNamespace, wrap_namespace

__all__ = ["namespace"]


def namespace(base: Namespace, *, leaves: bool = False) -> WrappedNamespace:
    """Return the differentiable namespace over a namespace of the standard.

    Inside of `xpnet.grad` code gets it from ``xn.array_namespace``. By itself it serves to run
    conformance tests against it, such as `array-api-tests`_.

    Parameters
    ----------
    base : namespace
        An array library as the standard describes it, such as ``array_api_compat.numpy``.
    leaves : bool, optional
        By default arrays are constants. Else each floating-point array is differentiated: after
        every call the rule is run once, with ones, and the shape, dtype and device of its
        gradients are compared with those of the arguments. ``float(x)`` is allowed then.

    Returns
    -------
    WrappedNamespace
        Functions that create arrays return arrays of this namespace.

    Raises
    ------
    AssertionError
        With `leaves`, by a call whose rule gives a gradient of a wrong shape, dtype or device.

    References
    ----------
    .. _array-api-tests: https://github.com/data-apis/array-api-tests

    Examples
    --------
    >>> import xpnet as xn
    >>> xp = xn.autodiff.namespace(xn.get_backend("numpy").namespace())
    >>> xp.linspace(0.0, 1.0, 3)
    traced(array([0. , 0.5, 1. ]))
    """
    return _checking_namespace(base) if leaves else traced_namespace(base)


@functools.cache
def _checking_namespace(base: Namespace) -> WrappedNamespace:
    return wrap_namespace(base, Leaf, f"traced leaves({base.__name__})", make_checked)


class Leaf(TracedArray):
    """An array that is being differentiated, but only ever through one function."""

    __slots__ = ()

    def _refuse_number(self, name: str) -> None:
        """Allow it: there is no gradient to lose."""


TAPE = Tape(1)


def make_checked(
    namespace: WrappedNamespace, cls: type[Any], name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Wrap as `make` does, and check the rule at every call."""
    call = make(namespace, cls, name, function)
    composed = isinstance(RULES.get(name), Composed)  # of functions that are checked themselves

    def checked(*args: Any, **options: Any) -> Any:
        given = {id(x): x for x in _arrays(cls, (args, options)) if x.tape is TAPE}
        operands = list(given.values())
        TAPE[:] = [None] * len(operands)
        for index, x in enumerate(operands):
            x.index = index
        out = call(*args, **options)
        results = [x for x in _arrays(cls, out) if id(x) not in given]
        if not composed:
            _check(name, operands, [x for x in results if x.tape is TAPE])
        for x in results:
            if dtype_kind(x):
                x.tape = TAPE
        return out

    return checked


def _check(name: str, operands: list[Leaf], results: list[Leaf]) -> None:
    """Run the rule on ones and compare what comes out with the operands."""
    seeds = [(x, x.namespace.wrapped_namespace.ones_like(x.value)) for x in results]
    try:
        gradients = backward(TAPE, seeds, len(operands))
    except MissingRuleError:
        return
    for x, gradient in zip(operands, gradients, strict=False):
        if gradient is None:
            continue
        for what in ("shape", "dtype", "device"):
            expected, given = getattr(x, what), getattr(gradient, what)
            if expected != given:
                raise AssertionError(
                    f"the rule of xp.{name} gives a gradient of {what} {given} for an argument of "
                    f"{what} {expected}"
                )


def _arrays(cls: type[Any], x: Any) -> Iterator[Any]:
    """Yield the arrays of a namespace that nested lists, tuples and dicts hold."""
    if type(x) is cls:
        yield x
    elif isinstance(x, (list, tuple, dict)):
        for member in x.values() if isinstance(x, dict) else x:
            yield from _arrays(cls, member)
