"""What is saved comes back bit for bit, and what does not fit changes nothing."""

import hashlib
import json
import math
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import checkpoint, nn, optim
from xpnet.backend import discover

pytest.importorskip("safetensors")


# Round trips


@pytest.mark.parametrize(
    "make",
    [
        *(optim.Adam, optim.AdamW, lambda: optim.SGD(0.1, momentum=0.9), lambda: optim.SGD(0.1)),
        lambda: optim.Average(optim.Accumulate(optim.NAdam(), 2)),
    ],
    ids=["Adam", "AdamW", "momentum", "SGD", "wrapped"],
)
@pytest.mark.parametrize("updates", [0, 2])
def test_round_trip(lib: Any, path: Path, new: Any, make: Any, updates: int) -> None:
    run = new(updates, optimizer=make())
    saved, steps = run.bits, run.optimizer.steps
    run.save(path)
    assert run.bits == saved
    run.train(2)  # what was saved does not follow
    assert run.bits != saved
    again = new(1, optimizer=make())
    assert again.load(path) == {}
    assert again.bits == saved
    assert again.optimizer.steps == steps
    for array in [*again.model.parameters().values(), *again.model.buffers().values()]:
        lib.to_host(array)  # checks library and device


@pytest.mark.parametrize("shape", [(), (0, 2), (1,), (2, 1, 3)], ids=str)
def test_every_shape(lib: Any, path: Path, new: Any, shape: tuple[int, ...]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            self.odd = nn.Parameter(xn.asarray(np.full(shape, np.float32(1.5))))

    run = new(2, Odd())
    run.save(path)
    again = new(0, Odd())
    again.load(path)
    assert again.bits == run.bits


DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", [*DTYPES, "float32", "float64"])
def test_every_dtype(lib: Any, path: Path, dtype: str) -> None:
    values = np.array([[0, 1, 1], [1, 0, 1]], dtype=dtype)
    if dtype.startswith("float"):
        values = values / np.array([-1.0, 3.0, 0.0], dtype=dtype)[:, None][:2]
        values[0, 0], values[1, 0] = np.nan, -np.inf
    checkpoint.save(path, kept=[lib.asarray(values, dtype)])
    [found] = checkpoint.load(path)["kept"]
    assert type(found) is np.ndarray
    assert (found.shape, found.dtype, found.tobytes()) == ((2, 3), dtype, values.tobytes())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i4").reshape(2, 3),
        np.arange(6.0).reshape(2, 3).T,
        np.arange(12.0)[::2],
        np.array([1.5, 2.5], dtype=np.float16),
        np.float32(1.5),
    ],
    ids=["big-endian", "transposed", "strided", "float16", "scalar"],
)
def test_every_layout(path: Path, array: Any) -> None:
    checkpoint.save(path, kept=array)
    found = checkpoint.load(path)["kept"]
    np.testing.assert_array_equal(found, array, strict=array.dtype.isnative)
    assert found.dtype.name == array.dtype.name


def test_across_libraries(lib: Any, path: Path, new: Any) -> None:
    run = new(2)
    run.save(path, epoch=1)
    content, saved = files(path), run.bits
    for name in xn.available_backends():
        with xn.use_backend(name) as backend:
            again = new(0)
            assert again.load(path) == {"epoch": 1}
            moments = [array for kept in again.optimizer.state.values() for array in kept.values()]
            for array in [*again.model.parameters().values(), *moments]:
                assert backend.owns(type(array)), name
            assert again.bits == saved, name
            again.save(path, epoch=1)
            assert files(path) == content, name


def test_training_goes_on_as_if_never_interrupted(lib: Any, path: Path, new: Any) -> None:
    run = new(2)
    run.save(path)
    run.train(3)
    again = new(0)
    again.load(path)
    assert again.train(3).bits == run.bits


def test_the_model_alone(lib: Any, path: Path, new: Any) -> None:
    run, again = new(2), new(0)
    checkpoint.save(path, run.model)
    assert checkpoint.load(path, again.model) == {}
    assert again.bits[0] == run.bits[0] != new(0).bits[0]


