"""Running a program's launches: the first time one by one, then as one graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from xpnet.program.cuda import print_numbers
from xpnet.program.entry import Like
from xpnet.program.integers import check, met
from xpnet.program.kernel import Kernel
from xpnet.program.program import Program

from .protocol import Device

__all__ = ["Step", "describe"]

_MOST = 250  # numbers in one launch, whose arguments have 4 KiB together


class Step:
    """A program on a device, with all arrays where they stay.

    Parameters
    ----------
    body : callable
        Launches everything.
    program : Program
        What it computes.
    device : Device
        Where.
    in_place : list of bool
        Which arrays of the state have their new values after a run.
    numbers : array or None
        Where the host numbers are on the device.
    kernels : iterable of Kernel
        What the body launches.
    obstacle : str
        Why this is no graph, if that is known.
    show : callable
        Is told how the program is run.

    Notes
    -----
    A graph knows pointers, so inputs are copied to where they are expected; if an array of the
    state is another one than before, the graph is captured again. The first run is launch by
    launch, which loads what has to be loaded. If a capture fails, it stays so.
    """

    def __init__(
        self,
        body: Callable[..., list[Any]],
        program: Program,
        device: Device,
        in_place: list[bool],
        numbers: Any,
        kernels: Iterable[Kernel],
        obstacle: str,
        show: Callable[[str], None],
    ) -> None:
        self._body, self._program, self._device = body, program, device
        self._in_place, self._show = in_place, show
        self._state: list[Any] = [
            None if stays else self._own(place)
            for place, stays in zip(program.state, in_place, strict=True)
        ]
        self._inputs = [self._own(place) for place in program.inputs]
        self._numbers: list[Any] = []  # parts of the array, as many as go into one launch
        if numbers is not None:
            count = min(_MOST, len(program.numbers))
            self._write = device.functions(print_numbers(count))["numbers"]
            starts = range(0, len(program.numbers), count)
            self._numbers = [(numbers[n:], n, count) for n in starts]
        at = {place: n for n, place in enumerate(program.numbers)}
        self._checks = [
            (check(dtype, len(places)), [at[place] for place in places])
            for dtype, places in met(kernels).items()
        ]
        self._graph: Any = None
        self._has_run = False
        self._obstacle = ""
        self._note_obstacle(obstacle)

    def _own(self, place: int) -> Any:
        """Return an array for values that are copied."""
        like = self._program.kinds[place]
        reach = sum(abs(s) * (n - 1) for s, n in zip(like.strides, like.shape, strict=True))
        return self._device.array(like, self._device.memory(reach + like.dtype.itemsize))

    def _note_obstacle(self, obstacle: str) -> None:
        self._obstacle = obstacle
        self._show(f"launched one by one: {obstacle}" if obstacle else "launched as one graph")

    def __call__(self, *given: Any) -> list[Any]:
        """Run it; return copies of the results, and the state's new arrays."""
        state, inputs = len(self._state), len(self._inputs)
        numbers = given[state + inputs :]
        for fits, places in self._checks:
            fits(*map(numbers.__getitem__, places))
        with self._device as device:
            for n in range(state):
                if given[n] is not self._state[n]:
                    self._take(n, given[n])
            for own, x in zip(self._inputs, given[state:], strict=False):
                device.copy_into(own, x)
            for part, n, count in self._numbers:
                self._put(part, [*map(_exact, numbers[n : n + count])], count)
            return self._leave(self._run(numbers), numbers)

    def _take(self, n: int, array: Any) -> None:
        """Read an array of the state, and write to it, from now on; or copy it."""
        if not self._in_place[n]:
            self._device.copy_into(self._state[n], array)
            return
        if array.strides != self._program.kinds[self._program.state[n]].strides:
            own = self._own(self._program.state[n])
            self._device.copy_into(own, array)
            array = own
        if self._graph is not None:
            self._device.synchronize()  # it may be running
            self._graph = None
        self._state[n] = array

    def _put(self, part: Any, numbers: list[float], count: int) -> None:
        padded = numbers + [0.0] * (count - len(numbers))
        self._write((1, 1), (32, 1), [part, len(numbers), *padded])

    def _run(self, numbers: Any) -> list[Any]:
        """Launch everything; return what the body returns."""
        launch_all = functools.partial(self._body, *self._state, *self._inputs, *numbers)
        if self._has_run and not self._obstacle and self._graph is None:
            try:
                self._graph = self._device.capture(launch_all)
            except Exception as error:  # whatever a library raises
                self._note_obstacle(describe(error))
        self._has_run = True
        if self._graph is None:
            return launch_all()
        self._graph.launch()
        outputs: list[Any] = self._graph.outputs
        return outputs

    def _leave(self, outputs: list[Any], numbers: Any) -> list[Any]:
        """Return what leaves: the next run writes into the same memory."""
        program, copy = self._program, self._device.copy
        now = dict(zip(program.numbers, numbers, strict=True))
        places = program.results_places
        left = [
            copy(x) if isinstance(program.kinds[place], Like) else now[place]
            for place, x in zip(places, outputs, strict=False)
        ]
        changed = [
            stays
            for old, new, stays in zip(program.state, program.updates, self._in_place, strict=True)
            if old != new
        ]
        updates = zip(changed, outputs[len(places) :], strict=True)
        return left + [x if stays else copy(x) for stays, x in updates]


def _exact(number: float) -> float:
    """Return a number as kernels get it."""
    if type(number) is int and int(float(number)) != number:
        raise OverflowError(f"xn.compile: {number} has too many digits for a number of a kernel")
    return float(number)


def describe(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
