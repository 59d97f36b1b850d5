"""Beside other plugins, without them, and from other folders: the run works, or one line says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.plugin.session import of

ROOT = Path(__file__).parents[2]
TAKEN = """
def pytest_addoption(parser):
    parser.addoption("{name}", default="another plugin's")
"""


def pytest_of(*words: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run pytest of this repository, from a folder."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_playwright_s_device_is_no_option_of_ours(project: pytest.Pytester) -> None:
    project.makepyfile(playwright_like=TAKEN.format(name="--device"))
    done = project.runpytest_subprocess("-p", "playwright_like", "--collect-only", "-q", "--torch-device=cpu")
    assert done.ret == pytest.ExitCode.OK, done.stderr.str()


@pytest.mark.parametrize("name", ["--target", "--report", "--json"])
def test_an_option_that_another_plugin_has_is_one_line(project: pytest.Pytester, name: str) -> None:
    project.makepyfile(another=TAKEN.format(name=name))
    done = project.runpytest_subprocess("-p", "another")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.lines if line]
    assert line.startswith(
        f"ERROR: {name} of PruneGate is an option of another pytest plugin too; leave that plugin out"
    )


def test_without_pytest_benchmark_the_message_is_ours() -> None:
    done = pytest_of("benchmarks", "-p", "no:benchmark", "-k", "dense")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert line == "ERROR: -p no:benchmark: the cases are timed by pytest-benchmark. Leave it out."
    listed = pytest_of("benchmarks", "-p", "no:benchmark", "--collect-only", "-q", "-k", "dense")
    assert listed.returncode == 0 and "scenes-none-dense-none-0.00" in listed.stdout


def test_the_table_of_pytest_benchmark_is_left_out_here(pytester: pytest.Pytester) -> None:
    common = ("-c", os.devnull, f"--rootdir={pytester.path}", "-p", "harness.plugin")
    quiet = pytester.parseconfigure(*common, "-p", "benchmarks.quiet")
    assert of(quiet) and quiet._benchmarksession.quiet  # type: ignore[attr-defined]
    assert not pytester.parseconfigure(*common)._benchmarksession.quiet  # type: ignore[attr-defined]
    loud = pytester.parseconfigure(*common, "-p", "benchmarks.quiet", "--benchmark-verbose")
    assert not loud._benchmarksession.quiet  # type: ignore[attr-defined]
    assert "benchmarks.quiet" in (ROOT / "conftest.py").read_text()


@pytest.mark.parametrize("options", [["--tier", "smoke"], ["--tier=smoke", "--target=scenes"]])
def test_from_another_folder(tmp_path: Path, options: list[str]) -> None:
    done = pytest_of(*options, ROOT / "benchmarks", "-k", "dense", "--collect-only", "-q", cwd=tmp_path)
    assert done.returncode == 0 and "test_quality[scenes-none-dense-none-0.00]" in done.stdout, done.stderr


def test_from_another_folder_paths_are_that_folder_s_and_baselines_the_clone_s(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = of(pytester.parseconfigure(ROOT / "benchmarks", "--json=out.json")).settings
    assert settings.json == tmp_path / "out.json"
    assert settings.baselines_of("scenes") == ROOT / "baselines.json"
    assert settings.report == ROOT / "prunegate-report"


def test_a_word_that_matches_nothing_names_the_command_that_lists_the_ids(tmp_path: Path) -> None:
    done = pytest_of("-k", "magnitud_", ROOT / "benchmarks", "--tier=smoke", cwd=tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("-k matches no case")]
    assert f"pytest -p no:cacheprovider {ROOT / 'benchmarks'} --tier=smoke --collect-only -q` lists all ids" in line