def test_layers_that_wait_for_the_first_batch(lib: Any, path: Path, new: Any) -> None:
    run = new(2, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)))
    run.save(path)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(None), nn.Linear(None, 2))
    again, weight = new(0, model, optim.SGD(0.1, momentum=0.9)), xn.to_host(model[0].weight)
    with pytest.raises(ValueError, match=r"SGD\.load_state_dict: the state does not fit"):
        again.load(path)
    assert [module.is_waiting() for module in (model[0], model[1], model[2])] == [0, 1, 1]
    np.testing.assert_array_equal(xn.to_host(model[0].weight), weight)
    again.optimizer = optim.Adam()
    again.load(path)
    assert again.bits == run.bits
    assert (model[1].num_features, model[2].in_features) == (4, 4)


def test_what_no_object_takes_is_returned(path: Path, new: Any) -> None:
    run, again = new(2), new(0)
    run.save(path, epoch=3)
    found = checkpoint.load(path, again.model)
    assert found.keys() == {"optimizer", "rng", "epoch"}
    assert (found["epoch"], found["rng"]) == (3, run.rng.state_dict())
    assert found["optimizer"]["steps"] == 2
    np.testing.assert_array_equal(
        found["optimizer"]["scale.mean"], xn.to_host(run.optimizer.state["scale"]["mean"])
    )
    assert found["optimizer"].keys() == run.optimizer.state_dict().keys()
    assert checkpoint.load(path).keys() == {"model", *found}
    again.optimizer.load_state_dict(found["optimizer"], again.model)
    again.rng.load_state_dict(found["rng"])
    assert again.bits == run.bits


def test_frozen_and_tied_parameters(lib: Any, path: Path, new: Any) -> None:
    def model() -> nn.Module:
        frozen = nn.Linear(2, 2).freeze()
        return nn.Sequential(frozen, nn.Linear(2, 2), nn.Linear(2, 2)).tie("1.weight", "2.weight")

    run = new(2, model())
    run.save(path)
    again = new(0, model())
    again.load(path)
    assert again.bits == run.bits
    assert again.model[1].weight is again.model[2].weight


