"""The embedded model, loaded once for all tests that need it."""

from __future__ import annotations

import pytest

from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.workloads.scenes import scenes


@pytest.fixture(scope="session")
def bench() -> Workbench:
    """The default workload on the CPU: the one that `baselines.json` was measured with."""
    return Workbench(Setup(scenes(64), "cpu", 64))
