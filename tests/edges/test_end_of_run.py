"""The end of a run: what another plugin cannot do costs none of our files, tables or lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import results
from tests.plugin.reading import entries

THIRD = "scenes-unet-random-all-0.20"
UPDATE = ("--update-baselines", "--baseline-reason", "x")
# pytest-benchmark calls this just before it writes its file.
FULL = """
def pytest_benchmark_update_json(output_json):
    raise OSError(28, "No space left on device")
"""


def fill_disk(project: pytest.Pytester) -> None:
    """Let pytest-benchmark find the disk full at the end of the run."""
    path = project.path / "conftest.py"
    path.write_text(path.read_text() + FULL)


@pytest.mark.parametrize("first", [False, True], ids=["third case", "first case"])
def test_ctrl_c_in_a_case_with_benchmark_json(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    monkeypatch.setenv("TOY_INTERRUPTED", "scenes-unet-magnitude-all-0.20" if first else THIRD)
    done = stored.runpytest_subprocess("--benchmark-json=bench.json", "--json=ours.json")
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert "Traceback" not in done.stderr.str() + done.stdout.str()
    theirs = json.loads((stored.path / "bench.json").read_text())["benchmarks"]
    if first:
        assert theirs == []
        return
    assert [entry["extra_info"]["record"]["case"]["method"] for entry in theirs] == ["magnitude"] * 2
    assert len(results.read(stored.path / "ours.json").cases) == 2
    done.stdout.fnmatch_lines(["scenes: unet pruned by magnitude, all layers, n = 64*", "results: ours.json"])
    assert (stored.path / "prunegate-report" / "index.html").exists()


@pytest.mark.parametrize(("option", "place"), [("--benchmark-json", "bench.json"), ("--junitxml", "/dev/full")])
def test_a_disk_that_is_full_for_another_plugin(project: pytest.Pytester, option: str, place: str) -> None:
    fill_disk(project)
    done = project.runpytest_subprocess(f"{option}={place}", "--json=ours.json", *UPDATE)
    done.stdout.fnmatch_lines(
        [
            "scenes: unet pruned by magnitude, all layers, n = 64*",
            "results: ours.json",
            "baselines stored in baselines.json:",
            "report: prunegate-report/index.html",
            f"ERROR: {option} cannot be written (*No space left*). PruneGate's own files are complete. Free *",
        ]
    )
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR and "Traceback" not in done.stderr.str() + done.stdout.str()
    assert len(results.read(project.path / "ours.json").cases) == 4
    assert len(entries(project.path / "baselines.json")) == 5
    assert (project.path / "prunegate-report" / "index.html").exists()


def test_without_a_terminal_the_line_is_on_standard_error(stored: pytest.Pytester) -> None:
    fill_disk(stored)
    done = stored.runpytest_subprocess("-p", "no:terminal", "--benchmark-json=bench.json")
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    assert [line[:41] for line in done.stderr.lines] == ["ERROR: --benchmark-json cannot be written"]


def test_an_existing_folder_is_refused_before_anything_runs(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_LOG", str(stored.path / "log"))
    (stored.path / "folder").mkdir()
    before = (stored.path / "baselines.json").read_bytes()
    done = stored.runpytest_subprocess("--benchmark-json=folder", *UPDATE)
    assert done.ret == pytest.ExitCode.USAGE_ERROR and not (stored.path / "log").exists()
    assert "is a folder; name a file, such as" in done.stderr.str()
    assert (stored.path / "baselines.json").read_bytes() == before and [*Path(stored.path / "folder").iterdir()] == []
