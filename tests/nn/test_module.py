"""Modules name, own, copy, load, freeze and show their arrays as they promise."""

import copy
import pickle
import re
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import nn
from xpnet.optim import SGD


class Scale(nn.Module):
    """One parameter and one buffer."""

    def __init__(self, factor: Any, count: Any = None) -> None:
        self.factor = nn.Parameter(factor)
        if count is not None:
            self.count = nn.Buffer(count)

    def forward(self, x: Any) -> Any:
        return x * self.factor


class Nested(nn.Module):
    """Own arrays, a module, and modules in a list, a tuple and a dict."""

    def __init__(self) -> None:
        self.gain = nn.Parameter(xn.asarray([1.0, 2.0]))
        self.count = nn.Buffer(xn.asarray([0.0]))
        self.stem = nn.Linear(2, 3)
        self.blocks = [nn.Linear(3, 3), nn.ReLU(), nn.Sequential(nn.Tanh(), nn.Linear(3, 3))]
        self.pair = (nn.Linear(3, 1, bias=False), nn.Linear(3, 1))
        self.heads = {"left": nn.Linear(3, 4), "right": nn.Sequential(nn.Linear(3, 5))}


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def nested_in_torch(torch: Any) -> Any:
    linear, sequential = torch.nn.Linear, torch.nn.Sequential
    model = torch.nn.Module()
    model.gain = torch.nn.Parameter(torch.ones(2))
    model.register_buffer("count", torch.zeros(1))
    model.stem = linear(2, 3)
    model.blocks = torch.nn.ModuleList(
        [linear(3, 3), torch.nn.ReLU(), sequential(torch.nn.Tanh(), linear(3, 3))]
    )
    model.pair = torch.nn.ModuleList([linear(3, 1, bias=False), linear(3, 1)])
    model.heads = torch.nn.ModuleDict({"left": linear(3, 4), "right": sequential(linear(3, 5))})
    return model


def shapes(state: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in state.items()}


def host(state: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: xn.to_host(array) for name, array in state.items()}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    for name, array in host(expected).items():
        np.testing.assert_array_equal(xn.to_host(found[name]), array, err_msg=name, strict=True)


def tie(model: nn.Module, first: str, second: str) -> None:
    """Put the array of one slot into another, as loading and copying keep it."""
    slots = {slot.name: slot for slot in model.slots()}
    slots[second].put(slots[first].array)


# Names


def test_names_shapes_and_order_are_those_of_torch(lib, torch):
    model, theirs = Nested(), nested_in_torch(torch)
    assert list(shapes(model.state_dict()).items()) == list(shapes(theirs.state_dict()).items())
    assert list(model.parameters()) == [name for name, _ in theirs.named_parameters()]
    assert list(model.buffers()) == [name for name, _ in theirs.named_buffers()]


def test_modules_in_lists_of_lists_are_named_as_in_torch(torch):
    model, theirs = nn.Module(), torch.nn.Module()
    model.blocks = [[nn.Linear(1, 2)], {"a": nn.Linear(2, 3)}]
    inner = torch.nn.ModuleList([torch.nn.Linear(1, 2)])
    outer = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 3)})
    theirs.blocks = torch.nn.ModuleList([inner, outer])
    assert shapes(model.state_dict()) == shapes(theirs.state_dict())


def test_a_sequential_with_attributes_of_its_own_is_named_as_in_torch(torch):
    model = nn.Sequential(nn.Linear(1, 2))
    model.head = nn.Linear(2, 3)
    theirs = torch.nn.Sequential(torch.nn.Linear(1, 2))
    theirs.head = torch.nn.Linear(2, 3)
    assert shapes(model.state_dict()) == shapes(theirs.state_dict())


