"""Every output place is tested before the first case. The test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness import files
from harness.errors import HarnessError
from harness.plugin.settings import Settings


def check(settings: Settings, targets: Iterable[str]) -> None:
    """Raise HarnessError for a file or folder that the run could not write.

    Args:
        settings: The run's settings.
        targets: The names of the targets that are measured.
    """
    for option, folder in (("--report", settings.report), ("--images", settings.images), ("--store", settings.store)):
        if folder is not None:
            files.check_folder(option, folder)
    written = {"--json": settings.json, "--benchmark-json": settings.benchmark_json}
    for option, file in written.items():
        if file is not None:
            files.check_file(option, file, "results.json")
            _check_kind(option, file)
    if settings.json is not None and settings.json == settings.benchmark_json:
        raise HarnessError(f"--json and --benchmark-json both name {settings.json}; name a file for each")
    if settings.update or settings.calibrate:
        for path in dict.fromkeys(map(settings.baselines_of, targets)):
            files.check_file("--baselines", path, "baselines.json")
            files.check_folder("--baselines", path.with_suffix(""))


def _check_kind(option: str, file: Path) -> None:
    """Refuse to replace a file that holds something else than the results of a run, such as baselines or captions."""
    if not file.is_file() or not file.stat().st_size:
        return
    try:
        content = msgspec.json.decode(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not ({"cases", "captions"} <= content.keys() or "benchmarks" in content):
        raise HarnessError(f"{option} {file} exists and holds no results of a run; name another file")
