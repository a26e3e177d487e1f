"""export: the file of a model."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet._typing import Array, Tree
from xpnet.checkpoint.folder import check_folder, replace_file
from xpnet.errors import MissingPackageError
from xpnet.interop.onnx.converting import REAL, convert
from xpnet.interop.onnx.tracing import trace
from xpnet.namespace import is_array
from xpnet.nn import Module
from xpnet.nn.waiting import still_waiting
from xpnet.program.entry import dtype_name

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["export"]

_OPSET = 20


def export(
    model: Module,
    path: str | os.PathLike[str],
    example_input: Array | tuple[Array, ...],
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset: int = _OPSET,
) -> ModelProto:
    """Write a model, as it computes in evaluation mode, as an ONNX file for batches of any size.

    Parameters
    ----------
    model : Module
        On any library. It is afterwards as it was, in its mode too; layers that wait for the
        first batch take their width from the example.
    path : str or path
        The file, in a folder that exists; one that is there is replaced at once or, if this
        fails, kept.
    example_input : array, or tuple of arrays
        What the model is called with: arrays of any library. Their values do not matter. The
        first axis of all is the batch, of which one row is enough.
    input_names : sequence of str, optional
        By default ``"input"``, or ``"input_0"``, ... if there are several.
    output_names : sequence of str, optional
        By default ``"output"``; of several outputs the keys of a dict, or ``"output_0"``, ...
    opset : int, optional
        Version of the operators, at least 18.

    Returns
    -------
    onnx.ModelProto
        What was written; the same model gives the same bytes.

    Raises
    ------
    ExportError
        If the model calls a function without a counterpart in ONNX, or does what depends on
        values or, otherwise than linearly, on the size of the batch; the message names the line.
        Batches of 1, 2, 3 and 61 rows are compared: what Python does for others alone, as above
        61 rows, is not noticed.
    TypeError
        If `model` is no Module, or an input no array.
    ValueError
        If an input has no rows, the inputs have different numbers of them, or names or `opset` do
        not fit.
    MissingPackageError
        If the package onnx is not installed.
    OSError
        If the file cannot be written.

    Notes
    -----
    The model is run with a few batches while its calls of the array library are recorded; what
    differs between them are the lengths that depend on the batch. So layers of your own are
    exported like those of `xpnet.nn`. Buffers that the model writes in evaluation are not part of
    the graph. The model is checked by ``onnx.checker``, shapes included, before it is written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> import xpnet as xn
    >>> from xpnet import nn
    >>> from xpnet.interop import onnx
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3), nn.Softmax())
    >>> with TemporaryDirectory() as folder:
    ...     made = onnx.export(model, f"{folder}/model.onnx", xn.asarray([[1.0, 2.0, 3.0, 4.0]]))
    >>> [node.op_type for node in made.graph.node]
    ['Gemm', 'Relu', 'Gemm', 'Softmax']
    >>> [array.name for array in made.graph.initializer]
    ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    onnx = _package()
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    _check(model, path, inputs)
    path = Path(path)
    _check_path(path)
    newest = onnx.defs.onnx_opset_version()
    if not (isinstance(opset, int) and 18 <= opset <= newest):
        raise ValueError(
            f"onnx.export: expected an opset from 18 to {newest}, which the installed onnx has, "
            f"got {opset!r}"
        )
    input_names = _names("input", input_names, _paths(inputs if len(inputs) > 1 else None))
    with contextlib.ExitStack() as stack:
        stack.enter_context(still_waiting(model))
        model.initialize(*inputs)
        traced = trace(model, inputs)
        output_names = _names("output", output_names, _paths(traced.program.results))
        both = sorted({*input_names} & {*output_names})
        if both:
            raise ValueError(
                f"onnx.export: expected names of inputs and outputs that differ, got {both[0]!r} "
                "twice"
            )
        proto = convert(onnx, traced, type(model).__name__, input_names, output_names, opset)
        replace_file(path, proto.SerializeToString(deterministic=True))
        stack.pop_all()  # what the example has made stays
    return proto


def _package() -> Any:
    """Import the package that only this needs."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.shape_inference
    except ImportError as error:
        raise MissingPackageError(
            f"onnx.export: expected the package onnx, which cannot be imported ({error}); "
            'run: pip install "xpnet[onnx]"'
        ) from error
    return onnx


def _check(model: Any, path: Any, inputs: tuple[Any, ...]) -> None:
    """Refuse what is no model, no path or no batch."""
    if not isinstance(model, Module):
        fix = "a function becomes one as nn.Sequential(function)"
        fix = "that of an estimator is its model_" if hasattr(model, "get_params") else fix
        raise TypeError(f"onnx.export: expected a Module, got {type(model).__name__}; {fix}")
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(
            f"onnx.export: expected the path of a file, got {type(path).__name__}; write "
            "export(model, path, example_input)"
        )
    for x in inputs:
        if not is_array(x):
            raise TypeError(
                f"onnx.export: example_input: expected an array or a tuple of arrays, got "
                f"{type(x).__name__}; make one with xn.asarray"
            )
        if dtype_name(x) not in REAL:
            raise TypeError(
                f"onnx.export: example_input: expected arrays of dtype {', '.join(REAL)}, got "
                f"{x.dtype}; convert it with xp.astype"
            )
    rows = {x.shape[0] if x.ndim else 0 for x in inputs}
    if len(rows) != 1 or not min(rows):
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs) or "nothing"
        raise ValueError(
            "onnx.export: example_input: expected arrays with the same number of rows, at least "
            f"one, got {shapes}; the first axis is the batch"
        )


def _names(what: str, given: Sequence[str] | None, paths: list[str]) -> list[str]:
    """Return the names of the inputs or outputs."""
    if given is None:
        given = [f"{what}_{path}" if path[:1].isdigit() else path or what for path in paths]
    if isinstance(given, str) or len(given) != len(paths) or len({"", *given}) <= len(paths):
        raise ValueError(
            f"onnx.export: {what}_names: expected {len(paths)} different names, got {given!r}"
        )
    return list(given)


def _paths(results: Tree, path: str = "") -> list[str]:
    """Return the keys and numbers that lead to each leaf."""
    if isinstance(results, (list, tuple)) and not hasattr(results, "place"):
        results = dict(enumerate(results))
    if not isinstance(results, dict):
        return [path]
    return [
        x for key, member in results.items() for x in _paths(member, f"{path}_{key}".strip("_"))
    ]


def _check_path(path: Path) -> None:
    """Refuse a place where no file can be, before anything is computed."""
    check_folder("onnx.export: path", path)
    if path.is_dir():
        raise IsADirectoryError(
            f"onnx.export: path: expected that of a file, got the folder {path}; add a name"
        )