def test_modules_and_children_are_named():
    model = Nested()
    children = ["stem", "blocks.0", "blocks.1", "blocks.2", "pair.0", "pair.1"]
    children += ["heads.left", "heads.right"]
    assert [name for name, _ in model.children()] == children
    inner = {"blocks.2": ["blocks.2.0", "blocks.2.1"], "heads.right": ["heads.right.0"]}
    expected = ["", *(each for name in children for each in (name, *inner.get(name, ())))]
    assert [name for name, _ in model.modules()] == expected
    assert dict(model.modules("net"))["net.stem"] is model.stem
    assert next(iter(model.modules("net"))) == ("net", model)
    assert [slot.name for slot in model.stem.slots("net.stem")] == [
        "net.stem.weight",
        "net.stem.bias",
    ]


def test_a_shared_module_is_walked_once(lib):
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.ReLU(), shared)
    model.layers.append(nn.Sequential(shared))
    assert list(model.parameters()) == ["0.weight", "0.bias"]
    assert [name for name, _ in model.modules()] == ["", "0", "1", "3"]


def test_the_gradient_of_a_shared_module_is_the_sum_over_its_uses(lib):
    shared = Scale(lib.asarray([3.0]))
    model = nn.Sequential(shared, shared)
    grads = xn.grad(lambda model, x: model(x)[0])(model, lib.asarray([5.0]))
    assert list(grads) == ["0.factor"]
    lib.close(grads["0.factor"], [30.0])  # of 5 f**2 at f = 3


# Ownership


@pytest.mark.parametrize("mark", [nn.Parameter, nn.Buffer])
def test_marked_arrays_are_copied(mark):
    source = np.asarray([1.0, 2.0])
    model = nn.Module()
    model.first = mark(source)
    source[0] = 7
    model.second = mark(source)
    assert model.first.tolist() == [1, 2]
    model.second[0] = 9
    assert source[0] == 7


@pytest.mark.parametrize("mark", [nn.Parameter, nn.Buffer])
def test_assigned_arrays_are_copied(mark):
    model = nn.Module()
    model.array = mark(np.zeros(2))
    source = np.asarray([1.0, 2.0])
    model.array = source
    source[0] = 7
    assert model.array.tolist() == [1, 2]
    assert list(model.state_dict()) == ["array"]


def test_marked_arrays_stay_on_their_library_and_device(lib):
    model = Scale(lib.asarray([1.0, 2.0], "float32"), lib.asarray([3], None))
    assert model.factor.dtype == lib.xp.float32
    np.testing.assert_array_equal(lib.to_host(model.factor), [1, 2])
    np.testing.assert_array_equal(lib.to_host(model.count), [3])


def test_a_scalar_is_a_parameter_too(lib):
    model = Scale(lib.asarray(2.0))
    grads = xn.grad(lambda model, x: model(x))(model, lib.asarray(3.0))
    lib.close(grads["factor"], 3.0)
    SGD(0.5).update(model, grads)
    lib.close(model.factor, 0.5)


def test_parameters_are_the_arrays_and_a_state_is_copies(lib):
    model = Scale(lib.asarray([1.0]), lib.asarray([2.0]))
    assert model.parameters()["factor"] is model.factor
    assert model.buffers()["count"] is model.count
    state = model.state_dict()
    assert list(state) == ["factor", "count"]
    SGD(1.0).update(model, {"factor": lib.asarray([5.0])})
    model.count = lib.asarray([6.0])
    np.testing.assert_array_equal(lib.to_host(model.factor), [-4])
    np.testing.assert_array_equal(lib.to_host(state["factor"]), [1])
    np.testing.assert_array_equal(lib.to_host(state["count"]), [2])


@pytest.mark.parametrize("kind", ["deepcopy", "pickle"])
def test_copies_are_independent_and_whole(kind):
    model = Nested()
    tie(model, "pair.0.weight", "pair.1.weight")
    model.stem.freeze()
    model.blocks[0].eval()
    before = host(model.state_dict())
    other = copy.deepcopy(model) if kind == "deepcopy" else pickle.loads(pickle.dumps(model))
    assert_same(other.state_dict(), before)
    assert other.pair[0].weight is other.pair[1].weight
    assert list(other.parameters(trainable_only=True)) == list(
        model.parameters(trainable_only=True)
    )
    assert (other.blocks[0].training, other.training) == (False, True)
    assert repr(other) == repr(model)
    for array in model.parameters().values():
        array += 1
    model.stem.unfreeze().eval()
    assert_same(other.state_dict(), before)
    assert "stem.weight" not in other.parameters(trainable_only=True)
    assert other.stem.training


