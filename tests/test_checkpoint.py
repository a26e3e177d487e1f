"""Checkpoints: what is saved comes back bit for bit, and a bad file changes nothing."""

import json
import os
import stat
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import checkpoint, nn, optim
from xpnet.backend import discover
from xpnet.namespace import is_array

pytest.importorskip("safetensors")


class Net(nn.Module):
    """Parameters below two names, and a buffer of integers."""

    def __init__(self, width: int = 4) -> None:
        self.first = nn.Linear(3, width)
        self.scale = nn.Parameter(xn.asarray([1.5, 2.5]))
        self.count = nn.Buffer(xn.asarray([7, 8]))


def host(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return what has shape, dtype and bits to compare."""
    return {
        name: (x.shape, x.dtype, x.tobytes())
        for name, x in ((name, xn.to_host(array)) for name, array in arrays.items())
    }


def everything(model: nn.Module, optimizer: optim.Optimizer) -> Any:
    state = optimizer.state_dict()
    arrays = {name: x for name, x in state.items() if is_array(x)}
    numbers = {name: x for name, x in state.items() if name not in arrays}
    return host(model.state_dict()), numbers, host(arrays)


def trained(model: nn.Module, optimizer: optim.Optimizer, updates: int = 2) -> Any:
    """Update with gradients that are all 0.5, so that no loss is needed."""
    for _ in range(updates):
        parameters = model.parameters(trainable_only=True)
        optimizer.update(
            model,
            {name: xn.array_namespace(p).full_like(p, 0.5) for name, p in parameters.items()},
        )
    return model, optimizer


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


# Round trips


@pytest.mark.parametrize(
    "make",
    [
        optim.Adam,
        optim.AdamW,
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda: optim.SGD(0.1),
        lambda: optim.Average(optim.Accumulate(optim.NAdam(), 2)),
    ],
    ids=["Adam", "AdamW", "momentum", "SGD", "wrapped"],
)
@pytest.mark.parametrize("updates", [0, 2])
def test_round_trip(lib: Any, file: Path, make: Any, updates: int) -> None:
    model, optimizer = trained(Net(), make(), updates)
    saved, steps = everything(model, optimizer), optimizer.steps
    checkpoint.save(file, model, optimizer)
    trained(model, optimizer)  # what was saved does not follow
    assert everything(model, optimizer) != saved
    again, other = Net(), make()
    assert checkpoint.load(file, again, other) == {}
    assert everything(again, other) == saved
    assert other.steps == steps
    for array in [*again.parameters().values(), *again.buffers().values()]:
        lib.to_host(array)  # checks library and device


@pytest.mark.parametrize("shape", [(), (0, 2), (1,), (2, 1, 3)], ids=str)
def test_every_shape(lib: Any, file: Path, shape: tuple[int, ...]) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            self.odd = nn.Parameter(xn.asarray(np.full(shape, np.float32(1.5))))

    model, optimizer = trained(Odd(), optim.Adam())
    checkpoint.save(file, model, optimizer)
    again, other = Odd(), optim.Adam()
    checkpoint.load(file, again, other)
    assert everything(again, other) == everything(model, optimizer)


def test_the_model_alone(lib: Any, file: Path) -> None:
    model, again = Net(), Net()
    checkpoint.save(file, model)
    checkpoint.load(file, again)
    assert host(again.state_dict()) == host(model.state_dict())


def test_a_model_without_its_optimizer(file: Path) -> None:
    model, optimizer = trained(Net(), optim.Adam())
    checkpoint.save(file, model, optimizer, epoch=3)
    again = Net()
    assert checkpoint.load(file, again) == {"epoch": 3}
    assert host(again.state_dict()) == host(model.state_dict())


def test_across_libraries(lib: Any, file: Path) -> None:
    model, optimizer = trained(Net(), optim.Adam())
    checkpoint.save(file, model, optimizer, epoch=1)
    content, saved = file.read_bytes(), everything(model, optimizer)
    for name in xn.available_backends():
        with xn.use_backend(name) as backend:
            again, other = Net(), optim.Adam()
            assert checkpoint.load(file, again, other) == {"epoch": 1}
            moments = [array for kept in other.state.values() for array in kept.values()]
            for array in [*again.parameters().values(), *moments]:
                assert backend.owns(type(array)), name
            assert everything(again, other) == saved, name
            checkpoint.save(file, again, other, epoch=1)
            assert file.read_bytes() == content, name


def test_training_goes_on_as_if_never_interrupted(lib: Any, file: Path) -> None:
    model, optimizer = trained(Net(), optim.Adam())
    checkpoint.save(file, model, optimizer)
    trained(model, optimizer, 3)
    again, other = Net(), optim.Adam()
    checkpoint.load(file, again, other)
    trained(again, other, 3)
    assert everything(again, other) == everything(model, optimizer)


def test_progress_is_what_json_holds(file: Path) -> None:
    progress = {
        "epoch": 3,
        "best": 0.125,
        "name": "Übung",
        "history": {"loss": [1.0, 0.5]},
        "none": None,
        "done": True,
        "rng": xn.Generator(5, 2).state_dict(),
    }
    checkpoint.save(file, Net(), optim.Adam(), **progress)
    assert checkpoint.load(file, Net(), optim.Adam()) == progress


@pytest.mark.parametrize("name", ["steps", "format", "progress", "state"])
def test_progress_of_any_name(file: Path, name: str) -> None:
    model, optimizer = trained(Net(), optim.Adam())
    checkpoint.save(file, model, optimizer, **{name: 1000})
    other = optim.Adam()
    assert checkpoint.load(file, Net(), other) == {name: 1000}
    assert other.steps == 2


@pytest.mark.parametrize("value", [object(), {1, 2}, np.float32(1)], ids=lambda x: type(x).__name__)
def test_progress_that_json_does_not_hold(file: Path, value: Any) -> None:
    checkpoint.save(file, Net(), epoch=1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        checkpoint.save(file, Net(), epoch=value)
    assert checkpoint.load(file, Net()) == {"epoch": 1}
    assert os.listdir(file.parent) == [file.name]


def test_paths_may_be_strings(file: Path) -> None:
    checkpoint.save(str(file), Net(), epoch=1)
    assert checkpoint.load(str(file), Net()) == {"epoch": 1}


def test_frozen_parameters_are_saved(file: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2).freeze(), nn.Linear(2, 2))
    again = nn.Sequential(nn.Linear(2, 2).freeze(), nn.Linear(2, 2))
    model, optimizer = trained(model, optim.Adam())
    checkpoint.save(file, model, optimizer)
    checkpoint.load(file, again, other := optim.Adam())
    assert everything(again, other) == everything(model, optimizer)


# The file


def test_other_programs_can_read_it(file: Path) -> None:
    from safetensors.numpy import load_file

    model = nn.Linear(2, 1)
    model.load_state_dict({"weight": np.array([[1.0, 2.0]]), "bias": np.array([3.0])})
    optimizer = optim.SGD(1.0, momentum=0.5)
    optimizer.update(
        model, {"weight": xn.asarray([[4.0, 5.0]]), "bias": xn.asarray([6.0])}
    )  # the velocity starts as the gradient, which is also subtracted
    checkpoint.save(file, model, optimizer)
    tensors = load_file(file)
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {
        "model.weight": [[-3.0, -3.0]],
        "model.bias": [-3.0],
        "optimizer.weight.velocity": [[4.0, 5.0]],
        "optimizer.bias.velocity": [6.0],
    }
    assert {str(tensor.dtype) for tensor in tensors.values()} == {"float32"}


def test_it_holds_numbers_and_text_only(file: Path) -> None:
    """Header in JSON, then tensors without gaps: there is no room for a pickle."""
    checkpoint.save(file, *trained(Net(), optim.Adam()), epoch=1)
    content = file.read_bytes()
    [length] = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__")
    end = 0
    for tensor in sorted(header.values(), key=lambda tensor: tensor["data_offsets"]):
        assert tensor["dtype"] in ("F32", "I64")
        assert tensor["data_offsets"][0] == end
        end = tensor["data_offsets"][1]
    assert len(content) == 8 + length + end


def test_it_is_as_readable_as_any_other_new_file(file: Path) -> None:
    checkpoint.save(file, Net())
    other = file.with_name("other")
    other.write_bytes(b"")
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_a_save_that_fails_keeps_the_old_file(
    file: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(file, Net(), epoch=1)
    before = file.read_bytes()

    def fail(*args: Any) -> None:
        assert file.read_bytes() == before  # up to the last moment
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, fail)
        with pytest.raises(OSError, match="the disk is full"):
            checkpoint.save(file, Net(), epoch=2)
    assert file.read_bytes() == before
    assert os.listdir(file.parent) == [file.name]
    checkpoint.save(file, Net(), epoch=2)
    assert checkpoint.load(file, Net()) == {"epoch": 2}


def test_a_folder_that_is_not_there(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        checkpoint.save(file.parent / "nowhere" / "net", Net())


# What is refused


@pytest.fixture
def saved(file: Path) -> bytes:
    """A checkpoint of a net and its Adam after two updates, and its bytes."""
    checkpoint.save(file, *trained(Net(), optim.Adam()), epoch=1)
    return file.read_bytes()


def refuse(file: Path, message: str, error: type[Exception], model: Any, optimizer: Any) -> None:
    """Load the file, which must fail and change nothing."""
    before = everything(model, optimizer)
    with pytest.raises(error, match=message):
        checkpoint.load(file, model, optimizer)
    assert everything(model, optimizer) == before


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_truncated_file(file: Path, saved: bytes, share: float) -> None:
    file.write_bytes(saved[: int(share * len(saved))])
    message = "net.safetensors: damaged, or not a safetensors file"
    refuse(file, message, xn.DataError, *trained(Net(), optim.Adam(), 1))


def test_a_file_that_goes_on(file: Path, saved: bytes) -> None:
    file.write_bytes(saved + b"\0")
    refuse(file, "damaged", xn.DataError, *trained(Net(), optim.Adam(), 1))


@pytest.mark.parametrize(
    "content",
    [b"", b"epoch,loss\n1,0.5\n" * 100, b"\x80\x04K\x01.", bytes(1000)],
    ids=["empty", "text", "pickle", "zeros"],
)
def test_another_kind_of_file(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    message = "net.safetensors: damaged, or not a safetensors file"
    refuse(file, message, xn.DataError, *trained(Net(), optim.Adam()))


def test_a_flipped_bit_in_the_header(file: Path, saved: bytes) -> None:
    """It is refused, or leaves every array as it was saved: there is no third way."""
    [length] = struct.unpack("<Q", saved[:8])
    model, optimizer = Net(), optim.Adam()
    checkpoint.load(file, model, optimizer)
    arrays = everything(model, optimizer)
    trained(model, optimizer)
    before = everything(model, optimizer)
    refused = 0
    for place in range(8 + length):
        damaged = bytearray(saved)
        damaged[place] ^= 1 << place % 7
        file.write_bytes(damaged)
        try:
            checkpoint.load(file, model, optimizer)
        except ValueError:  # DataError is one
            refused += 1
            assert everything(model, optimizer) == before
        else:
            found = everything(model, optimizer)
            assert (found[0], found[2]) == (arrays[0], arrays[2]), bytes(damaged[: 8 + length])
            trained(model, optimizer)
            before = everything(model, optimizer)
    assert refused > 0.8 * length


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}], ids=["none", "that of another program"]
)
def test_a_foreign_safetensors_file(file: Path, metadata: dict[str, str] | None) -> None:
    from safetensors.numpy import save_file

    model, optimizer = trained(Net(), optim.Adam())
    save_file({f"model.{k}": xn.to_host(x) for k, x in model.state_dict().items()}, file, metadata)
    message = "net.safetensors: a safetensors file, but not a checkpoint that xpnet has written"
    refuse(file, message, xn.DataError, model, optimizer)


@pytest.mark.parametrize("text", ["{", "not JSON", "[1]", "null"])
def test_metadata_that_makes_no_sense(file: Path, saved: bytes, text: str) -> None:
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(file, framework="np") as opened:
        names = list(opened.metadata())
    save_file(load_file(file), file, dict.fromkeys(names, text))
    message = "not a checkpoint that xpnet has written"
    refuse(file, message, xn.DataError, *trained(Net(), optim.Adam()))


def test_another_model(file: Path, saved: bytes) -> None:
    message = r"Net.load_state_dict: .*\n  first\.weight: expected shape \(5, 3\), got \(4, 3\)"
    refuse(file, message, ValueError, *trained(Net(5), optim.Adam()))
    message = r"Linear.load_state_dict: (.|\n)*missing: weight(.|\n)*unknown: scale"
    refuse(file, message, ValueError, *trained(nn.Linear(3, 4), optim.Adam()))


def test_another_optimizer(file: Path, saved: bytes) -> None:
    message = r"SGD.load_state_dict: (.|\n)*missing: scale.velocity(.|\n)*unknown: scale.mean"
    refuse(file, message, ValueError, *trained(Net(), optim.SGD(0.1, momentum=0.5)))


def test_no_optimizer_in_it(file: Path) -> None:
    checkpoint.save(file, Net())
    message = "Adam.load_state_dict: the state does not fit:\n  steps: expected a number, got None"
    refuse(file, message, ValueError, *trained(Net(), optim.Adam()))


def test_no_file(file: Path) -> None:
    refuse(file, "net.safetensors", FileNotFoundError, *trained(Net(), optim.Adam()))


def test_without_safetensors(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    message = r'need the package safetensors\. Install: pip install "xpnet\[examples\]"'
    with pytest.raises(xn.MissingPackageError, match=message):
        checkpoint.save(file, Net())
    assert not file.exists()
    with pytest.raises(xn.MissingPackageError, match=message):
        checkpoint.load(file, Net())


def test_the_libraries_that_were_tried() -> None:
    """A round trip across libraries says nothing if there is but one."""
    assert len(xn.available_backends()) > 1, list(discover())
