# SPDX-License-Identifier: Apache-2.0
"""Tests have a home folder of their own; those on real hosts run wherever they can, and in CI not to run is a failure."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from lab.rig.able import cannot_run, must_run

# how long an example takes is the machine's matter
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

FATE = "lab"  # the name of the property by which a report tells what became of a test on real hosts


HOME = pytest.StashKey[str]()
KEPT = (".config/pip", ".cache/pip")  # where packages come from is the machine's matter


def pytest_configure(config: pytest.Config) -> None:
    """Heed Ctrl-C, and have an empty home folder, here and in what tests start.

    In the background of a script Ctrl-C is ignored, and that would be inherited. Tests kill logins midway; a person's own login
    files are nothing to try that on: pyenv's keep a lock that makes every later login wait for a minute.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[HOME] = home = tempfile.mkdtemp(prefix="rayctl-tests-home-")
    for kept in (Path.home() / name for name in KEPT):
        if kept.exists():
            link = Path(home, kept.relative_to(Path.home()))
            link.parent.mkdir()
            link.symlink_to(kept)
    os.environ["HOME"] = home


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave no home behind."""
    shutil.rmtree(config.stash[HOME])


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a lab where there can be none."""
    if item.get_closest_marker("lab") and (reason := cannot_run()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note what became of a test on real hosts."""
    report = yield
    if item.get_closest_marker("lab"):
        _note_fate(report)
    return report


def _note_fate(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        report.user_properties.append((FATE, "skipped"))
        if must_run():
            report.outcome = "failed"
            reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
            report.longrepr = f"a test on real hosts must not be skipped in CI: {reason}"
    elif report.when == "call":
        report.user_properties.append((FATE, "ran"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on real hosts."""
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    fates = Counter(dict(getattr(report, "user_properties", ())).get(FATE) for report in reports)
    if fates["ran"] or fates["skipped"]:
        terminalreporter.write_line(f"lab: {fates['ran']} tests ran on real hosts, {fates['skipped']} skipped")