def test_a_dropout_layer_of_its_own_generator_copies_with_it():
    layer = nn.Dropout(0.5, rng=xn.Generator(1))
    other = pickle.loads(pickle.dumps(layer))
    layer(np.ones(3))
    assert (other.rng.draws, layer.rng.draws) == (0, 1)


# Attributes


def test_attributes_can_be_replaced_and_deleted(lib):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    first = model[0]
    first.bias = None
    assert list(model.parameters()) == ["0.weight", "1.weight", "1.bias"]
    assert tuple(first(lib.asarray(np.ones((4, 2)), "float32")).shape) == (4, 3)
    first.bias = nn.Parameter(lib.asarray(np.ones(3), "float32"))
    assert list(model.parameters()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    del first.bias
    assert not hasattr(first, "bias")
    assert list(model.parameters()) == ["0.weight", "1.weight", "1.bias"]
    model.layers[1] = nn.Linear(3, 5, bias=False)
    assert shapes(model.state_dict()) == {"0.weight": (3, 2), "1.weight": (5, 3)}


def test_the_last_mark_counts():
    model = nn.Module()
    model.x = nn.Parameter(np.ones(1))
    model.x = nn.Buffer(np.ones(2))
    assert (shapes(model.parameters()), shapes(model.buffers())) == ({}, {"x": (2,)})
    model.x = "text"
    assert (shapes(model.parameters()), shapes(model.buffers())) == ({}, {})
    model.x = np.ones(3)  # an array without a mark is no state
    assert model.state_dict() == {}
    model.x = nn.Parameter(np.ones(4))
    assert (shapes(model.parameters()), shapes(model.buffers())) == ({"x": (4,)}, {})
    with pytest.raises(AttributeError, match="y"):
        del model.y


def test_no_constructor_of_the_base_class_is_needed_and_calling_it_harms_nothing(lib):
    class Called(nn.Module):
        def __init__(self) -> None:
            self.before = nn.Parameter(lib.asarray([1.0]))
            super().__init__()
            self.after = nn.Parameter(lib.asarray([1.0]))

    assert list(Called().parameters()) == ["before", "after"]
    assert Called().training


@pytest.mark.parametrize(
    ("mark", "value", "message"),
    [
        (
            nn.Parameter,
            [1.0],
            "nn.Parameter: expected an array, got list; make one with xn.asarray",
        ),
        (nn.Parameter, 1.0, "nn.Parameter: expected an array, got float; make one with xn.asarray"),
        (nn.Buffer, None, "nn.Buffer: expected an array, got NoneType; make one with xn.asarray"),
    ],
)
def test_only_arrays_are_marked(mark, value, message):
    with pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        mark(value)


def test_integers_are_no_parameters(lib):
    # Their gradient would be rounded to integers.
    with pytest.raises(TypeError, match=r"^nn\.Parameter: expected .*floating.*int64"):
        nn.Parameter(lib.asarray([1, 2], None))
    with pytest.raises(TypeError, match="floating"):
        nn.Linear(3, 2, dtype="int64")
    assert nn.Buffer(lib.asarray([1, 2], None)) is not None


def test_a_module_passes_its_arguments_to_forward():
    class Add(nn.Module):
        def forward(self, x, *, y):
            return x + y

    assert Add()(1, y=2) == 3


def test_a_module_without_forward_says_so():
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"^Empty defines no forward\(self, x\)$"):
        Empty()(1)


# Loading


