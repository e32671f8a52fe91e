"""A plugin of pytest for mutants: one case of a test that fails is enough, so its other cases are left out."""

from __future__ import annotations

import pytest

_failed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what failed."""
    if report.when == "call" and report.failed:
        _failed.add(report.nodeid.partition("[")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave it out where there is nothing more to be learnt."""
    if item.nodeid.partition("[")[0] in _failed:
        pytest.skip("another case has failed")
