"""Whether quality holds, in real sessions on the toy executor: beside the verdict, and never in its place."""

from __future__ import annotations

import pytest

from harness import results
from harness.verdict.merge import merged

WORSE = "scenes-unet-random-all-0.50"


def worse(stored: pytest.Pytester) -> None:
    """Lower the CLIP score of one case, and store that: from then on it PASSes."""
    toy = (stored.path / "conftest.py").read_text()
    toy += f"""
from tests.plugin import toy

_record = toy.record_of

def worse(case, bench):
    if case.id == "{WORSE}":
        os.environ["TOY_SHIFT"] = '{{"clip": -2}}'
    try:
        return _record(case, bench)
    finally:
        os.environ.pop("TOY_SHIFT", None)

toy.record_of = worse
"""
    (stored.path / "conftest.py").write_text(toy)
    update = ("--update-baselines", "--baseline-reason", "worse")
    stored.runpytest_subprocess("-k", WORSE, *update).assert_outcomes(passed=1)


def test_a_bad_case_passes_and_says_that_quality_does_not_hold(stored: pytest.Pytester) -> None:
    worse(stored)
    done = stored.runpytest_subprocess("--json", "out.json")
    done.assert_outcomes(passed=4)
    done.stdout.fnmatch_lines([f"{WORSE} *holds no *PASS", "holds: is every loss against dense at most FID 2, CLIP*"])
    run = results.read(stored.path / "out.json")
    told = {result.record.case.id: result for result in run.cases}
    held = told[WORSE].holding
    assert held is not None and held.answer == "no" and told[WORSE].verdict == "PASS"
    (clip,) = (loss for loss in held.losses if loss.metric == "clip")
    assert (clip.value, clip.budget, clip.answer) == (pytest.approx(2.0), 0.5, "no")
    assert run.budget == {"fid": 2.0, "clip": 0.5, "composition": 0.05}
    assert 'data-label="holds">no</td>' in (stored.path / "prunegate-report" / "index.html").read_text()


def test_a_budget_of_one_s_own_replaces_the_default_one(stored: pytest.Pytester) -> None:
    worse(stored)
    done = stored.runpytest_subprocess("--budget", "clip=3,drift=5", "--json", "out.json", "--shard", "1/1")
    done.assert_outcomes(passed=4)
    run = results.read(stored.path / "out.json")
    held = {result.record.case.id: result.holding for result in run.cases}[WORSE]
    assert held is not None and [loss.metric for loss in held.losses] == ["clip", "drift"]
    # Eight values per caption are too few for a yes.
    assert (held.answer, held.captions) == ("undecided", 32) and run.budget == {"clip": 3.0, "drift": 5.0}
    assert merged({stored.path / "out.json": run}).budget == run.budget
