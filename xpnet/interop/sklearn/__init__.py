"""Estimators for scikit-learn: its parameters and attributes, arrays of any library."""

import xpnet.interop.sklearn.required  # noqa: F401 - raises if scikit-learn is missing
from xpnet.interop.sklearn.classifier import MLPClassifier
from xpnet.interop.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
