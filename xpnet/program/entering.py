"""The state of a call while it is recorded: arrays that record in its place, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from xpnet.errors import CompileError
from xpnet.namespace import is_array
from xpnet.program.containers import Container, containers, members, put_back, settings
from xpnet.program.record import RecordedArray, Recording
from xpnet.program.state import State
from xpnet.random.generator import watched
from xpnet.state import Slot, Stateful, changes, living

__all__ = ["Entered"]

_CONSTANTS = (bool, int, float, complex, str, type(None))


class Entered:
    """A recording that is under way, with the state of the call in it.

    A context manager: if the step raises, everything is as it was before, counters and random
    generators included; else the state has its new values.

    Attributes
    ----------
    updates : dict from int to int
        For the place of each of the state's arrays, that of what is there afterwards; found by
        `leave`.
    draws : dict from Generator to int
        The random generators that were used, and how many draws each had made before.
    assigned : list of (dict or list, key, value)
        What else than arrays the step has changed; found by `leave`.
    """

    def __init__(self, recording: Recording, statefuls: Iterable[Stateful]) -> None:
        self.recording = recording
        self.statefuls = list(statefuls)
        self._before = {
            id(each): (each, [(c, members(c)) for c in containers(each)])
            for each in (*living, *self.statefuls)
        }
        ours = {id(c) for c in self._ours()}
        for each, found in self._before.values():
            if id(vars(each)) not in ours:
                recording.strangers[id(each)] = each
                others = (then.values() for c, then in found if id(c) not in ours)
                arrays = (x for values in others for x in values if is_array(x))
                recording.strangers.update(dict.fromkeys(map(id, arrays), each))
        self.updates: dict[int, int] = {}
        self.assigned: list[tuple[Container, Any, Any]] = []
        self.succeeded = False

    def __enter__(self) -> Self:
        self.recording.__enter__()
        self._watched = watched()
        self.draws = self._watched.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.recording.__exit__()
        self._watched.__exit__(kind, error, traceback)
        if not self.succeeded:
            self.undo()
            return
        for c in self._ours():
            for key, x in members(c).items():
                if self._is_recorded(x):
                    c[key] = x.value

    def undo(self) -> None:
        """Put everything back as it was before the step."""
        ours = {id(c) for c in self._ours()}
        for each, before in self._before.values():
            # Those of other threads go on meanwhile, and are left alone.
            if id(vars(each)) in ours or self._leaks(each, ours):
                for container, then in before:
                    put_back(container, then)
        changes.count += 1
        for generator, count in self.draws.items():
            generator.draws = count

    def lift(self, state: State) -> None:
        """Put arrays that record where the state's arrays are."""
        self._state = state
        self._settings = self._all_settings()
        for group in state.groups:
            self.recording.enter(group)

    def leave(self) -> bool:
        """Find out what the step has changed; tell whether a program can do the same.

        Raises
        ------
        CompileError
            If an array was stored where a recorded program would not renew it.
        """
        ours = {id(c) for c in self._ours()}
        for each, _ in self._before.values():
            if id(vars(each)) not in ours and self._leaks(each, ours):
                raise CompileError(
                    f"xn.compile: the step stored an array in a {type(each).__name__} that is none "
                    "of its arguments; pass it as an argument"
                )
        after = State(self.statefuls)
        for c in self._ours():
            for key, x in members(c).items():
                if self._is_recorded(x) and not after.has(c, key):
                    raise CompileError(
                        f"xn.compile: the step stored an array in {key!r} of a module or "
                        "optimizer, which a recorded program would not renew; make it an "
                        "nn.Buffer, or return it"
                    )
        slots = self.recording.state
        if after.slot_keys() != slots.keys():
            return False  # the first totals of a metric, say: the next call is another one
        now = self._all_settings()
        for number, (c, before) in self._settings.items():
            found = now[number][1] if number in now else {}
            if not before.keys() <= found.keys():
                return False
            for key, x in found.items():
                made = isinstance(x, dict) and all((id(x), name) in slots for name in x)
                if key not in before and made:
                    continue  # where the step keeps the arrays that it has made
                if x is not before.get(key, self):
                    if key not in before or type(x) not in _CONSTANTS:
                        return False
                    self.assigned.append((c, key, x))
        for group in after.groups:
            for slot in group:
                place = slots[id(slot.owner), slot.key]
                update = self.recording.reference(slot.array).place
                if self.updates.setdefault(place, update) != update:
                    return False  # no longer tied
        self._check_ties()
        return True

    def _check_ties(self) -> None:
        """Refuse to change an array that is tied to one which a program would not renew."""
        for place, update in self.updates.items():
            other = self.recording.strangers.get(id(self.recording.initial[place]))
            if other is not None and update != place:
                raise CompileError(
                    "xn.compile: the step changes an array that is tied to one of a "
                    f"{type(other).__name__} that is none of its arguments; pass it as an argument"
                )

    def changes(self, slot: Slot) -> bool:
        """Tell whether the step changes an array of the state."""
        place = self.recording.state[id(slot.owner), slot.key]
        return self.updates[place] != place

    def found(self) -> State:
        """Return the state as it was, with the arrays that the step has made for it."""
        if not self.recording.grown:
            return self._state
        for c, key, _ in self.assigned:
            c[key] = self._settings[id(c)][1][key]
        state = State(self.statefuls)
        for c, key, x in self.assigned:
            c[key] = x
            changes.count += 1
        return state

    def _all_settings(self) -> dict[int, tuple[Container, dict[Any, Any]]]:
        return {id(found[0]): found for each in self.statefuls for found in settings(each)}

    def _ours(self) -> Iterator[Container]:
        for each in self.statefuls:
            yield from containers(each)

    def _is_recorded(self, x: Any) -> bool:
        return isinstance(x, RecordedArray) and x.recording is self.recording

    def _leaks(self, each: Stateful, ours: set[int]) -> bool:
        """Tell whether arrays of the recording are in a module or optimizer, past what is ours."""
        others = (members(c).values() for c in containers(each) if id(c) not in ours)
        return any(self._is_recorded(x) for values in others for x in values)
