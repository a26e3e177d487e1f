"""Fitted estimators as pickles, as files without pickle, and as they were before a failure."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from xpnet import checkpoint, nn, optim
from xpnet.backend import get_backend, host
from xpnet.errors import BackendError, DataError
from xpnet.interop.sklearn.arrays import Place, place_of
from xpnet.interop.sklearn.network import make_network, make_optimizer
from xpnet.namespace import is_array
from xpnet.random import Generator
from xpnet.transfer import to_host

__all__ = ["Stored", "unchanged_by_failure"]

_LIVE = ("model_", "_optimizer", "_rng", "_training")  # what is stored as numbers, or made again
_PRIVATE = ("_recipe", "_no_improvement_count", "_sparse_labels")  # and fitted
_SETTINGS: dict[type[optim.Optimizer], tuple[str, ...]] = {
    optim.Adam: ("learning_rate", "betas", "eps"),
    optim.SGD: ("learning_rate", "momentum", "nesterov"),
}


@contextlib.contextmanager
def unchanged_by_failure(estimator: Any) -> Iterator[None]:
    """Put the attributes of an estimator back if what is done in this context raises."""
    before = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class Stored:
    """The part of an estimator that stores it, with arrays of host memory in place of others."""

    model_: nn.Sequential
    _optimizer: optim.Optimizer | None
    _rng: Generator
    _training: Any
    _recipe: dict[str, Any]

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        if "model_" in state:
            for name in _LIVE:
                del state[name]
            state["_stored"] = {
                "place": self._place(),
                "model": _on_host(self.model_),
                "optimizer": None if self._optimizer is None else _on_host(self._optimizer),
                "settings": _settings(self._optimizer),
                "random": self._rng.state_dict(),
            }
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = state.pop("_stored", None)
        super().__setstate__(state)  # type: ignore[misc]
        if stored is not None:
            self._restore(stored)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted estimator to a folder: JSON and safetensors, no pickle.

        Parameters
        ----------
        path : str or path
            The folder; one that `save` has written is replaced. Callbacks are left out.

        Raises
        ------
        TypeError
            If a parameter is nothing that JSON can hold, such as a ``RandomState``.
        FileExistsError, MissingPackageError, OSError
            See `xpnet.checkpoint.save`, whose format this is.
        """
        check_is_fitted(self)
        parameters: dict[str, Any] = self.get_params(deep=False)  # type: ignore[attr-defined]
        parameters.pop("callbacks")
        fitted = {
            name: value
            for name, value in vars(self).items()
            if (name.endswith("_") or name in _PRIVATE) and name not in _LIVE
        }
        described = {
            "class": type(self).__name__,
            "place": self._place(),
            "parameters": _plain(parameters),
            "fitted": _plain(fitted),
            "settings": _plain(_settings(self._optimizer)),
        }
        checkpoint.save(path, self.model_, self._optimizer, random=self._rng, estimator=described)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, backend: str | None = None, device: str | None = None
    ) -> Self:
        """Read what `save` has written.

        Parameters
        ----------
        path : str or path
            The folder.
        backend, device : str, optional
            Where to put the network; by default where it was.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        DataError
            If the folder is damaged, or holds something else.
        FileNotFoundError, MissingPackageError, OSError
            See `xpnet.checkpoint.load`.
        """
        found = checkpoint.load(path)
        described = found.get("estimator")
        if not isinstance(described, Mapping) or described.get("class") != cls.__name__:
            kind = described.get("class") if isinstance(described, Mapping) else "something else"
            raise DataError(f"load: {path}: expected a saved {cls.__name__}, found {kind}")
        try:
            estimator = cls(**_made(described["parameters"]))
            vars(estimator).update(_made(described["fitted"]))
            place = described["place"] if backend is None else [backend, None]
            settings = _made(described.get("settings"))
            stored = {"optimizer": None, **found, "place": [place[0], device or place[1]]}
            estimator._restore(stored | {"settings": settings})
        except (LookupError, TypeError, AttributeError) as error:
            raise DataError(
                f"load: {path}: expected what {cls.__name__}.save writes, found something else "
                f"({error!r})"
            ) from error
        return estimator

    def _place(self) -> list[str | None]:
        backend, device = place_of(next(iter(self.model_.parameters().values())))
        return [backend.name, None if device is None else backend.device_name(device)]

    def _restore(self, stored: Mapping[str, Any]) -> None:
        """Make the network and its optimizer again, where they were if that is possible."""
        backend, device = stored["place"]
        at = Place(host(), None)
        try:
            chosen = get_backend(backend)
            chosen.dtype(self._recipe["dtype"])
            at = Place(chosen, None if device is None else chosen.device(device))
        except (BackendError, ValueError, TypeError) as error:
            warnings.warn(
                f"{type(self).__name__}: the network was on {backend}, device {device}, which "
                f"cannot be used here ({error}); it is in host memory now.",
                stacklevel=3,
            )
        self._rng = Generator(0)
        with at.selected():
            self.model_ = make_network(self._rng, **self._recipe)
        self._rng.load_state_dict(stored["random"])
        self.model_.load_state_dict(stored["model"])
        self.model_.eval()
        self._training = self._optimizer = None
        if stored["optimizer"] is not None:
            settings = stored.get("settings")
            self._optimizer = _optimizer(**settings) if settings else make_optimizer(self)
            self._optimizer.load_state_dict(stored["optimizer"], self.model_)


def _settings(optimizer: optim.Optimizer | None) -> dict[str, Any] | None:
    """Return what an optimizer is and how it is set by now; the parameters may have changed."""
    if optimizer is None:
        return None
    kind = type(optimizer)
    return {"kind": kind.__name__} | {name: getattr(optimizer, name) for name in _SETTINGS[kind]}


def _optimizer(kind: str, **settings: Any) -> optim.Optimizer:
    """Return the optimizer of which `_settings` told this."""
    return {known.__name__: known for known in _SETTINGS}[kind](**settings)


def _on_host(thing: Any) -> dict[str, Any]:
    state = thing.state_dict()
    return {name: to_host(value) if is_array(value) else value for name, value in state.items()}


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; `_made` makes it again."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"kind": "array", "dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, dict):
        pairs = [[_plain(key), _plain(member)] for key, member in value.items()]
        return {"kind": "dict", "values": pairs}
    if isinstance(value, tuple):
        return {"kind": "tuple", "values": [_plain(member) for member in value]}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    return value


def _made(value: Any) -> Any:
    """Return the value of which `_plain` made this."""
    if isinstance(value, list):
        return [_made(member) for member in value]
    if not isinstance(value, dict):
        return value
    values: list[Any] = value["values"]
    if value["kind"] == "array":
        return np.asarray(values, dtype=value["dtype"])
    if value["kind"] == "tuple":
        return tuple(_made(member) for member in values)
    return {_made(key): _made(member) for key, member in values}
