"""A model's weights in one safetensors file, with PyTorch's names, shapes and dtypes."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xpnet._typing import Array, HostArray
from xpnet.checkpoint.folder import check_folder, replace_file
from xpnet.checkpoint.tensors import on_host, pack, safetensors, unpack
from xpnet.nn import Module
from xpnet.nn.filling import fill
from xpnet.nn.waiting import widths_from
from xpnet.state import are_of_a_kind, mismatches

__all__ = ["Unmatched", "load", "save"]

_METADATA = {"format": "pt"}  # without it, some readers refuse a file
_COUNTER = "num_batches_tracked"  # int64 in PyTorch; absent from files of its first versions


class Unmatched(NamedTuple):
    """Names that are in a model or in a file only."""

    missing: list[str]
    unexpected: list[str]


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the parameters and buffers of a model to one safetensors file, as PyTorch names them.

    `xpnet.checkpoint.save` is for what a training needs to go on: a folder with the optimizer,
    random generators and more. This is for the weights alone, here and in other programs.

    Parameters
    ----------
    model : Module
        Of any array library.
    path : str or path
        The file; one that is there is replaced at once or, if this fails, kept. What a symbolic
        link points to is replaced, not the link.

    Raises
    ------
    TypeError
        If `model` is no module, or has an array of a dtype that cannot be written; the message
        says which. Nothing is written then.
    ValueError
        If a layer waits for its first batch, or names and shapes take more than 16 MiB.
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    Equal weights give equal bytes, on every array library. Tied parameters are written under each
    of their names, as `torch.nn.Module.load_state_dict` expects them:
    ``model.load_state_dict(safetensors.torch.load_file(path))`` takes every file, while
    `safetensors.torch.load_model` needs ``strict=False`` for one with tied parameters.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import xpnet as xn
    >>> model = xn.nn.Sequential(xn.nn.Linear(2, 3), xn.nn.ReLU(), xn.nn.Linear(3, 1))
    >>> again = xn.nn.Sequential(xn.nn.Linear(2, 3), xn.nn.ReLU(), xn.nn.Linear(3, 1))
    >>> with TemporaryDirectory() as folder:
    ...     xn.save(model, f"{folder}/model.safetensors")
    ...     xn.load(again, f"{folder}/model.safetensors")
    Unmatched(missing=[], unexpected=[])
    >>> x = xn.asarray([[1.0, 2.0]])
    >>> bool(again(x) == model(x))
    True
    """
    safetensors()  # if it is missing, this is the time to say so
    _check("save", model, path)
    check_folder("save", Path(path))
    list(model.slots())  # raises if a layer waits for its first batch
    arrays = {name: on_host(x, f"save: {name}") for name, x in _arrays(model).items()}
    for name in filter(_is_counter, arrays):
        arrays[name] = arrays[name].astype("int64")
    replace_file(Path(os.path.realpath(path)), pack(arrays, "save", _METADATA))


def load(
    model: Module, path: str | os.PathLike[str], *, prefix: str = "", strict: bool = True
) -> Unmatched:
    """Read the parameters and buffers of a model from a safetensors file, such as PyTorch's.

    Parameters
    ----------
    model : Module
        Its arrays are replaced by those of their names, in its library, on its devices and in its
        dtypes. Layers that wait for the first batch take their width from the file.
    path : str or path
        A file of `save`, or of `safetensors.torch.save_file` or ``save_model`` for the same
        model there.
    prefix : str, optional
        What the names in the file start with and those of the model do not, such as
        ``"module."``; tensors of other names are passed over then.
    strict : bool, optional
        Whether it is an error if an array is only in the model or only in the file. If not, these
        are passed over, and layers of which the file has nothing go on waiting for the first batch;
        arrays of one name must fit all the same.

    Returns
    -------
    Unmatched
        ``missing``, the names that are only in the model, and ``unexpected``, those that are only
        in the file.

    Raises
    ------
    ValueError
        If names are missing or unexpected, or shapes or kinds of dtype differ, or tied parameters
        have different values. All that is wrong is listed, and nothing is changed.
    TypeError
        If `model` is no module.
    DataError
        If the file is damaged or of another kind, or has a dtype such as float8.
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the file cannot be read.

    Notes
    -----
    Floating-point numbers are cast to the dtype of the parameter, as PyTorch does; bfloat16 and
    float16 become float32 first. Of tied parameters one name is enough. The counter
    ``num_batches_tracked`` is taken where both have it, and never missing nor unexpected. Mode,
    optimizer and compiled steps stay as they are; the next step uses the new arrays.

    Examples
    --------
    See `save`.

    >>> from tempfile import TemporaryDirectory
    >>> import xpnet as xn
    >>> with TemporaryDirectory() as folder:
    ...     xn.save(xn.nn.Linear(2, 1, bias=False), f"{folder}/weight.safetensors")
    ...     xn.load(xn.nn.Linear(2, 1), f"{folder}/weight.safetensors", strict=False)
    Unmatched(missing=['bias'], unexpected=[])
    """
    _check("load", model, path)
    found = unpack(Path(path))
    given = {name[len(prefix) :]: x for name, x in found.items() if name.startswith(prefix)}
    with widths_from(model, given):
        expected = _expected(model, given)
        state = _completed(expected, given)
        unmatched = Unmatched(
            [name for name in expected if name not in state],
            [name for name in state if name not in expected],
        )
        waiting = {name for name, array in _arrays(model).items() if array is None}
        if not strict:
            if waiting & given.keys():
                list(model.slots())  # raises: a width cannot be told from these
            expected = {name: array for name, array in expected.items() if name not in waiting}
            state = {name: state.get(name, array) for name, array in expected.items()}
        problems = mismatches(expected, state, fits=are_of_a_kind) + "".join(_torn(expected, given))
        if problems:
            raise ValueError(
                f"load: {os.fspath(path)}: the file does not fit this {type(model).__name__}:"
                f"{problems}{_hint(expected, found, prefix)}"
            )
        own = (slot for path, module in model.modules() for slot in module.own_slots(path))
        slots = [slot for slot in own if slot.name not in waiting]
        where = f"{type(model).__name__}.load_state_dict"
        fill(where, slots, {slot.name: state[slot.name] for slot in slots})
    return unmatched


