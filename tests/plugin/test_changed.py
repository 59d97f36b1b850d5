"""`--changed` in real pytest sessions on a toy: which cases make pictures, what is said of the others, and refusals."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.plugin.changed import audited
from harness.plugin.refusals import check_outputs
from harness.results import read
from tests.plugin import conftest

CASES = [Case("scenes", "unet", method, "all", (level,)) for method in ("magnitude", "random") for level in (0.2, 0.5)]
CLAIM = """
from harness.case import Case

def test_claim(gate):
    record = gate.known(Case("scenes", "text_encoder", "magnitude", "all", (0.2,)))
    gate.note(f"spared {record.spared}, clip {record.quality['clip'].value}")
"""


# The baselines of the fixture, measured once: name → content.
_FIRST: dict[str, bytes] = {}


def files(project: pytest.Pytester) -> dict[str, bytes]:
    """Return the baselines file and its sidecars: name → content."""
    paths = [project.path / "baselines.json", *(project.path / "baselines").iterdir()]
    return {str(path.relative_to(project.path)): path.read_bytes() for path in paths}


@pytest.fixture
def stored(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """The four cases of the toy, and one that only a claim asks for, with baselines that know their weights."""
    project.makeini("[pytest]\naddopts = --executor=changing -p no:hypothesispytest -p no:anyio")
    project.makeconftest(
        conftest.CONFTEST + 'harness.execution.register("changing", "tests.plugin.changing:ChangingExecutor")\n'
    )
    wider = conftest.CASES.replace(
        "ids=lambda", '+ [Case("scenes", "text_encoder", "magnitude", "all", (0.2,))], ids=lambda'
    ).replace("],\n    +", "] +")
    project.makepyfile(test_toy=wider)
    if not _FIRST:
        project.runpytest_subprocess("--update-baselines", "--baseline-reason", "first").assert_outcomes(passed=5)
        _FIRST.update(files(project))
    (project.path / "baselines").mkdir(exist_ok=True)
    for name, content in _FIRST.items():
        (project.path / name).write_bytes(content)
    project.makepyfile(test_toy=conftest.CASES)
    monkeypatch.setenv("TOY_LOG", str(project.path / "log"))
    return project


def made(project: pytest.Pytester) -> list[str]:
    """Return the cases whose pictures the toy made, without the dense model."""
    log = (project.path / "log").read_text().splitlines()
    return [line for line in log if line.startswith("scenes-") and "dense" not in line]


def test_unchanged_cases_make_no_pictures_and_one_audits_them(stored: pytest.Pytester) -> None:
    result = stored.runpytest_subprocess("--changed", "--json=run.json")
    result.assert_outcomes(passed=4)
    said = result.stdout.str()
    assert "3 of 4 cases are UNCHANGED" in said and "latency and speed were left out" in said
    (audit,) = made(stored)
    results = {r.record.case.id: r for r in read(stored.path / "run.json").cases}
    assert {r.verdict for r in results.values()} == {"PASS", "UNCHANGED"} and results[audit].verdict == "PASS"
    for result_of in results.values():
        assert result_of.record.quality["clip"].value == 60.0 and len(result_of.record.paired["clip"]) == 8
    assert files(stored) == _FIRST


def test_a_case_with_other_weights_makes_pictures(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    other = CASES[0].id
    monkeypatch.setenv("TOY_CHANGED", other)
    done = stored.runpytest_subprocess("--changed")
    done.assert_outcomes(passed=3, failed=1)
    done.stdout.fnmatch_lines(["REGRESSION (exact): the keep masks are equal, but surviving weights have changed*"])
    assert other in made(stored) and len(made(stored)) <= 2


def test_other_masks_are_red_without_a_picture(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exact facts of unchanged cases are compared all the same: here the toy's masks alone differ."""
    monkeypatch.setenv("TOY_KEEP", "1")
    result = stored.runpytest_subprocess("--changed")
    result.assert_outcomes(failed=4)
    said = result.stdout.str()
    assert said.count("REGRESSION (exact): the same number of weights is pruned") >= 4
    # The advice to look at the pictures makes them.
    (advice,) = (line for line in said.splitlines() if line.startswith("to see the pictures of"))
    assert "--images" in advice and "--changed" not in advice


def test_wrong_pictures_are_red_through_the_dense_model_and_the_audit(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_SHIFT", json.dumps({"clip": -1}))
    result = stored.runpytest_subprocess("--changed")
    result.assert_outcomes(passed=3, failed=1)
    assert result.ret == 1
    said = result.stdout.str()
    assert "scenes-none-dense-none-0.00 REGRESSION (quality)" in said and "3 of 4 cases are UNCHANGED" in said


def test_a_claim_s_case_is_spared_too(stored: pytest.Pytester) -> None:
    stored.makepyfile(test_claims=CLAIM)
    result = stored.runpytest_subprocess("--changed", "test_claims.py")
    result.assert_outcomes(passed=1)
    assert "spared True, clip 60.0" in result.stdout.str()


def test_cases_without_a_baseline_make_pictures(stored: pytest.Pytester) -> None:
    result = stored.runpytest_subprocess("--changed", "--baselines=none.json")
    result.assert_outcomes(failed=4)
    assert len(made(stored)) == 4 and "NO BASELINE" in result.stdout.str()


def test_workers_take_the_same_audit(stored: pytest.Pytester) -> None:
    result = stored.runpytest_subprocess("--changed", "-n2")
    result.assert_outcomes(passed=4)
    assert len(made(stored)) == 1 and "3 of 4 cases are UNCHANGED" in result.stdout.str()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"update_baselines": True}, "--update-baselines stores figures"),
        ({"calibrate_noise": 2}, "--calibrate-noise stores figures"),
        ({"images": Path("pictures")}, "--images keeps every picture"),
    ],
)
def test_what_needs_pictures_is_refused(options: dict[str, Any], name: str) -> None:
    plain = {"update_baselines": False, "calibrate_noise": None, "images": None, "store": None, "json": None}
    given = argparse.Namespace(changed=True, baseline_reason="x", **{**plain, **options})
    with pytest.raises(HarnessError) as refused:
        check_outputs(given)
    assert str(refused.value) == f"--changed makes no pictures of unchanged cases, and {name}. Leave one out."


def test_every_set_of_components_has_one_audit_that_the_sources_choose() -> None:
    cases = [
        Case("scenes", component, "magnitude", "all", levels)
        for component in ("text_encoder", "unet", "both")
        for level in range(1, 10)
        for levels in [(level / 10,) * (1 + (component == "both"))]
    ]
    chosen = [
        audited(order, digest) for digest in "abcdefgh" for order in (cases, cases[::-1], [Case("scenes"), *cases])
    ]
    for first, *others in zip(*[iter(chosen)] * 3, strict=True):
        assert others == [first, first]
        assert sorted(case.component for case in first) == ["both", "text_encoder", "unet"]
    assert len(set(chosen)) > 4
