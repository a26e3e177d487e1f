"""What xpnet asks of an array library, and how one is found and chosen."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
from abc import ABC, abstractmethod
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, NamedTuple

from xpnet.errors import BackendError
from xpnet.standard import DTYPES

if TYPE_CHECKING:
    from types import TracebackType

    from xpnet._typing import Array, Device, DType, HostArray, Namespace
    from xpnet.program.program import Program
    from xpnet.program.source import Printed

__all__ = ["Backend", "available_backends", "get_backend", "use_backend"]

ENTRY_POINT_GROUP = "xpnet.backends"
HOST = "numpy"  # the backend of host memory, and what is chosen when nobody chooses
AUTO = "auto"


class Backend(ABC):
    """One array library, as xpnet sees it: small questions, no mathematics.

    To add a library, subclass this, answer the abstract methods and register the class under the
    entry-point group ``xpnet.backends``; ``docs/backends.md`` walks through an example.

    Attributes
    ----------
    name : str
        The value of ``XPNET_BACKEND`` that selects it.
    title : str
        How the library writes its own name.
    package : str
        The package that is imported; never imported before the backend is selected.
    install : str
        The command that installs it.
    auto_priority : int or None
        ``auto`` takes the usable backend with the smallest number; None is never taken.
    """

    name: str
    title: str
    package: str
    install: str
    auto_priority: int | None = None

    @abstractmethod
    def namespace(self) -> Namespace:
        """Return the Array API namespace; imports the library."""

    @abstractmethod
    def array_types(self, library: Any) -> tuple[type, ...]:
        """Return the array classes of the imported `library`."""

    @abstractmethod
    def devices(self) -> list[Device]:
        """Return the usable devices, the default one first; may raise when there is none."""

    @abstractmethod
    def from_host(self, array: HostArray, *, device: Device | None = None) -> Array:
        """Copy a NumPy array to `device`, dtype unchanged; the result shares no memory with it."""

    @abstractmethod
    def to_host(self, array: Array) -> HostArray:
        """Copy an array of this library into a new NumPy array; waits for the device."""

    def copy(self, array: Array) -> Array:
        """Return a copy that shares nothing with `array`, on the same device."""
        return self.namespace().asarray(array, copy=True)

    def add_at(self, array: Array, values: Array, positions: Array) -> Array:
        """Return the vector `array` with ``values[i]`` added at ``positions[i]``.

        Repeated positions are summed. `array` is given away: it may be written to. Return
        NotImplemented where the library has no way of its own; `xpnet.scatter` then compares
        every position with every place.
        """
        return NotImplemented

    def set_at(self, array: Array, values: Array | complex, key: Any) -> Array:
        """Return `array` with ``array[key] = values``; it is given away: it may be written to."""
        array[key] = values
        return array

    def engine(self, program: Program) -> Printed | None:
        """Return source that runs a program in the library's own way, fast; see `Printed`.

        None, which is the default, means the source that calls the namespace's functions one by
        one.
        """
        return None

    def replay_after(self, *, integers: bool) -> int | None:
        """Return how often the same is computed call by call before `engine` takes over.

        Asked for what runs as one program also without `xpnet.compile`: updates of optimizers,
        and random bits, which are `integers`. None, the default, means that it never takes over,
        as is right where it would compute other numbers, or takes long to start.
        """
        return None

    def synchronize(self) -> None:  # noqa: B027 - right as it is on a CPU
        """Wait until the device has done all it was asked; nothing to do on a CPU."""

    def version(self) -> str:
        """Return the version of the imported library."""
        return str(importlib.import_module(self.package).__version__)

    def owns(self, array_type: type) -> bool:
        """Tell whether arrays of this class are the library's; never imports it."""
        library = sys.modules.get(self.package)
        return library is not None and issubclass(array_type, self.array_types(library))

    def device(self, spec: str) -> Device:
        """Return the device that a string such as ``"cuda:1"`` names.

        Raises
        ------
        ValueError
            If there is no such device; the message lists those there are.
        """
        devices = self.devices()
        for device in devices:
            if spec == self.device_name(device):
                return device
        known = ", ".join(self.device_name(device) for device in devices)
        raise ValueError(f"{self.title} has no device {spec!r}; it has: {known}")

    def device_name(self, device: Device) -> str:
        """Return the string that `device` is selected by."""
        return str(device)

    def dtype(self, spec: DType | str) -> DType:
        """Return the library's dtype object for a name such as ``"float32"``, or for a dtype.

        That of another library is read as its name, where it has one.

        Raises
        ------
        ValueError
            If the name is none of the standard's dtypes.
        TypeError
            If the library cannot make such arrays, or for Python's `float` and its like, which
            each library takes for another dtype.
        """
        for kind in (bool, int, float, complex):
            if spec is kind:
                raise TypeError(
                    f"expected a dtype, such as 'float32', got Python's {kind.__name__}, which is "
                    "another one in each array library"
                )
        if not isinstance(spec, str):  # that of another library may have the name for its own
            name = getattr(spec, "__name__", getattr(spec, "name", None))
            return getattr(self.namespace(), name, spec) if name in DTYPES else spec
        if spec not in DTYPES or not hasattr(self.namespace(), spec):
            raise ValueError(
                f"{self.title} has no dtype {spec!r}; expected a name such as 'float32'"
            )
        return getattr(self.namespace(), spec)

    def unusable(self) -> BackendError | None:
        """Return why this backend cannot be used, cause and remedy, or None if it can."""
        if importlib.util.find_spec(self.package) is None:
            return BackendError(
                f"{self.title} is not installed. Install: {self.install}", cause="not installed"
            )
        try:
            self.namespace()
        except Exception as error:
            return BackendError(
                f"{self.title} is installed but cannot be imported "
                f"({type(error).__name__}: {error}). Reinstall: {self.install}",
                cause="import failed",
            )
        try:
            reason = "" if self.devices() else "it found none"
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            return BackendError(
                f"{self.title} is installed but has no device to run on ({reason}). "
                "Check the device and its driver",
                cause="no device",
            )
        return None


