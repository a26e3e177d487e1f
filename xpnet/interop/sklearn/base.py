"""What the estimators share: how they are fitted, and how outputs are computed."""

from __future__ import annotations

import math
import secrets
from abc import ABC, abstractmethod
from functools import partial
from numbers import Integral
from typing import Any, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from xpnet import nn
from xpnet._typing import Array
from xpnet.interop.sklearn.arrays import (
    Flag,
    Place,
    batches,
    check_flags,
    check_together,
    check_weight,
    check_x,
    is_placed,
    place_for,
    take,
)
from xpnet.interop.sklearn.measures import LOSSES
from xpnet.interop.sklearn.network import (
    OPTIMIZERS,
    fit_lbfgs,
    make_network,
    make_optimizer,
)
from xpnet.interop.sklearn.parameters import CONSTRAINTS, hidden_units
from xpnet.interop.sklearn.storing import Stored, unchanged_by_failure
from xpnet.interop.sklearn.targets import split
from xpnet.interop.sklearn.training import Progress, Training, warn_of_the_end
from xpnet.interop.sklearn.warning import warn
from xpnet.namespace import array_namespace
from xpnet.nn.modes import evaluating
from xpnet.random import Generator
from xpnet.train.place import place

__all__ = ["MLP", "is_stochastic"]

_PREDICTED = 1024  # samples at a time where nothing is trained
_MEASURED = (  # in each epoch; L-BFGS has none
    "loss_curve_",
    "best_loss_",
    "validation_scores_",
    "validation_loss_curve_",
    "best_validation_score_",
)
_DTYPES = (np.float64, np.float32)  # of samples; others become the first


def is_stochastic(estimator: Any) -> bool:
    """Tell whether there is partial_fit."""
    if estimator.solver == "lbfgs":
        raise AttributeError("partial_fit needs solver='adam' or 'sgd', which go by batches")
    return True


