"""Weights in safetensors files: PyTorch's read here, and ours read there."""

import itertools
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import losses, nn, optim
from xpnet.interop.safetensors import Unmatched

pytest.importorskip("safetensors")
NOTHING = Unmatched([], [])
RNG = np.random.default_rng(3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def write(path: Path, tensors: dict[str, tuple[str, Any]]) -> None:
    """Write arrays, or their bytes, under the dtypes that the header is to give them."""
    header, content = {}, b""
    for name, (dtype, x) in tensors.items():
        data = np.asarray(x).tobytes()
        offsets = [len(content), len(content) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(np.shape(x)), "data_offsets": offsets}
        content += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)


def header(path: Path) -> dict[str, Any]:
    """Return what a file says of its tensors, without their places, and its metadata."""
    content = path.read_bytes()
    [length] = struct.unpack("<Q", content[:8])
    found: dict[str, Any] = json.loads(content[8 : 8 + length])
    for tensor in found.values():
        tensor.pop("data_offsets", None)
    return found


def same(path: Path, other: Path) -> None:
    """Assert that two files hold the same names, shapes, dtypes and bits."""
    from safetensors.numpy import load_file

    ours, theirs = (header(file) for file in (path, other))
    for found in (ours, theirs):
        found.pop("__metadata__", None)
    assert ours == theirs
    tensors = load_file(path), load_file(other)
    for name in ours:
        assert tensors[0][name].tobytes() == tensors[1][name].tobytes(), name