class Selection(NamedTuple):
    """Where new arrays are made; `device` None means the library's own default."""

    backend: Backend
    device: Device | None


@functools.cache
def registry() -> dict[str, Backend | BackendError]:
    """Return what is registered under each name; an error where the adapter does not load."""
    from importlib.metadata import entry_points  # 1 to 4 ms, and only needed here

    found: dict[str, Backend | BackendError] = {}
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            backend = entry.load()()
            if not isinstance(backend, Backend):
                raise TypeError(f"it is a {type(backend).__name__}, not an xpnet.Backend")
            found[entry.name] = backend
        except Exception as error:  # somebody else's adapter must not take the others down
            found[entry.name] = BackendError(
                f"the adapter {entry.value!r} does not load ({type(error).__name__}: {error}). "
                "Reinstall or remove the package that brings it",
                cause="import failed",
            )
    if HOST not in found:
        raise BackendError(
            f"no backend {HOST!r} is registered, so xpnet itself is not installed here. "
            "Install: pip install xpnet (in a checkout: pip install -e .)",
            cause="not installed",
        )
    return found


def discover() -> dict[str, Backend]:
    """Return the registered backends by name, usable or not."""
    return {name: found for name, found in registry().items() if isinstance(found, Backend)}


def host() -> Backend:
    """Return the backend of host memory."""
    return discover()[HOST]


def owner(array_type: type) -> Backend | None:
    """Return the backend whose arrays are of this class, or None."""
    return next((backend for backend in discover().values() if backend.owns(array_type)), None)


_chosen: ContextVar[Selection | None] = ContextVar("xpnet_backend", default=None)


def selection() -> Selection:
    """Return where new arrays are made: `use_backend`, else the environment, else NumPy."""
    chosen = _chosen.get()
    if chosen is not None:
        return chosen
    return _from_environment(
        os.environ.get("XPNET_BACKEND") or HOST, os.environ.get("XPNET_DEVICE") or None
    )


