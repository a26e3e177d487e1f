"""What is written, what is left as it was, and what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.interop.onnx import export

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
X = np.ones((2, 6), "float32")


def bool_of(x: Any) -> Any:
    return x if x[0, 0] > 9 else -x


def mlp(width: int | None = 6) -> nn.Sequential:
    xn.seed(0)
    return nn.Sequential(
        nn.Linear(width, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.ReLU(), nn.Linear(4, 3)
    )


class Model(nn.Module):
    """A function of arrays as a model, with a parameter."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.weight = nn.Parameter(xn.asarray(np.ones(6), dtype="float32"))

    def forward(self, *inputs: Any) -> Any:
        return self.function(*inputs)


def run(path: Path, **inputs: Any) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path.read_bytes())
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def shapes(values: Any) -> dict[str, list[Any]]:
    return {
        x.name: [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] for x in values
    }


def here(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir())


# What is written


def test_the_file_says_where_it_is_from_and_how_large_a_batch_may_be(tmp_path: Path) -> None:
    made = export(mlp(), tmp_path / "x.onnx", X)
    assert here(tmp_path) == ["x.onnx"]
    assert onnx.load(tmp_path / "x.onnx") == made
    assert (made.producer_name, made.producer_version) == ("xpnet", xn.__version__)
    assert [(each.domain, each.version) for each in made.opset_import] == [("", 20)]
    assert made.graph.name == "Sequential"
    assert shapes(made.graph.input) == {"input": ["batch", 6]}
    assert shapes(made.graph.output) == {"output": ["batch", 3]}


def test_parameters_and_nodes_are_called_as_in_the_model(tmp_path: Path) -> None:
    model = mlp()
    made = export(nn.Sequential(model, nn.Tanh()), str(tmp_path / "x.onnx"), X)
    arrays = {x.name: onnx.numpy_helper.to_array(x) for x in made.graph.initializer}
    named = {f"0.{name}": array for name, array in model.state_dict().items()}
    del named["0.1.num_batches_tracked"]  # which nothing depends on
    for name, array in named.items():
        np.testing.assert_array_equal(arrays.pop(name), array, strict=True)
    assert [x.shape for x in arrays.values()] == [()]  # the epsilon
    names = [node.name for node in made.graph.node]
    assert names[0] == "0.0/Gemm"
    assert names[-3:] == ["0.3/Relu", "0.4/Gemm", "1/Tanh"]


def test_tied_parameters_are_one(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6)).tie("0.weight", "1.weight")
    made = export(model, tmp_path / "x.onnx", X)
    assert [x.name for x in made.graph.initializer] == ["0.weight", "0.bias", "1.bias"]


def test_the_same_model_gives_the_same_bytes(lib: Any, tmp_path: Path) -> None:
    """Whatever the example, and on every library."""
    with xn.use_backend("numpy"):
        expected = export(mlp(), tmp_path / "x.onnx", X[:1]).SerializeToString()
    model = mlp()
    for example in (lib.asarray(np.ones((9, 6)), "float32"), X):  # one of another library
        export(model, tmp_path / "y.onnx", example)
        assert (tmp_path / "y.onnx").read_bytes() == expected


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    def function(x: Any, y: Any) -> Any:
        return {"sum": x + y, "parts": [x * 2, (y - x,)]}

    made = export(Model(function), tmp_path / "x.onnx", (X, X[:, :1]))
    assert shapes(made.graph.input) == {"input_0": ["batch", 6], "input_1": ["batch", 1]}
    assert list(shapes(made.graph.output)) == ["sum", "parts_0", "parts_1_0"]
    x = np.arange(18, dtype="float32").reshape(3, 6)
    found = run(tmp_path / "x.onnx", input_0=x, input_1=x[:, 5:])
    np.testing.assert_array_equal(found["sum"], x + x[:, 5:])
    np.testing.assert_array_equal(found["parts_0"], x * 2)
    np.testing.assert_array_equal(found["parts_1_0"], x[:, 5:] - x)


def test_names_that_are_given(tmp_path: Path) -> None:
    names = {"input_names": ["a", "b"], "output_names": ["c", "d"]}
    made = export(Model(lambda x, y: (x + y, x)), tmp_path / "x.onnx", (X, X), **names)
    assert list(shapes(made.graph.input)) == ["a", "b"]
    assert list(shapes(made.graph.output)) == ["c", "d"]
    made = export(mlp(), tmp_path / "x.onnx", X, input_names=["0.weight"], output_names=["0.bias"])
    assert "0.weight_1" in [x.name for x in made.graph.initializer]