def classifier(nn: Any) -> Any:
    """Return a model that is written the same way here and there."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(16, 10, bias=False), nn.LayerNorm(10), nn.GELU(), nn.SiLU(), nn.Softplus()),
        *(nn.Linear(10, 8), nn.BatchNorm1d(8, affine=False), nn.LeakyReLU(0.1), nn.ELU()),
        *(nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Hardtanh(), nn.Sigmoid()),
        *(nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 5), nn.LogSoftmax(-1)),
    )


def words(nn: Any) -> Any:
    return nn.Sequential(
        *(nn.Embedding(11, 6, padding_idx=2), nn.LayerNorm(6), nn.Flatten(), nn.Linear(24, 5)),
        *(nn.BatchNorm1d(5, momentum=None), nn.Identity(), nn.Softmax(-1)),
    )


def blocks(nn: Any) -> Any:
    """Return a model whose layers are attributes, in lists and in dicts."""
    here = nn.__name__.startswith("xpnet")
    listed, named = (list, dict) if here else (nn.ModuleList, nn.ModuleDict)

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = listed([nn.Linear(12, 12), nn.Linear(12, 12)])
            self.heads = named({"mean": nn.Linear(12, 5), "scale": nn.Linear(12, 5)})
            self.norm = nn.BatchNorm1d(12)

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = self.norm(layer(x))
            return self.heads["mean"](x) * self.heads["scale"](x)

    class Net(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.flatten = nn.Flatten()
            self.body = nn.Sequential(nn.Linear(12, 12), Block())

        def forward(self, x: Any) -> Any:
            return self.body(self.flatten(x))

    return Net()


IMAGES = RNG.normal(size=(9, 3, 4)).astype("float32")
MODELS: dict[str, tuple[Callable[[Any], Any], np.ndarray]] = {
    "classifier": (classifier, IMAGES),
    "words": (words, RNG.integers(11, size=(9, 4))),
    "blocks": (blocks, IMAGES),
}


def trained(build: Callable[[Any], Any], x: np.ndarray) -> Any:
    """Return a model of PyTorch whose weights and statistics are none of the first ones."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(5)
    model = build(torch.nn)
    for _ in range(3):
        model(torch.tensor(x))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return model(torch.tensor(x)).numpy()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *itertools.product(MODELS, ["float32"]),
        *itertools.product(["words"], ["float16", "bfloat16", "float64"]),
    ],
)
def test_pytorch_and_back(lib: Any, path: Path, name: str, precision: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, load_model, save_file

    build, x = MODELS[name]
    theirs, ours = trained(build, x), build(nn).eval()
    theirs.to(getattr(torch, precision))
    save_file(theirs.state_dict(), path)
    theirs.float()
    expected = outputs(theirs, x)

    assert xn.load(ours, path) == NOTHING
    assert {str(lib.to_host(x).dtype) for x in ours.parameters().values()} == {"float32"}
    lib.close(ours(lib.asarray(x, dtype=None)), expected, rtol=1e-6)

    xn.save(ours, path)
    fresh, strict = build(torch.nn).eval(), build(torch.nn).eval()
    strict.load_state_dict(load_file(path), strict=True)
    load_model(fresh, path)
    for model in (fresh, strict):
        np.testing.assert_array_equal(outputs(model, x), expected)
    again = path.with_name("theirs.safetensors")
    save_file(theirs.state_dict(), again, {"format": "pt"})
    assert header(path) == header(again)
    same(path, again)


def test_here_and_back(lib: Any, path: Path) -> None:
    model, again = blocks(nn), blocks(nn).eval()
    x = lib.asarray(IMAGES, dtype=None)
    model(x)
    xn.save(model, path)
    before = path.read_bytes()
    assert xn.load(again, str(path)) == NOTHING
    lib.close(again(x), lib.to_host(model.eval()(x)), rtol=0)
    xn.save(again, str(path))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_the_file_is_the_same_on_every_library(lib: Any, path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    xn.save(model, path)
    with xn.use_backend("numpy"):
        xn.seed(0)
        host = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    xn.save(host, other := path.with_name("host"))
    assert path.read_bytes() == other.read_bytes()
    assert header(path) == {
        "__metadata__": {"format": "pt"},
        "0.weight": {"dtype": "F32", "shape": [3, 2]},
        "0.bias": {"dtype": "F32", "shape": [3]},
        **{
            f"1.{key}": {"dtype": "F32", "shape": [3]}
            for key in ("weight", "bias", "running_mean", "running_var")
        },
        "1.num_batches_tracked": {"dtype": "I64", "shape": []},
    }


def test_layers_that_wait_take_their_width(lib: Any, path: Path) -> None:
    xn.save(nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), path)
    model = nn.Sequential(nn.Linear(None, 3), nn.LayerNorm(None))
    with pytest.raises(ValueError, match="take their width from the first batch"):
        xn.save(model, path)
    assert xn.load(model, path) == NOTHING
    assert model[0].in_features == 4
    wrong = nn.Sequential(nn.Linear(None, 2), nn.LayerNorm(None))
    with pytest.raises(ValueError, match=r"0\.weight: expected shape \(2, 4\), got \(3, 4\)"):
        xn.load(wrong, path)
    assert wrong[0].is_waiting()
    assert wrong[1].is_waiting()


def test_layers_that_still_wait_are_missing(lib: Any, path: Path) -> None:
    """Why they do is said, and not to call the model before."""
    whole = nn.Sequential(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
    xn.save(whole, path)
    model = nn.Sequential(nn.Linear(None, 3), nn.BatchNorm1d(None))
    with pytest.raises(ValueError, match=r"^load: .*: the file does not fit") as caught:
        xn.load(model, path)
    names = ["weight", "bias", "running_mean", "running_var"]
    lines = str(caught.value).splitlines()[1:]
    names = ["0.weight", "0.bias", *(f"1.{name}" for name in names)]
    assert lines[:6] == [f"  missing: {name}" for name in names]
    assert lines[-1] == "In the file, the names of this model start with '0.': pass prefix='0.'"
    assert model[0].is_waiting()
    assert xn.load(model, path, prefix="0.") == NOTHING

    longer = nn.Sequential(nn.Linear(None, 2), nn.BatchNorm1d(3), nn.Linear(None, 1))
    with pytest.raises(ValueError, match="the file does not fit") as caught:
        xn.load(longer, path, prefix="0.")
    assert str(caught.value).splitlines()[1:] == [
        "  missing: 2.weight",
        "  missing: 2.bias",
        "  0.weight: expected shape (2, 4), got (3, 4)",
        "  0.bias: expected shape (2,), got (3,)",
    ]
    with pytest.raises(ValueError, match=r"0\.weight: expected shape \(2, 4\), got \(3, 4\)"):
        xn.load(longer, path, prefix="0.", strict=False)
    assert all(longer[n].is_waiting() for n in (0, 2))


def test_layers_that_are_not_in_the_file_go_on_waiting(lib: Any, path: Path) -> None:
    whole = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    xn.save(whole, path)
    head = nn.Linear(None, 3)
    model = nn.Sequential(nn.Linear(None, 3), nn.BatchNorm1d(3), head, nn.BatchNorm1d(None), head)
    missing = [*("2.weight", "2.bias"), *(f"3.{name}" for name in whole[1].state_dict())]
    found = xn.load(model, path, strict=False)
    assert found.unexpected == []
    assert found.missing == [*(n for n in missing if "tracked" not in n), "4.weight", "4.bias"]
    lib.close(model[0].weight, lib.to_host(whole[0].weight), rtol=0)
    assert [n for n in range(5) if model[n].is_waiting()] == [2, 3, 4]
    model(lib.asarray([[1.0, 2.0, 3.0, 4.0]] * 2, "float32"))
    assert [n for n in range(5) if model[n].is_waiting()] == []


def test_a_width_that_the_file_does_not_tell(lib: Any, path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(None, 3))
    write(path, {name: ("F32", np.ones(3, np.float32)) for name in ("0.bias", "1.bias")})
    before = lib.to_host(model[0].bias)
    with pytest.raises(ValueError, match=r"before: 1 \(Linear\); call model\(x\) once"):
        xn.load(model, path, strict=False)
    lib.close(model[0].bias, before, rtol=0)


# Dtypes

FLOATS = [1.0, -0.0, 3.140625, 1e-3, np.inf, -np.inf, np.nan, 2.0**-126, 2.0**-133]
# The upper halves of these, as float32; the last one is not normal.
BFLOAT16 = [0x3F80, 0x8000, 0x4049, 0x3A83, 0x7F80, 0xFF80, 0x7FC0, 0x0080, 0x0001]


def test_bfloat16_bit_by_bit(path: Path) -> None:
    write(path, {"weight": ("BF16", np.array([BFLOAT16, BFLOAT16[::-1]], "<u2"))})
    model = nn.Linear(9, 2, bias=False)
    xn.load(model, path)
    expected = (np.array(BFLOAT16, "uint32") << 16).view("float32")
    np.testing.assert_array_equal(model.weight, np.array([expected, expected[::-1]]), strict=True)
    assert expected[-1] == FLOATS[-1]


@pytest.mark.parametrize(("code", "dtype"), [("F16", "<f2"), ("F32", "<f4"), ("F64", "<f8")])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_numbers_are_cast_to_the_parameters_dtype(
    lib: Any, path: Path, code: str, dtype: str, precision: str
) -> None:
    values = np.array([[*FLOATS, 1 / 3]]).astype(dtype)
    write(path, {"weight": (code, values)})
    model = nn.Linear(10, 1, bias=False, dtype=precision)
    xn.load(model, path)
    loaded = lib.to_host(model.weight)
    np.testing.assert_array_equal(loaded, values.astype(precision), strict=True)


def test_jax_without_64_bits(path: Path) -> None:
    pytest.importorskip("jax")
    names = ("weight", "bias", "running_mean", "running_var")
    doubles = dict.fromkeys(names, ("F64", np.full(3, 1 / 3)))
    write(path, {**doubles, "num_batches_tracked": ("I64", np.array(7))})
    code = f"""if True:
        import xpnet as xn
        xn.use_backend("jax")
        model = xn.nn.BatchNorm1d(3)
        xn.load(model, {str(path)!r})
        print(model.weight.dtype, model.num_batches_tracked.dtype)
        xn.save(model, {str(path)!r})
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "float32 int32\n", done.stderr
    assert header(path)["num_batches_tracked"] == {"dtype": "I64", "shape": []}


class Counts(nn.Module):
    """Buffers that are no real numbers."""

    def __init__(self) -> None:
        self.seen = nn.Buffer(xn.asarray(np.array([3, 4], "int32")))
        self.mask = nn.Buffer(xn.asarray([True, False]))
        self.byte = nn.Buffer(xn.asarray(np.array([[200]], "uint8")))


def test_buffers_keep_their_dtype(lib: Any, path: Path) -> None:
    xn.save(Counts(), path)
    assert header(path) == {
        "__metadata__": {"format": "pt"},
        "seen": {"dtype": "I32", "shape": [2]},
        "mask": {"dtype": "BOOL", "shape": [2]},
        "byte": {"dtype": "U8", "shape": [1, 1]},
    }
    wide = {"seen": ("I64", np.array([5, 6])), "mask": ("BOOL", np.array([False, True]))}
    write(path, {**wide, "byte": ("I16", np.array([[7]], "<i2"))})
    model = Counts()
    xn.load(model, path)
    for name, expected in {"seen": [5, 6], "mask": [False, True], "byte": [[7]]}.items():
        before, after = (lib.to_host(getattr(each, name)) for each in (Counts(), model))
        np.testing.assert_array_equal(after, np.array(expected, before.dtype), strict=True)


@pytest.mark.parametrize("code", ["F8_E4M3", "F8_E5M2"])
def test_what_cannot_be_read(path: Path, code: str) -> None:
    write(path, {"weight": (code, np.zeros((1, 2), "uint8"))})
    message = f"expected tensors of dtype .*F32.*BF16, found 'weight' of {code}; take another file"
    with pytest.raises(xn.DataError, match=message):
        xn.load(nn.Linear(2, 1, bias=False), path)


def test_what_cannot_be_written(path: Path) -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            self.wave = nn.Buffer(np.ones(2, "complex64"))

    with pytest.raises(TypeError, match=r"save: wave: expected .* dtype bool, .*, got complex64"):
        xn.save(Waves(), path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", bytes(96), b"\x89HDF\r\n\x1a\n" + bytes(9)])
def test_a_file_of_another_kind(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = r"model\.safetensors: expected a safetensors file.*convert it with the program that"
    with pytest.raises(xn.DataError, match=message):
        xn.load(nn.Linear(2, 1), path)


# What does not fit


def arrays(model: nn.Module) -> dict[str, bytes]:
    return {name: xn.to_host(x).tobytes() for name, x in model.state_dict().items()}


def test_all_that_is_wrong_is_said_at_once(lib: Any, path: Path) -> None:
    f4 = np.zeros((3, 2), "<f4")
    write(
        path,
        {
            "0.weight": ("F32", f4),
            "1.weight": ("F32", f4),
            "1.bias": ("I64", np.zeros(3, "int64")),
            "seen": ("F32", f4[0]),
            "extra.weight": ("F32", f4),
        },
    )

    class Net(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Linear(2, 3), nn.Linear(3, 3))
            self.seen = nn.Buffer(xn.asarray([1, 2]))

    model = Net()
    before = arrays(model)
    with pytest.raises(ValueError, match="the file does not fit this Net:") as caught:
        xn.load(model, path)
    assert str(caught.value).splitlines()[0].startswith(f"load: {path}: ")
    integer, single = model.seen.dtype, model[0].weight.dtype
    assert str(caught.value).splitlines()[1:] == [
        "  missing: 0.bias",
        "  unknown: extra.weight",
        f"  seen: expected dtype {integer}, got float32",
        "  1.weight: expected shape (3, 3), got (3, 2)",
        f"  1.bias: expected dtype {single}, got int64",
    ]
    assert arrays(model) == before
    with pytest.raises(ValueError, match=r"1\.weight: expected shape") as caught:
        xn.load(model, path, strict=False)
    assert len(str(caught.value).splitlines()) == 4
    assert arrays(model) == before


def test_what_is_not_strict_loads_what_is_there(lib: Any, path: Path) -> None:
    xn.save(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1)), path)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4))
    before = arrays(model)
    assert xn.load(model, path, strict=False) == Unmatched(
        ["2.weight", "2.bias"], ["1.bias", "1.weight"]
    )
    changed = [name for name, bits in arrays(model).items() if bits != before[name]]
    assert changed == ["0.weight", "0.bias"]


def test_names_with_a_prefix(path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    both = nn.Sequential(model, nn.Linear(3, 1))
    xn.save(both, path)
    again = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match=r"missing: 0\.weight") as caught:
        xn.load(again, path)
    cure = "In the file, the names of this model start with '0.': pass prefix='0.'"
    assert str(caught.value).splitlines()[-1] == cure
    assert xn.load(again, path, prefix="0.") == NOTHING
    assert arrays(again) == arrays(model)

    xn.save(model, path)
    with pytest.raises(ValueError, match=r"missing: 0\.0\.weight") as caught:
        xn.load(both, path)
    cure = "The file fits a part of the model: load it into its '0'"
    assert str(caught.value).splitlines()[-1] == cure
    assert xn.load(both[0], path) == NOTHING

    with pytest.raises(ValueError, match="does not fit") as caught:
        xn.load(model, path, prefix="module.")
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()[1:-1]] == [
        "  missing"
    ] * 6
    cure = "In the file, the names start as in this model: leave out prefix='module.'"
    assert str(caught.value).splitlines()[-1] == cure


COUNTERS: dict[str, dict[str, tuple[str, Any]]] = {
    "missing": {},
    "int32": {"num_batches_tracked": ("I32", np.array(7, "<i4"))},
    "int64": {"num_batches_tracked": ("I64", np.array(7, "<i8"))},
}


@pytest.mark.parametrize("case", COUNTERS)
def test_counters_of_batches(lib: Any, path: Path, case: str) -> None:
    ones = ("F32", np.ones(3, "<f4"))
    names = ("weight", "bias", "running_mean", "running_var")
    write(path, dict.fromkeys(names, ones) | COUNTERS[case])
    model = nn.BatchNorm1d(3)
    assert xn.load(model, path) == NOTHING
    assert int(lib.to_host(model.num_batches_tracked)) == (7 if COUNTERS[case] else 0)
    write(path, dict.fromkeys(names[:2], ones) | COUNTERS[case])
    assert xn.load(nn.LayerNorm(3), path) == NOTHING


# Tied parameters


def tied(nn: Any) -> Any:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    if nn.__name__.startswith("xpnet"):
        return model.tie("0.weight", "2.weight")
    model[2].weight = model[0].weight
    return model


def repeated(nn: Any) -> Any:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer)


@pytest.mark.parametrize("build", [tied, repeated])
def test_tied_parameters_of_pytorch(lib: Any, path: Path, build: Callable[[Any], Any]) -> None:
    """`save_model` leaves out a name of each pair; `load_state_dict` takes both, and so do we."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, load_model, save_file, save_model

    x = RNG.normal(size=(4, 3)).astype("float32")
    theirs = trained(build, x)
    expected = outputs(theirs, x)
    for one_name in (True, False):
        ours = build(nn)
        if one_name:
            save_model(theirs, str(path))
        else:
            save_file({name: tensor.clone() for name, tensor in theirs.state_dict().items()}, path)
        assert xn.load(ours, path) == NOTHING
        assert ours[0].weight is ours[2].weight
        lib.close(ours(lib.asarray(x, "float32")), expected, rtol=1e-6)

    xn.save(ours, path)
    fresh = build(torch.nn)
    fresh.load_state_dict(load_file(path), strict=True)
    np.testing.assert_array_equal(outputs(fresh, x), expected)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        load_model(build(torch.nn), path)
    fresh = build(torch.nn)
    load_model(fresh, path, strict=False)
    np.testing.assert_array_equal(outputs(fresh, x), expected)


@pytest.mark.parametrize("build", [tied, repeated])
def test_tied_parameters(lib: Any, path: Path, build: Callable[[Any], Any]) -> None:
    from safetensors.numpy import load_file, save_file

    model = build(nn)
    xn.save(model, path)
    tensors = load_file(path)
    assert set(tensors) == {f"{i}.{key}" for i, key in itertools.product("02", ("weight", "bias"))}
    for absent in ("0.weight", "2.weight"):
        save_file({name: x for name, x in tensors.items() if name != absent}, path)
        again = build(nn)
        assert xn.load(again, path) == NOTHING
        assert again[0].weight is again[2].weight
        assert arrays(again) == arrays(model)
    save_file(tensors | {"2.weight": tensors["0.weight"] + 1}, path)
    before = arrays(model)
    with pytest.raises(ValueError, match=r"\n  2\.weight: tied to 0\.weight, but the file has"):
        xn.load(model, path)
    assert arrays(model) == before
    save_file(tensors | {"2.weight": tensors["0.weight"].astype("float64")}, path)
    message = r"\n  2\.weight: tied to 0\.weight, but the file has them in float64 and float32"
    with pytest.raises(ValueError, match=message):
        xn.load(model, path)
    assert arrays(model) == before


def test_a_module_that_knows_its_parent(path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].parent = model
    xn.save(model, path)
    assert set(header(path)) == {"__metadata__", "0.weight", "0.bias"}
    assert xn.load(model, path) == NOTHING


# What else is there


def test_loading_in_the_middle_of_a_training(lib: Any, path: Path) -> None:
    """Steps, compiled or not, go on with the new weights; the optimizer keeps what it has."""

    def loss_fn(model: Any, x: Any, y: Any) -> Any:
        return losses.cross_entropy(model(x), y)

    def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        value, grads = xn.value_and_grad(loss_fn)(model, x, y)
        optimizer.update(model, grads)
        return value

    x, y = lib.asarray(RNG.normal(size=(6, 4)), "float32"), lib.asarray([0, 1, 2] * 2, None)
    xn.save(nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)), path)
    results = []
    for function in (step, xn.compile(step)):
        xn.seed(1)
        model, optimizer = (
            nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3)),
            optim.SGD(0.1, momentum=0.9),
        )
        for _ in range(4):
            before = function(model, optimizer, x, y)
        moments = [lib.to_host(slot.array).tobytes() for slot in optimizer.slots()]
        assert len(moments) == 3
        model[1].eval()
        xn.load(model, path)
        assert model.training
        assert not model[1].training
        assert optimizer.steps == 4
        assert [lib.to_host(slot.array).tobytes() for slot in optimizer.slots()] == moments
        model.train()
        after = [lib.to_host(function(model, optimizer, x, y)) for _ in range(3)]
        assert after[0] != lib.to_host(before)
        fresh = nn.Sequential(nn.Linear(4, 3, bias=False), nn.BatchNorm1d(3))
        xn.load(fresh, path)
        np.testing.assert_allclose(after[0], lib.to_host(loss_fn(fresh, x, y)), rtol=1e-6)
        results.append([*after, *map(lib.to_host, model.parameters().values())])
    for plain, compiled in zip(*results, strict=True):
        np.testing.assert_allclose(compiled, plain, rtol=2e-5, atol=1e-6)


