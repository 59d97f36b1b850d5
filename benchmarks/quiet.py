"""Leaves out pytest-benchmark's own table: every case runs once, and our tables show its time.

A plugin, and no option in pyproject.toml: pytest would refuse the option if `-p no:benchmark` leaves pytest-benchmark
out. `--benchmark-verbose` shows the table.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Quieten pytest-benchmark before it reads its options."""
    if config.pluginmanager.hasplugin("benchmark"):
        config.option.benchmark_quiet = True
