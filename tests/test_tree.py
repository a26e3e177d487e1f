"""Walks over nested containers."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from typing import Any, NamedTuple

import numpy as np
import pytest

from xpnet import tree


class Point(NamedTuple):
    x: Any
    y: Any


class Triple(tuple):
    """A tuple of another class without named fields."""

    __slots__ = ()


def double(leaf: Any) -> Any:
    return leaf * 2


@pytest.mark.parametrize(
    ("nested", "doubled", "leaves"),
    [
        (3, 6, [3]),
        ([1, 2], [2, 4], [1, 2]),
        ((1, 2), (2, 4), [1, 2]),
        ({"b": 1, "a": 2}, {"b": 2, "a": 4}, [1, 2]),
        (Point(1, [2, 3]), Point(2, [4, 6]), [1, 2, 3]),
        (Triple((1, 2)), Triple((2, 4)), [1, 2]),
        (OrderedDict(b=1, a=(2,)), OrderedDict(b=2, a=(4,)), [1, 2]),
        ([], [], []),
        ({"a": [], "b": ()}, {"a": [], "b": ()}, []),
        ([{"a": ("x", [1])}, 2.5], [{"a": ("xx", [2])}, 5.0], ["x", 1, 2.5]),
    ],
)
def test_map_and_leaves(nested: Any, doubled: Any, leaves: Any) -> None:
    found = tree.map(double, nested)
    assert found == doubled
    assert type(found) is type(doubled)
    assert list(tree.leaves(nested)) == leaves


def test_keys_keep_their_order() -> None:
    found = tree.map(double, {"b": 1, "a": 2, 3: 4})
    assert list(found.items()) == [("b", 2), ("a", 4), (3, 8)]


def test_default_dict_keeps_its_default() -> None:
    counts = defaultdict(list, a=[1])
    found = tree.map(double, counts)
    assert found == {"a": [2]}
    assert type(found) is defaultdict
    assert found["missing"] == []


def test_map_visits_leaves_in_the_order_of_leaves() -> None:
    nested = {"b": [1, (2,)], "a": Point(3, {"z": 4, "y": 5})}
    visited: list[Any] = []
    tree.map(visited.append, nested)
    assert visited == list(tree.leaves(nested)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("leaf", [None, "text", {1, 2}, range(3), np.ones(2)], ids=repr)
def test_anything_else_is_a_leaf(leaf: Any) -> None:
    assert tree.map(lambda x: [x], (leaf,))[0][0] is leaf
    (found,) = tree.leaves([leaf])
    assert found is leaf


def test_the_original_is_not_changed() -> None:
    nested = {"a": [1, 2]}
    found = tree.map(lambda x: x, nested)
    found["a"].append(3)
    assert nested == {"a": [1, 2]}


def test_trees_are_spelled_alike_if_they_are_equal() -> None:
    trees: list[list[Any]] = [
        [1, 2], [[1, 2]], [(1, 2)], [[1], 2], [[[1]], 2], [1, [2]], [[1, [2]]], [[1], [2]],
        [[1, 2], []], [[1, 2], {}], [[1], [2], []], [{"a": 1, "b": 2}], [{"b": 1, "a": 2}],
        [{"a": 1}, 2], [{"a": [1, 2]}], [Point(1, 2)], [Triple((1, 2))], [],
    ]  # fmt: skip
    for n, one in enumerate(trees):
        assert [x for x in tree.spell(one) if type(x) is not tuple] == tree.leaves(one)
        for other in trees[n + 1 :]:
            assert tree.spell(one) != tree.spell(other)
    assert tree.spell([OrderedDict(a=1)]) == tree.spell([{"a": 1}])