@functools.cache
def _from_environment(name: str, device: str | None) -> Selection:
    try:
        return _select(name, device, source=f"XPNET_BACKEND={name}")
    except ValueError as error:
        raise ValueError(f"XPNET_DEVICE={device}: {error}") from None


def _select(name: str, device: Device | str | None, *, source: str) -> Selection:
    backend = _auto() if name == AUTO else _usable(name, source=source)
    return Selection(backend, backend.device(device) if isinstance(device, str) else device)


def _usable(name: str, *, source: str) -> Backend:
    found = registry().get(name)
    if found is None:
        raise BackendError(
            f"{source}: no backend is called {name!r}. Known: {', '.join([*registry(), AUTO])}",
            cause="unknown name",
        )
    problem = found if isinstance(found, BackendError) else found.unusable()
    if problem is not None:
        raise BackendError(
            f"{source}: {problem}. To run on the CPU: XPNET_BACKEND={HOST}", cause=problem.cause
        )
    assert isinstance(found, Backend)
    return found


@functools.cache
def _auto() -> Backend:
    """Take the best usable backend and say so, once, on stderr."""
    candidates = [b for b in discover().values() if b.auto_priority is not None]
    passed_over: list[str] = []
    for backend in sorted(candidates, key=lambda b: b.auto_priority or 0):
        problem = backend.unusable()
        if problem is None:
            why = f" ({'; '.join(passed_over)})" if passed_over else ""
            sys.stderr.write(f"xpnet: auto chose {backend.name}{why}\n")
            return backend
        passed_over.append(f"{backend.name}: {problem.cause}")
    raise BackendError("no backend is usable; see: python -m xpnet info", cause="no device")


def get_backend(name: str | None = None) -> Backend:
    """Return the selected backend, or the one called `name`.

    Parameters
    ----------
    name : str, optional
        A registered backend, or ``"auto"``. By default the one that is selected: by
        `use_backend`, else by the environment variable ``XPNET_BACKEND``, else ``"numpy"``.

    Returns
    -------
    Backend
        Ready to use.

    Raises
    ------
    BackendError
        If the name is unknown, or the library is not installed, fails to import or has no
        device; the message says which, and what to do.

    Examples
    --------
    >>> import xpnet as xn
    >>> xn.get_backend("numpy").title
    'NumPy'
    """
    if name is None:
        return selection().backend
    return _select(name, None, source=f"backend {name!r}").backend


def available_backends() -> list[str]:
    """Return the names of the backends that can be used here.

    Importing is the only way to know, so this imports every array library that is installed.
    ``python -m xpnet info`` also tells why the others cannot be used.

    Returns
    -------
    list of str
        Names for ``XPNET_BACKEND`` and `use_backend`.

    Examples
    --------
    >>> import xpnet as xn
    >>> "numpy" in xn.available_backends()
    True
    """
    return [name for name, backend in discover().items() if backend.unusable() is None]


class use_backend:  # noqa: N801 - called as a function, and entered like `contextlib.suppress`
    """Choose where new arrays are made, from here on or for the length of a ``with`` block.

    Arrays that already exist are not touched: a model computes wherever its arrays are.

    Parameters
    ----------
    name : str
        A registered backend, or ``"auto"``.
    device : str or device, optional
        A device of that library, by default the library's own choice. A string is one of those
        that ``python -m xpnet info`` lists.

    Raises
    ------
    BackendError
        See `get_backend`.
    ValueError
        If there is no such device.

    Notes
    -----
    The choice belongs to the current thread or asynchronous task, like a context variable.

    Examples
    --------
    >>> import xpnet as xn
    >>> with xn.use_backend("numpy"):
    ...     x = xn.asarray([1.0, 2.0])
    >>> type(x).__name__
    'ndarray'
    """

    def __init__(self, name: str, device: Device | str | None = None) -> None:
        chosen = _select(name, device, source=f"use_backend({name!r})")
        self._token: Token[Selection | None] | None = _chosen.set(chosen)

    def __enter__(self) -> Backend:
        if self._token is None:
            raise RuntimeError("use_backend: this block was left already; call use_backend anew")
        return selection().backend

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _chosen.reset(self._token)
            self._token = None
