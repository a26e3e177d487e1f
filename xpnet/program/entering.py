"""The state of a call while it is recorded: arrays that record in its place, and the way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from xpnet.errors import CompileError
from xpnet.namespace import is_array
from xpnet.program.host import recorder
from xpnet.program.record import RecordedArray, Recording
from xpnet.program.signature import State, dictionaries, settings
from xpnet.random.generator import watched
from xpnet.state import Stateful, changes, living

__all__ = ["Entered"]

_CONSTANTS = (bool, int, float, complex, str, type(None))


class Entered:
    """A recording that is under way, with the state of the call in it.

    A context manager: if the step raises, everything is as it was before, counters and random
    generators included; else the state has its new values.

    Attributes
    ----------
    places : list of int
        The places of the state's arrays.
    assigned : list of (dict, str, value)
        Attributes other than arrays that the step has changed; found by `leave`.
    """

    def __init__(self, recording: Recording, statefuls: Iterable[Stateful]) -> None:
        self.recording = recording
        self.statefuls = list(statefuls)
        self._before = {
            id(each): (each, [(d, dict(d)) for d in dictionaries(each)])
            for each in (*living, *self.statefuls)
        }
        ours = {id(d) for d in self._ours()}
        for each, found in self._before.values():
            if id(vars(each)) not in ours:
                recording.strangers[id(each)] = each
                arrays = (x for _, members in found for x in members.values() if is_array(x))
                recording.strangers.update(dict.fromkeys(map(id, arrays), each))
        self.places: list[int] = []
        self.assigned: list[tuple[dict[str, Any], str, Any]] = []
        self.succeeded = False

    def __enter__(self) -> Self:
        self._token = recorder.set(self.recording)
        self._watched = watched()
        self._draws = self._watched.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder.reset(self._token)
        self._watched.__exit__(kind, error, traceback)
        self.recording.closed = True
        if self.succeeded:
            for d in self._ours():
                d.update({key: x.value for key, x in d.items() if self._is_recorded(x)})
            return
        ours = {id(d) for d in self._ours()}
        for each, before in self._before.values():
            # Those of other threads go on meanwhile, and are left alone.
            if id(vars(each)) in ours or self._leaks(each):
                for d, members in before:
                    d.clear()
                    d.update(members)
        changes.count += 1
        for generator, count in self._draws.items():
            generator.draws = count

    def lift(self, state: State) -> None:
        """Put arrays that record where the state's arrays are."""
        self.state = state
        self._settings = self._all_settings()
        for group in state.groups:
            array = self.recording.wrap(group[0].array)
            self.places.append(array.place)
            for slot in group:
                slot.put(array)

    def leave(self) -> list[int] | None:
        """Return the place of what each group of slots holds now, or None if there are others.

        Raises
        ------
        CompileError
            If an array was stored where a recorded program would not renew it.
        """
        ours = {id(d) for d in self._ours()}
        for each, _ in self._before.values():
            if id(vars(each)) not in ours and self._leaks(each):
                raise CompileError(
                    f"xn.compile: the step stored an array in a {type(each).__name__} that is none "
                    "of its arguments; pass it as an argument"
                )
        after = State(self.statefuls)
        for d in self._ours():
            for key, x in d.items():
                if self._is_recorded(x) and not after.has(d, key):
                    raise CompileError(
                        f"xn.compile: the step stored an array in {key!r} of a module or "
                        "optimizer, which a recorded program would not renew; make it an "
                        "nn.Buffer, or return it"
                    )
        if set(after.places()) != set(self.state.places()):
            return None  # new moments, say: the next call is another one
        now = self._all_settings()
        for number, (d, before) in self._settings.items():
            if number not in now or now[number][1].keys() != before.keys():
                return None
            for key, x in now[number][1].items():
                if x is not before[key]:
                    if type(x) not in _CONSTANTS:
                        return None
                    self.assigned.append((d, key, x))
        for group in self.state.groups:
            if any(slot.array is not group[0].array for slot in group):
                return None  # no longer tied
        return [self.recording.reference(group[0].array).place for group in self.state.groups]

    def _all_settings(self) -> dict[int, tuple[dict[str, Any], dict[str, Any]]]:
        return {id(found[0]): found for each in self.statefuls for found in settings(each)}

    def _ours(self) -> Iterator[dict[str, Any]]:
        for each in self.statefuls:
            yield from dictionaries(each)

    def _is_recorded(self, x: Any) -> bool:
        return isinstance(x, RecordedArray) and x.recording is self.recording

    def _leaks(self, each: Stateful) -> bool:
        """Tell whether arrays of the recording are in a module or optimizer."""
        return any(self._is_recorded(x) for d in dictionaries(each) for x in d.values())
