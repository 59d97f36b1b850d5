"""The pytest plugin: options, the fixture `gate`, live lines, closing tables, results and baselines."""

from __future__ import annotations

import pytest

from harness import extensions
from harness.errors import HarnessError
from harness.plugin import options
from harness.plugin.session import NAME, Session
from harness.plugin.shard import Shard


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register what installed packages add, and declare the options: they select cases or scale the work."""
    try:
        extensions.load()
    except HarnessError as error:
        raise pytest.UsageError(str(error)) from error
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Parse the options, and register the one object that has all other hooks and fixtures."""
    settings = options.parse(config.option, config.rootpath)
    config.pluginmanager.register(Session(config, settings), NAME)
    if settings.shard is not None:
        config.pluginmanager.register(Shard(*settings.shard), f"{NAME}-shard")
