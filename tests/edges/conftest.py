"""Real pytest sessions on the toy executor or on small pipelines, as in tests/plugin."""

from __future__ import annotations

from tests.cli.conftest import command
from tests.plugin.conftest import not_in_ci, place, project, stored, timed

__all__ = ["command", "not_in_ci", "place", "project", "stored", "timed"]
