"""Checkpoints: a model, its optimizer and a few numbers in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xpnet._typing import Array, HostArray
from xpnet.errors import DataError, MissingPackageError
from xpnet.namespace import is_array
from xpnet.nn import Module
from xpnet.optim import Optimizer
from xpnet.transfer import to_host

__all__ = ["load", "save"]

_KEY = "xpnet-checkpoint-1"  # one entry: the order of several would vary from file to file


def save(
    path: str | os.PathLike[str],
    model: Module,
    optimizer: Optimizer | None = None,
    **progress: Any,
) -> None:
    """Write a checkpoint; a file that is there is replaced at once or, if this fails, kept.

    Parameters
    ----------
    path : str or path
        The file.
    model : Module
        All its parameters and buffers are saved.
    optimizer : Optimizer, optional
        Its moments and number of updates are saved, its settings are not.
    **progress
        Anything that JSON can hold, such as ``epoch=3`` or ``rng=rng.state_dict()``.

    Raises
    ------
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the file cannot be written.
    """
    _, format_ = _safetensors()
    tensors = _prefixed("model", model.state_dict())
    about: dict[str, Any] = {"progress": progress}
    if optimizer is not None:
        state = optimizer.state_dict()
        arrays = {name: x for name, x in state.items() if is_array(x)}
        about |= {name: x for name, x in state.items() if name not in arrays}
        tensors |= _prefixed("optimizer", arrays)
    content = format_.save(tensors, metadata={_KEY: json.dumps(about)})
    part = Path(f"{os.fspath(path)}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer | None = None
) -> dict[str, Any]:
    """Read a checkpoint into a model and its optimizer.

    Parameters
    ----------
    path : str or path
        A file from `save`, on whatever array library.
    model : Module
        Of the same structure as the saved one; takes on its parameters and buffers.
    optimizer : Optimizer, optional
        Of the same class as the saved one; takes on its moments and number of updates.

    Returns
    -------
    dict
        What was saved besides.

    Raises
    ------
    DataError
        If the file is damaged or no checkpoint of xpnet.
    ValueError
        If it does not fit the model or the optimizer; neither is changed then.
    MissingPackageError
        If safetensors is not installed.
    OSError
        If the file cannot be read.
    """
    package, _ = _safetensors()
    try:
        with package.safe_open(os.fspath(path), framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except package.SafetensorError as error:
        raise DataError(f"{path}: damaged, or not a safetensors file ({error})") from error
    try:
        about = json.loads(metadata[_KEY])
        progress: dict[str, Any] = dict(about["progress"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: a safetensors file, but not a checkpoint that xpnet has written"
        ) from error
    before = model.state_dict()
    model.load_state_dict(_below("model", tensors))
    if optimizer is not None:
        try:
            numbers = {name: x for name, x in about.items() if name != "progress"}
            optimizer.load_state_dict(_below("optimizer", tensors) | numbers, model)
        except BaseException:
            model.load_state_dict(before)
            raise
    return progress


def _prefixed(prefix: str, arrays: Mapping[str, Array]) -> dict[str, HostArray]:
    return {
        f"{prefix}.{name}": np.asarray(to_host(array), order="C") for name, array in arrays.items()
    }


def _below(prefix: str, arrays: Mapping[str, HostArray]) -> dict[str, HostArray]:
    start = f"{prefix}."
    return {name[len(start) :]: a for name, a in arrays.items() if name.startswith(start)}


def _safetensors() -> tuple[Any, Any]:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError as error:
        raise MissingPackageError(
            'checkpoints need the package safetensors. Install: pip install "xpnet[examples]"'
        ) from error
    return safetensors, safetensors.numpy
