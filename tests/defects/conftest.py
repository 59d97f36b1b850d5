"""Say at the end which gate caught which planted defect, and in how many seconds."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    caught = [dict(report.user_properties).get("defect") for report in reports if report.when == "call"]
    lines = [f"{name:<34} {gate:<24} {seconds:5.1f} s" for name, gate, seconds in filter(None, caught)]
    if lines:
        terminalreporter.section(f"{len(lines)} planted defects: which gate caught them")
        for line in lines:
            terminalreporter.write_line(line)