def test_loaded_arrays_belong_to_the_model(lib: Any, path: Path) -> None:
    model, again = nn.Linear(2, 1), nn.Linear(2, 1)
    xn.save(model, path)
    again.freeze()
    xn.load(again, path)
    assert not again.parameters(trainable_only=True)
    assert again.weight is not model.weight


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    xn.save(nn.Linear(2, 1), path)
    before = path.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError("the disk is full")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="disk is full"):
                xn.save(nn.Linear(3, 1), path)
        assert os.listdir(path.parent) == [path.name]
        assert path.read_bytes() == before


def test_a_symbolic_link_stays_one(path: Path) -> None:
    model, link = nn.Linear(2, 1), path.with_name("latest.safetensors")
    path.write_bytes(b"old")
    link.symlink_to(path.name)
    xn.save(model, link)
    assert link.is_symlink()
    assert xn.load(nn.Linear(2, 1), path) == NOTHING


@pytest.mark.parametrize("function", [xn.save, xn.load], ids=["save", "load"])
def test_arguments_that_are_wrong(path: Path, function: Any) -> None:
    name = function.__name__
    with pytest.raises(TypeError, match=rf"{name}: the arguments look swapped: write xn\.{name}"):
        function(path, nn.Linear(2, 1))
    message = rf"{name}: expected a Module, got Adam; xn\.checkpoint\.{name} takes other things too"
    with pytest.raises(TypeError, match=message):
        function(optim.Adam(), path)
    message = (
        rf"{name}: expected a file, .* is a folder; checkpoints are for xn\.checkpoint\.{name}"
    )
    with pytest.raises(IsADirectoryError, match=message):
        function(nn.Linear(2, 1), path.parent)
    message = r"save: expected a file in a folder that exists, got .*deeper; make the folder "
    with pytest.raises(FileNotFoundError, match=message if name == "save" else None):
        function(nn.Linear(2, 1), path / "deeper")


