"""`--json FILE`: every record with its verdict, under every way to run."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import results
from harness.results import Results
from harness.verdict.compare import compare

IDS = [f"scenes-unet-{method}-all-{level}" for method in ("magnitude", "random") for level in ("0.20", "0.50")]


def by_id(path: Path) -> dict[str, object]:
    return {result.record.case.id: result for result in results.read(path).cases}


def test_one_process_and_two_workers_write_the_same(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("--json", "one.json").assert_outcomes(passed=4)
    stored.runpytest_subprocess("--json", "two.json", "-n", "2").assert_outcomes(passed=4)
    one, two = by_id(stored.path / "one.json"), by_id(stored.path / "two.json")
    assert sorted(one) == IDS and one == two


def test_compare_reads_this_file_and_that_of_pytest_benchmark(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("--json", "ours.json", "--benchmark-json", "theirs.json").assert_outcomes(passed=4)
    ours, theirs = results.read(stored.path / "ours.json"), results.read(stored.path / "theirs.json")
    assert [r.record for r in ours.cases] == [r.record for r in theirs.cases]
    rows = compare(ours, theirs)
    assert [(row.case, row.verdict) for row in rows] == [(case, "PASS") for case in IDS]


def test_what_the_file_holds(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    stored.runpytest_subprocess("-k", "magnitude and 0.20", "--json", "out.json").assert_outcomes(failed=1)
    content: Results = results.read(stored.path / "out.json")
    (result,) = content.cases
    assert (result.red, result.verdict) == (True, "REGRESSION (quality)") and "fid 3 → 7" in result.reason
    # `-k` left the dense case out.
    assert content.dense["scenes"].case.is_dense and content.captions == {"scenes": ("one", "two")}


@pytest.mark.parametrize("options", [[], ["-p", "no:terminal"], ["-p", "no:cacheprovider"], ["-p", "no:capture"]])
def test_without_other_plugins(stored: pytest.Pytester, options: list[str]) -> None:
    assert stored.runpytest_subprocess("--json", "out.json", *options).ret == 0
    assert sorted(by_id(stored.path / "out.json")) == IDS
    assert (stored.path / "prunegate-report" / "index.html").exists()


def test_an_interrupted_run_keeps_what_it_has(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_INTERRUPTED", IDS[2])
    update = ("--update-baselines", "--baseline-reason", "x")
    before = (stored.path / "baselines.json").read_bytes()
    done = stored.runpytest_subprocess("--json", "out.json", *update)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*the run was interrupted: the baselines stay as they were"])
    assert sorted(by_id(stored.path / "out.json")) == IDS[:2]
    assert (stored.path / "baselines.json").read_bytes() == before


def test_a_run_of_no_case_leaves_the_results_of_an_earlier_one(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("--json", "out.json")
    stored.runpytest_subprocess("--collect-only", "--json", "out.json")
    assert len(by_id(stored.path / "out.json")) == 4
    done = stored.runpytest_subprocess("-k", "nothing", "--json", "out.json")
    assert done.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    assert len(by_id(stored.path / "out.json")) == 4


@pytest.mark.parametrize("terminal", [True, False])
def test_a_failure_at_the_end_is_one_message_and_leaves_the_rest(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setenv("TOY_REFUSED_AT", "baselines.candidate.json")
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    options = [] if terminal else ["-p", "no:terminal"]
    done = stored.runpytest_subprocess("--json", "out.json", *options)
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR
    said = done.stdout.str() if terminal else done.stderr.str()
    assert said.count("ERROR: ") == 1 and "baselines.candidate.json cannot be written" in said
    assert len(by_id(stored.path / "out.json")) == 4
    assert (stored.path / "prunegate-report" / "index.html").exists()
