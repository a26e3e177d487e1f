"""The differentiation rules: one file for each chapter of the standard, one rule a function.

Every function of the standard is in exactly one of three tables: it has a rule, or its derivative
is zero, or it is not differentiable and raises when a gradient reaches it. A rule is called on the
way back only; what it does not declare to save arrives as a stand-in that has a shape and a dtype
but no values. Broadcasting and dtype promotion are undone for it by
`xpnet.autodiff.pulls.accumulate`.

Complex numbers follow JAX: the gradient of a real loss L with respect to z = x + iy is
dL/dx - i dL/dy. It is pulled back by the derivative itself, not by its conjugate, so that the rule
of a holomorphic function is the same for real and complex arguments.
"""

from __future__ import annotations

from xpnet.autodiff.rules.tables import MISSING, RULES, ZERO, Composed, Many, One, Several, Two

# Each import fills the tables.
from xpnet.autodiff.rules import (  # isort: skip
    creation,
    data_type,
    elementwise,
    fft,
    indexing,
    linalg,
    linear_algebra,
    manipulation,
    searching,
    sets,
    sorting,
    statistical,
    utility,
    zero,
)

__all__ = [
    "MISSING",
    "RULES",
    "ZERO",
    "Composed",
    "Many",
    "One",
    "Several",
    "Two",
    "creation",
    "data_type",
    "elementwise",
    "fft",
    "indexing",
    "linalg",
    "linear_algebra",
    "manipulation",
    "searching",
    "sets",
    "sorting",
    "statistical",
    "utility",
    "zero",
]
