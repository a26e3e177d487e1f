"""compile: record a step once, run it many times."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
import warnings
from collections.abc import Callable
from copy import deepcopy
from operator import attrgetter
from types import MethodType
from typing import Any, Generic, ParamSpec, TypeVar

from xpnet import tree
from xpnet.aliasing import OUTSIDE
from xpnet.autodiff.tape import is_differentiating
from xpnet.backend import owner
from xpnet.errors import CompileError
from xpnet.namespace import array_namespace, device_of, is_array
from xpnet.program.arguments import Arguments
from xpnet.program.clean import clean
from xpnet.program.entering import Entered
from xpnet.program.explain import explain
from xpnet.program.host import HostNumber, OutdatedError, recorder
from xpnet.program.program import Program
from xpnet.program.record import RecordedArray, Recording
from xpnet.program.run import Run, check_inputs
from xpnet.program.source import Printed
from xpnet.program.state import State
from xpnet.scatter import copy
from xpnet.state import Reference, Stateful
from xpnet.wrapping import WrappedArray, is_writable

__all__ = ["Compiled", "compile"]

_AT_MOST = 64  # so many programs are kept
_MANY = 16  # recordings, of which one should know

P = ParamSpec("P")
R = TypeVar("R")


def compile(function: Callable[P, R]) -> Compiled[P, R]:  # noqa: A001 - the field's word
    """Record a step the first time it is called, and run the recorded program then and later.

    Parameters
    ----------
    function : callable
        Takes arrays, modules, optimizers and constants, in lists, tuples and dicts, and returns
        arrays in the same. Modules and optimizers are state, which it may change. A module, or a
        method of one, is compiled with the module as an argument.

    Returns
    -------
    Compiled
        Called like `function`, with the same results.

    Raises
    ------
    TypeError
        If `function` cannot be called.
    CompileError
        When it is called: if a branch, an index or the shape of an array depends on values, if
        the values of an array are asked for, or if a module or optimizer is used that is none of
        the arguments; the message names the line. Nothing is changed then.

    Notes
    -----
    It records again when the structure of the arguments, or the shape, dtype or device of an
    array changes, or anything of a module or optimizer that is no array: its mode, its settings,
    which of its parameters are frozen. The last 64 programs are kept; a warning tells why, once it
    has recorded 16 times. Learning rates, counters of steps and random numbers are
    computed by Python before every run, so schedules may be any Python. Threads that call it wait
    for each other.

    A step that makes new state, as the first one of a metric does, is recorded once more; what
    optimizers make for their parameters is none. Attributes that are no arrays and that the step
    itself changes are part of the structure: each value has its recording. Arrays that the step
    closes over are copied when it is recorded; changing them later has no effect.

    Arrays that are read from a model are valid until the next run. Within `xpnet.grad`, and
    within another compiled function, it is the plain function.

    Examples
    --------
    >>> import xpnet as xn
    >>> from xpnet import losses, nn, optim
    >>> @xn.compile
    ... def step(model, optimizer, x, y):
    ...     def loss_fn(model, x, y):
    ...         return losses.mse_loss(model(x), y)
    ...     loss, grads = xn.value_and_grad(loss_fn)(model, x, y)
    ...     optimizer.update(model, grads)
    ...     return loss
    >>> model, optimizer = nn.Linear(1, 1), optim.SGD(0.1)
    >>> x, y = xn.asarray([[0.0], [1.0]]), xn.asarray([[1.0], [3.0]])
    >>> history = [float(step(model, optimizer, x, y)) for _ in range(100)]
    >>> history[-1] < 0.01 * history[0], step.recordings
    (True, 1)
    """
    method: Any = function
    if isinstance(method, Stateful) and callable(method):
        method = MethodType(type(method).__call__, method)
    if isinstance(method, MethodType) and isinstance(method.__self__, Stateful):
        bound: Any = MethodType(Compiled(method.__func__), method.__self__)
        return bound  # type: ignore[no-any-return]
    return Compiled(function)


class Compiled(Generic[P, R]):
    """A function that is recorded when it is called with something new.

    Attributes
    ----------
    recordings : int
        How often it was recorded.
    source : str
        Of the program that was run last.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        if not callable(function):
            raise TypeError(f"compile: expected a function, got {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.recordings = 0
        self._function = function
        self._known: dict[Any, Run] = {}  # the one that was found last is the last
        self._last: Run | None = None
        self._shown: tuple[int, Program, Printed] | None = None  # outlives what it computed on
        self._users: set[Reference] = set()
        self._name = f"compile of {getattr(function, '__name__', 'function')}"
        # A program computes in memory of its own; a schedule may call the function again.
        self._lock = threading.RLock()

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the method of an object, whose class has this function."""
        return self if instance is None else MethodType(self, instance)

    def __deepcopy__(self, memo: dict[int, Any]) -> Compiled[P, R]:
        return Compiled(deepcopy(self._function, memo))

    def __reduce__(self) -> Any:
        """Return how to pickle it: by its name as functions are, or what was compiled."""
        with contextlib.suppress(AttributeError, KeyError):
            name = str(vars(self)["__qualname__"])
            if attrgetter(name)(sys.modules.get(self.__module__)) is self:
                return name
        return Compiled, (self._function,)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the program for these arguments, after recording it if there is none."""
        if recorder.get() is not None or is_differentiating():
            return self._function(*args, **kwargs)
        with self._lock:
            result: R = self._call(args, kwargs)
            return result

    def _call(self, args: Any, kwargs: Any) -> Any:
        leaves = tree.spell(args)
        if kwargs:
            leaves += [("keywords", *kwargs), *tree.spell(kwargs.values())]
        run = self._last
        if run is None or not run.is_for(leaves):
            run = self._find(leaves)
        if run is not None:
            try:
                return run(leaves)
            except OutdatedError:
                pass
        return self._record(args, kwargs, leaves)

    def _look(self, leaves: list[Any]) -> tuple[Arguments, State]:
        """Return what is among the arguments; their state is often that of the last program."""
        arguments = Arguments(leaves, self._name)
        statefuls = [leaves[n] for n in arguments.statefuls]
        if self._last is not None and self._last.state.is_of(statefuls):
            return arguments, self._last.state
        return arguments, State(statefuls)

    def _find(self, leaves: list[Any]) -> Run | None:
        """Return the program for these arguments if there is one, ready to run."""
        arguments, state = self._look(leaves)
        key = arguments.key, state.key
        run = self._known.pop(key, None)
        if run is not None:
            run.bind(state)
            self._keep(key, run)
        return run

    def _keep(self, key: Any, run: Run) -> None:
        """Take note of the program that is run last; drop the one that was not for longest."""
        self._known[key] = self._last = run
        self._shown = run.recorded, run.program._replace(hosts=[]), run.printed
        if len(self._known) > _AT_MOST:
            del self._known[next(iter(self._known))]

    def _forget(self, gone: Reference) -> None:
        """Drop the programs of a module or optimizer that is gone, and with them its arrays."""
        self._users.discard(gone)
        known = list(self._known.items())  # at once: another thread may add one meanwhile
        self._known = {key: run for key, run in known if run.state.is_alive}
        if self._last is not None and not self._last.state.is_alive:
            self._last = None

    def _record(self, args: Any, kwargs: Any, leaves: list[Any]) -> Any:
        arguments, before = self._look(leaves)
        given = [leaves[n] for n in arguments.arrays]
        arrays = given + [group[0].array for group in before.groups]
        if any(isinstance(x, WrappedArray) or device_of(x) is None for x in arrays):
            return self._function(*args, **kwargs)
        if not arrays:
            raise CompileError(
                f"{self._name}: expected at least one array among the arguments, or a module or "
                "optimizer that has some; got none"
            )
        recording = Recording(array_namespace(*arrays))
        inputs: list[int] = []

        def enter(leaf: Any) -> Any:
            if not is_array(leaf):
                return leaf
            array = recording.wrap(leaf)
            array.group = OUTSIDE  # the caller's: it is not written to
            inputs.append(array.place)
            return array

        statefuls = [leaves[n] for n in arguments.statefuls]
        kept = [(group[0].array, group[0]) for group in before.groups]
        with Entered(recording, statefuls) as entered:
            entered.lift(before)
            inner_args, inner_kwargs = tree.map(enter, (args, kwargs))
            result = self._function(*inner_args, **inner_kwargs)
            repeats = entered.leave() and recording.is_on_device
            if repeats:
                changed = [(x, slot) for x, slot in kept if entered.changes(slot)]
                slots = [slot for _, slot in changed]
                check_inputs(self._name, given, [x for x, _ in changed], slots)
            results = tree.map(lambda leaf: _result(recording, self._name, leaf), result)
            entered.succeeded = True
        self.recordings += 1
        if not repeats:
            self._warn("what the step makes or changes in a module, which no program repeats")
            return tree.map(_lowered, result)
        state = entered.found()
        places = [recording.state[id(group[0].owner), group[0].key] for group in state.groups]
        if len(places) != len(entered.updates):  # some are tied from now on
            return tree.map(_lowered, result)
        updates = [entered.updates[place] for place in places]
        try:
            run = Run(
                clean(Program.of(recording, places, inputs, results, updates)),
                state,
                arguments,
                entered.assigned,
                owner(type(arrays[0])),
                len(recording.entries),
                self._name,
                list(entered.draws),
            )
            computed = run.first([recording.initial[place] for place in places], given)
        except BaseException:
            entered.undo()
            raise
        last = self._last  # none if it was of a model that is gone
        self._users |= {Reference(each, self._forget) for each in statefuls}
        self._keep((arguments.key, state.key), run)
        self._warn("another model" if last is None else arguments.news(last.arguments))
        return computed

    def _warn(self, reason: str) -> None:
        """Say why, once, if it is recorded again and again."""
        if self.recordings == _MANY:
            warnings.warn(
                f"{self._name}: it was recorded {_MANY} times, each of which takes much longer "
                f"than a step; the last time because of {reason}",
                RuntimeWarning,
                stacklevel=5,
            )

    @property
    def source(self) -> str:
        """The program that was run last, as source."""
        _, _, printed = self._latest
        return printed.source

    def explain(self) -> str:
        """Return how the program that was run last is run, for a person to read.

        Returns
        -------
        str
            How many calls were recorded, what cleaning left of them, the kernels that they became,
            those that are in none and why, and the memory that is planned.

        Raises
        ------
        CompileError
            If there is none yet.
        """
        return explain(self._name, *self._latest)

    @property
    def _latest(self) -> tuple[int, Program, Printed]:
        if self._shown is None:
            raise CompileError(f"{self._name}: it was not called yet, so there is no program")
        return self._shown


def _result(recording: Recording, name: str, leaf: Any) -> Any:
    """Return what stands for a leaf of the result in the program."""
    if is_array(leaf) or type(leaf) is HostNumber:
        return recording.reference(leaf)
    if leaf is None or isinstance(leaf, (bool, str, Stateful)):
        return leaf
    if isinstance(leaf, (int, float, complex)):
        found, cure = f"the number {leaf!r}", "return arrays"
    else:
        found, cure = f"a {type(leaf).__name__}", "return arrays, in lists, tuples and dicts"
    raise CompileError(f"{name}: the step returned {found}, which every run would return; {cure}")


def _lowered(leaf: Any) -> Any:
    """Return a leaf of the result as it is without a recording."""
    if type(leaf) is HostNumber:
        return leaf.number
    if isinstance(leaf, RecordedArray):  # which may be one of the state
        return copy(leaf.value) if is_writable(leaf) else leaf.value
    return leaf
