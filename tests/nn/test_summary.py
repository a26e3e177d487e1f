"""Models show what is in them and what comes out, and are the same afterwards."""

from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn

TABLE = """\
Sequential
name  type         output shape  parameters
----  -----------  ------------  ----------
0     Linear       (8, 16)           12,560
1     BatchNorm1d  (8, 16)               32
2     Sequential   (8, 10)
2.0   ReLU         (8, 16)
2.1   Linear       (8, 10)              170  frozen

trainable parameters  12,592  49.2 KiB
frozen parameters        170  680 B
buffers                   33  136 B"""


def network(width: int | None = 784) -> nn.Module:
    tail = nn.Sequential(nn.ReLU(), nn.Linear(16, 10).freeze())
    return nn.Sequential(nn.Linear(width, 16), nn.BatchNorm1d(16), tail)


def test_summary_of_a_model(lib):
    model = network()
    before = {name: lib.to_host(array) for name, array in model.state_dict().items()}
    summary = model.summary(lib.asarray(np.ones((8, 784)), "float32"))
    assert isinstance(summary, str)
    assert str(summary) == repr(summary) == TABLE
    assert all(module.training for _, module in model.modules())
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(lib.to_host(array), before[name])


def test_summary_without_inputs_leaves_the_shapes_out():
    lines = TABLE.split("\n")
    lines[1:8] = [f"{line[:19]}{line[33:]}".rstrip() for line in lines[1:8]]
    assert network().summary().split("\n") == lines


def test_summary_of_a_model_that_waits(lib):
    model = network(None)
    assert model.summary(lib.asarray(np.ones((8, 784)), "float32")) == TABLE
    assert model[0].is_waiting()
    lines = model.summary().split("\n")
    assert lines[3].split() == ["0", "Linear", "?"]
    assert lines[-1] == "?: made by the first batch; pass one to summary"


def test_shared_and_tied_arrays_count_once():
    shared = nn.Linear(3, 3)
    model = nn.Sequential(shared, shared, nn.Linear(3, 3, bias=False)).tie("0.weight", "2.weight")
    assert model.summary().split("\n")[3:5] == ["0     Linear          12", "2     Linear"]
    assert "trainable parameters  12  48 B" in model.summary()


def test_a_single_layer_and_several_outputs():
    class Two(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(np.ones(2))

        def forward(self, x: Any) -> Any:
            return x, {"y": (x[0], 3)}

    row = Two().summary(np.ones((4, 2))).split("\n")[3]
    assert row.split() == ["Two", "(4,", "2),", "(2,)", "2"]
    lines = nn.Linear(2, 1, dtype="float64").summary().split("\n")
    assert lines[3].split() == ["Linear", "3"]
    assert lines[5] == "trainable parameters  3  24 B"


def test_bytes_are_those_of_the_dtypes(lib):
    model = nn.Module()
    for name, dtype in (("a", "bool"), ("b", "int16"), ("c", "complex64"), ("d", "float64")):
        setattr(model, name, nn.Buffer(lib.asarray(np.zeros(1000), dtype)))
    assert model.summary().endswith("buffers               4,000  18.6 KiB")


def test_observe_reports_each_call_in_order(lib):
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Sequential(shared, nn.Tanh()))
    x, seen = lib.asarray([[1.0, -2.0]]), []
    with nn.observe(model, lambda *event: seen.append(event)):
        y = model(x)
    assert [(name, module) for name, module, _ in seen] == [
        ("0", shared),
        ("0", shared),
        ("1.1", model[1][1]),
        ("1", model[1]),
        ("", model),
    ]
    assert seen[-1][2] is y
    lib.close(seen[0][2], [[1, 0]])
    model(x)
    assert len(seen) == 5
    assert "forward" not in vars(shared)


def test_observe_ends_with_its_block_and_can_be_nested():
    model, seen = nn.Sequential(nn.ReLU()), []

    def run() -> None:
        with nn.observe(model, lambda *event: seen.append("first")):
            with nn.observe(model, lambda *event: seen.append("second")):
                model(np.ones(1))
            model(np.ones(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert seen == ["first", "second"] * 2 + ["first"] * 2
    assert all("forward" not in vars(module) for _, module in model.modules())


def test_observed_models_can_be_differentiated(lib):
    model, seen = nn.Sequential(nn.Linear(2, 1)), []
    x = lib.asarray([[1.0, 2.0]], "float32")
    with nn.observe(model, lambda name, module, output: seen.append(tuple(output.shape))):
        grads = xn.grad(lambda model, x: xn.array_namespace(x).sum(model(x)))(model, x)
    lib.close(grads["0.weight"], [[1, 2]])
    assert seen == [(1, 1), (1, 1)]
