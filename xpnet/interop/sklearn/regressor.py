"""MLPRegressor: numbers."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array

from xpnet._typing import Array
from xpnet.interop.sklearn.arrays import (
    as_floats,
    bring,
    bring_targets,
    bring_weight,
    check_flags,
    check_length,
    check_together,
    column,
    finite,
    is_placed,
    put_where,
)
from xpnet.interop.sklearn.base import MLP, is_stochastic
from xpnet.interop.sklearn.measures import r2
from xpnet.namespace import array_namespace

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, MLP):  # type: ignore[misc]
    """A network that predicts numbers, with the parameters of scikit-learn's.

    Parameters
    ----------
    loss : {"squared_error", "poisson"}, optional
        Half of the squared error, or of the Poisson deviance, whose network computes the logarithm
        of a count.
    hidden_layer_sizes : int or sequence of int, optional
        Units of each hidden layer.
    activation : {"identity", "logistic", "tanh", "relu"}, optional
        Of the hidden units.
    solver : {"lbfgs", "sgd", "adam"}, optional
        L-BFGS, of SciPy, takes all samples at once, and the weights to the host and back in every
        evaluation.
    alpha : float, optional
        The penalty is ``alpha / 2`` times the sum of squared weights, not of biases, divided by the
        number of samples in a batch.
    batch_size : int or "auto", optional
        "auto" is 200, or all samples if they are fewer.
    learning_rate : {"constant", "invscaling", "adaptive"}, optional
        Of "sgd": as it is, ``learning_rate_init / t_**power_t``, or a fifth of it each time that
        the training would end otherwise.
    learning_rate_init, power_t : float, optional
        See `learning_rate`.
    max_iter : int, optional
        How many epochs there are at most; of L-BFGS how many iterations.
    shuffle : bool, optional
        Whether each epoch has an order of its own.
    random_state : int, RandomState or None, optional
        Seeds weights, orders, validation data and dropout, which are then the same on every
        library; None draws a seed from the system.
    tol : float, optional
        By how much the loss, or the score on the validation data, must get better.
    verbose : bool, optional
        Whether to print a line for each epoch.
    warm_start : bool, optional
        Whether `fit` goes on from the weights there are.
    momentum, nesterovs_momentum : optional
        Of "sgd"; see `xpnet.optim.SGD`.
    early_stopping : bool, optional
        Whether samples are set aside to tell when to stop, and which weights are the best; those
        are kept.
    validation_fraction : float, optional
        The share of those samples.
    beta_1, beta_2, epsilon : float, optional
        Of "adam"; see `xpnet.optim.Adam`.
    n_iter_no_change : int, optional
        How many epochs in a row may fail to get better.
    max_fun : int, optional
        How many evaluations of the loss L-BFGS may take.
    dropout : float, optional
        Share of the hidden units that is left out at random in training.
    callbacks : list of Callback, optional
        See `xpnet.callbacks`; with `early_stopping` there is a "val_loss" to monitor.
    backend, device : str, optional
        Where to compute with data of host memory, such as "cupy", "cuda:1"; by default there.
        Arrays of other libraries are computed with where they are.
    compile : bool, optional
        Whether steps are compiled; see `xpnet.compile`. PyTorch takes seconds for that.

    Attributes
    ----------
    loss_, best_loss_ : float
        Of the last epoch, and the lowest one; the latter None with `early_stopping`.
    loss_curve_ : list of float
        Of each epoch; that of L-BFGS has none.
    validation_loss_curve_, validation_scores_ : list of float or None
        Of each epoch, with `early_stopping`; the loss without the penalty.
    best_validation_score_ : float or None
        The highest one.
    model_ : Sequential
        The network; it computes numbers, or their logarithms.
    coefs_, intercepts_ : list of array
        Its weights, shape (inputs, outputs), and biases, until the next training.
    n_iter_, t_ : int
        Epochs of the last training, and samples that were trained on so far.
    n_features_in_, n_layers_, n_outputs_ : int
        What the network is like.
    feature_names_in_ : numpy.ndarray
        Names of the columns, if there were any.
    out_activation_ : str
        What makes predictions of the outputs.

    Notes
    -----
    See `MLPClassifier` for what is read from a device, for dtypes and sparse matrices. The loss of
    several outputs is their sum, of which scikit-learn takes the gradient too, while it reports
    their mean.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.interop.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 100)[:, None]
    >>> model = MLPRegressor(solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
    >>> model.score(X, X[:, 0] ** 2) > 0.95
    True
    """

    _parameter_constraints = MLP._parameter_constraints | {
        "loss": [StrOptions({"squared_error", "poisson"})]
    }

    def __init__(
        self,
        loss: Literal["squared_error", "poisson"] = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Literal["identity", "logistic", "tanh", "relu"] = "relu",
        *,
        solver: Literal["lbfgs", "sgd", "adam"] = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: Literal["constant", "invscaling", "adaptive"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        callbacks: Any = None,
        backend: str | None = None,
        device: str | None = None,
        compile: bool = True,
    ) -> None:
        self._keep(locals())

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Train for one epoch, going on from where the estimator is.

        Parameters
        ----------
        X, y, sample_weight
            See `fit`.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            See `fit`.
        """
        self._fit(X, y, sample_weight, incremental=True)
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Predict numbers.

        Parameters
        ----------
        X : array of any library, frame or sparse matrix, shape (samples, features)
            Samples.

        Returns
        -------
        array, shape (samples,) or (samples, outputs)
            Where `X` is.
        """
        outputs = self._predicted(self._compute(X))
        return put_where(outputs[:, 0] if self.n_outputs_ == 1 else outputs, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the coefficient of determination, averaged over the outputs.

        Parameters
        ----------
        X, y, sample_weight
            See `fit`.

        Returns
        -------
        float
            At most 1; 0 is what the mean of `y` would score.
        """
        if not is_placed(X):
            return float(super().score(X, y, sample_weight))
        check_together(type(self).__name__, X, y=y, sample_weight=sample_weight)
        predicted = self.predict(X)
        where = f"{type(self).__name__}.score"
        y = as_floats(bring_targets(where, y, predicted))
        return r2(predicted, y, bring_weight(where, sample_weight, predicted))

    def _check(
        self, where: str, x: Any, y: Any, *, first: bool, incremental: bool
    ) -> tuple[Any, Array]:
        x, y, flags = self._samples(x, y, reset=first, y_numeric=True)
        if is_placed(x):
            if not is_placed(y):
                y = bring(check_array(y, ensure_2d=False, dtype="numeric", input_name="y"), x)
            check_length(where, x, y=y)
            flags += finite("y", y)
            y = as_floats(y)
        xp = array_namespace(y)
        if not is_placed(y):
            y = column(y) if y.shape[1:] == (1,) else y
            y = y.astype(np.float64, copy=False)
        y = y[:, None] if y.ndim == 1 else y
        if y.ndim != 2:
            raise ValueError(
                f"{where}: expected y of shape (samples,) or (samples, outputs), got "
                f"{tuple(y.shape)}"
            )
        if self.loss == "poisson":
            message = "expected numbers from 0 on as y for loss='poisson', got negative ones"
            flags.append((xp.all(y >= 0), message))
        check_flags(where, flags)
        if first:
            self.n_outputs_ = y.shape[1]
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif y.shape[1] != self.n_outputs_:
            raise ValueError(
                f"{where}: expected {self.n_outputs_} outputs in y, as in the first call, got "
                f"{y.shape[1]}"
            )
        return x, y

    def _loss(self) -> str:
        return str(self.loss)

    def _predicted(self, outputs: Array) -> Array:
        return array_namespace(outputs).exp(outputs) if self.out_activation_ == "exp" else outputs

    def _score(self, outputs: Array, targets: Array, weight: Array | None) -> float:
        return r2(self._predicted(outputs), targets, weight)