class Box:
    """An object with a state of any kind."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def state_dict(self) -> Any:
        return self.state

    def load_state_dict(self, state: Any) -> None:
        self.state = state


def test_an_object_takes_its_part_back(lib: Any, path: Path) -> None:
    box = Box({"seen": 3, "sums": {"loss": lib.asarray([0.5, 1.5])}})
    checkpoint.save(path, meter=box, other=Box(7))
    again = Box(None)
    assert checkpoint.load(path, meter=again) == {"other": 7}
    assert again.state["seen"] == 3
    np.testing.assert_array_equal(again.state["sums"]["loss"], [0.5, 1.5], strict=True)


FLOATS = [0.1, -0.0, 5e-324, 1.7976931348623157e308, 1 / 3, 1e16, 1.0]


@pytest.mark.parametrize(
    "tree",
    [
        {"epoch": 3, "name": "Übung\n", "done": True, "none": None, "": [[], {}]},
        [1, 2**200, -1, True, False],
        {"$array": "a", "$$": 1, "$float": "nan"},
        [{"$array": "nested"}],
        "text",
        None,
        FLOATS,
    ],
    ids=["dict", "int", "dollar", "reference", "text", "none", "floats"],
)
def test_json_values(path: Path, tree: Any) -> None:
    checkpoint.save(path, tree=tree)
    found = checkpoint.load(path)["tree"]
    assert repr(found) == repr(tree)  # tells 1 from True from 1.0, and 0.0 from -0.0


def test_floats_that_json_lacks(path: Path) -> None:
    checkpoint.save(path, history={"loss": [math.nan, math.inf, -math.inf, np.float64("inf")]})
    found = checkpoint.load(path)["history"]["loss"]
    assert math.isnan(found[0])
    assert found[1:] == [math.inf, -math.inf, math.inf]
    json.loads((path / "state.json").read_text(), parse_constant=pytest.fail)


def test_tuples_become_lists(path: Path) -> None:
    checkpoint.save(path, part=({"x": (1, 2)}, ()))
    assert checkpoint.load(path) == {"part": [{"x": [1, 2]}, []]}


def test_the_order_of_keys_is_kept(path: Path) -> None:
    checkpoint.save(path, part={"z": 1, "a": np.zeros(1), "m": 2}, b=1, a=2)
    found = checkpoint.load(path)
    assert [*found, *found["part"]] == ["part", "b", "a", "z", "a", "m"]


@pytest.mark.parametrize("name", ["steps", "format", "version", "parts", "state", "model_", "_"])
def test_parts_of_any_name(path: Path, new: Any, name: str) -> None:
    run = new(2)
    run.save(path, **{name: [1000, np.ones(1)]})
    again = new(0)
    assert again.load(path)[name] == [1000, np.ones(1)]
    assert again.bits == run.bits


def test_paths_may_be_strings(path: Path, new: Any) -> None:
    checkpoint.save(str(path), new().model, epoch=1)
    assert checkpoint.load(f"{path}/", new().model) == {"epoch": 1}


def test_paths_may_be_relative(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    for epoch in (1, 2):
        checkpoint.save("last", epoch=epoch)
        assert checkpoint.load("last") == {"epoch": epoch}


def test_a_link_to_a_checkpoint_can_be_loaded(path: Path) -> None:
    checkpoint.save(path, epoch=1)
    path.with_name("best").symlink_to("last")
    assert checkpoint.load(path.with_name("best")) == {"epoch": 1}


# The files


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_other_programs_can_read_them(path: Path) -> None:
    from safetensors.numpy import load_file

    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    optimizer = optim.SGD(1.0, momentum=0.5)
    optimizer.update(
        model, {"weight": xn.asarray([[4.0, 5.0]]), "bias": xn.asarray([6.0])}
    )  # the velocity starts as the gradient, which is also subtracted
    history = {"loss": [0.5, math.nan], "seen": [np.array([True]), {"$x": np.array(7)}]}
    checkpoint.save(path, model, optimizer, history=history, epoch=3, mean=np.zeros(2, "int8"))
    found = {
        file.name: {name: x.tolist() for name, x in load_file(file).items()}
        for file in path.glob("*.safetensors")
    }
    assert found == {
        "model.safetensors": {"weight": [[-3.0, -3.0]], "bias": [-3.0]},
        "optimizer.safetensors": {"weight.velocity": [[4.0, 5.0]], "bias.velocity": [6.0]},
        "history.safetensors": {"seen.0": [True], "seen.1.$x": 7},
        "mean.safetensors": {"mean": [0, 0]},
    }
    assert json.loads((path / "state.json").read_text(encoding="utf-8")) == {
        "format": "xpnet checkpoint",
        "version": 1,
        "parts": {
            "model": {"weight": {"$array": "weight"}, "bias": {"$array": "bias"}},
            "optimizer": {
                "steps": 1,
                "updates": {"weight": 1, "bias": 1},
                "rate_factor": 1.0,
                "weight.velocity": {"$array": "weight.velocity"},
                "bias.velocity": {"$array": "bias.velocity"},
            },
            "history": {
                "loss": [0.5, {"$float": "nan"}],
                "seen": [{"$array": "seen.0"}, {"$$x": {"$array": "seen.1.$x"}}],
            },
            "epoch": 3,
            "mean": {"$array": "mean"},
        },
    }


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
def test_sha256sum_verifies_them(path: Path, new: Any) -> None:
    new(2).save(path)

    def check() -> subprocess.CompletedProcess[str]:
        command = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
        return subprocess.run(command, cwd=path, capture_output=True, text=True, check=False)

    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) - {"OK"} == {f"{name}:" for name in files(path)} - {
        "SHA256SUMS:"
    }
    (path / "state.json").write_text("{}")
    assert check().returncode == 1


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum")
@pytest.mark.parametrize("mode", ["--text", "--binary"])
def test_sums_may_be_renewed_by_sha256sum(path: Path, new: Any, mode: str) -> None:
    new(2).save(path)
    state = path / "state.json"
    state.write_text(state.read_text().replace('"draws": ', '"draws": 1'))
    command = f"sha256sum {mode} state.json *.safetensors > SHA256SUMS"
    subprocess.run(command, shell=True, cwd=path, check=True)
    assert (run := new(0)).load(path) == {}
    assert run.rng.draws == 16


def test_they_hold_numbers_and_text_only(path: Path, new: Any) -> None:
    """Header in JSON, then tensors without gaps: there is no room for a pickle."""
    new(2).save(path, epoch=1)
    for file in path.glob("*.safetensors"):
        content = file.read_bytes()
        [length] = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        end = 0
        for tensor in sorted(header.values(), key=lambda tensor: tensor["data_offsets"]):
            assert tensor["dtype"] in ("F32", "I64")
            assert tensor["data_offsets"][0] == end
            end = tensor["data_offsets"][1]
        assert len(content) == 8 + length + end


def test_the_same_state_gives_the_same_bytes(path: Path, new: Any) -> None:
    """In processes that order sets differently, too."""
    code = """if True:
        import sys, xpnet as xn
        xn.seed(0)
        model, optimizer = xn.nn.Linear(3, 4), xn.optim.Adam()
        grads = {name: 2 * x for name, x in model.parameters().items()}
        optimizer.update(model, grads)
        xn.checkpoint.save(sys.argv[1], model, optimizer, history={"a": [0.1], "b": grads})
    """
    for i in range(3):
        environment = {**os.environ, "PYTHONHASHSEED": str(i)}
        subprocess.run([sys.executable, "-c", code, f"{path}{i}"], env=environment, check=True)
    assert files(Path(f"{path}0")) == files(Path(f"{path}1")) == files(Path(f"{path}2"))
    digests = {hashlib.sha256(content).hexdigest() for content in files(Path(f"{path}0")).values()}
    assert len(digests) == 5


def test_they_are_as_readable_as_any_other_new_ones(path: Path, new: Any) -> None:
    new().save(path)
    other = path.with_name("other")
    other.mkdir()
    (other / "file").write_bytes(b"")

    def mode(file: Path) -> int:
        return stat.S_IMODE(file.stat().st_mode)

    assert mode(path) == mode(other)
    assert {mode(file) for file in path.iterdir()} == {mode(other / "file")}


# What cannot be saved


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"a": object()}, TypeError, "a: expected an array, .* or None, got object; convert it"),
        ({"a": {"b": [0, {1, 2}]}}, TypeError, "a.b.1: expected an array, .* got set"),
        ({"a": [b"x"]}, TypeError, "a.0: expected an array, .* got bytes"),
        ({"a": [1j]}, TypeError, "a.0: expected an array, .* got complex"),
        ({"a": [xn.Generator(1)]}, TypeError, "a.0: expected an array, .* got Generator"),
        ({"a": {"b": {1: 2}}}, TypeError, r"a.b: expected keys that are str, got 1 \(int\)"),
        ({"a": np.zeros(2, "c8")}, TypeError, "a: expected .* dtype bool, .*, got complex64; cast"),
        ({"a": {"b": np.array(["x"])}}, TypeError, "a.b: expected .* dtype bool, .*, got str32"),
        ({"a": [np.array([None])]}, TypeError, "a.0: expected .* dtype bool, .*, got object"),
        (
            {"a": {"b.c": np.ones(1), "b": {"c": np.ones(1)}}},
            ValueError,
            r"a.b.c: expected another name than 'b.c' .* another array has it; rename a key",
        ),
        (
            {"a": {"__metadata__": np.ones(1)}},
            ValueError,
            "a.__metadata__: expected another name .* safetensors files reserve it",
        ),
        ({"a/b": 1}, ValueError, "expected names of parts of ASCII .*, got 'a/b'; rename it"),
        ({"../a": 1}, ValueError, "expected names of parts of ASCII .*, got '../a'"),
        ({"1a": 1}, ValueError, "expected names of parts of ASCII .*, got '1a'"),
        ({"ä": 1}, ValueError, "expected names of parts of ASCII .*, got 'ä'"),
        ({"": 1}, ValueError, "expected names of parts of ASCII .*, got ''"),
        (
            {"Rng": 1, "rng": 1},
            ValueError,
            "expected names .* more than case, got 'rng' and 'Rng'; rename one",
        ),
        (
            {"Model": 1},
            ValueError,
            "expected names .* more than case, got 'Model' and 'model'; rename one",
        ),
        ({"optimizer": 3}, TypeError, "optimizer: expected an Optimizer, got int; pass others by"),
        ({"model": optim.Adam()}, TypeError, "model: expected a Module, got Adam; pass others by"),
    ],
    ids=lambda x: str(x)[:20] if isinstance(x, dict) else "",
)
def test_what_is_refused(path: Path, parts: Any, error: type[Exception], message: str) -> None:
    checkpoint.save(path, epoch=1)
    before = files(path)
    with pytest.raises(error, match=f"^save: {message}"):
        checkpoint.save(path, **({"model": nn.Linear(1, 1)} | parts))
    assert files(path) == before
    assert os.listdir(path.parent) == [path.name]


def test_deep_trees(path: Path) -> None:
    def nested(levels: int) -> Any:
        tree: Any = np.ones(1)
        for i in range(levels):
            tree = [tree] if i % 2 else {"x": tree}
        return tree

    checkpoint.save(path, tree=nested(100))
    assert repr(checkpoint.load(path)["tree"]) == repr(nested(100))
    message = "save: expected at most 100 levels of dicts and lists, found more below tree.0.x.0; "
    with pytest.raises(ValueError, match=message):
        checkpoint.save(path, tree=nested(102))
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match=r"below tree\.0\.0\.0; does it contain itself"):
        checkpoint.save(path, tree=endless)


def test_traced_arrays(path: Path) -> None:
    def function(x: Any) -> Any:
        with pytest.raises(TypeError, match=r"save: x: to_host: .* xn.stop_gradient\(x\)"):
            checkpoint.save(path, x=x)
        checkpoint.save(path, x=xn.stop_gradient(x))
        return xn.array_namespace(x).sum(x)

    xn.grad(function)(np.ones(2))
    np.testing.assert_array_equal(checkpoint.load(path)["x"], [1, 1])


def test_bfloat16(path: Path) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"save: x\.0: .*BFloat16"):
        checkpoint.save(path, x=[torch.zeros(2, dtype=torch.bfloat16)])


def test_what_load_would_refuse_for_its_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saving, tensors = (sys.modules[f"xpnet.checkpoint.{name}"] for name in ("saving", "tensors"))
    monkeypatch.setattr(saving, "_MOST_STATE", 200)
    message = r"save: expected at most 200 bytes of JSON, the parts take \d+; make arrays of long"
    with pytest.raises(ValueError, match=message):
        checkpoint.save(path, history=[0.5] * 100)
    monkeypatch.undo()
    monkeypatch.setattr(tensors, "_HEADER", 100)
    message = r"save: x: expected names and shapes of arrays that take up to 100 bytes, 9 arrays"
    with pytest.raises(ValueError, match=message):
        checkpoint.save(path, x={f"{i}": np.zeros(1) for i in range(9)})
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("where", ["", ".", "..", "/"])
def test_paths_without_a_name(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = f"save: expected the path of a folder to write, got '{re.escape(where)}'; add a name"
    with pytest.raises(ValueError, match=message):
        checkpoint.save(where, epoch=1)


def test_a_folder_that_is_not_there(path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.save(path.parent / "nowhere" / "last", epoch=1)


# What cannot be loaded, of a checkpoint that is not damaged


def refuse(path: Path, run: Any, error: type[Exception], message: str) -> None:
    """Load the checkpoint, which must fail and change nothing."""
    before = run.bits
    with pytest.raises(error, match=message) as caught:
        run.load(path)
    assert run.bits == before
    if isinstance(caught.value, ValueError) and not isinstance(caught.value, xn.DataError):
        assert str(path) in "".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


def test_another_model(path: Path, new: Any) -> None:
    new(2).save(path)
    other = type(new().model)(5)
    message = r"Net.load_state_dict: .*\n  first\.weight: expected shape \(5, 3\), got \(4, 3\)"
    refuse(path, new(1, other), ValueError, message)
    message = r"Linear.load_state_dict: (.|\n)*missing: weight(.|\n)*unknown: scale"
    refuse(path, new(1, nn.Linear(3, 4)), ValueError, message)


def test_another_optimizer(path: Path, new: Any) -> None:
    """The model, which came before it and fits, gets back what it had."""
    new(2).save(path)
    message = r"SGD.load_state_dict: (.|\n)*missing: scale.velocity(.|\n)*unknown: scale.mean"
    refuse(path, new(1, optimizer=optim.SGD(0.1, momentum=0.5)), ValueError, message)


def test_another_object(path: Path, new: Any) -> None:
    """The model and the optimizer get back what they had."""
    run = new(2)
    checkpoint.save(path, run.model, run.optimizer, rng={"seed": 3})
    message = r"Generator: expected a state with seed, stream and draws, got \{'seed': 3\}"
    refuse(path, new(1), ValueError, message)
    checkpoint.save(path, run.model, run.optimizer, rng=5)
    message = (
        f"load: {re.escape(str(path))}: rng: expected what the state_dict of a Generator returns, "
        "found something else .*; was it saved by another class"
    )
    refuse(path, new(1), xn.DataError, message)


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()], ids=repr)
def test_an_object_that_raises(path: Path, new: Any, error: BaseException) -> None:
    class Stubborn(Box):
        def load_state_dict(self, state: Any) -> None:
            raise error

    checkpoint.save(path, new(2).model, a=1, b=2)
    model, first = new().model, Box(10)
    before = model.scale.tolist()
    with pytest.raises(type(error)) as caught:
        checkpoint.load(path, model, a=first, b=Stubborn(20))
    assert caught.value is error
    assert caught.value.__notes__ == [f"while loading the part 'b' of {path}"]
    assert (model.scale.tolist(), first.state) == (before, 10)


def test_an_object_that_cannot_go_back(path: Path, new: Any) -> None:
    """The others do, and the error says which one did not."""

    class Once(Box):
        def load_state_dict(self, state: Any) -> None:
            if self.state != 20:
                raise RuntimeError("only once")
            self.state = state

    checkpoint.save(path, new(2).model, once=1, rng=None)
    model, once = new().model, Once(20)
    before = model.scale.tolist()
    with pytest.raises(xn.DataError) as caught:
        checkpoint.load(path, model, once=once, rng=xn.Generator(1))
    assert model.scale.tolist() == before
    assert isinstance(caught.value.__cause__, TypeError)
    assert "once could not be given back what it had: only once" in caught.value.__cause__.__notes__


def test_a_part_that_is_not_there(path: Path, new: Any) -> None:
    checkpoint.save(path, new(2).model, epoch=1)
    message = (
        "expected the parts model, optimizer, rng, found model, epoch; leave out optimizer, rng, "
    )
    refuse(path, new(1), ValueError, message)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ({"epoch": 3}, "epoch: expected an object with state_dict.* got int; leave it out"),
        ({"optimizer": optim.Adam()}, "optimizer: expected its model as well, got None; pass mod"),
        ({"model": 3}, "model: expected a Module, got int"),
        ({"optimizer": 3}, "optimizer: expected an Optimizer, got int"),
    ],
)
def test_what_is_no_object(path: Path, objects: Any, message: str) -> None:
    checkpoint.save(path, nn.Linear(1, 1), optim.Adam(), epoch=1)
    with pytest.raises(TypeError, match=f"load: {message}"):
        checkpoint.load(path, **objects)


def test_no_checkpoint(path: Path, new: Any) -> None:
    message = f"load: expected a checkpoint at {re.escape(str(path))}, found nothing; correct the"
    refuse(path, new(1), FileNotFoundError, message)


def test_without_safetensors(path: Path, new: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    new().save(path)
    before = files(path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = r'expected the package safetensors, .*; run: pip install "xpnet\[checkpoint\]"'
    with pytest.raises(xn.MissingPackageError, match=message):
        new(1).save(path)
    assert files(path) == before
    with pytest.raises(xn.MissingPackageError, match=message):
        new().load(path)


def test_the_libraries_that_were_tried() -> None:
    """A round trip across libraries says nothing if there is but one."""
    assert len(xn.available_backends()) > 1, list(discover())
