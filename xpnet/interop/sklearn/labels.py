"""Classes and labels as what a network is trained on, and back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array

from xpnet._typing import Array, HostArray
from xpnet.interop.sklearn.arrays import (
    Flag,
    check_flags,
    check_length,
    column,
    finite,
    is_placed,
)
from xpnet.interop.sklearn.base import MLP
from xpnet.interop.sklearn.measures import accuracy
from xpnet.interop.sklearn.targets import counted, distinct, encode
from xpnet.namespace import array_namespace
from xpnet.train.place import place
from xpnet.transfer import to_host

__all__ = ["Labelled"]


class Labelled(MLP):
    """The part of a classifier that knows what its targets are.

    Two classes are one output, the log-odds of the second; more are an output each, and so is
    each of several labels that a sample may have.
    """

    classes_: HostArray
    class_weight: Any
    _sparse_labels = False  # whether several labels were given, and are predicted, as a matrix

    def _check(
        self, where: str, x: Any, y: Any, *, first: bool, incremental: bool
    ) -> tuple[Any, Array]:
        x, y, flags = self._samples(x, y, reset=first)
        if is_placed(x):
            if not is_placed(y):
                y = check_array(y, accept_sparse="csr", ensure_2d=False, dtype=None, input_name="y")
            check_length(where, x, y=y)
        if first:
            self._sparse_labels = sparse.issparse(y)
        y = y.toarray() if sparse.issparse(y) else y
        if is_placed(y):
            flags += finite("y", y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column(y)
        if y.ndim == 1:
            return x, self._indices(where, y, flags, first=first, incremental=incremental)
        return x, self._indicators(where, y, flags, first=first, incremental=incremental)

    def _indices(
        self, where: str, y: Array, flags: list[Flag], *, first: bool, incremental: bool
    ) -> Array:
        """Return the index of each class, as a column if there are two classes."""
        check_flags(where, flags)
        if not is_placed(y) or array_namespace(y).isdtype(y.dtype, "real floating"):
            check_classification_targets(to_host(y))
        self._settle(where, distinct(y), first=first, incremental=incremental)
        if first:
            classes = len(self.classes_)
            self.n_outputs_ = classes if classes > 2 else 1
            self.out_activation_ = "softmax" if classes > 2 else "logistic"
        self._check_kind(where, several=False)
        indices = encode(y, self.classes_)
        return indices if self.n_outputs_ > 1 else indices[:, None]

    def _indicators(
        self, where: str, y: Array, flags: list[Flag], *, first: bool, incremental: bool
    ) -> Array:
        """Return which labels each sample has."""
        if is_placed(y):
            xp = array_namespace(y)
            message = "expected 0 and 1 as y of several labels, got other numbers"
            check_flags(where, [*flags, (xp.all((y == 0) | (y == 1)), message)])
        else:
            check_flags(where, flags)
            check_classification_targets(y)
            if type_of_target(y) != "multilabel-indicator":
                raise ValueError(
                    f"{where}: expected one class for each sample, or 0 and 1 for each of several "
                    f"labels, got y of shape {y.shape} with other numbers: multioutput target data "
                    "is not supported"
                )
        self._settle(where, np.arange(y.shape[1]), first=first, incremental=incremental)
        if first:
            self.n_outputs_, self.out_activation_ = y.shape[1], "logistic"
        self._check_kind(where, several=True)
        return y != 0

    def _check_kind(self, where: str, *, several: bool) -> None:
        if several != self._is_multilabel():
            kinds = ("classes", "indicators of labels")
            raise ValueError(
                f"{where}: expected {kinds[not several]} as y, as in the first call, got "
                f"{kinds[several]}"
            )

    def _settle(self, where: str, found: HostArray, *, first: bool, incremental: bool) -> None:
        """Take the classes on, or compare them with those that are known."""
        if first and not incremental:
            self.classes_ = found
            return
        if np.setdiff1d(found, self.classes_).size:
            raise ValueError(
                f"{where}: `y` has classes not in `self.classes_`: expected {self.classes_}, got "
                f"{found}"
            )
        if not incremental and len(found) != len(self.classes_):
            raise ValueError(
                f"{where}: warm_start=True needs the same classes in y as before: expected "
                f"{self.classes_}, got {found}"
            )

    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        if self.class_weight is None:
            return weight
        where = f"{type(self).__name__}: class_weight"
        if self._is_multilabel():
            raise ValueError(f"{where} is for classes, not for several labels of a sample")
        xp = array_namespace(targets)
        indices, classes = xp.reshape(targets, (-1,)), len(self.classes_)
        if self.class_weight == "balanced":
            sums = xp.astype(counted(indices, classes, weight), self.coefs_[0].dtype)
            of_classes = xp.sum(sums) / (classes * xp.where(sums > 0, sums, xp.ones_like(sums)))
        else:
            unknown = set(self.class_weight) - set(self.classes_.tolist())
            if unknown:
                raise ValueError(
                    f"{where}: expected weights of the classes {self.classes_}, got some of "
                    f"{sorted(map(str, unknown))}"
                )
            values = [self.class_weight.get(label, 1.0) for label in self.classes_.tolist()]
            for label, value in zip(self.classes_, values, strict=True):
                if not 0 <= value < math.inf:
                    raise ValueError(
                        f"{where}: expected weights that are not negative, infinite or nan, got "
                        f"{value} for class {label}"
                    )
            if not any(values):
                raise ValueError(f"{where}: expected weights that are not all 0, got {values}")
            of_classes = place(np.asarray(values, dtype=np.float64), self.model_)
        own = xp.take(of_classes, indices)
        return own if weight is None else own * weight

    def _strata(self, where: str, targets: Array) -> Array | None:
        if self._is_multilabel():
            return None
        xp = array_namespace(targets)
        indices = xp.reshape(targets, (-1,))
        lonely = (
            "early_stopping=True sets samples of each class aside, but the least populated class "
            "in y has only 1"
        )
        check_flags(where, [(xp.all(counted(indices, len(self.classes_)) != 1), lonely)])
        return indices

    def _score(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        decided = self._decide(outputs)
        if not self._is_multilabel():
            targets = array_namespace(targets).reshape(targets, (-1,))
        return accuracy(decided, targets, weight)

    def _decide(self, outputs: Array) -> Array:
        """Return the indices of classes, or which labels there are as 0 and 1."""
        xp = array_namespace(outputs)
        if self.out_activation_ == "softmax":
            return xp.argmax(outputs, axis=1)
        chosen = xp.argmax(xp.stack([xp.zeros_like(outputs), outputs], axis=-1), axis=-1)
        if self._is_multilabel():
            return chosen
        return chosen[:, 0] if len(self.classes_) > 1 else xp.zeros_like(chosen[:, 0])

    def _is_multilabel(self) -> bool:
        return self.out_activation_ == "logistic" and self.n_outputs_ > 1

    def _loss(self) -> str:
        return "log_loss"
