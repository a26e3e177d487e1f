"""Module: the base class of layers and models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from xpnet import tree
from xpnet._typing import Array, Tree
from xpnet.autodiff import stop_gradient
from xpnet.autodiff.tape import TracedArray, raw
from xpnet.errors import MixedArraysError, TracedArrayError
from xpnet.namespace import is_array, one_place
from xpnet.nn.filling import fill
from xpnet.nn.modes import evaluating, undisturbed
from xpnet.nn.parameter import Parameter
from xpnet.nn.repr import module_repr
from xpnet.nn.summary import Summary, summarize
from xpnet.nn.waiting import widths_from
from xpnet.program.host import note_use
from xpnet.scatter import copy
from xpnet.state import (
    BUFFER,
    FROZEN,
    PARAMETER,
    Role,
    Slot,
    Stateful,
    changes,
)

__all__ = ["Module"]

# What libraries raise for arrays of others, or on two devices.
_REFUSALS = (TypeError, ValueError, RuntimeError)


class Module(Stateful):
    """Base class of layers and models: a function of arrays that owns arrays.

    A subclass assigns `Parameter`, `Buffer` and other modules (or lists, tuples and dicts of
    modules) to attributes, in ``__init__``, and computes in ``forward``. Names of parameters are
    dotted paths of attributes, as in PyTorch.

    Attributes
    ----------
    training : bool
        Whether layers that behave differently in training, such as `Dropout`, do so.

    Notes
    -----
    A module owns its arrays: they are copied when they are assigned or loaded, and an optimizer
    may write into them. An array read from a module is valid until the next update; copy it, or
    take `state_dict`, to keep it. For the same reason ``a.weight = b.weight`` makes a copy; two
    parameters that are to stay one are tied with `tie`.
    """

    training: bool
    _roles: dict[str, Role]
    counted = frozenset({"_roles"})

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make room for the state, so that subclasses need no ``super().__init__()``."""
        self = super().__new__(cls)
        vars(self).update(_roles={}, training=True)
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._roles[name] = value.role
            changes.count += 1
            value = copy(value.array)
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Parameter) for v in value):
            raise TypeError(
                f"{type(self).__name__}.{name}: a list of parameters is not tracked; give each an "
                "attribute of its own, or put them into modules"
            )
        elif name in self._roles:
            if not is_array(value):
                del self._roles[name]
            elif self._roles[name] == BUFFER:
                # Written inside a function that is being differentiated: its gradient ends here.
                lifted = isinstance(vars(self).get(name), TracedArray)
                value = stop_gradient(value) if lifted else copy(raw(value))
            elif isinstance(value, TracedArray) or isinstance(vars(self).get(name), TracedArray):
                raise TracedArrayError(
                    f"{type(self).__name__}.{name}: a parameter was written to inside xn.grad, "
                    "which would be undone; update it afterwards, or make it an nn.Buffer"
                )
            else:
                value = copy(Parameter(value).array)
        alike = self._roles.get(name) == BUFFER and _are_alike(vars(self).get(name), value)
        object.__setattr__(self, name, value)
        if not alike:
            changes.count += 1

    def __delattr__(self, name: str) -> None:
        changes.count += 1
        self._roles.pop(name, None)
        object.__delattr__(self, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output with `forward`."""
        note_use(self)
        try:
            return self.forward(*args, **kwargs)
        except _REFUSALS as error:
            self._explain(error, (args, kwargs))
            raise

    def _explain(self, error: Exception, given: Tree) -> None:
        """Raise what says so if a call failed since arrays are of two libraries or devices."""
        own = [slot.array for slot in self.own_slots()]
        arrays = list(filter(is_array, (*own, *tree.leaves(given))))
        if not arrays or (isinstance(error, MixedArraysError) and error.where):
            return
        try:
            one_place(type(self).__name__, *arrays)
        except MixedArraysError as mixed:
            raise mixed from error

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the output; what calling the module does."""
        raise NotImplementedError(f"{type(self).__name__} defines no forward(self, x)")

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield the modules directly below this one.

        Yields
        ------
        tuple of str and Module
            Its name (``attribute``, or ``attribute.key`` in a list, tuple or dict) and itself.
        """
        for name, value in vars(self).items():
            yield from _modules_in(name, value)

    def modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each once, with dotted names.

        Parameters
        ----------
        prefix : str, optional
            What all names start with.

        Yields
        ------
        tuple of str and Module
            This module comes first.
        """
        yield from self._modules(prefix, set())

    def _modules(self, name: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield name, self
        for key, child in self.children():
            yield from child._modules(f"{name}.{key}" if name else key, seen)

    def slots(self, prefix: str = "") -> Iterator[Slot]:
        """See `xpnet.state.Stateful.slots`.

        Raises
        ------
        ValueError
            If there are layers whose arrays are made by the first batch, and it has not come.
        """
        waiting = []
        for path, module in self.modules(prefix):
            if module.is_waiting():
                waiting.append(f"{path} ({type(module).__name__})" if path else "itself")
            else:
                yield from module.own_slots(path)
        if waiting:
            raise ValueError(
                f"{type(self).__name__}: these layers take their width from the first batch and "
                f"have no arrays before: {', '.join(waiting)}; call model(x) once, or "
                "model.initialize(x)"
            )

    def own_slots(self, path: str = "") -> Iterator[Slot]:
        """Yield the slots of this one module.

        Parameters
        ----------
        path : str, optional
            The module's dotted name.

        Yields
        ------
        Slot
            One for each parameter and buffer.
        """
        for key, role in self._roles.items():
            yield Slot(f"{path}.{key}" if path else key, vars(self), key, role)

    def is_waiting(self) -> bool:
        """Tell whether the arrays of this one module are yet to be made by the first batch."""
        return any(vars(self)[key] is None for key in self._roles)

    def parameters(self, *, trainable_only: bool = False) -> dict[str, Array]:
        """Return the parameters by dotted name.

        Parameters
        ----------
        trainable_only : bool, optional
            Whether to leave out frozen ones.

        Returns
        -------
        dict from str to array
            The arrays themselves, valid until the next update.
        """
        roles = (PARAMETER,) if trainable_only else (PARAMETER, FROZEN)
        return {slot.name: slot.array for slot in self.slots() if slot.role in roles}

    def buffers(self) -> dict[str, Array]:
        """Return the buffers by dotted name.

        Returns
        -------
        dict from str to array
            The arrays themselves.
        """
        return {slot.name: slot.array for slot in self.slots() if slot.role == BUFFER}

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters and buffers by dotted name.

        Returns
        -------
        dict from str to array
            Later updates do not change them.
        """
        return {slot.name: copy(slot.array) for slot in self.slots()}

    def load_state_dict(self, state: Mapping[str, Array]) -> None:
        """Replace all parameters and buffers by copies of those in `state`.

        Parameters
        ----------
        state : mapping from str to array
            Arrays of any library; they take on the library, device and dtype of those they
            replace. Layers that wait for the first batch take their width from here.

        Raises
        ------
        ValueError
            If names are missing or unknown, or shapes or kinds of dtype differ. All that is
            wrong is listed, and nothing is changed.
        TracedArrayError
            Inside of a function that differentiates this model, or is compiled for it.
        """
        with widths_from(self, state):
            fill(f"{type(self).__name__}.load_state_dict", list(self.slots()), state)

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training, or to evaluation.

        Parameters
        ----------
        mode : bool, optional
            False is `eval`.

        Returns
        -------
        Module
            Itself.
        """
        for _, module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch this module and all below it to evaluation.

        Returns
        -------
        Module
            Itself.
        """
        return self.train(False)

    def freeze(self) -> Self:
        """Hold the parameters of this module and all below it fixed.

        Returns
        -------
        Module
            Itself.
        """
        return self._replace_role(PARAMETER, FROZEN)

    def unfreeze(self) -> Self:
        """Let the parameters of this module and all below it be trained again.

        Returns
        -------
        Module
            Itself.
        """
        return self._replace_role(FROZEN, PARAMETER)

    def _replace_role(self, old: Role, new: Role) -> Self:
        for _, module in self.modules():
            roles = module._roles
            roles.update({key: new for key, role in roles.items() if role == old})
        changes.count += 1
        return self

    def initialize(self, *args: Any) -> Self:
        """Let layers that take their width from the first batch do so.

        This is one forward pass in evaluation mode, after which modes, buffers and random
        generators are as they were. Where no layer waits, nothing happens.

        Parameters
        ----------
        *args
            What the model is called with: a batch, of which only shape and place count.

        Returns
        -------
        Module
            Itself.

        Examples
        --------
        >>> import xpnet as xn
        >>> model = xn.nn.Linear(None, 10)
        >>> model.initialize(xn.asarray([[1.0, 2.0]])).weight.shape
        (10, 2)
        """
        if any(module.is_waiting() for _, module in self.modules()):
            with undisturbed(self), evaluating(self):
                self(*args)
        return self

    def summary(self, *example_inputs: Any) -> Summary:
        """Return a table of all modules: type, shape of the output, number of parameters.

        Parameters
        ----------
        *example_inputs
            What the model is called with, once, in evaluation mode, to find the shapes; the model
            is as before afterwards. Without them, this column is left out.

        Returns
        -------
        str
            Shown as it is at the prompt; elsewhere print it.

        Examples
        --------
        >>> import xpnet as xn
        >>> from xpnet import nn
        >>> model = nn.Sequential(nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10).freeze())
        >>> model.summary(xn.random.Generator(0).normal((32, 784)))
        Sequential
        name  type    output shape  parameters
        ----  ------  ------------  ----------
        0     Linear  (32, 16)          12,560
        1     ReLU    (32, 16)
        2     Linear  (32, 10)             170  frozen
        <BLANKLINE>
        trainable parameters  12,560  49.1 KiB
        frozen parameters        170  680 B
        buffers                    0  0 B
        """
        return summarize(self, *example_inputs)

    def tie(self, first: str, *others: str) -> Self:
        """Make several parameters one, which is trained with the sum of their gradients.

        Parameters
        ----------
        first : str
            Dotted name of the parameter whose array is kept.
        *others : str
            Dotted names of those that become the same array.

        Returns
        -------
        Module
            Itself.

        Raises
        ------
        KeyError
            If there is no parameter of that name.
        ValueError
            If the shapes differ.
        TypeError
            If the dtypes differ.

        Examples
        --------
        >>> from xpnet import nn
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).tie("0.weight", "1.weight")
        >>> model[0].weight is model[1].weight
        True
        """
        slots = {slot.name: slot for slot in self.slots() if slot.role != BUFFER}
        for name in (first, *others):
            if name not in slots:
                raise KeyError(f"{type(self).__name__}.tie: no parameter is called {name!r}")
            expected, given = tuple(slots[first].array.shape), tuple(slots[name].array.shape)
            if given != expected:
                raise ValueError(
                    f"{type(self).__name__}.tie: {first} has shape {expected}, {name} has {given}"
                )
            dtype, other = slots[first].array.dtype, slots[name].array.dtype
            if other != dtype:
                raise TypeError(
                    f"{type(self).__name__}.tie: {first} has dtype {dtype}, {name} has {other}; "
                    "give both layers the same dtype="
                )
        for name in others:
            slots[name].put(slots[first].array)
        changes.count += 1
        return self

    def extra_repr(self) -> str:
        """Return what the repr shows of the settings of this one module."""
        return ""

    def __repr__(self) -> str:
        return module_repr(self)


def _modules_in(name: str, value: Any) -> Iterator[tuple[str, Module]]:
    """Yield the modules in an attribute: itself, or the members of a list, tuple or dict."""
    if isinstance(value, Module):
        yield name, value
    elif isinstance(value, (list, tuple, dict)):
        members = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in members:
            yield from _modules_in(f"{name}.{key}", member)


def _are_alike(before: Any, after: Any) -> bool:
    """Tell whether a buffer keeps its shape and dtype."""
    return is_array(before) and (before.shape, before.dtype) == (after.shape, after.dtype)
