"""What an error of a program shows: its source."""

import gc
import linecache
import traceback
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.program.source import Printed


def failing(name: str) -> Printed:
    return Printed(f"def step(x):\n    {name} = x + 1\n    return {name} / 0\n", {})


def message(step: Any) -> str:
    with pytest.raises(ZeroDivisionError) as info:
        step(1)
    return "".join(traceback.format_exception(info.value))


def test_the_line_is_shown() -> None:
    first, second = failing("t0").function(), failing("t1").function()
    for step, line in [(first, "return t0 / 0"), (second, "return t1 / 0")]:
        linecache.checkcache()  # which forgets files that are not there
        assert f"line 3, in step\n    {line}\n" in message(step)


def test_the_line_of_a_program_is_shown() -> None:
    def take(x: Any, indices: Any) -> Any:
        return xn.array_namespace(x).take(x, indices, axis=0) * 2

    step, x = xn.compile(take), np.asarray([1.0, 2.0])
    step(x, np.asarray([0, 1]))
    with pytest.raises(IndexError) as info:
        step(x, np.asarray([0, 9]))
    lines = [frame.line for frame in traceback.extract_tb(info.value.__traceback__)]
    assert any(line and "take" in line and f"    {line}\n" in step.source for line in lines)


def test_no_source_outlives_its_function() -> None:
    before = {*linecache.cache}
    step = failing("t0").function()
    assert len({*linecache.cache} - before) == 1
    assert "return t0 / 0" in message(step)
    del step
    gc.collect()
    assert not {*linecache.cache} - before
