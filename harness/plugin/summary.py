"""The end of a run on the terminal: the tables, then notes and warnings, then the names of the files."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from harness.errors import HarnessError
from harness.plugin.closing import Line
from harness.plugin.results import Collected
from harness.plugin.settings import Settings
from harness.report.moved import table
from harness.report.terminal import tables


def write(terminal: pytest.TerminalReporter, settings: Settings, collected: Collected, lines: Sequence[Line]) -> None:
    """Print the end of a run.

    Args:
        terminal: pytest's terminal.
        settings: The run's settings.
        collected: The results of the run.
        lines: The lines on the files of the run.
    """
    if collected:
        terminal.section("pruning")
        try:
            for line in tables(collected.results):
                terminal.write_line(line)
        except HarnessError as error:
            terminal.write_line(f"ERROR: {error}", red=True)
        if settings.compare_only:
            for line in ["", *table(collected.results.cases)]:
                terminal.write_line(line)
        for result in collected.unselected if not settings.update else ():
            text = f"\nthe dense model, which every run judges: {result.record.case.id} {result.verdict}"
            terminal.write_line(text + (f": {result.reason}" if result.reason else ""), red=result.red)
        for note in collected.notes:
            terminal.write_line(f"\n{note}")
        for warning in collected.warnings:
            terminal.write_line(f"WARNING: {warning}", yellow=True)
    for said in lines:
        terminal.write_line(said.text, red=said.failed)
    if collected.by_effect:
        terminal.write_line(collected.by_effect)
