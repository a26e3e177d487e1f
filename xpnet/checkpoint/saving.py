"""Save the parts of a run, and load them all or none."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from xpnet._typing import HostArray, Tree
from xpnet.checkpoint.folder import STATE, TENSORS, discard, read, read_limited, verify, write
from xpnet.checkpoint.parts import decode, encode
from xpnet.checkpoint.tensors import pack, safetensors, unpack
from xpnet.errors import DataError
from xpnet.nn import Module
from xpnet.nn.waiting import remember

__all__ = ["load", "remove", "save"]

_FORMAT, _VERSION = "xpnet checkpoint", 1
_MOST_STATE = 2**26  # bytes; as Python objects up to some thirty times as many


def save(
    path: str | os.PathLike[str],
    model: Module | None = None,
    optimizer: Any = None,
    **parts: Any,
) -> None:
    """Write a checkpoint; one that is there is replaced at once or, if this fails, kept.

    Parameters
    ----------
    path : str or path
        The folder, below one that exists. `xpnet.checkpoint` describes what is in it.
    model : Module, optional
        All its parameters and buffers are saved.
    optimizer : Optimizer, optional
        Its moments and numbers of updates are saved, its settings are not.
    **parts
        Each an object with ``state_dict()`` and ``load_state_dict(state)``, such as a `Generator`,
        or a tree: dicts with keys of type str, lists and tuples whose leaves are arrays of any
        library, str, int, float, bool or None. Names are ASCII.

    Raises
    ------
    TypeError
        If anything is of another type, or an array of a dtype that safetensors files do not have;
        the message says where. Nothing is written then.
    ValueError
        If a part has no proper name, two arrays the same one, a tree more than 100 levels, or
        a file would be larger than `load` accepts.
    FileExistsError
        If there is something else than a checkpoint or an empty folder at `path`.
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the files cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import xpnet as xn
    >>> model, rng = xn.nn.Linear(2, 1), xn.Generator(3)
    >>> with TemporaryDirectory() as runs:
    ...     xn.checkpoint.save(f"{runs}/last", model, rng=rng, epoch=3, history={"loss": [0.5]})
    ...     print(sorted(os.listdir(f"{runs}/last")))
    ...     again = xn.nn.Linear(2, 1)
    ...     xn.checkpoint.load(f"{runs}/last", again, rng=xn.Generator(0))
    ['SHA256SUMS', 'model.safetensors', 'state.json']
    {'epoch': 3, 'history': {'loss': [0.5]}}
    >>> bool((again.weight == model.weight).all())
    True
    """
    safetensors()  # if it is missing, this is the time to say so
    given = _given("save", model, optimizer, parts)
    _check_names(given)
    encoded, arrays = {}, {}
    for name, thing in given.items():
        tree = thing.state_dict() if _has_state(thing) else thing
        encoded[name], arrays[name] = encode(tree, name, "save")
    state = {"format": _FORMAT, "version": _VERSION, "parts": encoded}
    content = json.dumps(state, indent=2, allow_nan=False).encode()
    if len(content) > _MOST_STATE:
        raise ValueError(
            f"save: expected at most {_MOST_STATE} bytes of JSON, the parts take {len(content)}; "
            "make arrays of long lists of numbers"
        )
    write(_folder(path, "save"), _files(content, arrays))


def load(
    path: str | os.PathLike[str],
    model: Module | None = None,
    optimizer: Any = None,
    **objects: Any,
) -> dict[str, Any]:
    """Read a checkpoint; each object takes its part on, and the other parts are returned.

    Parameters
    ----------
    path : str or path
        A folder from `save`, on whatever array library. ``<path>.old`` is read if it is missing,
        which is so when `save` was killed in the right moment.
    model : Module, optional
        Of the same structure as the saved one; takes on its parameters and buffers, layers that
        wait for the first batch their width too.
    optimizer : Optimizer, optional
        Of the same class as the saved one; takes on its moments and number of updates, for the
        parameters of `model`.
    **objects
        Those whose ``load_state_dict(state)`` takes on the part of the same name.

    Returns
    -------
    dict
        The parts for which no object was given, as trees: arrays are those of NumPy, tuples have
        become lists.

    Raises
    ------
    DataError
        If the checkpoint is damaged, incomplete, foreign or of a newer version; the message names
        the file.
    FileNotFoundError
        If there is nothing at `path`.
    ValueError
        If there is no part for an object, or it does not fit.
    TypeError
        If an object cannot take on a state, or `optimizer` is given without `model`.
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the files cannot be read.

    Notes
    -----
    Everything is read and verified before anything is changed, and with bounded memory: some times
    the size of the files. If an object then refuses its part, those before it get back what they
    had.

    Examples
    --------
    See `save`.
    """
    safetensors()
    given = _given("load", model, optimizer, objects)
    for name, thing in given.items():
        if not _has_state(thing):
            raise TypeError(
                f"load: {name}: expected an object with state_dict() and load_state_dict(state), "
                f"got {type(thing).__name__}; leave it out to have the part returned"
            )
    if optimizer is not None and model is None:
        raise TypeError("load: optimizer: expected its model as well, got None; pass model=")
    found = read(Path(path), _read)
    missing = [name for name in given if name not in found]
    if missing:
        raise ValueError(
            f"load: {path}: expected the parts {', '.join(given)}, found "
            f"{', '.join(found) or 'none'}; leave out {', '.join(missing)}, or take another one"
        )
    _restore(path, model, given, found)
    return {name: tree for name, tree in found.items() if name not in given}


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a checkpoint; if this is interrupted, it is whole or not there.

    Parameters
    ----------
    path : str or path
        A folder from `save`; nothing happens if it is not there.

    Raises
    ------
    FileExistsError
        If something else is there; nothing is removed then.
    OSError
        If it cannot be removed.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import xpnet as xn
    >>> with TemporaryDirectory() as runs:
    ...     xn.checkpoint.save(f"{runs}/last", epoch=3)
    ...     xn.checkpoint.remove(f"{runs}/last")
    ...     print(os.listdir(runs))
    []
    """
    discard(_folder(path, "remove"))


