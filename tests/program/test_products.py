"""Products and their epilogues: what joins them, and that they compute the same."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.program.products import Product, join_epilogues
from xpnet.program.program import Program
from xpnet.program.source import print_program

X, W, B = (
    np.random.default_rng(n).normal(size=shape).astype(np.float32)
    for n, shape in enumerate([(4, 3), (3, 5), (5,)])
)


def relu(xp: Any, x: Any) -> Any:
    return xp.maximum(x, 0.0)


def program_of(function: Callable[..., Any], *arrays: Any) -> Program:
    """Return the recorded program of ``function(xp, *arrays)``."""

    @xn.compile
    def step(*arrays: Any) -> Any:
        return function(xn.array_namespace(*arrays), *arrays)

    step(*arrays)
    program: Program = step._last.program
    return program


CASES: dict[str, tuple[Callable[..., Any], list[int]]] = {
    "alone": (lambda xp, x, w, b: x @ w, [1]),
    "a bias": (lambda xp, x, w, b: x @ w + b, [2]),
    "a bias before it": (lambda xp, x, w, b: b + x @ w, [2]),
    "a bias with two axes": (lambda xp, x, w, b: x @ w + b[None, :], [2]),
    "relu": (lambda xp, x, w, b: relu(xp, x @ w + b), [3]),
    "relu without a bias": (lambda xp, x, w, b: relu(xp, x @ w), [1]),
    "no relu": (lambda xp, x, w, b: xp.maximum(x @ w + b, 0.5), [2]),
    "no negative numbers below": (lambda xp, x, w, b: xp.minimum(x @ w + b, 0.0), [2]),
    "the product is needed": (lambda xp, x, w, b: (x @ w + b, (h := x @ w) * h), [1]),
    "the sum is needed": (lambda xp, x, w, b: ((h := x @ w + b), relu(xp, h)), [2]),
    "twice itself": (lambda xp, x, w, b: (h := x @ w) + h, [1]),
    "a matrix": (lambda xp, x, w, b: x @ w + xp.exp(x[:, :1] @ w[:1, :]), [1, 1]),
    "two layers": (lambda xp, x, w, b: relu(xp, x @ w + b) @ w.T + x[0, :], [3, 2]),
    "a column": (lambda xp, x, w, b: x @ w + x[:, :1], [1]),
    "a vector": (lambda xp, x, w, b: x @ w[:, 0] + b[:4], []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_joined_computes_the_same(name: str) -> None:
    function, lengths = CASES[name]
    program = program_of(function, X, W, B)
    joined = join_epilogues(program, relu=True)
    products = [e.function for e in joined.entries if isinstance(e.function, Product)]
    assert [len(product.entries) for product in products] == lengths
    assert [product.relu for product in products] == [length == 3 for length in lengths]
    expected = print_program(program).function()(X, W, B)
    actual = print_program(joined).function()(X, W, B)
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_relu_that_is_not_wanted_stays() -> None:
    joined = join_epilogues(program_of(CASES["relu"][0], X, W, B), relu=False)
    assert [entry.name for entry in joined.entries] == ["product", "maximum"]


def test_a_bias_of_another_dtype_is_added_afterwards() -> None:
    joined = join_epilogues(
        program_of(lambda xp, x, w, b: x @ w + xp.astype(b, xp.float64), X, W, B), relu=True
    )
    assert [entry.name for entry in joined.entries] == ["product", "astype", "add"]
