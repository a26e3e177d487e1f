"""MLPClassifier: classes and labels."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
from scipy import sparse
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if

from xpnet._typing import Array, HostArray
from xpnet.interop.sklearn.arrays import (
    bring_targets,
    bring_weight,
    check_together,
    is_placed,
    put_where,
)
from xpnet.interop.sklearn.base import is_stochastic
from xpnet.interop.sklearn.labels import Labelled
from xpnet.interop.sklearn.measures import accuracy
from xpnet.interop.sklearn.targets import distinct
from xpnet.namespace import array_namespace
from xpnet.special import expit, log_softmax, softmax, softplus
from xpnet.special.indices import widen
from xpnet.transfer import put_like, to_host

__all__ = ["MLPClassifier"]


class MLPClassifier(ClassifierMixin, Labelled):  # type: ignore[misc]
    """A network that tells classes apart, with the parameters of scikit-learn's.

    Parameters
    ----------
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
    class_weight : dict or "balanced", optional
        What the samples of each class count, 1 if it is not there; "balanced" makes all classes
        count the same.
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
    classes_ : numpy.ndarray
        The classes, in order; of several labels their numbers.
    loss_, best_loss_ : float
        Of the last epoch, and the lowest one; the latter None with `early_stopping`.
    loss_curve_ : list of float
        Of each epoch; that of L-BFGS has none.
    validation_loss_curve_, validation_scores_ : list of float or None
        Of each epoch, with `early_stopping`; the loss without the penalty.
    best_validation_score_ : float or None
        The highest one.
    model_ : Sequential
        The network; it computes logits.
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
    Arrays of a device stay there, predictions too. `fit` reads a few numbers: whether all are
    finite, up to 258 integers to find the classes, and the loss of each epoch. Labels that are
    no integers, or of more classes, are copied to the host once.

    Samples have the dtype of the network: float32 if they are float32, else float64 where the
    library has it. A sparse matrix becomes dense batch by batch, as a whole for L-BFGS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from xpnet.interop.sklearn import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = MLPClassifier(learning_rate_init=0.03, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    _parameter_constraints = Labelled._parameter_constraints | {
        "class_weight": [dict, StrOptions({"balanced"}), None]
    }
    classes_: HostArray

    def __init__(
        self,
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
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        dropout: float = 0.0,
        callbacks: Any = None,
        backend: str | None = None,
        device: str | None = None,
        compile: bool = True,
    ) -> None:
        self._keep(locals())

    @available_if(is_stochastic)  # type: ignore[untyped-decorator]
    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
    ) -> Self:
        """Train for one epoch, going on from where the estimator is.

        Parameters
        ----------
        X, y, sample_weight
            See `fit`.
        classes : array, shape (classes,)
            All that there will be; needed in the first call.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            See `fit`; and if there are other classes.
        """
        where = f"{type(self).__name__}.partial_fit"
        fitted = hasattr(self, "model_")
        if classes is not None:
            known = distinct(classes if is_placed(classes) else np.asarray(classes))
            if fitted and not np.array_equal(known, self.classes_):
                raise ValueError(
                    f"{where}: expected the classes of the first call, {self.classes_}, got {known}"
                )
        elif fitted:
            known = self.classes_
        else:
            raise ValueError(f"{where}: classes must be passed on the first call to partial_fit")
        if self.class_weight == "balanced":
            raise ValueError(
                f"{where}: class_weight='balanced' needs all samples at once; pass a dict"
            )
        self._fit(X, y, sample_weight, incremental=True, classes_=known)
        return self

    def predict(self, X: Any) -> Array:  # noqa: N803
        """Predict classes.

        Parameters
        ----------
        X : array of any library, frame or sparse matrix, shape (samples, features)
            Samples.

        Returns
        -------
        array, shape (samples,) or (samples, labels)
            Where `X` is; labels that are no numbers are always in host memory. Of several labels
            that were sparse in `fit`, and data of host memory, a sparse matrix.
        """
        chosen = put_where(self._decide(self._compute(X)), X)
        if self._is_multilabel():
            as_matrix = self._sparse_labels and not is_placed(X)
            return sparse.csr_matrix(chosen) if as_matrix else chosen
        if not is_placed(X) or self.classes_.dtype.kind not in "biuf":
            return self.classes_[chosen if isinstance(chosen, np.ndarray) else to_host(chosen)]
        xp, classes = array_namespace(chosen), put_like(self.classes_, chosen)
        if not xp.isdtype(classes.dtype, "integral"):
            return xp.take(classes, chosen)
        return xp.astype(xp.take(widen(classes), chosen), classes.dtype, copy=False)

    def predict_proba(self, X: Any) -> Array:  # noqa: N803
        """Predict the probability of each class, or of each of several labels.

        Parameters
        ----------
        X : array of any library, frame or sparse matrix, shape (samples, features)
            Samples.

        Returns
        -------
        array, shape (samples, classes)
            Where `X` is, in the order of `classes_`.
        """
        return self._probabilities(X, softmax, expit)

    def predict_log_proba(self, X: Any) -> Array:  # noqa: N803
        """Predict the logarithm of `predict_proba`, which is finite where that is rounded to 0.

        Parameters
        ----------
        X : array of any library, frame or sparse matrix, shape (samples, features)
            Samples.

        Returns
        -------
        array, shape (samples, classes)
            Where `X` is.
        """
        return self._probabilities(X, log_softmax, lambda z: -softplus(-z))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:  # noqa: N803
        """Return the accuracy, of all labels of a sample together if there are several.

        Parameters
        ----------
        X, y, sample_weight
            See `fit`.

        Returns
        -------
        float
            From 0 to 1.
        """
        if not is_placed(X):
            return float(super().score(X, y, sample_weight))
        check_together(type(self).__name__, X, y=y, sample_weight=sample_weight)
        predicted = self.predict(X)
        if not is_placed(predicted):
            return float(accuracy_score(y, predicted, sample_weight=sample_weight))
        where = f"{type(self).__name__}.score"
        y = bring_targets(where, y, predicted)
        return accuracy(predicted, y, bring_weight(where, sample_weight, predicted))

    def _probabilities(
        self, x: Any, of_classes: Callable[[Array], Array], of_log_odds: Callable[[Array], Array]
    ) -> Array:
        """Return a function of the outputs: of several classes, of two, or of each label."""
        outputs = self._compute(x)
        if self.out_activation_ == "softmax":
            found = of_classes(outputs)
        elif self._is_multilabel():
            found = of_log_odds(outputs)
        else:
            xp = array_namespace(outputs)
            if len(self.classes_) == 1:
                found = of_log_odds(xp.full_like(outputs, math.inf))
            else:
                found = xp.concat([of_log_odds(-outputs), of_log_odds(outputs)], axis=1)
        return put_where(found, x)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
