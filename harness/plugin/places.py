"""Every output place is tested before the first case. The test leaves nothing behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from harness import files, folders
from harness.errors import HarnessError
from harness.plugin.settings import Settings


def check(settings: Settings, targets: Sequence[str]) -> None:
    """Raise HarnessError for a file or folder that the run could not write.

    Args:
        settings: The run's settings.
        targets: The names of the targets that are measured.
    """
    for option, folder in (("--report", settings.report), ("--images", settings.images), ("--store", settings.store)):
        if folder is not None:
            folders.check(option, folder)
        if isinstance(folder, Path):
            _check_baselines(option, folder, settings, targets)
    written = {"--json": settings.json, "--benchmark-json": settings.benchmark_json}
    for option, file in written.items():
        if file is not None:
            files.check_file(option, file, "results.json")
            _check_kind(option, file)
            _check_taken(option, file, settings, targets)
    written["--junitxml"] = settings.junit
    _check_different({option: file for option, file in written.items() if file is not None})
    if settings.junit is not None:
        _check_baselines("--junitxml", settings.junit, settings, targets)
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


def _check_different(written: Mapping[str, Path]) -> None:
    """Refuse two options that name one file: the later one would replace the earlier one's results."""
    places: dict[Path, str] = {}
    for option, file in written.items():
        other = places.setdefault(file.resolve(), option)
        if other != option:
            raise HarnessError(f"{other} and {option} both name {file}; name a file for each")


def _check_baselines(option: str, path: Path, settings: Settings, targets: Sequence[str]) -> None:
    """Refuse a place in which the run, or a later one, keeps baselines."""
    place = path.resolve()
    for target in targets:
        baselines = settings.baselines_of(target).resolve()
        folder = baselines.with_suffix("")
        if place == baselines or folder in (place, *place.parents):
            raise HarnessError(f"{option} {path} is a place of the baselines of {target}; name another place")


def _check_taken(option: str, file: Path, settings: Settings, targets: Sequence[str]) -> None:
    """Refuse a file in a place where the run writes something else, or where a later run does."""
    _check_baselines(option, file, settings, targets)
    place, report = file.resolve(), settings.report.resolve()
    named = place.suffix == ".json" and not place.name.endswith(".candidate.json")
    if report in place.parents and not named:
        raise HarnessError(
            f"{option} {file} is a name for files of the report; name a file such as {report / 'run.json'}"
        )
