"""The differentiation rules: one file for each chapter of the standard, one rule a function.

Every function of the standard is in one of these tables or has no rule yet, in which case it
raises when a gradient reaches it. A rule is called on the way back only; what it does not declare
to save arrives as a stand-in that has a shape and a dtype but no values. Broadcasting and dtype
promotion are undone for it by `xpnet.autodiff.tape.accumulate`.
"""

from __future__ import annotations

from xpnet.autodiff.rules.tables import COMPOSED, MANY, ONE, TWO, ZERO, Rule

# Each import fills the tables.
from xpnet.autodiff.rules import (  # isort: skip
    creation,
    data_type,
    elementwise,
    indexing,
    linear_algebra,
    manipulation,
    searching,
    statistical,
    utility,
    zero,
)

__all__ = [
    "COMPOSED",
    "MANY",
    "ONE",
    "TWO",
    "ZERO",
    "Rule",
    "creation",
    "data_type",
    "elementwise",
    "indexing",
    "linear_algebra",
    "manipulation",
    "searching",
    "statistical",
    "utility",
    "zero",
]