def test_a_state_can_be_loaded(lib):
    source, target = Nested(), Nested()
    source.count = lib.asarray([5.0], "float32")
    state = source.state_dict()
    arrays = dict(target.parameters())
    target.load_state_dict(state)
    assert_same(target.state_dict(), state)
    for name, array in target.state_dict().items():
        lib.to_host(array)  # which checks library and device
        assert array.dtype == lib.xp.float32
        assert target.state_dict()[name] is not state[name]
    assert list(arrays) == list(target.parameters())
    SGD(1.0).update(target, {name: array + 1 for name, array in target.parameters().items()})
    assert_same(source.state_dict(), state)


def test_a_loaded_array_is_a_copy():
    model, source = Scale(np.ones(2)), np.asarray([1.0, 2.0])
    model.load_state_dict({"factor": source})
    source[0] = 7
    assert model.factor.tolist() == [1, 2]
    model.factor[1] = 8
    assert source[1] == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_state_of_another_library_takes_on_library_device_and_dtype(lib, dtype):
    model = Scale(lib.asarray([1.0, 2.0], dtype), lib.asarray([0], "int32"))
    model.load_state_dict({"factor": np.asarray([3.0, 0.1]), "count": np.asarray([4])})
    np.testing.assert_array_equal(lib.to_host(model.factor), np.asarray([3.0, 0.1], dtype))
    np.testing.assert_array_equal(lib.to_host(model.count), [4])
    assert (model.factor.dtype, model.count.dtype) == (getattr(lib.xp, dtype), lib.xp.int32)
    on_host = Scale(np.zeros(2), np.zeros(1, "int64"))
    on_host.load_state_dict(model.state_dict())
    assert on_host.factor.dtype == np.float64
    np.testing.assert_array_equal(on_host.factor, np.asarray([3.0, 0.1], dtype))
    assert_same(on_host.buffers(), {"count": np.asarray([4])})


def test_a_state_on_another_device_moves_to_that_of_the_model():
    xp = pytest.importorskip("array_api_strict")
    device, other = xp.__array_namespace_info__().devices()[1:3]
    model = Scale(xp.asarray([1.0], device=device))
    model.load_state_dict({"factor": xp.asarray([2.0], device=other)})
    assert model.factor.device == device
    assert xn.to_host(model.factor).tolist() == [2]


def test_a_state_that_does_not_fit_changes_nothing_and_all_is_listed(lib):
    model = Nested()
    before = host(model.state_dict())
    state = model.state_dict()
    del state["stem.bias"], state["heads.left.weight"]
    state |= {
        "gain": lib.asarray([1, 2], "int64"),
        "stem.weight": lib.asarray(np.zeros((2, 3)), "float32"),
        "pair.1.bias": lib.asarray(np.zeros(()), "float32"),
        "count": lib.asarray([9.0], "float32"),
        "stem.scale": lib.asarray([1.0]),
        "tail.0.weight": lib.asarray([1.0]),
    }
    problems = [
        "missing: stem.bias",
        "missing: heads.left.weight",
        "unknown: stem.scale",
        "unknown: tail.0.weight",
        f"gain: expected dtype {model.gain.dtype}, got {state['gain'].dtype}",
        "stem.weight: expected shape (3, 2), got (2, 3)",
        "pair.1.bias: expected shape (1,), got ()",
    ]
    title = "Nested.load_state_dict: the state does not fit this model:"
    message = "\n  ".join([title, *problems])
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.load_state_dict(state)
    assert_same(model.state_dict(), before)


@pytest.mark.parametrize("transform", [xn.grad, xn.compile], ids=["grad", "compile"])
def test_loading_inside_of_a_transformation(lib, transform):
    """The gradient would be 0, and the model as before afterwards."""
    model = Scale(lib.asarray([1.0]), lib.asarray([4]))
    state = {"factor": lib.asarray([2.0]), "count": lib.asarray([5])}

    def function(model):
        model.load_state_dict(state)
        return model.factor[0] * 3

    message = r"Scale\.load_state_dict: the model is being .* load it before"
    with pytest.raises(xn.TracedArrayError, match=message):
        transform(function)(model)
    lib.close(model.factor, [1.0])