def _check(where: str, model: Any, path: Any) -> None:
    if isinstance(path, Module):
        raise TypeError(
            f"{where}: the arguments look swapped: write xn.{where}(model, path); only "
            f"xn.checkpoint.{where} has the path first"
        )
    if not isinstance(model, Module):
        raise TypeError(
            f"{where}: expected a Module, got {type(model).__name__}; xn.checkpoint.{where} takes "
            "other things too"
        )
    if not isinstance(path, (str, os.PathLike)):
        fix = "; model.load_state_dict takes a state" if isinstance(path, Mapping) else ""
        raise TypeError(f"{where}: expected the path of a file, got {type(path).__name__}{fix}")
    if os.path.isdir(path):
        raise IsADirectoryError(
            f"{where}: expected a file, {os.fspath(path)} is a folder; checkpoints are for "
            f"xn.checkpoint.{where}"
        )


def _arrays(model: Module) -> dict[str, Array]:
    """Return all arrays by all their names, as there: a module in two places has two.

    Those of layers that wait for the first batch are None.
    """
    found: dict[str, Array] = {}

    def visit(module: Module, path: str, above: tuple[Module, ...]) -> None:
        found.update({slot.name: slot.array for slot in module.own_slots(path)})
        for key, child in module.children():
            if all(child is not other for other in (module, *above)):
                visit(child, f"{path}.{key}" if path else key, (module, *above))

    visit(model, "", ())
    return found


def _expected(model: Module, given: Mapping[str, HostArray]) -> dict[str, Any]:
    """Return all arrays of a model; those to come fit what is given, or else are missing."""
    arrays = _arrays(model)
    waiting = [name for name, x in arrays.items() if x is None]
    places = {name: given.get(name, name) for name in waiting}  # different objects: not tied
    return {
        name: places.get(name, x)
        for name, x in arrays.items()
        if x is not None or name in given or not _is_counter(name)
    }


def _is_counter(name: str) -> bool:
    return name.rpartition(".")[2] == _COUNTER


def _completed(expected: Mapping[str, Array], given: Mapping[str, HostArray]) -> dict[str, Any]:
    """Return what is given without counters that nobody expects, and with what may be left out."""
    state: dict[str, Any]
    state = {name: x for name, x in given.items() if name in expected or not _is_counter(name)}
    tied = {id(expected[name]): x for name, x in state.items() if name in expected}
    for name, array in expected.items():
        if name not in state and (id(array) in tied or _is_counter(name)):
            state[name] = tied.get(id(array), array)
    return state


def _torn(expected: Mapping[str, Array], given: Mapping[str, HostArray]) -> Iterator[str]:
    """Yield a line for each parameter that is given other values than one that it is tied to."""
    first: dict[int, str] = {}
    for name, array in expected.items():
        if name in given:
            other = first.setdefault(id(array), name)
            x, y = given[name], given[other]
            if x.dtype != y.dtype:
                dtypes = f"{x.dtype} and {y.dtype}"
                yield f"\n  {name}: tied to {other}, but the file has them in {dtypes}"
            elif x.tobytes() != y.tobytes():
                yield f"\n  {name}: tied to {other}, but the file has other values for it"


def _hint(expected: Collection[str], found: Collection[str], prefix: str) -> str:
    """Say how the names would fit, where that is seen."""
    if prefix and all(name in found or _is_counter(name) for name in expected):
        return f"\nIn the file, the names start as in this model: leave out prefix={prefix!r}"
    start = _start(expected, found)
    if start and start != prefix:
        return f"\nIn the file, the names of this model start with {start!r}: pass prefix={start!r}"
    start = _start(found, expected)
    if start:
        return f"\nThe file fits a part of the model: load it into its {start.rstrip('.')!r}"
    return ""


def _start(names: Collection[str], longer: Collection[str]) -> str:
    """Return what comes before each of these names among longer ones, or nothing."""
    names = [name for name in names if not _is_counter(name)]
    for other in longer:
        if names and other.endswith(f".{names[0]}"):
            start = other.removesuffix(names[0])
            if all(start + name in longer for name in names):
                return start
    return ""
