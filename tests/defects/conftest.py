"""Say at the end what caught which planted defect, and in how many seconds."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    caught = [dict(report.user_properties).get("defect") for report in reports if report.when == "call"]
    lines = [f"{name:<47} {gate:<52} {seconds:5.1f} s" for name, gate, seconds in filter(None, caught)]
    if lines:
        terminalreporter.section(f"{len(lines)} planted defects: what caught them")
        for line in lines:
            terminalreporter.write_line(line)
