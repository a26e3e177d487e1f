"""What `run.py` adds to pytest in the process that runs array-api-tests.

Every run sees the same examples, so that the bare library and the namespace over it can be compared
test by test, and failing examples are not made smaller, since only the outcome counts.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

PROFILE = "conformance"
REPORT = "XPNET_CONFORMANCE_REPORT"  # the variable that names the file to write


class Outcomes:
    """Notes the outcome of every test, and the message of each that fails."""

    def __init__(self) -> None:
        self.of: dict[str, tuple[str, str]] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.of[report.nodeid] = ("failed", last_line(report))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.nodeid not in self.of and report.when == "call"):
            self.of[report.nodeid] = (report.outcome, last_line(report) if report.failed else "")
        elif report.skipped:
            self.of.setdefault(report.nodeid, ("skipped", ""))

    def pytest_sessionfinish(self) -> None:
        Path(os.environ[REPORT]).write_text(json.dumps(self.of))


@pytest.hookimpl(trylast=True)  # after the suite has loaded the settings of its own
def pytest_configure(config: pytest.Config) -> None:
    settings.register_profile(
        PROFILE,
        max_examples=config.getoption("--hypothesis-max-examples"),
        database=None,  # no examples from earlier runs
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],  # wrapped arrays are slower to generate
        phases=[Phase.explicit, Phase.generate],
        report_multiple_bugs=False,
    )
    settings.load_profile(PROFILE)
    config.pluginmanager.register(Outcomes())


def pytest_runtest_setup(item: pytest.Item) -> None:
    # Some tests call `.example()`, which shuffles with Python's own generator.
    random.seed(item.nodeid + str(item.config.getoption("--hypothesis-seed")))


def last_line(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return the message of the exception, in one line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = (crash.message if crash else str(report.longrepr)).strip().splitlines()
    return lines[0] if lines else ""
