"""The training of an estimator: a Trainer with scikit-learn's penalty and its way of stopping."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

from sklearn.exceptions import ConvergenceWarning

from xpnet._typing import Array
from xpnet.autodiff import custom_gradient
from xpnet.callbacks import Callback
from xpnet.interop.sklearn.warning import warn
from xpnet.namespace import array_namespace
from xpnet.nn import Linear, Module
from xpnet.optim import Optimizer
from xpnet.train import Trainer

__all__ = ["Progress", "Training", "penalised", "say", "warn_of_the_end"]

_LOWEST_RATE = 1e-6  # adaptive rates end here


class Training(Trainer):
    """A Trainer that minimises ``(sum of losses + alpha / 2 * sum of squared weights) / n``.

    The sums are those of a batch, and n is its number of samples or the sum of their weights, as
    in scikit-learn; biases are not penalised. Batches of which all weights are 0 have the loss 0.
    """

    def __init__(
        self, model: Module, loss: Any, optimizer: Optimizer, *, alpha: float, compile: bool
    ) -> None:
        super().__init__(model, loss, optimizer, compile=compile)
        self.alpha = float(alpha)

    def _forward(
        self, model: Module, x: Array, y: Array, weight: Array | None
    ) -> tuple[Array, Array]:
        return penalised(model, self.loss, self.alpha if model.training else 0.0, x, y, weight)


def penalised(
    model: Module, loss: Any, alpha: float, x: Array, y: Array, weight: Array | None
) -> tuple[Array, Array]:
    """Return the loss of a batch, and the outputs."""
    outputs = model(x)
    total = loss(outputs, y, sample_weight=weight)
    xp = array_namespace(outputs)
    if alpha:
        for _, layer in model.modules():
            if isinstance(layer, Linear):
                total = total + _penalty(layer.weight, alpha)
    if weight is None:
        return total / x.shape[0], outputs
    n = xp.sum(weight)
    return xp.where(n > 0, total / xp.where(n > 0, n, xp.ones_like(n)), xp.zeros_like(n)), outputs


@custom_gradient
def _penalty(weight: Array, alpha: float) -> tuple[Array, Callable[[Array], tuple[Array, None]]]:
    """Return alpha / 2 times the sum of squares, whose gradient takes one pass over the weights."""
    squares = array_namespace(weight).sum(weight * weight)
    return 0.5 * alpha * squares, lambda grad: (alpha * grad * weight, None)


class Progress(Callback):
    """Keep the attributes of an estimator up to date, and stop as scikit-learn does.

    Parameters
    ----------
    estimator : BaseEstimator
        Whose parameters say when to stop.
    samples : int
        How many there are to train on.
    validate : callable, optional
        Returns the score on the validation data.
    """

    def __init__(self, estimator: Any, samples: int, validate: Any = None) -> None:
        self.estimator, self.samples, self.validate = estimator, samples, validate
        self.weights: dict[str, Array] | None = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Keep the weights, which may be the best ones of a training before."""
        if self.validate is not None:
            self.weights = trainer.model.state_dict()

    def on_epoch_end(self, trainer: Trainer, logs: dict[str, float]) -> None:
        """Note the epoch; stop, or lower the rate, if nothing got better for long enough."""
        own = self.estimator
        own.n_iter_ += 1
        own.t_ += self.samples
        own.loss_ = logs["loss"]
        own.loss_curve_.append(own.loss_)
        say(own, f"Iteration {own.n_iter_}, loss = {own.loss_:.8f}")
        better = self._is_better(trainer, logs)
        own._no_improvement_count = 0 if better else own._no_improvement_count + 1
        if own.solver == "sgd" and own.learning_rate == "invscaling":
            trainer.optimizer.learning_rate = own.learning_rate_init / (own.t_ + 1) ** own.power_t
        if math.isnan(own.loss_):
            trainer.stop("a loss that is no number")
        elif own._no_improvement_count > own.n_iter_no_change:
            self._give_up(trainer)

    def _is_better(self, trainer: Trainer, logs: dict[str, float]) -> bool:
        own = self.estimator
        if self.validate is None:
            better = not own.loss_ > own.best_loss_ - own.tol
            own.best_loss_ = min(own.best_loss_, own.loss_)
            return better
        score = self.validate()
        own.validation_scores_.append(score)
        own.validation_loss_curve_.append(logs["val_loss"])
        say(own, f"Validation score: {score:f}, loss = {logs['val_loss']:.8f}")
        better = not score < own.best_validation_score_ + own.tol
        if score > own.best_validation_score_:
            own.best_validation_score_ = score
            self.weights = trainer.model.state_dict()
        return better

    def _give_up(self, trainer: Trainer) -> None:
        own, optimizer = self.estimator, trainer.optimizer
        watched = "training loss" if self.validate is None else "validation score"
        why = f"the {watched} got no better by tol={own.tol:g} in {own.n_iter_no_change} epochs"
        adaptive = own.solver == "sgd" and own.learning_rate == "adaptive"
        if adaptive and optimizer.rate > _LOWEST_RATE:
            optimizer.learning_rate = optimizer.rate / 5
            own._no_improvement_count = 0
            say(own, f"{why}: the learning rate is now {optimizer.rate:g}")
        else:
            say(own, f"{why}: training stops")
            trainer.stop(why)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Go back to the best weights, if there are validation data to tell which those are."""
        if self.weights is not None:
            trainer.model.load_state_dict(self.weights)


def say(estimator: Any, line: str) -> None:
    """Print a line, if the estimator is to do so."""
    if estimator.verbose:
        sys.stdout.write(f"{line}\n")


def warn_of_the_end(stopped: str | None, max_iter: int) -> None:
    """Warn if a training ended otherwise than by itself."""
    if stopped == "Ctrl-C":
        warn("Training was interrupted by Ctrl-C.")
    elif stopped is None:
        warn(
            f"The training has not converged in max_iter={max_iter} epochs; scale the data, or "
            "raise max_iter or tol.",
            ConvergenceWarning,
        )
