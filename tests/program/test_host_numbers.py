"""No calculation of Python's takes the value of a number that changes from step to step."""

import array
import copy
import json
import math
import pickle
import statistics
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.errors import CompileError
from xpnet.program.host import host

OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "rate * 2": lambda rate: rate * 2,
    "2 * rate": lambda rate: 2 * rate,
    "-rate": lambda rate: -rate,
    "rate ** 2": lambda rate: rate**2,
    "1 - rate": lambda rate: 1 - rate,
    "rate // 1": lambda rate: rate // 1,
    "rate > 0": lambda rate: rate if rate > 0.05 else 0.0,
    "rate in tuple": lambda rate: 1.0 if rate in (0.1, 0.2) else 0.0,
    "rate in set": lambda rate: 1.0 if rate in {0.1, 0.2} else 0.0,
    "a table": lambda rate: {0.1: 1.0}.get(rate, 2.0),
    "bool": lambda rate: rate if rate else 0.0,
    "float": float,
    "int": int,
    "abs": abs,
    "round": round,
    "max": lambda rate: max(rate, 0.01),
    "sum": lambda rate: sum([rate, 1.0]),
    "divmod": lambda rate: divmod(rate, 1)[0],
    "math.sqrt": math.sqrt,
    "math.floor": math.floor,
    "math.isfinite": math.isfinite,
    "str": lambda rate: float(str(rate)),
    "f-string": lambda rate: float(f"{rate}"),
    "f-string with digits": lambda rate: float(f"{rate:.3f}"),
    "percent": lambda rate: float("%g" % rate),  # noqa: UP031
    "json": json.dumps,
    "pickle": pickle.dumps,
    "copy": copy.deepcopy,
    "array.array": lambda rate: array.array("d", [rate]),
    "hash": hash,
    "real": lambda rate: rate.real,
    "hex": lambda rate: rate.hex(),
    "as_integer_ratio": lambda rate: rate.as_integer_ratio()[0],
    "statistics": lambda rate: statistics.fmean([rate, 1.0]),
    "Fraction": Fraction,
    "Decimal": Decimal,
    "np.float64": np.float64,
    "np.asarray": np.asarray,
    "np.array of a list": lambda rate: np.array([rate]),
    "np.sqrt": np.sqrt,
    "np.where": lambda rate: np.where(True, rate, 0.0),
    "np.full": lambda rate: np.full(3, rate),
    "array * rate": lambda rate: np.ones(3) * rate,
    "scalar * rate": lambda rate: np.float64(3) * rate,
    "index": lambda rate: [1.0][rate],
    "range": lambda rate: list(range(rate)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_calculation_takes_the_value_of_a_host_number(name: str) -> None:
    def compute(x: Any) -> Any:
        return x * OPERATIONS[name](host(lambda: 0.1))

    with pytest.raises(TypeError) as caught:
        xn.compile(compute)(np.ones(3))
    if isinstance(caught.value, CompileError):  # else it takes numbers of Python's own alone
        assert "a calculation of Python's with a number that changes" in str(caught.value)


def raw_with_a_host_number(lib: Any, wrap: Any) -> Any:
    scale = lib.asarray([2.0])
    return wrap(lambda x: x * (scale * host(lambda: 0.1)))(lib.asarray([1.0, 2.0]))


def test_arrays_that_are_not_recorded_do_not_take_it_either(lib: Any) -> None:
    with pytest.raises(TypeError):  # of each library its own, where it does not ask the number
        raw_with_a_host_number(lib, xn.compile)
    raw_with_a_host_number(lib, lambda function: function)


@pytest.mark.parametrize(
    ("numbers", "expected"), [([1, 0.5], "int .* is 0.5 now"), ([0.5, 2], "float .* is 2 now")]
)
def test_a_number_that_meets_integers_keeps_its_type(numbers: list[Any], expected: str) -> None:
    given = iter(numbers)
    scale = xn.compile(lambda x: x * host(lambda: next(given)))
    scale(np.arange(3))
    with pytest.raises(CompileError, match=expected):
        scale(np.arange(3))


def test_a_number_that_meets_real_numbers_may_change_its_type(lib: Any) -> None:
    numbers = iter([1, 0.5, 2])
    scale = xn.compile(lambda x: x * host(lambda: next(numbers)))
    found = [scale(lib.asarray([2.0])) for _ in range(3)]
    for x, expected in zip(found, [2.0, 1.0, 4.0], strict=True):
        lib.close(x, [expected])
    assert scale.recordings == 1


def test_numbers_meet_arrays_of_several_dtypes(assert_same: Callable[..., None], lib: Any) -> None:
    def make(wrap: Callable[[Any], Any]) -> list[Any]:
        calls = iter(range(1000))

        @wrap
        def step(x: Any, y: Any, n: Any) -> Any:
            rate = host(lambda: 0.1 * 3 ** next(calls))
            return x * rate, rate - x, y / rate, n * rate, x < rate, n < rate

        return [step(*arrays) for _ in range(3)]

    arrays = lib.asarray([0.3, -2.7], "float32"), lib.asarray([0.3, 9.0], "float64")
    arrays += (lib.asarray([0, 2], "int32"),)
    if lib.name == "array_api_strict":  # which lets integers meet no floats
        arrays = (*arrays[:2], arrays[1])
    assert_same(lib, make(xn.compile), make(lambda step: step))