def test_outputs_that_are_one_array_or_not_computed(tmp_path: Path) -> None:
    model = Model(lambda x: None)

    def function(x: Any) -> Any:
        y = x + 1
        xp = xn.array_namespace(x)
        return x, y, y, x, model.weight, xp.zeros_like(x), xp.asarray([1, 2])

    model.function = function
    export(model, tmp_path / "x.onnx", X)
    found = run(tmp_path / "x.onnx", input=X)
    for n, expected in enumerate([X, X + 1, X + 1, X, np.ones(6), 0 * X, np.asarray([1, 2])]):
        np.testing.assert_array_equal(found[f"output_{n}"], expected)


def test_lengths_that_depend_on_the_batch_are_described(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.concat([x, x]), x[1:], xp.reshape(x @ x.T, (-1,)), xp.sum(x)

    made = export(Model(function), tmp_path / "x.onnx", X)
    assert list(shapes(made.graph.output).values()) == [["2*batch", 6], ["batch-1", 6], [0], []]


@pytest.mark.parametrize("opset", [18, 19, 21])
def test_versions_of_the_operators(tmp_path: Path, opset: int) -> None:
    """An operator that is too new is written out."""
    made = export(nn.GELU(), tmp_path / "x.onnx", X, opset=opset)
    assert made.opset_import[0].version == opset
    assert (len(made.graph.node) == 1) == (opset >= 20)
    (found,) = run(tmp_path / "x.onnx", input=3 * X).values()
    np.testing.assert_allclose(found, nn.gelu(3 * X), rtol=1e-6)


# What is left as it was


def test_the_model_is_as_before(tmp_path: Path) -> None:
    model = mlp()
    model[2].eval()
    before = model.state_dict()
    arrays = {slot.name: slot.array for slot in model.slots()}
    draws = xn.random.default_generator().draws
    export(model, tmp_path / "x.onnx", X)
    with pytest.raises(TypeError, match="dtype"):
        export(model, tmp_path / "x.onnx", X.astype("float64"))
    assert [module.training for _, module in model.modules()] == [True] * 3 + [False] + [True] * 2
    assert {slot.name: slot.array for slot in model.slots()}.keys() == arrays.keys()
    assert all(slot.array is arrays[slot.name] for slot in model.slots())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert xn.random.default_generator().draws == draws


def test_it_is_the_model_in_evaluation(tmp_path: Path) -> None:
    model = mlp()
    model(np.random.default_rng(0).normal(size=(9, 6)).astype("float32"))
    export(model, tmp_path / "x.onnx", X)
    (found,) = run(tmp_path / "x.onnx", input=X).values()
    np.testing.assert_allclose(found, model.eval()(X), rtol=1e-5, atol=1e-6)


def test_buffers_that_are_written_are_not_part_of_it(tmp_path: Path) -> None:
    class Counter(nn.Module):
        def __init__(self) -> None:
            self.calls = nn.Buffer(xn.asarray(0))

        def forward(self, x: Any) -> Any:
            self.calls = self.calls + 1
            return x * 2

    model = Counter()
    assert [node.op_type for node in export(model, tmp_path / "x.onnx", X).graph.node] == ["Mul"]
    assert model.calls == 0


def test_layers_that_wait_take_their_width(tmp_path: Path) -> None:
    model = mlp(None)
    with pytest.raises(xn.ExportError):
        export(nn.Sequential(model, bool_of), tmp_path / "x.onnx", X)
    assert model[0].is_waiting()
    export(model, tmp_path / "x.onnx", X)
    (found,) = run(tmp_path / "x.onnx", input=X).values()
    np.testing.assert_allclose(found, model.eval()(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model[0].weight, mlp()[0].weight)


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.onnx"
    path.write_text("old")
    with pytest.raises(xn.ExportError):
        export(nn.Sequential(bool_of), path, X)
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", _fail)
        with pytest.raises(OSError, match="full"):
            export(mlp(), path, X)
    assert path.read_text() == "old"
    assert here(tmp_path) == ["x.onnx"]
    export(mlp(), path, X)
    assert here(tmp_path) == ["x.onnx"]
    assert onnx.load(path).producer_name == "xpnet"


def _fail(*paths: Any) -> None:
    raise OSError("the disk is full")


# What is refused


class Draws(nn.Module):
    def forward(self, x: Any) -> Any:
        xp = xn.array_namespace(x)
        return x * xp.astype(xn.random.default_generator().bernoulli(xp, 0.5, x.shape), x.dtype)


OTHER = nn.Linear(6, 6)

REFUSED: dict[str, tuple[Any, str]] = {
    "a function without a counterpart": (
        lambda x: xn.array_namespace(x).linalg.pinv(x),
        "xp.linalg.pinv, at {line}: it has no counterpart in ONNX; write it with functions",
    ),
    "a mask": (lambda x: x[x > 0], r"x\[mask\], whose shape depends on values, at {line}"),
    "nonzero": (lambda x: xn.array_namespace(x).nonzero(x), "xp.nonzero, whose shape .* {line}"),
    "a branch": (lambda x: x if x[0, 0] > 0 else -x, "a Python branch on the value .* {line}"),
    "a number": (lambda x: x * float(x[0, 0]), r"float\(x\), at {line}"),
    "a branch on the batch": (
        lambda x: x + 1 if x.shape[0] > 2 else x * 2,
        r"which functions are called .*multiply for 2 rows, add for 3 rows, .*at {line}",
    ),
    "a branch on a single row": (
        lambda x: x + 1 if x.shape[0] == 1 else x * 2,
        r"which functions are called .*multiply for 61 rows, add for 1 row\), at {line}",
    ),
    "a number for a single row": (
        lambda x: x * (3 if x.shape[0] == 1 else 2),
        r"a number is \(2, 2, 2, 3\) for batches of \(2, 3, 61, 1\) rows",
    ),
    "another shape for a single row": (
        lambda x: xn.array_namespace(x).reshape(x, (1, 2, 3) if x.shape[0] == 1 else (-1, 6)),
        "the dtype or number of axes of an array depends on the size of the batch, at {line}",
    ),
    "more calls for larger batches": (
        lambda x: x + 1 if x.shape[0] < 9 else x + 1 + 1,
        "nothing for 3 rows, add for 61 rows.*, at {line}",
    ),
    "a number of the batch": (
        lambda x: x * (1 / x.shape[0]),
        "the number 0.5 was computed by Python from the size of the batch, at {line}",
    ),
    "a length that is not linear": (
        lambda x: x[: x.shape[0] // 2],
        "xp.getitem, at {line}: a number is \\(1, 1, 30, 0\\) for batches of .* rows, which is not",
    ),
    "a dtype of the batch": (
        lambda x: xn.array_namespace(x).astype(
            x, xn.array_namespace(x).float64 if x.shape[0] > 2 else x.dtype
        ),
        "the dtype or number of axes of an array depends on the size of the batch, at {line}",
    ),
    "pieces of the batch": (
        lambda x: xn.array_namespace(x).stack(list(x)),
        "which functions are called depends on the size of the batch .*, at {line}",
    ),
    "other functions' arrays": (
        lambda x: x + np.random.default_rng().normal(size=(6,)).astype("float32"),
        "an array was made by other functions, and differs from batch to batch, at {line}",
    ),
    "a result of other functions": (
        lambda x: np.ones(x.shape[0]),
        "an array was made by other functions, .* batch to batch, at the end of the model",
    ),
    "other functions' arrays of the batch": (
        lambda x: x + np.ones((1,) * (x.shape[0] % 2) + (1,), "float32"),
        "the dtype or number of axes of an array depends on .*, at {line}",
    ),
    "what differs between results": (
        lambda x: {"a": x} if x.shape[0] == 2 else {"b": x},
        "what the model returns depends on the size of the batch",
    ),
    "no array": (lambda x: x.shape[0], "expected a model that returns arrays, .* got int"),
    "several arrays as an index": (
        lambda x: x[xn.array_namespace(x).argmax(x, axis=0), xn.array_namespace(x).arange(6)],
        "xp.getitem, at {line}: an index of several arrays.*; use xp.take",
    ),
    "a list of something else": (
        lambda x: xn.array_namespace(x).asarray([x.shape[0], 0.5]),
        "xp.asarray, at {line}: a list of something else than lengths; use xp.stack",
    ),
    "a norm of another order": (
        lambda x: xn.array_namespace(x).linalg.vector_norm(x, ord=3),
        "xp.linalg.vector_norm, at {line}: a norm of order 3; write it out",
    ),
    "no arrays": (lambda x: [], "expected a model that returns arrays, got none"),
    "a dtype that runtimes do not have": (
        lambda x: xn.array_namespace(x).astype(x, xn.array_namespace(x).complex64),
        "xp.astype, at {line}: an array has dtype complex64; use bool, int8",
    ),
    "another model": (
        lambda x: OTHER(x),
        "a Linear is used that is no part of the model, at {line}; .*: make it an attribute",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    function, message = REFUSED[name]
    line = r"\S*test_export.py:\d+"
    with pytest.raises(xn.ExportError, match=message.replace("{line}", line)) as info:
        export(Model(function), tmp_path / "x.onnx", X)
    assert str(info.value).startswith("onnx.export: ")
    assert here(tmp_path) == []


def test_random_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(xn.ExportError, match=r"changes from call to call, .*test_export.py:\d+"):
        export(Draws(), tmp_path / "x.onnx", X)


def test_the_line_is_the_one_that_calls(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        xp = xn.array_namespace(x)
        return xp.linalg.pinv(x)

    line = function.__code__.co_firstlineno + 2
    with pytest.raises(xn.ExportError, match=rf"xp\.linalg\.pinv, at \S*test_export.py:{line}: "):
        export(Model(function), tmp_path / "x.onnx", X)


def test_what_libraries_add_is_refused(tmp_path: Path) -> None:
    def function(x: Any) -> Any:
        return xn.array_namespace(x).sum(x, axis=1, initial=2.0)

    with pytest.raises(xn.ExportError, match=r"xp.sum, .*initial.*use the standard's arguments"):
        export(Model(function), tmp_path / "x.onnx", X)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": abs}, TypeError, r"expected a Module, got builtin.*nn.Sequential\(function\)"),
        ({"example_input": [1.0]}, TypeError, "expected an array or a tuple of arrays, got list"),
        ({"example_input": X[:0]}, ValueError, r"at least one, got \(0, 6\)"),
        ({"example_input": np.float32(1.0) + np.zeros(())}, ValueError, "same number of rows"),
        ({"example_input": (X, X[:1])}, ValueError, r"got \(2, 6\), \(1, 6\); the first axis"),
        ({"example_input": X * 1j}, TypeError, "of dtype bool, .*, float64, got complex64"),
        ({"example_input": ()}, ValueError, "got nothing"),
        ({"input_names": "x"}, ValueError, "input_names: expected 1 different names, got 'x'"),
        ({"output_names": ["a", "b"]}, ValueError, "output_names: expected 1 different names"),
        ({"input_names": ["y"], "output_names": ["y"]}, ValueError, "differ.*'y'"),
        ({"opset": 17}, ValueError, "expected an opset from 18 to"),
        ({"opset": 10_000}, ValueError, "expected an opset from 18 to"),
        ({"path": "nowhere/x.onnx"}, FileNotFoundError, "make the folder .*nowhere first"),
        ({"path": ""}, IsADirectoryError, "expected that of a file, got the folder"),
        ({"example_input": X.astype("float64")}, TypeError, "parameters have dtype float32"),
        ({"example_input": X[:, :5]}, ValueError, r"input of shape \(\.\.\., 6\)"),
    ],
)
def test_arguments_that_are_refused(
    tmp_path: Path, arguments: dict[str, Any], error: Any, message: str
) -> None:
    arguments = {"model": mlp(), "path": "x.onnx", "example_input": X} | arguments
    arguments["path"] = tmp_path / arguments["path"]
    with pytest.raises(error, match=message):
        export(**arguments)
    assert here(tmp_path) == []


def test_a_model_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xpnet.interop.onnx.converting._MOST", 100)
    with pytest.raises(ValueError, match=r"up to 100 bytes, .* got one of \d+"):
        export(mlp(), tmp_path / "x.onnx", X)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = re.escape('run: pip install "xpnet[onnx]"')
    with pytest.raises(xn.MissingPackageError, match=message):
        export(mlp(), tmp_path / "x.onnx", X)
