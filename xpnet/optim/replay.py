"""Updates that run as one program, also without `xpnet.compile`.

An update that comes again is recorded, each parameter's on copies of its arrays that live no
longer than that; from then on the backend's engine does all parameters in one run, in place where
the library allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import starmap
from operator import getitem
from typing import TYPE_CHECKING, Any

from xpnet import tree
from xpnet._typing import Array
from xpnet.aliasing import OUTSIDE, overwritten
from xpnet.autodiff.tape import is_differentiating
from xpnet.backend import Backend, owner
from xpnet.namespace import array_namespace
from xpnet.nn.module import Module
from xpnet.optim.groups import Group, spread
from xpnet.optim.parameters import trainable
from xpnet.optim.rule import UpdateRule, moment_slots, update_parameter
from xpnet.program.arguments import Arguments
from xpnet.program.host import OutdatedError, recorder
from xpnet.program.keys import array_key
from xpnet.program.state import state_of
from xpnet.scatter import copy
from xpnet.state import Slot

if TYPE_CHECKING:
    from xpnet.program.program import Program

__all__ = ["Replay"]

_AT_MOST = 8  # so many settings are remembered, with the programs for them


class Replay:
    """The programs of one optimizer, and the arrays that they read and change."""

    def __init__(self) -> None:
        self._states: tuple[Any, Any] = (None, None)  # of the optimizer and the model
        self._updates: dict[Any, _Update] = {}

    def run(
        self,
        optimizer: UpdateRule,
        model: Module,
        grads: Mapping[str, Array],
        count: Callable[[list[Group]], list[dict[str, float]]],
    ) -> bool:
        """Do an update by its program, if there is one; all that `update` checks then fits.

        What is counted, and the numbers of the groups, come from `count`.
        """
        if not (self._updates and _is_recordable(optimizer)):
            return False
        update = self._known(optimizer, model)
        given = list(map(grads.get, self._names))
        if update.function is None or not self._fits(given, grads):
            return False
        state = list(starmap(getitem, self._read))
        if overwritten(given, state) is not None:
            return False  # it is written to while it is read, which the library takes care of
        counters = self._states[0].hosted
        before = [members.copy() for members in counters]
        try:
            numbers = tree.leaves(count(update.groups))
            outputs = update.function(*state, *given, *numbers)
        except OutdatedError:
            update.forget()
            return False
        except BaseException:
            for members, count in zip(counters, before, strict=True):
                members.update(count)
            raise
        for n, array in zip(update.written, outputs, strict=True):
            for slot in self._slots[n]:
                slot.owner[slot.key] = array
        return True

    def note(
        self,
        optimizer: UpdateRule,
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
        update = self._known(optimizer, model)
        if update.seen < after and self._fits([grads[name] for name in self._names], grads):
            update.seen += 1
            if update.seen == after:
                update.take(self._record(optimizer, grads, groups, shared), backend, groups)

    def _fits(self, given: list[Any], grads: Mapping[str, Array]) -> bool:
        """Tell whether the gradients of the parameters are arrays like them, and there are all."""
        return len(given) == len(grads) and self._parameters.are_like(given)

    def _known(self, optimizer: UpdateRule, model: Module) -> _Update:
        """Return what is known of updates with the settings and parameters as they are now."""
        states = state_of(optimizer), state_of(model)
        if states != self._states:
            self._states = None, None  # until all of the following is theirs
            self._tied = trainable(model)
            self._names = list(self._tied)
            self._slots: list[list[Slot]] = [
                slots
                for name, tied in self._tied.items()
                for slots in (tied, *([slot] for slot in moment_slots(optimizer, name)))
            ]
            self._read = [(slots[0].owner, slots[0].key) for slots in self._slots]
            self._parameters = Arguments([tied[0].array for tied in self._tied.values()], "")
            kinds = tuple(array_key(slots[0].array) for slots in self._slots)
            if len(self._updates) >= _AT_MOST:
                self._updates.clear()
            key = states[0].key, tuple(self._names), kinds
            self._update = self._updates.setdefault(key, _Update())
            self._states = states
        return self._update

    def _record(
        self,
        optimizer: UpdateRule,
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
                state.append(recording.add(array))
                return recording.array(copy(array), state[-1])

            numbers = spread(self._names, groups, recording.note_host(lambda: shared))
            for name, own in numbers.items():
                grad = recording.wrap(grads[name])
                grad.group = OUTSIDE  # the caller's: it is not written to
                inputs.append(grad.place)
                parameter = lift(self._tied[name][0].array)
                moments = {slot.key: lift(slot.array) for slot in moment_slots(optimizer, name)}
                after = [
                    update_parameter(optimizer, parameter, grad, moments, own),
                    *moments.values(),
                ]
                updates += [recording.reference(array).place for array in after]
        return clean(Program.of(recording, state, inputs, [], updates))


class _Update:
    """An update that comes again, and the program that does it, if there is one."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start anew."""
        self.seen = 0
        self.function: Callable[..., Any] | None = None

    def take(self, program: Program, backend: Backend, groups: list[Group]) -> None:
        """Do it by a program from now on, whose parameters share their numbers in groups."""
        from xpnet.program.source import print_program

        self.groups = groups
        pairs = zip(program.state, program.updates, strict=True)
        self.written = [n for n, (old, new) in enumerate(pairs) if old != new]
        if _keeps_kinds(program):
            self.function = (backend.engine(program) or print_program(program)).function()


def _is_recordable(optimizer: UpdateRule) -> bool:
    """Tell whether updates may be recorded, and nothing else records or differentiates them."""
    promised = getattr(optimizer.step_parameter, "recordable", False)
    return promised and recorder.get() is None and not is_differentiating()


def _keeps_kinds(program: Program) -> bool:
    """Tell whether the state stays what it is: NumPy makes scalars of what is 0-d."""
    kinds, pairs = program.kinds, zip(program.state, program.updates, strict=True)
    return all(kinds[old][:4] == kinds[new][:4] for old, new in pairs)
