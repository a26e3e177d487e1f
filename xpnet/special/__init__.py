"""Functions that the standard lacks, each in the form that neither overflows nor loses digits."""

from xpnet.special.entropy import xlogy
from xpnet.special.error import erf, erfc, ndtr
from xpnet.special.exponential import expit, log_softmax, logsumexp, softmax, softplus
from xpnet.special.gamma import digamma, lgamma
from xpnet.special.indices import one_hot
from xpnet.special.scatter import scatter_add

__all__ = [
    "digamma",
    "erf",
    "erfc",
    "expit",
    "lgamma",
    "log_softmax",
    "logsumexp",
    "ndtr",
    "one_hot",
    "scatter_add",
    "softmax",
    "softplus",
    "xlogy",
]