def test_the_weights_of_a_checkpoint(path: Path) -> None:
    model, again = nn.Linear(2, 1), nn.Linear(2, 1)
    xn.checkpoint.save(path, model, optim.Adam())
    assert xn.load(again, path / "model.safetensors") == NOTHING
    assert arrays(again) == arrays(model)


def test_saving_inside_of_grad(path: Path) -> None:
    def function(model: Any) -> Any:
        xn.save(model, path)

    with pytest.raises(TypeError, match=r"save: weight: to_host: .*xn\.stop_gradient"):
        xn.grad(function)(nn.Linear(2, 1))


def test_without_safetensors(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 1)
    xn.save(model, path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for function in (xn.save, xn.load):
        with pytest.raises(xn.MissingPackageError, match=r'run: pip install "xpnet\[checkpoint\]"'):
            function(model, path)


@pytest.mark.parametrize("archive", [True, False])
def test_a_pickle_is_refused_with_the_way_out(tmp_path: Path, archive: bool) -> None:
    torch = pytest.importorskip("torch")
    path, model = tmp_path / "model.pt", nn.Linear(3, 2)
    theirs = torch.nn.Linear(3, 2).state_dict()
    torch.save(theirs, path, _use_new_zipfile_serialization=archive)
    with pytest.raises(xn.DataError, match=r"found a.* pickle.* write .*save_file"):
        xn.load(model, path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_headers_as_long_as_the_start_of_a_pickle(path: Path, protocol: int) -> None:
    """The file starts with the length of its header: 640 bytes are those of a pickle, too."""
    length = 256 * protocol + 128
    model = nn.Linear(3, 2)
    xn.save(model, path)
    content = path.read_bytes()
    data = 8 + int.from_bytes(content[:8], "little")
    start = length.to_bytes(8, "little")
    path.write_bytes(start + content[8:data].ljust(length) + content[data:])
    assert start.startswith(bytes([0x80, protocol]))
    xn.load(nn.Linear(3, 2), path)
