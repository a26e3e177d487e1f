"""A part of a checkpoint, as JSON and arrays that it refers to."""

from __future__ import annotations

import math
from typing import Any

from xpnet._typing import HostArray, Tree
from xpnet.checkpoint.tensors import on_host
from xpnet.errors import DataError
from xpnet.namespace import is_array

__all__ = ["decode", "encode"]

_ARRAY, _FLOAT = "$array", "$float"
_FLOATS = ("nan", "inf", "-inf")
_DEPTH = 100  # levels; Python's own limit depends on who calls
_FOREIGN = "were files of several checkpoints mixed?"
_KINDS = "an array, dict, list, tuple, str, int, float, bool or None"


def encode(tree: Tree, part: str, where: str) -> tuple[Any, dict[str, HostArray]]:
    """Return a tree as JSON, and its arrays by the dotted path at which they were."""
    arrays: dict[str, HostArray] = {}

    def visit(tree: Tree, keys: tuple[str, ...]) -> Any:
        here = f"{where}: {'.'.join((part, *keys))}"
        if len(keys) > _DEPTH:
            raise ValueError(
                f"{where}: expected at most {_DEPTH} levels of dicts and lists, found more below "
                f"{'.'.join((part, *keys[:3]))}; does it contain itself?"
            )
        if tree is None or isinstance(tree, (str, int)):  # a bool is an int
            return tree
        if isinstance(tree, float):
            return tree if math.isfinite(tree) else {_FLOAT: str(float(tree))}
        if isinstance(tree, dict):
            for key in tree:
                if not isinstance(key, str):
                    raise TypeError(
                        f"{here}: expected keys that are str, got {key!r} "
                        f"({type(key).__name__}); convert them"
                    )
            return {
                f"${key}" if key.startswith("$") else key: visit(member, (*keys, key))
                for key, member in tree.items()
            }
        if isinstance(tree, (list, tuple)):
            return [visit(member, (*keys, str(i))) for i, member in enumerate(tree)]
        if not is_array(tree):
            raise TypeError(
                f"{here}: expected {_KINDS}, got {type(tree).__name__}; convert it, or leave it out"
            )
        name = ".".join(keys) or part
        if name == "__metadata__" or name in arrays:
            raise ValueError(
                f"{here}: expected another name than {name!r} for this array, since "
                f"{'another array has it' if name in arrays else 'safetensors files reserve it'}; "
                "rename a key"
            )
        arrays[name] = on_host(tree, here)
        return {_ARRAY: name}

    return visit(tree, ()), arrays


def decode(encoded: Any, arrays: dict[str, HostArray], where: str) -> Tree:
    """Return the tree of which `encode` made this; each array must be referred to once."""
    unused = dict(arrays)

    def visit(encoded: Any, depth: int) -> Tree:
        if depth > _DEPTH:
            raise DataError(f"{where}: expected at most {_DEPTH} levels, found more; {_FOREIGN}")
        if isinstance(encoded, list):
            return [visit(member, depth + 1) for member in encoded]
        if not isinstance(encoded, dict):
            return encoded
        if all(not key.startswith("$") or key.startswith("$$") for key in encoded):
            return {
                key[1:] if key.startswith("$") else key: visit(member, depth + 1)
                for key, member in encoded.items()
            }
        [(key, name), *others] = encoded.items()
        if not others and key == _FLOAT and name in _FLOATS:
            return float(name)
        if others or key != _ARRAY or not isinstance(name, str):
            raise DataError(
                f"{where}: expected a reference to an array or a float, found one with the keys "
                f"{', '.join(map(repr, [key, *(other for other, _ in others)]))}; {_FOREIGN}"
            )
        if name not in unused:
            raise DataError(
                f"{where}: expected the array {name!r}"
                + (" once, found it twice" if name in arrays else ", found none of this name")
                + f"; {_FOREIGN}"
            )
        return unused.pop(name)

    tree = visit(encoded, 0)
    if unused:
        raise DataError(
            f"{where}: expected a reference to each array of the safetensors file, found none to "
            f"{', '.join(sorted(unused))}; {_FOREIGN}"
        )
    return tree
