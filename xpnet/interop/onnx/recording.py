"""Recording what a model calls for one batch, and where in the user's code it calls it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any, NamedTuple, NoReturn

from xpnet import tree
from xpnet._typing import Array
from xpnet.aliasing import OUTSIDE
from xpnet.errors import CompileError, ExportError
from xpnet.namespace import array_namespace, is_array
from xpnet.nn import Module
from xpnet.program.entering import Entered
from xpnet.program.entry import Var
from xpnet.program.lines import caller
from xpnet.program.record import Recording
from xpnet.program.state import State

__all__ = ["Mark", "MarkedRecording", "Recorded", "record", "refuse"]


class Mark(NamedTuple):
    """Where a call comes from: a line of the user's, and the dotted name of a module."""

    line: str
    module: str


class MarkedRecording(Recording):
    """A recording that knows where each entry comes from."""

    def __init__(self, base: Any, model: Module) -> None:
        super().__init__(base)
        self._paths = {id(module): path for path, module in model.modules()}
        self.marks: list[Mark] = []

    def note(self, *args: Any) -> Any:
        """See `Recording.note`."""
        result = super().note(*args)
        if len(self.entries) > len(self.marks):
            self.marks.append(Mark(caller(), self._module()))
        return result

    def note_use(self, user: Any) -> None:
        """See `Recording.note_use`."""
        if id(user) in self.strangers:
            kind = type(self.strangers[id(user)]).__name__
            refuse(
                caller(),
                f"a {kind} is used that is no part of the model",
                "make it an attribute of one",
            )

    def _module(self) -> str:
        """Return the dotted name of the module whose call is the innermost."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            if frame.f_code is Module.__call__.__code__:
                return self._paths.get(id(frame.f_locals["self"]), "")
            frame = frame.f_back
        return ""


class Recorded(NamedTuple):
    """What one batch has shown."""

    recording: MarkedRecording
    inputs: list[int]
    results: Any
    names: dict[int, str]


def record(model: Module, inputs: list[Array], batch: int) -> Recorded:
    """Record a model for one batch; its state is put back."""
    arrays = [*inputs, *(slot.array for slot in model.slots())]
    recording = MarkedRecording(array_namespace(*arrays), model)
    try:
        with Entered(recording, [model]) as entered:  # which puts the state back
            state = State([model])
            entered.lift(state)
            given = [recording.wrap(x) for x in inputs]
            for x in given:
                x.group = OUTSIDE  # not to be written to
            results = tree.map(lambda leaf: _result(recording, leaf), model(*given))
            if not tree.leaves(results):
                raise ExportError("onnx.export: expected a model that returns arrays, got none")
            names = {
                recording.state[id(slots[0].owner), slots[0].key]: slots[0].name
                for slots in state.groups
            }
    except CompileError as error:
        raise ExportError(str(error).replace("xn.compile:", "onnx.export:", 1)) from error
    except Exception as error:
        error.add_note(f"while onnx.export called the model with a batch of {batch}")
        raise
    return Recorded(recording, [x.place for x in given], results, names)


def _result(recording: Recording, leaf: Any) -> Var:
    if not is_array(leaf):
        raise ExportError(
            f"onnx.export: expected a model that returns arrays, in lists, tuples and dicts; got "
            f"{type(leaf).__name__}"
        )
    return recording.reference(leaf)  # type: ignore[no-any-return]


def refuse(line: str, what: str, cure: str = "do the same for each batch") -> NoReturn:
    """Raise for what a graph cannot do, naming the line of the user's code."""
    raise ExportError(
        f"onnx.export: {what}, at {line}; a graph is one list of calls for any batch: {cure}"
    )