def _given(where: str, model: Any, optimizer: Any, others: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parts by name, in the order in which they are saved and loaded."""
    if model is not None and not isinstance(model, Module):
        raise TypeError(
            f"{where}: model: expected a Module, got {type(model).__name__}; pass others by name"
        )
    if optimizer is not None and not _has_state(optimizer):
        raise TypeError(
            f"{where}: optimizer: expected an Optimizer, got {type(optimizer).__name__}; pass "
            "others by name"
        )
    both = {"model": model, "optimizer": optimizer}
    return {name: thing for name, thing in both.items() if thing is not None} | dict(others)


def _has_state(thing: Any) -> bool:
    methods = (getattr(thing, name, None) for name in ("state_dict", "load_state_dict"))
    return all(map(callable, methods))


def _check_names(given: Mapping[str, Any]) -> None:
    """Refuse what cannot be the name of a file, or the same file where case does not count."""
    seen: dict[str, str] = {}
    for name in given:
        other = seen.setdefault(name.lower(), name)
        if other != name or not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(
                "save: expected names of parts of ASCII letters, digits and _ that do not start "
                f"with a digit and differ in more than case, got {name!r}"
                + (f" and {other!r}; rename one" if other != name else "; rename it")
            )


def _folder(path: str | os.PathLike[str], where: str) -> Path:
    folder = Path(path)
    if folder.name in ("", ".."):
        raise ValueError(
            f"{where}: expected the path of a folder to write, got {os.fspath(path)!r}; add a name"
        )
    return folder


def _files(state: bytes, arrays: Mapping[str, dict[str, HostArray]]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file, one in memory at a time."""
    yield STATE, state
    for name, tensors in arrays.items():
        if tensors:
            yield f"{name}{TENSORS}", pack(tensors, f"save: {name}")


def _read(folder: Path) -> dict[str, Tree]:
    """Return all parts of a checkpoint."""
    names = verify(folder)
    file = folder / STATE
    encoded = _parse(file)
    trees = {}
    for part, tree in encoded.items():
        name = f"{part}{TENSORS}"
        arrays = unpack(folder / name) if name in names else {}
        trees[part] = decode(tree, arrays, f"load: {file}: {part}")
    return trees


def _parse(file: Path) -> dict[str, Any]:
    """Return the parts as they are in the JSON."""
    try:
        state = json.loads(read_limited(file, _MOST_STATE), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"load: {file}: expected JSON, found something else ({error}); take another checkpoint"
        ) from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise DataError(
            f'load: {file}: expected "format": "{_FORMAT}", found JSON of another kind; was it '
            "written by another program?"
        )
    version = state.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise DataError(
            f"load: {file}: expected version {_VERSION} of the format, found version {version}; "
            "it was written by a newer xpnet: upgrade"
        )
    encoded = state.get("parts")
    if version != _VERSION or not isinstance(encoded, dict):
        raise DataError(
            f'load: {file}: expected "version": {_VERSION} and "parts", found version {version!r} '
            f"and {type(encoded).__name__}; take another checkpoint"
        )
    return encoded


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _restore(
    path: str | os.PathLike[str],
    model: Module | None,
    given: Mapping[str, Any],
    found: Mapping[str, Tree],
) -> None:
    """Let each object take on its part; if one cannot, let none."""

    def put(name: str, state: Tree) -> None:
        arguments = (state, model) if name == "optimizer" else (state,)
        given[name].load_state_dict(*arguments)

    def undo(name: str) -> Callable[[], None]:
        """Return a function that gives an object what it has now."""
        if isinstance(given[name], Module):
            modules = [module for _, module in given[name].modules()]
            if any(module.is_waiting() for module in modules):  # then there is no state_dict yet
                return remember(modules)
        before = given[name].state_dict()
        return lambda: put(name, before)

    back = {name: undo(name) for name in given}
    done: list[str] = []
    try:
        for name in given:
            put(name, found[name])
            done.append(name)
    except BaseException as error:
        for changed in reversed(done):
            try:
                back[changed]()
            except Exception as failure:
                error.add_note(f"{changed} could not be given back what it had: {failure}")
        error.add_note(f"while loading the part {name!r} of {os.fspath(path)}")
        if isinstance(error, (TypeError, LookupError, AttributeError)):
            raise DataError(
                f"load: {os.fspath(path)}: {name}: expected what the state_dict of a "
                f"{type(given[name]).__name__} returns, found something else ({error!r}); was it "
                "saved by another class?"
            ) from error
        raise