def test_what_is_no_array_is_named_when_loaded(lib):
    model = Scale(lib.asarray([1.0]))
    with pytest.raises((TypeError, ValueError), match=r"Scale\.load_state_dict(.|\n)*factor.*list"):
        model.load_state_dict({"factor": [2.0]})
    lib.close(model.factor, [1.0])


def test_tensors_of_torch_leave_their_own_autograd_behind(torch):
    with xn.use_backend("torch"):
        model = Scale(torch.nn.Parameter(torch.ones(2)))
        model.load_state_dict({"factor": torch.nn.Parameter(torch.zeros(2))})
        assert not model.factor.requires_grad
        SGD(1.0).update(model, {"factor": torch.ones(2)})
        assert model.factor.tolist() == [-1, -1]


def test_floating_point_numbers_are_no_counts(lib):
    model = Scale(lib.asarray([1.0]), lib.asarray([0], "int32"))
    with pytest.raises(ValueError, match=r"\n  count: expected dtype \S*int32, got \S*float64$"):
        model.load_state_dict({"factor": lib.asarray([2.0]), "count": lib.asarray([1.5])})
    lib.close(model.factor, [1.0])


def test_tied_parameters_stay_tied_when_loaded(lib):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tie(model, "0.weight", "1.weight")
    state = model.state_dict()
    assert list(state) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    state = {name: array + 1 for name, array in state.items()}
    model.load_state_dict(state)
    assert model[0].weight is model[1].weight
    assert_same(model.state_dict(), state)


def test_every_name_of_a_tied_parameter_is_checked(lib):
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    tie(model, "0.weight", "1.weight")
    state = {**model.state_dict(), "1.weight": lib.asarray(np.zeros((3, 2)), "float32")}
    with pytest.raises(ValueError, match=r"\n  1\.weight: expected shape \(2, 2\), got \(3, 2\)$"):
        model.load_state_dict(state)


# Modes, freezing, differentiation


def test_mode_is_that_of_all_modules():
    model = Nested()
    assert model.eval() is model
    assert not any(module.training for _, module in model.modules())
    model.blocks[2].train()
    assert [name for name, module in model.modules() if module.training] == [
        "blocks.2",
        "blocks.2.0",
        "blocks.2.1",
    ]
    assert model.train(False) is model
    assert model.train() is model
    assert all(module.training for _, module in model.modules())


