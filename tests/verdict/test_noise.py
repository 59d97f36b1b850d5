"""Noise that was measured: what is stored of it, the tolerance that follows, and that it outlives an update."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.record import Record
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository
from tests.verdict.made_up import CASE, FIRST, GPU, OTHER, SECOND, SOLVED, put, record

CLIPS = (60.002, 60.004, 60.008)
MEASURED = Provenance("feedc0de", "2026-11-05", "three runs")


def runs(*clips: float, **options: object) -> list[list[Record]]:
    return [[record(values={"clip": clip}, **options)] for clip in clips]  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    return path


def test_it_is_stored_with_the_case_and_outlives_an_update(path: Path) -> None:
    before = Repository.open(path)
    noisy, lines = before.with_noise(runs(*CLIPS), MEASURED)
    assert [accepted for _, accepted in lines] == [True]
    assert lines[0][0].startswith(f"{CASE.id:<46} fid 0  ") and "clip 0.0031" in lines[0][0]
    assert lines[0][0].endswith("masks 0 bits")
    noisy.write()
    (entry,) = Repository.open(path).entries(CASE)
    assert entry.quality["clip"].noise == round(statistics.stdev(CLIPS), 6) == 0.003055
    assert entry.quality["fid"].noise == 0 and entry.quality["clip"].value == 60.0
    # Where the values come from stays, and where the noise comes from is said.
    source = entry.provenance
    assert (source.commit, source.reason) == (FIRST.commit, "first")
    told = "feedc0de 2026-11-05: three runs (threads 2; batches of 32; one machine)"
    assert (source.noise_runs, source.noise_from) == (3, told)
    assert Repository.open(path).entries(OTHER) == before.entries(OTHER)
    put(Repository.open(path), record(values={"clip": 61.0}), by=SECOND).write()
    (entry,) = Repository.open(path).entries(CASE)
    assert (entry.quality["clip"].value, entry.quality["clip"].noise) == (61.0, 0.003055)
    assert (entry.provenance.reason, entry.provenance.noise_runs) == ("second", 3)
    assert entry.provenance.noise_from == told


def test_a_smaller_tolerance_of_the_rule_does_not_fall_into_the_measured_noise(tmp_path: Path) -> None:
    """A case whose standard error shrinks has a smaller tolerance by the rule; the measured noise stays as it is."""
    path = tmp_path / "b.json"
    put(Repository.open(path), record(SOLVED)).write()
    noisy, _ = Repository.open(path).with_noise(
        [[record(SOLVED, {"fid": fid})] for fid in (10.0, 10.008, 10.016)], MEASURED
    )
    noisy.write()
    surer = record(SOLVED)
    figure = replace(surer.quality["fid"], se=0.001)
    put(Repository.open(path), replace(surer, quality=surer.quality | {"fid": figure}), by=SECOND).write()
    (entry,) = Repository.open(path).entries(SOLVED)
    assert entry.quality["fid"].noise == 0.008 and entry.quality["fid"].tolerance == pytest.approx(0.024)


def test_noise_above_a_third_of_the_tolerance_widens_it_and_says_so(path: Path) -> None:
    (before,) = Repository.open(path).entries(CASE)
    noisy, lines = Repository.open(path).with_noise(runs(60.0, 60.02, 60.04), MEASURED)
    old = f"{before.quality['clip'].tolerance:.4g}"
    assert lines[0][1] and f"clip 0.02 (tolerance {old} → 0.06)" in lines[0][0] and "fid 0  " in lines[0][0]
    noisy.write()
    (entry,) = Repository.open(path).entries(CASE)
    assert (entry.quality["clip"].noise, entry.quality["clip"].tolerance) == (0.02, pytest.approx(0.06))
    assert entry.quality["fid"].tolerance == before.quality["fid"].tolerance
    # Less noise, measured later, brings the metric's own tolerance back.
    Repository.open(path).with_noise(runs(60.0, 60.0, 60.0), MEASURED)[0].write()
    (entry,) = Repository.open(path).entries(CASE)
    assert entry.quality["clip"].tolerance == METRICS["clip"].tolerance


def test_the_spread_of_one_picture_is_the_standard_deviation_between_runs(path: Path) -> None:
    """The control: the definition, for two runs. Resamples belong to no picture."""
    first, second = record(), record()
    changes = [0.25 * (i % 3) for i in range(len(first.paired["clip"]))]
    moved = [value + change for value, change in zip(first.paired["clip"], changes, strict=True)]
    second = replace(second, paired=second.paired | {"clip": moved, "fid": [v + 1 for v in second.paired["fid"]]})
    Repository.open(path).with_noise([[first], [second]], MEASURED)[0].write()
    (entry,) = Repository.open(path).entries(CASE)
    expected = math.sqrt(statistics.fmean(change**2 for change in changes) / 2)
    assert entry.quality["clip"].spread == pytest.approx(expected, abs=1e-6) and expected > 0.1
    assert entry.quality["fid"].spread == 0
    put(Repository.open(path), record(values={"clip": 61.0}), by=SECOND).write()
    assert Repository.open(path).entries(CASE)[0].quality["clip"].spread == entry.quality["clip"].spread


def test_a_baseline_that_lacks_a_fact_of_the_stack_gets_the_noise(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    old = record()
    put(Repository.open(path), old).write()
    conditions = replace(old.conditions, stack=replace(old.stack, cpu="AVX512"))
    measured = [[replace(record(values={"clip": clip}), conditions=conditions)] for clip in CLIPS]
    noisy, lines = Repository.open(path).with_noise(measured, MEASURED)
    assert [stored for _, stored in lines] == [True]
    assert noisy.entries(CASE)[0].quality["clip"].noise == 0.003055


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        ([[record(), record(OTHER)], [record(OTHER)]], "a run did not measure it"),
        ([[record(SOLVED)], [record(SOLVED)]], "it has no baseline on this stack"),
        (runs(60.0, 60.001, stack=GPU), "it has no baseline on this stack"),
    ],
)
def test_what_was_not_stored_or_not_measured_each_time_is_said(
    path: Path, measured: list[list[Record]], why: str
) -> None:
    noisy, lines = Repository.open(path).with_noise(measured, MEASURED)
    (line,) = [line for line, accepted in lines if not accepted]
    assert f"not stored: {why}" in line
    noisy.write()
    assert Repository.open(path).entries(CASE)[0].provenance.noise_runs == 0


def test_masks_that_differ_are_counted(path: Path) -> None:
    measured = [[record(keep="0" * 1024)], [record(keep="7" + "0" * 1023)]]
    assert Repository.open(path).with_noise(measured, MEASURED)[1][0][0].endswith("masks 3 bits")


def test_a_case_that_was_removed_in_the_meantime_is_a_message(path: Path) -> None:
    noisy, _ = Repository.open(path).with_noise(runs(*CLIPS), MEASURED)
    path.unlink()
    put(Repository.open(path), record(OTHER)).write()
    before = path.read_bytes()
    with pytest.raises(HarnessError, match=f"{CASE.id}: its baseline has been removed"):
        noisy.write()
    assert path.read_bytes() == before
