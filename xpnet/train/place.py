"""Data are brought to where the model is."""

from __future__ import annotations

from xpnet._typing import Array
from xpnet.namespace import array_namespace, dtype_kind, is_array
from xpnet.nn import Module
from xpnet.transfer import asarray, data_only, narrow, put_like, to_host

__all__ = ["place"]


def place(array: Array, model: Module) -> Array:
    """Return an array on the library and device of a model, real numbers in its dtype.

    A model without arrays has none: then it is the selected library, and float32.

    Raises
    ------
    TypeError
        If it is no array.
    """
    if not is_array(array):
        raise TypeError(
            f"Trainer: expected arrays, got {type(array).__name__}; make one with xn.asarray"
        )
    slots = (slot for _, module in model.modules() for slot in module.own_slots())
    arrays = (slot.array for slot in slots if slot.array is not None)  # a lazy layer has None yet
    like = next(filter(dtype_kind, arrays), None)
    if like is None:
        return asarray(array, dtype="float32" if dtype_kind(array) else None)
    xp = array_namespace(like)
    if array_namespace(array) is not xp or array.device != like.device:
        array = put_like(narrow(to_host(array), like), like)
    array = data_only(array)
    return xp.astype(array, like.dtype, copy=False) if dtype_kind(array) else array
