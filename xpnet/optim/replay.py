"""Updates that run as one program, also without `xpnet.compile`.

An update that comes again is recorded, each parameter's on copies of its arrays that live no
longer than that; from then on the backend's engine does all parameters in one run, in place where
the library allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from xpnet import tree
from xpnet._typing import Array
from xpnet.aliasing import OUTSIDE, overwritten
from xpnet.autodiff.tape import is_differentiating
from xpnet.backend import Backend, owner
from xpnet.namespace import array_namespace, is_array
from xpnet.optim.groups import Group, spread
from xpnet.program.host import OutdatedError, recorder
from xpnet.program.signature import signature, state_of
from xpnet.scatter import copy
from xpnet.state import Slot

if TYPE_CHECKING:
    from xpnet.nn.module import Module
    from xpnet.optim.optimizer import Optimizer
    from xpnet.program.program import Program

__all__ = ["Replay", "recordable"]

F = TypeVar("F", bound=Callable[..., Any])

_AT_MOST = 8  # so many settings are remembered, with the programs for them


def recordable(step_parameter: F) -> F:
    """Let the updates of an optimizer run as one program when they come again.

    A decorator for the method `Optimizer.step_parameter` of one's own optimizer. It promises that
    what the method computes depends on its arguments and on settings alone, and that it changes
    nothing but `state` and the parameter: Python runs it for the first updates only. A method that
    overrides another one makes its own promise.

    Parameters
    ----------
    step_parameter : function
        The method.

    Returns
    -------
    function
        The same one.

    Examples
    --------
    >>> from xpnet import optim
    >>> class Descent(optim.Optimizer):
    ...     @optim.recordable
    ...     def step_parameter(self, parameter, grad, state, numbers):
    ...         parameter -= numbers["rate"] * grad
    ...         return parameter
    """
    vars(step_parameter)["recordable"] = True
    return step_parameter


class Replay:
    """The programs of one optimizer, and the arrays that they read and change."""

    def __init__(self) -> None:
        self._states: tuple[Any, Any] = (None, None)  # of the optimizer and the model
        self._programs: dict[Any, dict[Any, _Update | int]] = {}

    def run(self, optimizer: Optimizer, model: Module, grads: Mapping[str, Array]) -> bool:
        """Do an update by its program, if there is one; all that `update` checks then fits."""
        if optimizer._is_of_another(model) or not (self._programs and _is_recordable(optimizer)):
            return False
        updates, kinds = self._known(optimizer, model), _kinds(grads)
        update = updates.get(kinds)
        if not isinstance(update, _Update):
            return False
        state = [slots[0].array for slots in self._groups]
        given = [grads[name] for name in self._names]
        if overwritten(given, state) is not None:
            return False  # it is written to while it is read, which the library takes care of
        counted = self._states[0].hosted()
        try:
            numbers = tree.leaves(optimizer._count(update.groups))
            outputs = update.function(*state, *given, *numbers)
        except OutdatedError:
            del updates[kinds]
            return False
        except BaseException:
            for members, before in counted:
                members.update(before)
            raise
        for place, array in zip(update.written, outputs, strict=True):
            for slot in self._groups[place]:
                slot.put(array)
        return True

    def note(
        self,
        optimizer: Optimizer,
        model: Module,
        grads: Mapping[str, Array],
        groups: list[Group],
        shared: list[dict[str, float]],
    ) -> None:
        """Take note of an update that was done as it is written; record it when that pays."""
        backend = owner(type(next(iter(grads.values()), None)))
        after = None if backend is None else backend.replay_after(integers=False)
        if backend is None or after is None or not _is_recordable(optimizer):
            return
        updates, kinds = self._known(optimizer, model), _kinds(grads)
        count = updates.get(kinds, 0)
        if isinstance(count, int) and count < after:
            updates[kinds] = count + 1
            if count + 1 == after:
                program = self._record(optimizer, grads, groups, shared)
                if _keeps_kinds(program):
                    updates[kinds] = _Update(program, backend, groups)

    def _known(self, optimizer: Optimizer, model: Module) -> dict[Any, _Update | int]:
        """Return the programs for the settings and the parameters as they are now."""
        states = state_of(optimizer), state_of(model)
        if states != self._states:
            from xpnet.optim.optimizer import trainable  # which needs this module

            self._states = states
            self._tied = trainable(model)
            self._names = list(self._tied)
            self._groups: list[list[Slot]] = [
                slots
                for name, tied in self._tied.items()
                for slots in (tied, *([slot] for slot in optimizer._moment_slots(name)))
            ]
            kinds = [signature(slots[0].array, "") for slots in self._groups]
            if len(self._programs) >= _AT_MOST:
                self._programs.clear()
            self._updates = self._programs.setdefault(
                (states[0].key, tuple(self._names), tuple(kinds)), {}
            )
        return self._updates

    def _record(
        self,
        optimizer: Optimizer,
        grads: Mapping[str, Array],
        groups: list[Group],
        shared: list[dict[str, float]],
    ) -> Program:
        """Record an update with the numbers of the one that was done."""
        from xpnet.program.clean import clean
        from xpnet.program.program import Program
        from xpnet.program.record import Recording

        inputs, state, updates = [], [], []
        with Recording(array_namespace(*grads.values())) as recording:

            def lift(array: Array) -> Array:
                state.append(recording.place(array))
                return recording.array(copy(array), state[-1])

            numbers = spread(self._names, groups, recording.note_host(lambda: shared))
            for name, own in numbers.items():
                grad = recording.wrap(grads[name])
                grad.group = OUTSIDE  # the caller's: it is not written to
                inputs.append(grad.place)
                parameter = lift(self._tied[name][0].array)
                moments = {slot.key: lift(slot.array) for slot in optimizer._moment_slots(name)}
                after = [optimizer._step(parameter, grad, moments, own), *moments.values()]
                updates += [recording.reference(array).place for array in after]
        return clean(Program.of(recording, state, inputs, [], updates))


class _Update:
    """A program that updates all parameters, in groups that share their numbers."""

    def __init__(self, program: Program, backend: Backend, groups: list[Group]) -> None:
        from xpnet.program.source import print_program

        self.function = (backend.engine(program) or print_program(program)).function()
        pairs = zip(program.state, program.updates, strict=True)
        self.groups = groups
        self.written = [n for n, (old, new) in enumerate(pairs) if old != new]


def _is_recordable(optimizer: Optimizer) -> bool:
    """Tell whether updates may be recorded, and nothing else records or differentiates them."""
    promised = getattr(optimizer.step_parameter, "recordable", False)
    return promised and recorder.get() is None and not is_differentiating()


def _kinds(grads: Mapping[str, Array]) -> Any:
    """Return what gradients have in common for which one program will do."""
    return signature(grads, "") if all(map(is_array, grads.values())) else None


def _keeps_kinds(program: Program) -> bool:
    """Tell whether the state stays what it is: NumPy makes scalars of what is 0-d."""
    kinds, pairs = program.kinds, zip(program.state, program.updates, strict=True)
    return all(kinds[old][:4] == kinds[new][:4] for old, new in pairs)
