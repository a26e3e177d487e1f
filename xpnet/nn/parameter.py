"""Parameter and Buffer: marks of the arrays that belong to a module."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.namespace import REAL, has_dtype, is_array
from xpnet.state import BUFFER, PARAMETER, Role

__all__ = ["Buffer", "Parameter"]


class Parameter:
    """Marks an array that a module is to train: ``self.weight = nn.Parameter(array)``.

    The attribute then holds a plain array, a copy of this one.

    Parameters
    ----------
    array : array, real floating
        The initial value.

    Raises
    ------
    TypeError
        If it is not an array, or not a real floating-point one.

    Examples
    --------
    >>> import xpnet as xn
    >>> class Scale(xn.nn.Module):
    ...     def __init__(self):
    ...         self.factor = xn.nn.Parameter(xn.asarray([2.0]))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(xn.asarray([3.0]))
    array([6.], dtype=float32)
    """

    role: Role = PARAMETER

    def __init__(self, array: Array) -> None:
        if not is_array(array):
            raise TypeError(
                f"nn.{type(self).__name__}: expected an array, got {type(array).__name__}; "
                "make one with xn.asarray"
            )
        if self.role == PARAMETER and not has_dtype(array, REAL):
            raise TypeError(
                f"nn.Parameter: expected a real floating-point array, got dtype {array.dtype}; "
                "an array that is not trained is an nn.Buffer"
            )
        self.array = array


class Buffer(Parameter):
    """Marks an array that belongs to a module's state but is not trained, such as a statistic.

    Parameters
    ----------
    array : array
        The initial value.

    Raises
    ------
    TypeError
        If it is not an array.

    Examples
    --------
    >>> import xpnet as xn
    >>> class Counter(xn.nn.Module):
    ...     def __init__(self):
    ...         self.calls = xn.nn.Buffer(xn.asarray(0))
    ...     def forward(self, x):
    ...         self.calls = self.calls + 1
    ...         return x
    >>> counter = Counter()
    >>> _ = counter(xn.asarray([1.0])), counter(xn.asarray([1.0]))
    >>> int(counter.calls)
    2
    """

    role = BUFFER
