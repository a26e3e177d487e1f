"""What the benchmarks share: turns, medians, ratios, and the check that all agree."""

from __future__ import annotations

import itertools

import pytest


def test_ratios_are_taken_within_each_repetition(load):
    times = load("common").Times
    ours = times(first=[9.0, 9.0, 9.0], turns=[[1.0, 1.0, 7.0], [10.0] * 3, [2.0] * 3])
    theirs = times(first=[0.0] * 3, turns=[[2.0] * 3, [20.0] * 3, [8.0] * 3])
    assert ours.ratio(theirs) == 0.5  # the machine was ten times slower in the second
    assert ours.median == 2.0
    assert ours.preparation == 7.0


def test_all_are_made_anew_and_take_turns(load):
    events = []
    numbers = itertools.count()

    def make(name):
        def made():
            number = next(numbers)
            return lambda i: events.append((name, number))

        return made

    times = load("common").measure(
        {"row": {"a": make("a"), "b": make("b")}}, repetitions=2, rounds=2, seconds=0.0, pause=0.0
    )
    # The first call of each, then in each round a call that warms up and one that is timed.
    called = [name for name, _ in events]
    assert "".join(called) == "ab" + "aabb" + "bbaa" + "ba" + "bbaa" + "aabb"
    assert [number for _, number in events[:10]] == [0, 1, 0, 0, 1, 1, 1, 1, 0, 0]
    assert {number for _, number in events[10:]} == {2, 3}
    assert [len(turns) for turns in times["row"]["a"].turns] == [2, 2]
    assert len(times["row"]["b"].first) == 2


def test_figures_hold_ratios_to_all_others(load):
    common = load("common")
    made = {name: common.Times([1.0], [[value]]) for name, value in (("a", 1.0), ("b", 4.0))}
    found = common.figures(made)
    assert found["a"]["ratios"] == {"b": 0.25}
    assert found["b"]["seconds"] == 4.0


def test_a_table_is_aligned(load, capsys):
    load("common").table(["step", "us"], [["a", "100"], ["long name", "7"]])
    assert capsys.readouterr().out.splitlines() == [
        "| step      |  us |",
        "| --------- | --: |",
        "| a         | 100 |",
        "| long name |   7 |",
    ]


@pytest.mark.parametrize("wrong", [2.3004, float("nan")])
def test_a_contestant_that_computes_something_else_ends_the_program(load, wrong):
    check = load("contestants").check_agreement
    check({"a": [2.0, 2.3], "b": [2.0, 2.3002]})
    with pytest.raises(SystemExit, match="b and a do not compute the same: they differ by"):
        check({"a": [2.0, 2.3], "b": [2.0, wrong]})


def test_size_of_an_installed_package_counts_what_it_requires(load):
    size = load("footprint").installed_size
    assert 0.5e6 < size("xpnet") - size("numpy") - size("array-api-compat") < 20e6
    assert size("numpy") > 10e6
    assert size("no-such-package") == 0
