"""The losses for classes equal PyTorch's, gradients too, and are exact where those overflow."""

import functools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.losses import check_labels, cross_entropy, nll_loss
from xpnet.special import one_hot

C = 4
# Scores of two axes with the classes last, and of three with the classes second, as in PyTorch.
SHAPES = {-1: (5, C), 1: (5, C, 3)}
CLASS_WEIGHT = np.asarray([0.5, 2.0, 0.0, 1.25])
REDUCTIONS = ["mean", "sum", "none"]
# What the targets are, and which index does not count.
KINDS = {"indices": None, "-100 ignored": -100, "1 ignored": 1, "probabilities": None}

BARE_AND_ALL = ["bare", "all options"]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1])
every_class_weight = pytest.mark.parametrize(
    "class_weight", [None, CLASS_WEIGHT], ids=["plain", "weighted"]
)
both_dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def make(kind: str, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits and targets."""
    rng = np.random.default_rng(3)
    shape = SHAPES[axis]
    logits = 3 * rng.normal(size=shape)
    if kind == "probabilities":
        q = rng.dirichlet(np.ones(C), shape[:1] + shape[2:])
        return logits, np.ascontiguousarray(np.moveaxis(q, -1, axis))
    targets = rng.integers(0, C, shape[:1] + shape[2:])
    targets[1] = 1
    if KINDS[kind] is not None:
        targets[3] = KINDS[kind]
    return logits, targets


def softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(scores)
    return e / e.sum(axis=axis, keepdims=True)


def defined(
    log_p: Any,
    targets: Any,
    class_weight: Any = None,
    *,
    sample_weight: Any = 1.0,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """Return the loss as its definition has it, in PyTorch, the classes being axis 1."""
    torch = pytest.importorskip("torch")
    q, weight = targets, torch.ones_like(log_p[:, 0]) * sample_weight
    if not targets.is_floating_point():
        kept = targets != ignore_index
        q = torch.nn.functional.one_hot(targets * kept, C).to(log_p.dtype).movedim(-1, 1)
        weight = weight * kept
    weight = weight[:, None]
    if class_weight is not None:
        weight = weight * class_weight.reshape((1, C) + (1,) * (log_p.ndim - 2))
    smooth = (1 - label_smoothing) * q + label_smoothing / C
    losses = -(smooth * weight * log_p).sum(1)
    if reduction == "mean":
        return losses.sum() / (q * weight).sum()
    return losses.sum() if reduction == "sum" else losses


def total(loss: Callable[..., Any], **options: Any) -> Callable[[Any, Any, Any], Any]:
    """Return the loss of scores and a dict of other arrays, its values added up with weights."""

    def function(scores: Any, arrays: dict[str, Any], weight: Any) -> Any:
        return xn.array_namespace(scores).sum(loss(scores, **arrays, **options) * weight)

    return function


def check(
    lib: Any,
    loss: Callable[..., Any],
    theirs: Callable[[Any, str], Any],
    scores: np.ndarray,
    given: dict[str, np.ndarray | None],
    **options: Any,
) -> None:
    """Compare a loss and its gradient with a function of scores and reduction in PyTorch."""
    torch = pytest.importorskip("torch")
    arrays = {name: lib.asarray(array, None) for name, array in given.items() if array is not None}
    x = lib.asarray(scores)
    for reduction in REDUCTIONS:
        leaf = torch.tensor(scores, requires_grad=True)
        expected = theirs(leaf, reduction)
        cotangent = np.random.default_rng(4).normal(size=tuple(expected.shape))
        expected.backward(torch.tensor(cotangent))
        weight = lib.asarray(cotangent)
        with lib.guard():
            value = loss(x, **arrays, **options, reduction=reduction)
            gradient = xn.grad(total(loss, **options, reduction=reduction))(x, arrays, weight)
        lib.close(value, expected.detach())
        lib.close(gradient, leaf.grad)


@every_kind
@every_class_weight
@pytest.mark.parametrize(("axis", "smoothing"), [(-1, 0.0), (-1, 0.1), (1, 0.1)])
def test_cross_entropy_equals_that_of_torch(lib, torch, kind, axis, class_weight, smoothing):
    logits, targets = make(kind, axis)
    # PyTorch divides by the number of samples here, not by the sum of the weights.
    differs = kind == "probabilities" and class_weight is not None
    weight = None if class_weight is None else torch.tensor(class_weight)

    def theirs(leaf: Any, reduction: str) -> Any:
        by_hand = differs and reduction == "mean"
        loss = torch.nn.functional.cross_entropy(
            leaf,
            torch.tensor(targets),
            weight,
            ignore_index=KINDS[kind] or -100,
            label_smoothing=smoothing,
            reduction="sum" if by_hand else reduction,
        )
        return loss / np.moveaxis(targets, axis, -1).dot(class_weight).sum() if by_hand else loss

    check(
        lib,
        cross_entropy,
        theirs,
        logits,
        {"targets": targets, "class_weight": class_weight},
        ignore_index=KINDS[kind],
        label_smoothing=smoothing,
        axis=axis,
    )


@every_kind
@pytest.mark.parametrize(
    ("axis", "class_weight", "smoothing"),
    [(-1, None, 0.0), (1, CLASS_WEIGHT, 0.1)],
    ids=BARE_AND_ALL,
)
def test_cross_entropy_takes_probabilities(lib, torch, kind, axis, class_weight, smoothing):
    logits, targets = make(kind, axis)
    weight = None if class_weight is None else torch.tensor(class_weight)
    options = {"ignore_index": KINDS[kind], "label_smoothing": smoothing}
    check(
        lib,
        cross_entropy,
        lambda p, reduction: defined(
            p.log(), torch.tensor(targets), weight, reduction=reduction, **options
        ),
        softmax(logits, axis),
        {"targets": targets, "class_weight": class_weight},
        from_logits=False,
        axis=axis,
        **options,
    )


@every_kind
@pytest.mark.parametrize(
    ("axis", "class_weight"), [(-1, None), (1, CLASS_WEIGHT)], ids=BARE_AND_ALL
)
def test_nll_loss_equals_that_of_torch(lib, torch, kind, axis, class_weight):
    logits, targets = make(kind, axis)
    weight = None if class_weight is None else torch.tensor(class_weight)
    nll = defined if kind == "probabilities" else torch.nn.functional.nll_loss
    ignore = KINDS[kind] or -100
    check(
        lib,
        nll_loss,
        lambda leaf, reduction: nll(
            leaf, torch.tensor(targets), weight, ignore_index=ignore, reduction=reduction
        ),
        np.log(softmax(logits, axis)),
        {"targets": targets, "class_weight": class_weight},
        ignore_index=KINDS[kind],
        axis=axis,
    )


@every_kind
@pytest.mark.parametrize(
    ("loss", "axis", "shape"),
    [
        (cross_entropy, -1, (5,)),
        (cross_entropy, 1, (5,)),
        (cross_entropy, 1, (5, 3)),
        (nll_loss, -1, (5,)),
    ],
)
def test_sample_weights_multiply_and_divide(lib, torch, kind, loss, axis, shape):
    scores, targets = make(kind, axis)
    sample_weight = np.random.default_rng(5).uniform(0.5, 2, shape)
    repeated = sample_weight[:, None] if axis == 1 and shape == (5,) else sample_weight
    options = {"ignore_index": KINDS[kind]}
    if loss is cross_entropy:
        options["label_smoothing"] = 0.1
    check(
        lib,
        loss,
        lambda leaf, reduction: defined(
            leaf.log_softmax(1) if loss is cross_entropy else leaf,
            torch.tensor(targets),
            torch.tensor(CLASS_WEIGHT),
            sample_weight=torch.tensor(repeated),
            reduction=reduction,
            **options,
        ),
        scores,
        {"targets": targets, "class_weight": CLASS_WEIGHT, "sample_weight": sample_weight},
        axis=axis,
        **options,
    )


@pytest.mark.parametrize("form", ["logits", "probabilities", "log-probabilities"])
def test_targets_and_weights_have_gradients_too(lib, torch, form):
    logits, q = make("probabilities", -1)
    q[0] = [0, 1, 0, 0]  # the gradient is -log p where the target is 0, too
    scores = {"logits": logits, "probabilities": softmax(logits, -1)}.get(form)
    loss, options = cross_entropy, {"from_logits": form == "logits"}
    if scores is None:
        scores, loss, options = np.log(softmax(logits, -1)), nll_loss, {}
    host = {
        "targets": q,
        "class_weight": CLASS_WEIGHT,
        "sample_weight": np.asarray([1.0, 2.0, 0.5, 1.5, 0.0]),
    }
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in host.items()}
    log_p = torch.tensor(np.log(softmax(logits, -1)))
    defined(
        log_p,
        leaves["targets"],
        leaves["class_weight"],
        sample_weight=leaves["sample_weight"],
    ).backward()
    arrays = {name: lib.asarray(array) for name, array in host.items()}
    found = xn.grad(total(loss, **options), argnums=1)(lib.asarray(scores), arrays, 1.0)
    for name, leaf in leaves.items():
        lib.close(found[name], leaf.grad)


def central(function: Callable[[np.ndarray], Any], x: np.ndarray) -> tuple[float, float]:
    """Return the derivative along a direction, from the gradient and from differences."""
    direction, h = np.random.default_rng(7).normal(size=x.shape), 1e-5
    difference = (function(x + h * direction) - function(x - h * direction)) / (2 * h)
    return float(np.sum(xn.grad(function)(x) * direction)), float(difference)


@every_kind
@pytest.mark.parametrize("form", ["logits", "probabilities", "log-probabilities"])
def test_gradients_equal_central_differences(kind, form):
    scores, targets = make(kind, -1)
    options = {"class_weight": CLASS_WEIGHT, "sample_weight": np.arange(1.0, 6.0)}
    options["ignore_index"] = KINDS[kind]
    loss = nll_loss if form == "log-probabilities" else cross_entropy
    if loss is cross_entropy:
        options |= {"label_smoothing": 0.1, "from_logits": form == "logits"}
    if form == "probabilities":
        scores = softmax(scores / 3, -1)
    gradient, difference = central(lambda x: loss(x, targets, **options), scores)
    assert gradient == pytest.approx(difference, rel=1e-7)


@functools.cache
def hessian_of_jax(kind: str) -> np.ndarray:
    jax = pytest.importorskip("jax")
    logits, targets = (array[:2] for array in make(kind, -1))
    q = np.eye(C)[targets] if kind == "indices" else targets
    hessian = jax.hessian(lambda z: -(q * jax.nn.log_softmax(z)).sum() / 2)
    return np.asarray(jax.jit(hessian)(logits))


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_second_derivative_equals_the_hessian_of_jax(lib, kind):
    logits, targets = (array[:2] for array in make(kind, -1))
    directions = np.eye(logits.size).reshape(-1, *logits.shape)

    def slope(z: Any, targets: Any, direction: Any) -> Any:
        gradient = xn.grad(lambda z: cross_entropy(z, targets))(z)
        return xn.array_namespace(z).sum(gradient * direction)

    z, targets = lib.asarray(logits), lib.asarray(targets, None)
    rows = [lib.to_host(xn.grad(slope)(z, targets, lib.asarray(v))) for v in directions]
    hessian = np.asarray(rows).reshape(logits.shape * 2)
    np.testing.assert_allclose(hessian, hessian_of_jax(kind), rtol=1e-10, atol=1e-12)


def test_cross_entropy_of_the_worked_example(lib):
    logits = np.asarray([[-1, 0.5, 2], [-1, 0.5, 3]])
    value, gradient = xn.value_and_grad(cross_entropy)(
        lib.asarray(logits), lib.asarray([1, 2], None)
    )
    lib.close(value, 0.9185, rtol=0, atol=5e-5)
    lib.close(gradient, (softmax(logits, -1) - [[0, 1, 0], [0, 0, 1]]) / 2)


def test_nll_loss_of_the_worked_example(lib):
    p = [[0.1058, 0.1043, 0.0988, 0.1066, 0.0875, 0.0881, 0.1027, 0.1046, 0.1057, 0.0958]]
    log_p = lib.xp.log(lib.asarray(p))
    lib.close(nll_loss(log_p, lib.asarray([4], None)), 2.4361, rtol=0, atol=5e-5)


def test_the_fused_gradient_equals_the_composed_one(lib):
    logits, targets = make("indices", -1)

    def composed(x: Any, targets: Any) -> Any:
        xp = xn.array_namespace(x)
        z = x - xp.max(x, axis=-1, keepdims=True)
        log_p = z - xp.log(xp.sum(xp.exp(z), axis=-1, keepdims=True))
        return -xp.sum(xp.where(one_hot(targets, C), log_p, 0.0)) / x.shape[0]

    x, targets = lib.asarray(logits), lib.asarray(targets, None)
    value, gradient = xn.value_and_grad(cross_entropy)(x, targets)
    expected, expected_gradient = xn.value_and_grad(composed)(x, targets)
    lib.close(value, lib.to_host(expected), 1e-14)
    lib.close(gradient, lib.to_host(expected_gradient), 1e-14)


INF = math.inf
EXTREMES = [
    # logits, label, loss, gradient
    ([1e4, -1e4, 0], 0, 0, [0, 0, 0]),
    ([1e4, -1e4, 0], 1, 2e4, [1, -1, 0]),
    ([-1e4, -1e4, -1e4], 2, math.log(3), [1 / 3, 1 / 3, -2 / 3]),
    ([0, -INF, 0], 0, math.log(2), [-0.5, 0, 0.5]),
    ([-1e4, -INF, -INF], 0, 0, [0, 0, 0]),
    ([0, -INF, 0], 1, INF, [0.5, -1, 0.5]),
]


@both_dtypes
@pytest.mark.parametrize("form", ["index", "probabilities"])
@pytest.mark.parametrize(("logits", "label", "loss", "gradient"), EXTREMES)
def test_cross_entropy_is_exact_at_extreme_logits(lib, dtype, form, logits, label, loss, gradient):
    x = lib.asarray([logits], dtype)
    target = np.asarray([label])
    target = (
        lib.asarray(np.eye(3)[target], dtype)
        if form == "probabilities"
        else lib.asarray(target, None)
    )
    value, found = xn.value_and_grad(cross_entropy)(x, target)
    assert value.dtype == x.dtype
    lib.close(value, loss, 1e-6, atol=0)
    lib.close(found, [gradient], 1e-6)


def test_a_ruled_out_class_is_no_trouble_in_a_sample_without_weight(lib):
    logits, labels = lib.asarray([[0, -INF], [0, 0]]), lib.asarray([0, 1], None)
    function = total(cross_entropy)
    arrays = {"targets": labels, "sample_weight": lib.asarray([0, 1])}
    lib.close(function(logits, arrays, 1.0), math.log(2))
    lib.close(xn.grad(function)(logits, arrays, 1.0), [[0, 0], [0.5, -0.5]])


@pytest.mark.parametrize(("label", "loss"), [(0, 0.57594), (1, 0.82594)])
def test_cross_entropy_keeps_the_digits_of_large_logits(lib, label, loss):
    logits = lib.asarray([[1e6, 1e6 - 0.25]], "float32")
    lib.close(cross_entropy(logits, lib.asarray([label], None)), loss, rtol=0, atol=5e-6)


@pytest.mark.parametrize("logit", [-1e20, 1.0, 1e4, 1e7, 1e20])
@pytest.mark.parametrize("n", [2, 1000])
def test_equal_logits_give_the_logarithm_of_their_number(lib, logit, n):
    logits = lib.asarray(np.full((1, n), logit), "float32")
    lib.close(cross_entropy(logits, lib.asarray([n - 1], None)), math.log(n), 1e-6)


def test_a_shared_offset_changes_nothing(lib):
    logits = np.random.default_rng(8).integers(-40, 40, (5, C)) / 8  # so that the sums are exact
    targets = lib.asarray([0, 1, 2, 3, 0], None)
    plain, moved = (
        xn.value_and_grad(cross_entropy)(lib.asarray(logits + offset), targets)
        for offset in (0.0, 2.0**30)
    )
    for expected, found in zip(plain, moved, strict=True):
        np.testing.assert_array_equal(lib.to_host(found), lib.to_host(expected), strict=True)


@every_kind
@every_smoothing
def test_each_row_of_the_gradient_sums_to_zero(lib, kind, smoothing):
    logits, targets = make(kind, -1)
    function = total(cross_entropy, label_smoothing=smoothing, ignore_index=KINDS[kind])
    found = xn.grad(function)(
        lib.asarray(1e3 * logits), {"targets": lib.asarray(targets, None)}, 1.0
    )
    assert np.abs(lib.to_host(found)).max() > 0.1
    np.testing.assert_allclose(lib.to_host(found).sum(axis=-1), 0, atol=1e-15)


def test_a_certain_prediction_of_probability_zero_is_an_infinite_loss(lib):
    p, labels = lib.asarray([[0.0, 1.0], [0.0, 1.0]]), lib.asarray([0, 1], None)
    with np.errstate(divide="ignore"):
        losses = cross_entropy(p, labels, from_logits=False, reduction="none")
    lib.close(losses, [INF, 0], atol=0)


def test_probability_zero_of_another_class_is_no_trouble(lib):
    p, labels = lib.asarray([[0.0, 0.25, 0.75]]), lib.asarray([1], None)
    function = total(cross_entropy, from_logits=False)
    lib.close(function(p, {"targets": labels}, 1.0), math.log(4))
    lib.close(xn.grad(function)(p, {"targets": labels}, 1.0), [[0, -4, 0]])
    log_p = lib.asarray([[-INF, math.log(0.25), math.log(0.75)]])
    lib.close(nll_loss(log_p, labels), math.log(4))
    lib.close(xn.grad(nll_loss)(log_p, labels), [[0, -1, 0]])


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_a_label_out_of_range_makes_its_own_loss_nan(lib, loss):
    scores = lib.asarray(np.zeros((4, 3)))
    labels = lib.asarray([1, 3, -1, -100], None)
    with lib.guard():
        losses = loss(scores, labels, reduction="none", ignore_index=-100)
        mean = loss(scores, labels)
    ok = math.log(3) if loss is cross_entropy else 0
    lib.close(losses, [ok, math.nan, math.nan, 0])
    lib.close(mean, math.nan)


@pytest.mark.parametrize("classes", [10, 300])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("ignored", [None, -100, 9])
def test_labels_of_any_integer_dtype_mean_the_same(lib, torch, classes, dtype, ignored):
    logits = np.random.default_rng(9).normal(size=(4, classes))
    labels = np.asarray([0, 9, 120, 255 if dtype == "uint8" else -1])
    legal = (labels >= 0) & (labels < classes)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(np.where(legal, labels, 0)), reduction="none"
    ).numpy()
    expected = np.where(labels == ignored, 0, np.where(legal, expected, math.nan))
    losses = cross_entropy(
        lib.asarray(logits), lib.asarray(labels, dtype), ignore_index=ignored, reduction="none"
    )
    lib.close(losses, expected)


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
def test_one_sample_needs_no_batch_axis(lib, torch, loss):
    scores = np.asarray([1.0, -2.0, 0.5])
    name = "cross_entropy" if loss is cross_entropy else "nll_loss"
    expected = getattr(torch.nn.functional, name)(torch.tensor(scores), torch.tensor(1))
    lib.close(loss(lib.asarray(scores), lib.asarray(1, None)), expected)


@pytest.mark.parametrize("kind", ["indices", "probabilities"])
def test_the_loss_has_the_dtype_of_the_logits(lib, kind):
    logits, targets = make(kind, -1)
    arrays = {
        "targets": lib.asarray(targets, None),
        "class_weight": lib.asarray(CLASS_WEIGHT),
        "sample_weight": lib.asarray(np.ones(5)),
    }
    x = lib.asarray(logits, "float32")
    value, gradient = xn.value_and_grad(total(cross_entropy))(x, arrays, 1.0)
    assert value.dtype == gradient.dtype == lib.xp.float32


def test_check_labels_accepts_classes_and_what_is_ignored(lib):
    assert check_labels(lib.asarray([[0, 9], [3, 9]], None), 10) is None
    assert check_labels(lib.asarray([0, -100, 9], None), 10, ignore_index=-100) is None
    assert check_labels(lib.asarray([0, 255], "uint8"), 10, ignore_index=255) is None


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 2, 10], {}, "expected labels in [0, 10), got 10 at position 2; 1 of 3 is wrong"),
        (
            [[0, 9], [12, 11]],
            {},
            "expected labels in [0, 10), got 12 at position 2; 2 of 4 are wrong",
        ),
        (
            [-100, 1, -100],
            {},
            "expected labels in [0, 10), got -100 at position 0; 2 of 3 are wrong. "
            "If -100 marks samples to ignore, pass ignore_index=-100",
        ),
        (
            [-100, 10],
            {"ignore_index": -100},
            "expected labels in [0, 10), got 10 at position 1; 1 of 2 is wrong",
        ),
    ],
)
def test_check_labels_says_where_and_what(lib, labels, options, message):
    with pytest.raises(ValueError, match=f"^check_labels: {re.escape(message)}$"):
        check_labels(lib.asarray(labels, None), 10, **options)


@pytest.mark.parametrize(
    ("loss", "name"),
    [(cross_entropy, "logits"), (nll_loss, "log_probabilities")],
)
def test_swapped_arguments_are_recognized(lib, loss, name):
    scores, labels = lib.asarray([[0.5, 1.5]]), lib.asarray([[0, 1]], None)
    title = loss.__name__
    swapped = f"^{title}: expected floating-point {name}, got .*int64; the arguments look swapped: "
    with pytest.raises(
        TypeError, match=swapped + re.escape(f"write {title}({name}, targets)") + "$"
    ):
        loss(labels, scores)
    with pytest.raises(TypeError, match=r"got .*int64; convert them with xp\.astype$"):
        loss(labels, labels)


@pytest.mark.parametrize("loss", [cross_entropy, nll_loss])
@pytest.mark.parametrize(
    ("targets", "options", "error", "message"),
    [
        (
            np.zeros((3, 1), int),
            {},
            ValueError,
            "expected class indices of shape (3,) for scores of shape (3, 4), got (3, 1)",
        ),
        (
            np.zeros(3),
            {},
            ValueError,
            "expected probabilities of the scores' shape (3, 4), got (3,); class indices must "
            "have an integer dtype",
        ),
        (
            np.zeros(3, bool),
            {},
            TypeError,
            "expected integer class indices or floating-point probabilities as targets, got dtype ",
        ),
        (
            np.zeros((3, 4)),
            {"ignore_index": -100},
            ValueError,
            "ignore_index needs class indices as targets",
        ),
        (
            np.zeros(3, int),
            {"class_weight": np.ones(3)},
            ValueError,
            "expected class_weight of shape (4,), got (3,)",
        ),
        (
            np.zeros(3, int),
            {"sample_weight": np.ones((3, 1))},
            ValueError,
            "expected sample_weight of shape (3,), or of its first axes, got (3, 1)",
        ),
        (np.zeros(3, int), {"axis": 2}, ValueError, "scores of shape (3, 4) have no axis 2"),
        (np.zeros(3, int), {"axis": -3}, ValueError, "scores of shape (3, 4) have no axis -3"),
        (
            np.zeros(3, int),
            {"reduction": "avg"},
            ValueError,
            """reduction must be "mean", "sum" or "none", got 'avg'""",
        ),
    ],
)
def test_what_does_not_fit_is_refused(lib, loss, targets, options, error, message):
    options = {
        key: lib.asarray(value) if isinstance(value, np.ndarray) else value
        for key, value in options.items()
    }
    with pytest.raises(error, match=f"^{loss.__name__}: {re.escape(message)}"):
        loss(lib.asarray(np.zeros((3, 4))), lib.asarray(targets, None), **options)


@pytest.mark.parametrize("name", ["targets", "class_weight", "sample_weight"])
def test_a_list_is_no_array(lib, name):
    given = {"targets": lib.asarray([0, 1], None), name: [1, 1]}
    with pytest.raises(TypeError, match=r"expected .*array.*, got list"):
        cross_entropy(lib.asarray(np.zeros((2, 2))), **given)


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_label_smoothing_is_a_share(smoothing):
    message = re.escape(f"cross_entropy: label_smoothing must be in [0, 1], got {smoothing}")
    with pytest.raises(ValueError, match=message):
        cross_entropy(np.zeros((1, 2)), np.zeros(1, int), label_smoothing=smoothing)


def test_an_ignored_row_may_hold_anything(lib):
    logits = np.asarray([[1.0, 2.0], [math.nan, 1.0], [-math.inf, -math.inf]])
    labels = lib.asarray([0, 7, 7], None)
    with lib.guard():
        loss, gradient = xn.value_and_grad(cross_entropy)(
            lib.asarray(logits), labels, ignore_index=7
        )
    lib.close(loss, math.log1p(math.e))
    p = 1 / (1 + math.e)
    lib.close(gradient, [[p - 1, 1 - p], [0, 0], [0, 0]])


def test_a_wrong_label_makes_its_own_gradient_nan(lib):
    gradient = xn.grad(total(cross_entropy))(
        lib.asarray(np.zeros((2, 2))), {"targets": lib.asarray([0, 5], None)}, 1.0
    )
    lib.close(gradient, [[-0.25, 0.25], [math.nan, math.nan]])


def test_targets_and_weights_may_be_closed_over(lib):
    logits = lib.asarray(np.random.default_rng(12).normal(size=(4, 3)))
    labels = lib.asarray([0, 1, 2, 1], None)
    options = {
        "class_weight": lib.asarray([1.0, 2.0, 0.5]),
        "sample_weight": lib.asarray([1.0, 2.0, 3.0, 0.0]),
        "ignore_index": 2,
        "label_smoothing": 0.1,
    }
    with lib.guard():
        closed = xn.grad(lambda z: cross_entropy(z, labels, **options))(logits)
        passed = xn.grad(cross_entropy)(logits, labels, **options)
    lib.close(closed, lib.to_host(passed), 1e-15)


def test_plain_indices_give_what_weights_of_one_give_bit_for_bit(lib: Any) -> None:
    rng = np.random.default_rng(4)
    scores = rng.normal(size=(6, 5)) * 10.0 ** np.arange(-2, 4)[:, None]
    scores[1, 2], scores[2, 0] = -np.inf, 1e30
    logits = lib.asarray(scores, "float32")
    targets = lib.asarray([0, 2, 4, -1, 5, 1], None)
    ones = lib.asarray(np.ones(5), "float32")
    for reduction in ("none", "sum"):  # a mean by weights of which one is nan is nan

        def loss(z: Any, weight: Any, reduction: str = reduction) -> Any:
            values = cross_entropy(z, targets, class_weight=weight, reduction=reduction)
            return xn.array_namespace(values).sum(values)

        plain, weighted = (
            [lib.to_host(x) for x in xn.value_and_grad(lambda z, w=weight: loss(z, w))(logits)]
            for weight in (None, ones)
        )
        for x, y in zip(plain, weighted, strict=True):
            np.testing.assert_array_equal(x, y)
