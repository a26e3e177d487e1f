"""Layers that take their width from the first batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

from xpnet._typing import Array, Device, DType
from xpnet.autodiff.tape import TracedArray
from xpnet.backend import owner, use_backend
from xpnet.errors import TracedArrayError
from xpnet.namespace import device_of
from xpnet.nn.module import Module
from xpnet.random import Generator
from xpnet.random.generator import chosen
from xpnet.state import Role, changes

__all__ = ["Lazy", "check_dtype"]


class Lazy(Module):
    """Base class of layers whose width may be None: it is then that of the first batch.

    A subclass calls `start` at the end of its constructor and `take_width` in ``forward``. Its
    arrays are made by `make`, at once or later, with the same numbers: a layer that waits has
    reserved its draws from the generator.

    Attributes
    ----------
    width : str
        The name of the attribute that holds the width.
    """

    width: str
    _recipe: tuple[Generator, DType | str, Device | None]

    def make(
        self, width: Any, rng: Generator | None, dtype: DType | str, device: Device | None
    ) -> None:
        """Make the parameters and buffers."""
        raise NotImplementedError(f"{type(self).__name__} defines no make")

    def width_of(self, state: Mapping[str, Array]) -> Any:
        """Return the width that arrays of a state tell, by their names in this layer.

        Raises
        ------
        LookupError
            If they do not tell.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no width_of")

    def start(
        self,
        roles: Mapping[str, Role],
        rng: Generator | None,
        dtype: DType | str,
        device: Device | None,
        *,
        draws: int = 0,
    ) -> None:
        """Make the arrays, or reserve the draws and the places for them."""
        width = getattr(self, self.width)
        if width is not None:
            self.make(width, rng, dtype, device)
            return
        rng = chosen(rng)
        self._recipe = rng.reserve(draws), dtype, device
        self._roles.update(roles)
        vars(self).update(dict.fromkeys(roles))
        changes.count += 1

    def take_width(self, x: Array, width: Any) -> None:
        """Make the arrays, for the first batch `x` of this width and where it is.

        Raises
        ------
        TracedArrayError
            If the first batch comes inside of ``xn.grad``, where its parameters would be no
            argument, or of a transformation of the library, which would keep them.
        TypeError
            If `x` is of a library without a backend.
        """
        name = type(self).__name__
        if isinstance(x, TracedArray) or device_of(x) is None:
            raise TracedArrayError(
                f"{name}: its parameters are made by the first batch, which must not come inside "
                "of xn.grad or a transformation of the library; call model(x) once before, or "
                "model.initialize(x)"
            )
        backend = owner(type(x))
        if backend is None:
            raise TypeError(
                f"{name}: expected an array of a library with a backend as the first batch, got "
                f"{type(x).__name__}; give the layer its {self.width}"
            )
        with use_backend(backend.name, x.device):
            self.make_now(width)

    def make_now(self, width: Any) -> None:
        """Make the arrays on the selected backend, as they would have been at the start.

        Raises
        ------
        ValueError
            If the width is 0.
        """
        if not math.prod((width,) if isinstance(width, int) else width):
            raise ValueError(f"{type(self).__name__}: the width must be positive, got {width}")
        rng, dtype, device = self._recipe
        attributes, roles = vars(self), dict(self._roles)
        before = dict(attributes)
        assigned = {key: before[key] for key in roles if before[key] is not None}
        attributes["_roles"] = {}
        try:
            self.make(width, copy.copy(rng), dtype, device)
        except BaseException:
            attributes.update(before)
            changes.count += 1
            raise
        # What was frozen, assigned or taken away meanwhile stays so.
        attributes.update(assigned, **{key: None for key in self._roles if key not in roles})
        attributes.update({"_roles": roles, self.width: width})
        changes.count += 1


def check_dtype(layer: str, x: Array, parameter: Array) -> None:
    """Raise a TypeError if an input has another dtype than a parameter; nothing is converted."""
    if x.dtype != parameter.dtype:
        raise TypeError(
            f"{layer}: the parameters have dtype {parameter.dtype}, the input has {x.dtype}; "
            "convert the input with xp.astype, or give the layer dtype="
        )