class MLP(Stored, BaseEstimator, ABC):  # type: ignore[misc]
    """Base class of the estimators."""

    _parameter_constraints = CONSTRAINTS
    _training: Training | None

    def _keep(self, given: dict[str, Any]) -> None:
        """Make attributes of the parameters among these, and of nothing else."""
        for name, value in given.items():
            if name in self._parameter_constraints:
                setattr(self, name, value)

    @abstractmethod
    def _check(
        self, where: str, x: Any, y: Any, *, first: bool, incremental: bool
    ) -> tuple[Any, Array]:
        """Return samples and targets as the loss takes them; set what the outputs are."""

    @abstractmethod
    def _loss(self) -> str:
        """Return the name of the loss."""

    @abstractmethod
    def _score(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        """Return how good outputs of the network are."""

    def _weigh(self, targets: Array, weight: Array | None) -> Array | None:
        """Return the weights of the samples with those of their classes."""
        return weight

    def _strata(self, where: str, targets: Array) -> Array | None:
        """Return the classes, if validation data are to have as many of each as the others."""
        return None

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train on samples.

        Parameters
        ----------
        X : array of any library, frame or sparse matrix, shape (samples, features)
            On a device it stays there, and the network is made there.
        y : array, list or frame, shape (samples,) or (samples, outputs)
            Targets, where `X` is or in host memory.
        sample_weight : array, shape (samples,), optional
            What each sample counts.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            If a parameter or the data are wrong.
        """
        self._fit(X, y, sample_weight, incremental=False)
        return self

    def _fit(self, x: Any, y: Any, weight: Any, *, incremental: bool, **known: Any) -> None:
        """Train new weights, or those there are; `known` attributes are set before."""
        where = f"{type(self).__name__}.{'partial_fit' if incremental else 'fit'}"
        self._check_settings(where, incremental)
        first = not hasattr(self, "model_") or not (self.warm_start or incremental)
        with unchanged_by_failure(self):
            self.__dict__.update(known)
            x, y, weight = self._prepared(where, x, y, weight, first=first, incremental=incremental)
            if first:
                stopped = self._train(where, x, y, weight, incremental=incremental)
        if not first:  # these weights have changed, so what was measured stays with them
            stopped = self._train(where, x, y, weight, incremental=incremental)
        if self.solver != "lbfgs" and not incremental:
            warn_of_the_end(stopped, self.max_iter)

    def _prepared(
        self, where: str, x: Any, y: Any, weight: Any, *, first: bool, incremental: bool
    ) -> tuple[Any, Array, Array | None]:
        """Return samples, targets and weights where the network is, which is made if need be."""
        check_together(where, x, y=y, sample_weight=weight)
        at = place_for(where, x, self.backend, self.device)
        x, y = self._check(where, x, y, first=first, incremental=incremental)
        if first:
            self._begin(at, x)
        if not sparse.issparse(x):
            x = place(x, self.model_)
        y = place(y, self.model_)
        weight = check_weight(where, x, weight)
        return x, y, self._weigh(y, None if weight is None else place(weight, self.model_))

    def _train(
        self, where: str, x: Any, y: Array, weight: Array | None, *, incremental: bool
    ) -> str | None:
        """Train the network; return what stopped that early."""
        stopped = None
        if self.solver == "lbfgs":
            x = place(x.toarray(), self.model_) if sparse.issparse(x) else x
            fit_lbfgs(self, self.model_, LOSSES[self._loss()], x, y, weight)
        else:
            stopped = self._fit_in_epochs(where, x, y, weight, incremental=incremental)
        self.model_.eval()
        _check_finite(where, self.model_, self.loss_)
        return stopped

    def _samples(self, x: Any, y: Any, *, reset: bool, **host: Any) -> tuple[Any, Any, list[Flag]]:
        """Return samples as floating-point numbers, targets, and what to check of their values.

        Of those in host memory scikit-learn checks all, with its options `host`.
        """
        if is_placed(x):
            x, flags = check_x(self, x, reset=reset, y=y)
            return x, y, flags
        options = {"accept_sparse": "csr", "multi_output": True, "dtype": _DTYPES, **host}
        x, y = validate_data(self, x, y, reset=reset, **options)
        return x, y, []

    def _check_settings(self, where: str, incremental: bool) -> None:
        if incremental and self.early_stopping:
            raise ValueError(f"{where} does not support early_stopping=True; call fit")
        if self.solver == "lbfgs" and (self.dropout or self.callbacks):
            raise ValueError(
                f"{where}: solver='lbfgs' has neither epochs nor random masks; callbacks= and "
                "dropout= need solver='adam' or 'sgd'"
            )

    def _begin(self, at: Place, x: Any) -> None:
        """Make a new network, and forget what was measured."""
        hidden = hidden_units(type(self).__name__, self.hidden_layer_sizes)
        units = [self.n_features_in_, *hidden, self.n_outputs_]
        self.n_layers_ = len(units)
        self._rng = self._generator()
        self._recipe = {
            "units": units,
            "activation": self.activation,
            "dropout": float(self.dropout),
            "dtype": at.float_dtype(x.dtype),
        }
        with at.selected():
            self.model_ = make_network(self._rng, **self._recipe)
        self._training = self._optimizer = None
        self.n_iter_ = self.t_ = self._no_improvement_count = 0
        self.loss_ = float("inf")
        for name in _MEASURED:
            self.__dict__.pop(name, None)

    def _begin_measuring(self) -> None:
        """Go on with what was measured, or start it; validation is not there in all trainings."""
        early = bool(self.early_stopping)
        if hasattr(self, "loss_curve_") and early == (self.validation_scores_ is not None):
            return
        self.loss_curve_: list[float] = getattr(self, "loss_curve_", [])
        self.best_loss_ = None if early else min(self.loss_curve_, default=math.inf)
        self.validation_scores_: list[float] | None = [] if early else None
        self.validation_loss_curve_: list[float] | None = [] if early else None
        self.best_validation_score_ = -math.inf if early else None

    def _generator(self) -> Generator:
        """Return what draws the numbers of a training; no library's own state is involved."""
        if self.random_state is None:
            return Generator(secrets.randbits(32))
        if isinstance(self.random_state, Integral):
            return Generator(int(self.random_state))
        return Generator(int(check_random_state(self.random_state).randint(2**32, dtype=np.int64)))

    def _fit_in_epochs(
        self, where: str, x: Any, y: Array, weight: Array | None, *, incremental: bool
    ) -> str | None:
        """Train as the stochastic solvers do; return what stopped it early."""
        progress = Progress(self, x.shape[0])
        held_out = None
        if self.early_stopping:
            kept, others = self._split(where, y)
            held_out = _rows(others, x, y, weight)
            x, y, weight = _rows(kept, x, y, weight)
            progress = Progress(self, x.shape[0], partial(self._validate, *held_out))
        size = self._size_of_batches(where, x.shape[0])
        self._begin_measuring()
        self.n_iter_ = 0
        history = self._trainer(anew=not incremental).fit(
            _batches(x, y, weight, size=size, rng=self._rng if self.shuffle else None),
            epochs=1 if incremental else self.max_iter,
            validation_data=None if held_out is None else _batches(*held_out, size=_PREDICTED),
            callbacks=[progress, *(() if self.callbacks is None else self.callbacks)],
            verbose=0,
        )
        return history.stopped

    def _trainer(self, *, anew: bool) -> Training:
        """Return what trains the network; only a new one forgets the averages of its gradients."""
        if anew or not isinstance(self._optimizer, OPTIMIZERS[self.solver]):
            self._optimizer, self._training = make_optimizer(self), None
        if self._training is None or self._training.alpha != self.alpha:
            loss = LOSSES[self._loss()]
            self._training = Training(
                self.model_, loss, self._optimizer, alpha=self.alpha, compile=self.compile
            )
        return self._training

    def _split(self, where: str, y: Array) -> tuple[Array, Array]:
        """Return the rows to train on and those to validate on."""
        samples, fraction = y.shape[0], self.validation_fraction
        count = math.ceil(fraction * samples)
        if count < 2:
            raise ValueError(
                f"{where}: The validation set is too small: {count} of {samples} samples. Increase "
                f"validation_fraction, which is {fraction}, or give more data"
            )
        if count >= samples:
            raise ValueError(
                f"{where}: No samples are left to train on: all {samples} are validation data. "
                f"Lower validation_fraction, which is {fraction}, or give more data"
            )
        return split(y, count, self._rng, self._strata(where, y))

    def _size_of_batches(self, where: str, samples: int) -> int:
        if self.batch_size == "auto":
            return min(200, samples)
        if self.batch_size > samples:
            warn(
                f"{where}: expected a batch_size of at most {samples}, which is the number of "
                f"samples, got {self.batch_size}; all are one batch."
            )
        return int(min(self.batch_size, samples))

    def _validate(self, x: Any, y: Array, weight: Array | None) -> float:
        return self._score(self._forward(x), y, weight)

    def _compute(self, x: Any) -> Array:
        """Return the outputs of the network for data of users, where it is."""
        check_is_fitted(self)
        if is_placed(x):
            x, flags = check_x(self, x, reset=False)
            check_flags(type(self).__name__, flags)
        else:
            x = validate_data(self, x, accept_sparse="csr", dtype=_DTYPES, reset=False)
        return self._forward(x)

    def _forward(self, x: Any) -> Array:
        with evaluating(self.model_):
            parts = [
                self.model_(place(part, self.model_)) for (part,) in batches(x, size=_PREDICTED)
            ]
        return parts[0] if len(parts) == 1 else array_namespace(*parts).concat(parts)

    @property
    def coefs_(self) -> list[Array]:
        """The weights of each layer, shape (inputs, outputs), where the network is."""
        return [layer.weight.T for layer in self._layers()]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of each layer."""
        return [layer.bias for layer in self._layers()]

    def _layers(self) -> list[nn.Linear]:
        check_is_fitted(self)  # its error is an AttributeError
        return [layer for layer in self.model_.layers if isinstance(layer, nn.Linear)]

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _rows(rows: Array, *arrays: Any) -> tuple[Any, ...]:
    return tuple(None if array is None else take(array, rows) for array in arrays)


def _batches(*arrays: Any, size: int, rng: Generator | None = None) -> Any:
    return batches(*(array for array in arrays if array is not None), size=size, rng=rng)


def _check_finite(where: str, model: nn.Module, loss: float) -> None:
    parameters = list(model.parameters().values())
    xp = array_namespace(*parameters)
    finite = xp.all(xp.stack([xp.all(xp.isfinite(array)) for array in parameters]))
    diverged = "the training diverged to numbers that are not finite; scale the data, or lower "
    check_flags(where, [(finite & (loss == loss), f"{diverged}learning_rate_init")])
