"""`--shard I/N` and `prunegate merge`: the shards together are the whole run. Real sessions on the toy executor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.matrix import quality_cases
from harness import results
from harness.cli import main
from harness.components import BOTH
from harness.plugin.shard import chosen


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_disjoint_complete_and_about_equal(count: int) -> None:
    cases = quality_cases("scenes", BOTH, "full")
    shards = [chosen(cases, (i + 1, count)) for i in range(count)]
    assert sum(map(len, shards)) == len(cases) == len(set().union(*shards))
    assert max(map(len, shards)) - min(map(len, shards)) <= 2
    for case in cases:
        if case.needs:
            assert len([s for s in shards if any(other.group == case.group for other in s)]) == 1


def test_merged_shards_are_the_whole_run(stored: pytest.Pytester) -> None:
    stored.runpytest_subprocess("--json", "whole.json").assert_outcomes(passed=4)
    for i in (1, 2):
        stored.runpytest_subprocess("--shard", f"{i}/2", "--json", f"{i}.json").assert_outcomes(passed=2, deselected=2)
    place = stored.path
    command = ["merge", str(place / "2.json"), str(place / "1.json"), "--out", str(place / "merged.json")]
    assert main(command) == 0
    whole, merged = results.read(place / "whole.json"), results.read(place / "merged.json")
    assert merged.cases == tuple(sorted(whole.cases, key=lambda result: result.record.case.id))
    assert (merged.dense, merged.captions, merged.shard) == (whole.dense, whole.captions, "")


def test_what_is_no_whole_run_is_refused(stored: pytest.Pytester, capsys: pytest.CaptureFixture[str]) -> None:
    stored.runpytest_subprocess("--shard", "1/3", "--json", "1.json")
    first = results.read(stored.path / "1.json")
    other = replace(first.dense["scenes"], workload="0" * 16)
    made: dict[str, results.Results] = {
        "2": replace(first, shard="2/3", cases=()),
        "none": replace(first, shard=""),
        "again": first,
        "fourth": replace(first, shard="2/4"),
        "differs": replace(first, shard="2/3", dense={"scenes": other}),
    }
    for name, content in made.items():
        results.write(stored.path / f"{name}.json", replace(content, cases=content.cases or first.cases))
    results.write(stored.path / "3.json", replace(first, shard="3/3"))
    for names, message in (
        (("1", "2"), "shard 3/3 is missing; give the results of all 3 shards"),
        (("1", "none"), "none.json is no shard"),
        (("1", "again"), "give each shard once"),
        (("1", "fourth"), "are shards of different runs"),
        (("1", "differs", "3"), "measured scenes with other captions, models or machines"),
    ):
        paths = [str(stored.path / f"{name}.json") for name in names]
        assert main(["merge", *paths, "--out", str(stored.path / "out.json")]) == 2
        assert message in capsys.readouterr().err
    assert not Path(stored.path / "out.json").exists()


def test_a_red_case_of_a_shard_is_exit_code_1(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEEP", "f")
    stored.runpytest_subprocess("--shard", "1/1", "--json", "1.json").assert_outcomes(failed=4)
    assert main(["merge", str(stored.path / "1.json"), "--out", str(stored.path / "out.json")]) == 1
