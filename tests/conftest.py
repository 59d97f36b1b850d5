"""The embedded model, loaded once for all tests that need it."""

from __future__ import annotations

import pytest

from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.workloads.scenes import scenes


@pytest.fixture(autouse=True)
def _children_are_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide xdist from sessions of pytest that a test starts: pytest-benchmark would switch itself off there."""
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def bench() -> Workbench:
    """The default workload on the CPU: the one that `baselines.json` was measured with."""
    return Workbench(Setup(scenes(64), "cpu", 64))
