"""`prunegate compare` as a person calls it; what it decides is held in tests/verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.results import read, write
from tests.cli.conftest import Command, run_file
from tests.report.made_up import cases, results


def test_equal_runs_pass_and_a_loss_is_exit_code_1(command: Command, tmp_path: Path) -> None:
    before, after = run_file(tmp_path / "a.json"), run_file(tmp_path / "b.json", shift=-1)
    same = command("compare", before, before)
    assert same.code == 0 and "4 cases: 4 PASS" in same.out
    worse = command("compare", before, after)
    assert worse.code == 1 and "REGRESSION" in worse.out and not worse.err


def test_markdown(command: Command, tmp_path: Path) -> None:
    before, after = run_file(tmp_path / "a.json"), run_file(tmp_path / "b.json", shift=-1)
    shown = command("compare", before, after, "--markdown").out
    assert "| scenes-unet-magnitude-all-0.40 |" in shown and "-1.000 ± 0.000" in shown


def test_a_case_that_is_gone_is_exit_code_1(command: Command, tmp_path: Path) -> None:
    before = run_file(tmp_path / "a.json")
    write(tmp_path / "b.json", results(*cases("unet", "magnitude", [0.2])))
    done = command("compare", before, tmp_path / "b.json")
    assert len(read(before).cases) == 4 and done.code == 1 and "MISSING" in done.out


@pytest.mark.parametrize("content", [None, "", "[]", '{"benchmarks": []}', '{"benchmarks": [{"extra_info": 1}]}'])
def test_a_file_that_is_no_run_is_one_message(command: Command, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    refused = command("compare", tmp_path / "a.json", tmp_path / "a.json").refused
    assert refused.startswith(str(tmp_path / "a.json")) and "pytest benchmarks --json" in refused
