"""What holds for every test: nothing is skipped in CI, and no test knows whose machine it is on."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# What is asked of every notebook that nbval runs.
pytest_plugins = ["notebooks.nbval_checks"]


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where CI is set, a skip is a hole in the proof: turn it into a failure that says so."""
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and CI skips nothing: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _fail_if_skipped(report)
    return report


# With --dist loadfile a worker takes whole files, in the order collected. The longest go first, so
# that no worker is left alone with one at the end.
LONG = (
    "course",
    "models",
    "browser",
    "classroom",
    "grading",
    "notebooks",
    "packaging",
    "lab",
    "train",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        if item.path.suffix == ".ipynb":
            return 0
        folder = item.path.parent.name
        return 1 + LONG.index(folder) if folder in LONG else 1 + len(LONG)

    items.sort(key=rank)
