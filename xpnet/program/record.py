"""Recording: a namespace that computes through the one below and writes down what it does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self

from xpnet import tree
from xpnet._typing import Array, Namespace
from xpnet.aliasing import OUTSIDE, Hidden, share
from xpnet.autodiff.rules import RULES
from xpnet.autodiff.tape import TracedArray
from xpnet.errors import CompileError
from xpnet.namespace import array_namespace, device_of, is_array
from xpnet.program.entry import Entry, Like, Var
from xpnet.program.host import HostNumber, recorder
from xpnet.program.lines import refuse
from xpnet.standard import RESULTS
from xpnet.state import Slot
from xpnet.wrapping import WrappedArray, WrappedNamespace, is_writable, map_argument, wrap_namespace

__all__ = ["RecordedArray", "Recording", "recorded_namespace"]


class Recording:
    """A program while it is being written, by what is called within its ``with`` block."""

    def __init__(self, base: Namespace) -> None:
        self.base = base
        self.entries: list[Entry] = []
        self.kinds: list[Any] = []  # for each place a Like, or a number as it was this time
        self.outside: dict[int, tuple[int, Array]] = {}  # arrays that were closed over, by id
        self.hosts: list[tuple[Callable[[], Any], list[int]]] = []  # functions, places of numbers
        # Modules and optimizers that are no arguments, under their ids and those of their arrays.
        self.strangers: dict[int, Any] = {}
        self.state: dict[tuple[int, str], int] = {}  # id of a slot's owner, its key -> the place
        self.initial: dict[int, Array] = {}  # place of one of the state -> what was there
        self.grown = False  # whether the step has made some of the state's arrays
        self.closed = False

    def __enter__(self) -> Self:
        self._token = recorder.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        recorder.reset(self._token)
        self.closed = True

    @property
    def is_on_device(self) -> bool:
        """Whether all arrays are on a device; they are not while the library itself records."""
        return all(x.device is not None for x in self.kinds if isinstance(x, Like))

    def add(self, x: Any) -> int:
        """Make room for one more array or number; return its place."""
        if is_array(x):
            strides = getattr(x, "strides", None)
            x = Like(type(x), tuple(x.shape), x.dtype, device_of(x), strides)
        self.kinds.append(x)
        return len(self.kinds) - 1

    def wrap(self, array: Array) -> RecordedArray:
        """Return an array that is an input of the program."""
        return self.array(array, self.add(array))

    def array(self, value: Array, index: int) -> RecordedArray:
        """Return the array at a place."""
        made: RecordedArray = recorded_namespace(self.base).array(value, self, index)
        return made

    def reference(self, x: Any) -> Any:
        """Return what an argument is in an entry: the place of an array, or itself."""
        if isinstance(x, RecordedArray):
            if x.recording is not self or self.closed:
                refuse(
                    "an array of one recording was used in another, or after it had ended",
                    "return what you need as a result",
                )
            return Var(x.place)
        if type(x) is HostNumber:
            return Var(x.place)
        if is_array(x):
            self.note_use(x)
            if id(x) not in self.outside:
                self.outside[id(x)] = self.add(x), x
            return Var(self.outside[id(x)][0])
        if hasattr(type(x), "__array__"):
            refuse(
                f"a {type(x).__name__} met the arrays of the step, of which it computes something "
                "else",
                "make an array of it first, for example with xn.asarray",
            )
        return x

    def enter(self, slots: list[Slot]) -> None:
        """Put an array that records into slots which are tied."""
        initial = _below(slots[0].array)
        array = self.wrap(initial)
        self.initial[array.place] = initial
        for slot in slots:
            slot.put(array)
            self.state[id(slot.owner), slot.key] = array.place

    def note_host(self, compute: Callable[[], Any]) -> Any:
        """See `xpnet.program.host.Recorder`."""
        token = recorder.set(None)  # all of it is Python's business
        try:
            numbers = compute()
        finally:
            recorder.reset(token)
        places: list[int] = []

        def enter(number: Any) -> Any:
            places.append(self.add(number))
            return HostNumber(number, places[-1])

        entered = tree.map(enter, numbers)
        self.hosts.append((compute, places))
        return entered

    def note_use(self, user: Any) -> None:
        """See `xpnet.program.host.Recorder`."""
        if id(user) in self.strangers:
            refuse(
                f"a {type(self.strangers[id(user)]).__name__} is used that is none of the "
                "arguments",
                "pass it as an argument",
            )

    def note_state(self, user: Any) -> None:
        """See `xpnet.program.host.Recorder`."""
        self.note_use(user)
        self.grown = True
        for slot in user.slots():
            if (id(slot.owner), slot.key) not in self.state:
                self.enter([slot])

    def note(self, name: str, function: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """Write one entry, and return its result with recorded arrays in it."""
        outs: list[int] = []
        args = map_argument(self.reference, args)
        kwargs = {key: map_argument(self.reference, option) for key, option in kwargs.items()}

        def enter(x: Any) -> Any:
            if not is_array(x):
                return x
            outs.append(self.add(x))
            return self.array(x, outs[-1])

        if isinstance(result, tuple) and name in RESULTS:
            wrapped = RESULTS[name](*map(enter, result))
        else:
            wrapped = tree.map(enter, result)
        if outs:
            several = isinstance(result, (list, tuple))
            self.entries.append(Entry(name, function, args, kwargs, tuple(outs), several))
        return wrapped


class RecordedArray(WrappedArray):
    """An array of a recording namespace: a value, and its place in the program."""

    __slots__ = ("place", "recording")

    def __init__(self, value: Array, recording: Recording, place: int) -> None:
        self.value, self.recording, self.place = value, recording, place

    def __repr__(self) -> str:
        return f"recorded(shape={tuple(self.shape)}, dtype={self.dtype})"

    def _become(self, other: RecordedArray) -> None:
        self.value, self.recording, self.place = other.value, other.recording, other.place

    def _hide(self) -> Callable[[], None]:
        was = type(self)(self.value, self.recording, self.place)
        self.value = Hidden()
        return lambda: self._become(was)

    def __copy__(self) -> RecordedArray:
        return type(self)(self.value, self.recording, self.place)

    def __deepcopy__(self, memo: Any) -> RecordedArray:
        return self.__copy__()

    def __bool__(self) -> bool:
        refuse("a Python branch on the value of an array", "choose with xp.where")

    def __float__(self) -> float:
        refuse("float(x)", "return the array, and take its value from the result")

    def __int__(self) -> int:
        refuse("int(x)", "return the array, and take its value from the result")

    def __complex__(self) -> complex:
        refuse("complex(x)", "return the array, and take its value from the result")

    def __index__(self) -> int:
        refuse("a Python index taken from an array", "use xp.take")

    def __dlpack__(self, **options: Any) -> NoReturn:
        refuse("a copy of an array to another library or to the host", "return the array")

    def __dlpack_device__(self) -> Any:
        return self.value.__dlpack_device__()


# Functions whose results have shapes that depend on values.
_DATA_DEPENDENT = frozenset(
    {"nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values"}
)


@functools.cache
def recorded_namespace(base: Namespace) -> WrappedNamespace:
    """Return the one recording namespace over `base`."""
    return wrap_namespace(base, RecordedArray, f"recorded({base.__name__})", _make)


def _make(
    namespace: WrappedNamespace, cls: type[Any], name: str, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Return what stands in for `function`; see `xpnet.wrapping.wrap_namespace`."""
    view = getattr(RULES.get(name), "view", False)
    copies = getattr(RULES.get(name), "casts", False)  # astype copies unless it is told not to

    def call(*args: Any, **kwargs: Any) -> Any:
        given = list(_arrays((args, tuple(kwargs.values()))))
        for x in given:
            if isinstance(x, TracedArray):  # a higher kind: it comes first, and calls this below
                return _delegate(x.namespace, name)(*args, **kwargs)
        recording = next((x.recording for x in given if type(x) is cls), None) or current()
        if name in _DATA_DEPENDENT:
            refuse(f"xp.{name}, whose shape depends on values", "use xp.where and masks")
        if name == "getitem" and any(_is_mask(k) for k in _arrays((args[1],))):
            refuse("x[mask], whose shape depends on values", "choose with xp.where")
        if name == "repeat" and any(is_array(x) for x in (*args[1:], *kwargs.values())):
            refuse("xp.repeat by an array, whose shape depends on values", "use numbers")
        values = map_argument(_below, args)
        options = {key: map_argument(_below, option) for key, option in kwargs.items()}
        result = recording.note(name, function, args, kwargs, function(*values, **options))
        if view and not kwargs.get("copy", copies):
            for x in result if isinstance(result, (list, tuple)) else (result,):
                if type(given[0]) is cls:
                    share(given[0], x)
                else:
                    x.group = OUTSIDE
        if name == "getitem" and not any(x.ndim for x in given[1:]) and is_writable(result):
            share(given[0], result)
            result.origin = args
        return result

    return call


def current() -> Recording:
    """Return the recording that is under way."""
    recording = recorder.get()
    if not isinstance(recording, Recording):
        raise CompileError("xn.compile: an array of a recording was used after it had ended")
    return recording


def _delegate(namespace: WrappedNamespace, name: str) -> Callable[..., Any]:
    target: Any = namespace
    for part in name.split("."):
        target = getattr(target, part)
    return target  # type: ignore[no-any-return]


def _below(x: Any) -> Any:
    """Return an argument as the library below takes it."""
    if isinstance(x, RecordedArray):
        return x.value
    if type(x) is HostNumber:
        return x.number
    if type(x) is slice and any(_below(part) is not part for part in (x.start, x.stop, x.step)):
        refuse("a slice with bounds that are arrays, whose shape depends on values", "use xp.where")
    return x


def _arrays(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        for member in x:
            yield from _arrays(member)
    elif is_array(x):
        yield x


def _is_mask(key: Any) -> bool:
    return bool(array_namespace(key).isdtype(key.dtype, "bool"))
