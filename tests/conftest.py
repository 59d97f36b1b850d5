"""The embedded model, loaded once for all tests that need it."""

from __future__ import annotations

import pytest

from harness.engine import Engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    """The default workload on the CPU: the one that `baselines.json` was measured with."""
    return Engine("scenes", "cpu", captions=64, batch_size=64)
