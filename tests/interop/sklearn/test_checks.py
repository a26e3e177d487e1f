"""scikit-learn's own checks of estimators, all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from xpnet.interop.sklearn import MLPClassifier, MLPRegressor


@parametrize_with_checks(
    [MLPClassifier(max_iter=30), MLPRegressor(max_iter=30, learning_rate_init=0.01)]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimator(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)