def test_frozen_parameters_are_neither_differentiated_nor_updated(lib):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    assert model[0].freeze() is model[0]
    assert list(model.parameters()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert list(model.parameters(trainable_only=True)) == ["1.weight", "1.bias"]
    before = host(model[0].state_dict())
    x = lib.asarray(np.ones((4, 2)), "float32")
    grads = xn.grad(lambda model, x: xn.array_namespace(x).sum(model(x)))(model, x)
    assert list(grads) == ["1.weight", "1.bias"]
    SGD(0.1).update(model, grads)
    assert_same(model[0].state_dict(), before)
    assert model.unfreeze() is model
    assert model.parameters(trainable_only=True).keys() == model.parameters().keys()


def test_freezing_leaves_buffers_and_later_assignments_as_they_are(lib):
    model = Scale(lib.asarray([1.0]), lib.asarray([2.0])).freeze()
    assert list(model.buffers()) == ["count"]
    model.factor = lib.asarray([3.0])
    assert model.parameters(trainable_only=True) == {}
    model.unfreeze()
    assert list(model.parameters(trainable_only=True)) == ["factor"]
    assert list(model.buffers()) == ["count"]


def test_a_buffer_written_while_differentiating_is_an_ordinary_array(lib):
    class Counter(Scale):
        def forward(self, x: Any) -> Any:
            self.count = self.count + xn.array_namespace(x).sum(x)
            if fails:
                raise RuntimeError("after the write")
            return super().forward(x)[0]

    fails = False
    model = Counter(lib.asarray([2.0]), lib.asarray(1.0))
    grads = xn.grad(lambda model, x: model(x))(model, lib.asarray([3.0]))
    assert list(grads) == ["factor"]
    np.testing.assert_array_equal(lib.to_host(model.count), 4)
    fails = True
    with pytest.raises(RuntimeError, match="after the write"):
        xn.grad(lambda model, x: model(x))(model, lib.asarray([3.0]))
    np.testing.assert_array_equal(lib.to_host(model.count), 4)
    np.testing.assert_array_equal(lib.to_host(model.factor), [2])


# Text


def test_repr_shows_shapes_counts_and_what_is_frozen():
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 16),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Sequential(nn.Linear(16, 16, bias=False), nn.Tanh()),
        nn.Linear(16, 10).freeze(),
        nn.LogSoftmax(),
    )
    assert repr(model) == (
        "Sequential(\n"
        "  (0): Flatten()\n"
        "  (1): Linear(784, 16)  # weight (16, 784), bias (16,): 12,560 parameters\n"
        "  (2): ReLU()\n"
        "  (3): Dropout(p=0.25)\n"
        "  (4): Sequential(\n"
        "    (0): Linear(16, 16, bias=False)  # weight (16, 16): 256 parameters\n"
        "    (1): Tanh()\n"
        "  )  # 256 parameters\n"
        "  (5): Linear(16, 10)  # weight (10, 16), bias (10,): 170 parameters, frozen\n"
        "  (6): LogSoftmax(axis=-1)\n"
        ")  # 12,986 parameters"
    )


def test_repr_is_the_same_on_every_library(lib):
    text = "Linear(3, 2)  # weight (2, 3), bias (2,): 8 parameters"
    assert repr(nn.Linear(3, 2)) == text


def test_repr_counts_tied_and_shared_arrays_once(lib):
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared, nn.Linear(2, 2))
    tie(model, "0.weight", "2.weight")
    assert repr(model).endswith("\n)  # 8 parameters")


def test_repr_names_what_holds_the_modules():
    model = nn.Module()
    model.heads = {"a": nn.Linear(1, 1)}
    model.count = nn.Buffer(np.zeros(5))
    assert repr(model) == (
        "Module(\n"
        "  (heads.a): Linear(1, 1)  # weight (1, 1), bias (1,): 2 parameters\n"
        ")  # 2 parameters"
    )


def test_repr_shows_the_settings_of_a_module_of_ones_own():
    class Power(Scale):
        def extra_repr(self) -> str:
            return "n=2"

    assert repr(Power(np.ones((2, 1)), np.ones(7))) == "Power(n=2)  # factor (2, 1): 2 parameters"
    assert repr(nn.Sequential()) == "Sequential()"


def test_tying_makes_one_parameter_of_several(lib):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).tie("0.weight", "1.weight")
    assert model[0].weight is model[1].weight
    with pytest.raises(KeyError, match=r"Sequential\.tie: no parameter is called '2\.weight'"):
        model.tie("0.weight", "2.weight")
    message = r"Sequential\.tie: 0\.weight has shape \(2, 2\), 0\.bias has \(2,\)"
    with pytest.raises(ValueError, match=message):
        model.tie("0.weight", "0.bias")


def test_a_list_of_parameters_is_refused(lib):
    model = nn.Module()
    with pytest.raises(TypeError, match=r"Module\.weights: a list of parameters is not tracked"):
        model.weights = [nn.Parameter(lib.asarray([1.0]))]


def test_parameters_of_two_dtypes_cannot_be_tied(lib):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, dtype="float64"))
    before = model.parameters()
    message = r"Sequential\.tie: 0\.weight has dtype .*float32, 1\.weight has .*float64; give both"
    with pytest.raises(TypeError, match=message):
        model.tie("0.weight", "1.weight")
    assert all(x is before[name] for name, x in model.parameters().items())
