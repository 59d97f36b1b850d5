"""Each verdict: which gate gives it, what it says, and what of it is red."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.case import Case
from harness.facts import WorkloadFacts
from harness.record import SPARED, Counts, Record
from harness.verdict.exact import exact
from harness.verdict.judge import in_ci, judge, judge_latency
from harness.verdict.repository import Repository
from harness.verdict.verdict import Verdict
from tests.verdict.made_up import CASE, FACTS, FEW, FIRST, GPU, KNOWN, OTHER, SOLVED, STACK, put, ratio, record

EMPTY = Repository(Path("baselines.json"))
STORED = EMPTY.updated([record(), record(SOLVED, keep="0" * 1024)], KNOWN, [ratio()], FIRST)
SCATTER = [random.Random(i).gauss(0, 3) for i in range(64)]
SCATTER = [value - sum(SCATTER) / 64 for value in SCATTER]


def test_unchanged_passes_without_a_note() -> None:
    for case in (record(), record(SOLVED, keep="0" * 1024)):
        assert judge(case, STORED) == Verdict("PASS", "all", moved=False)
    assert not judge(record(), STORED).red(ci=True, gains_pass=False)


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (record(values={"fid": 14.0}), "REGRESSION (quality): fid 10 → 14 (+4 ± "),
        (record(values={"fid": 6.0}), "IMPROVED (quality): fid 10 → 6 (-4 ± "),
        (record(values={"clip": 58.0}), "REGRESSION (quality): clip 60 → 58"),
        (record(values={"clip": 62.0}), "IMPROVED (quality): clip 60 → 62"),
        (record(values={"composition": 0.3}), "REGRESSION (quality): composition 0.5 → 0.3"),
        (record(values={"drift": 1.5}), "REGRESSION (quality): drift 1 → 1.5 (+0.5 ±"),
        (record(values={"fid_dense": 5.5}), "REGRESSION (quality): fid_dense 5 → 5.5 (+0.5 ±"),
        (record(values={"fid_dense": 4.5}), "IMPROVED (quality): fid_dense 5 → 4.5"),
        (record(values={"fid": 6.0, "drift": 1.5}), "REGRESSION (quality): drift"),
        (record(keep="f" * 64), "REGRESSION (exact): the same number of weights is pruned, but different ones"),
        (record(zeros=501), "REGRESSION (exact): unet has zeros 501, the baseline 500"),
        (record(zeros=600), "REGRESSION (exact): unet was to be pruned to 50.00%, achieved 60.00%"),
        (record(degenerate=9), "REGRESSION (degenerate): 9 pictures are degenerate, the baseline has 0"),
        (record(megabytes=52.5), "REGRESSION (memory): generation needs 52.5 MB of tensors at once, the baseline 50.0"),
        (record(megabytes=25.0), "IMPROVED (memory): generation needs 25.0 MB"),
        (
            record(stored=6000),
            "REGRESSION (memory): the parameters of unet take 6,000 bytes stored, the baseline 5,000",
        ),
        (record(stored=4000), "IMPROVED (memory): the parameters of unet take 4,000 bytes stored, the baseline 5,000"),
        (record(facts=FEW), f"NOT COMPARED (baseline): this workload is {FEW.key}, baselines.json has {FACTS.key}"),
        (record(OTHER), "NO BASELINE (baseline): baselines.json has no baseline of this case; store it with `pytest"),
    ],
)
def test_a_change_is_red_and_says_which(measured: Record, verdict: str) -> None:
    given = judge(measured, STORED)
    assert f"{given.kind} ({given.gate}): {given.reason}".startswith(verdict)
    assert given.red(ci=False, gains_pass=False)
    assert given.red(ci=False, gains_pass=True) is (given.kind != "IMPROVED")
    assert "\n" not in given.reason


def test_the_dense_bytes_count_too() -> None:
    counts = record().components["unet"]
    for size, kind in ((9000, "REGRESSION"), (7000, "IMPROVED")):
        given = judge(replace(record(), components={"unet": replace(counts, dense_bytes=size)}), STORED)
        assert (given.kind, given.gate) == (kind, "memory") and f"{size:,} bytes dense" in given.reason


@pytest.mark.parametrize(
    ("measured", "gate"),
    [
        (record(keep="f" * 64, degenerate=9, values={"fid": 14.0}, stored=6000), "exact"),
        (record(degenerate=9, values={"fid": 14.0}, stored=6000), "degenerate"),
        (record(values={"fid": 14.0}, stored=6000), "quality"),
        (record(stored=6000, megabytes=90.0), "memory"),
    ],
)
def test_the_first_gate_that_objects_decides(measured: Record, gate: str) -> None:
    assert judge(measured, STORED).gate == gate


def test_a_sparsity_that_was_not_reached_needs_no_baseline() -> None:
    """The promise is the case's own: not even `--update-baselines` of a first run may hide it."""
    assert judge(record(zeros=600), EMPTY).gate == "exact"
    assert judge(record(), EMPTY).kind == "NO BASELINE"


def test_groups_of_whole_weights_may_miss_the_request_by_their_rounding() -> None:
    counts = Counts(2000, 1000, 503, 0.503, 0.25)
    for rounding, kind in ((0.003, "NO BASELINE"), (0.001, "REGRESSION")):
        assert judge(replace(record(), components={"unet": replace(counts, rounding=rounding)}), EMPTY).kind == kind


def test_masks_of_calibrated_methods_may_move_a_little() -> None:
    for bits, kind in (("1", "PASS"), ("f" * 10, "PASS"), ("f" * 11, "REGRESSION")):
        given = judge(record(SOLVED, keep=bits + "0" * (1024 - len(bits))), STORED)
        assert given.kind == kind
    assert given.reason.endswith("the keep masks differ at 44 of 4096 sampled places")


def test_the_exact_gate_needs_no_picture() -> None:
    before, one = STORED.find(CASE, FACTS.key, STACK), record()
    assert before is not None
    assert exact(one, before) is None
    other = exact(replace(one, keep="b" * 64), before)
    assert other is not None and (other.kind, other.gate) == ("REGRESSION", "exact")
    gone = exact(replace(one, case=Case(CASE.target), components={}), before)
    assert gone is not None and gone.reason == "unet has parameters None, the baseline 2000"


def test_one_more_degenerate_picture_is_let_pass() -> None:
    assert judge(record(degenerate=1), STORED).passed
    assert judge(record(degenerate=2), STORED).kind == "REGRESSION"
    broken = put(EMPTY, record(degenerate=9))
    assert judge(record(), broken).kind == "IMPROVED"


def test_what_moved_and_is_not_sure_is_red_everywhere() -> None:
    given = judge(record(values={"clip": 59.5}, scatter=SCATTER), STORED)
    assert (given.kind, given.gate, given.moved) == ("UNDERPOWERED", "quality", True)
    assert given.reason.startswith("clip 60 → 59.5 (-0.5 ± 0.") and "tolerance ±0.02, n 64, p 0." in given.reason
    assert given.red(ci=False, gains_pass=True)


def test_few_captions_that_cannot_be_sure_are_a_verdict_too() -> None:
    """16 captions: a change of 6 standard errors is no proof at the alpha of a large file."""
    before, after = record(), record(values={"clip": 59.9785})
    changes = [0.0138 * (-1) ** i for i in range(16)]
    for one, moves in ((before, [0.0] * 16), (after, changes)):
        mean = one.quality["clip"].value
        one.paired["clip"][:] = [mean + move for move in moves]
        one.quality["clip"] = replace(one.quality["clip"], n=16)
    many = [record(replace(CASE, target=f"t{i}"), facts=facts(f"t{i}")) for i in range(400)]
    known = KNOWN | {one.workload: facts(one.case.target) for one in many}
    given = judge(after, EMPTY.updated([before, *many], known, (), FIRST))
    assert (given.kind, given.moved) == ("UNDERPOWERED", True) and "n 16" in given.reason


def test_what_may_have_moved_is_red_in_ci_alone() -> None:
    given = judge(record(scatter=SCATTER), STORED)
    assert (given.kind, given.moved) == ("UNDERPOWERED", False) and "pictures have changed" in given.reason
    assert given.red(ci=True, gains_pass=False) and not given.red(ci=False, gains_pass=False)


def test_a_metric_in_steps_is_not_shaky() -> None:
    """The mean of 0s and 1s stays as it is while as many pictures turn right as turn wrong: other metrics see those."""
    other = record()
    other.paired["composition"].reverse()
    assert judge(other, STORED).passed


def test_memory_of_another_stack_or_batch_is_said_not_judged() -> None:
    for other, words in ((record(stack=GPU, megabytes=150.0), "device H100"), (record(batch_size=8), "batch_size 8")):
        given = judge(other, STORED)
        assert given.passed and given.note.startswith("memory was not compared: no baseline of device")
        assert words in given.note
    unknown = replace(record(), cost=replace(record().cost, tensor_megabytes=None, note="kept from an earlier run"))
    assert judge(unknown, STORED).note == "memory was not compared: kept from an earlier run"


def test_quality_of_another_stack_is_judged() -> None:
    assert judge(record(stack=GPU, values={"fid": 14.0}), STORED).kind == "REGRESSION"


def test_a_default_metric_without_a_baseline_is_red() -> None:
    old = put(EMPTY, without(record(), "drift"))
    given = judge(record(), old)
    assert (given.kind, given.gate) == ("NO BASELINE", "baseline") and "has no drift of this case" in given.reason


def test_a_default_metric_that_the_run_lacks_is_red() -> None:
    given = judge(without(record(), "drift", "fid"), STORED)
    assert (given.kind, given.gate) == (
        "NOT COMPARED",
        "baseline",
    ) and "this run has no fid and no drift" in given.reason
    assert given.red(ci=False, gains_pass=True)


def test_another_metric_without_a_baseline_is_a_note() -> None:
    more = record(values={"ssim": 0.9})
    given = judge(more, STORED)
    assert given.passed and given.note.startswith("not judged: ssim has no baseline; store one with `pytest")
    given = judge(record(), put(EMPTY, more))
    assert given.passed and given.note == "not judged: ssim was not measured; add --metrics ssim"
    # With a baseline it is judged as the others are.
    assert judge(record(values={"ssim": 0.5}), put(EMPTY, more)).kind == "REGRESSION"


def without(one: Record, *names: str) -> Record:
    return replace(
        one,
        quality={name: of for name, of in one.quality.items() if name not in names},
        paired={name: of for name, of in one.paired.items() if name not in names},
    )


def test_the_more_is_stored_the_surer_a_verdict_has_to_be() -> None:
    """alpha is 0.01 / (2 × stored figures): the same change is sure among 10 figures and not among 2,000."""
    changed = record(values={"clip": 59.8}, scatter=[value / 8 for value in SCATTER])
    many = [record(replace(CASE, target=f"t{i}"), facts=facts(f"t{i}")) for i in range(400)]
    known = KNOWN | {one.workload: facts(one.case.target) for one in many}
    assert judge(changed, STORED).kind == "REGRESSION"
    assert judge(changed, STORED.updated(many, known, (), FIRST)).kind == "UNDERPOWERED"


def facts(target: str) -> WorkloadFacts:
    return replace(FACTS, target=target)


def test_latency_has_a_baseline_per_stack() -> None:
    assert judge_latency(ratio(1.0), STORED) == Verdict("PASS", "latency", moved=False)
    slower = judge_latency(ratio(1.5), STORED)
    assert (slower.kind, slower.gate) == ("REGRESSION", "latency")
    assert slower.reason.startswith("pruned / dense 1.000 → 1.500 (+0.500 ± 0.014, tolerance ±0.25, 12 rounds, p ")
    assert judge_latency(ratio(0.5), STORED).kind == "IMPROVED"
    unsure = replace(ratio(1.0), ratio=replace(ratio().ratio, se=0.2))
    assert judge_latency(unsure, STORED).kind == "UNDERPOWERED"
    elsewhere = judge_latency(ratio(1.5, GPU), STORED)
    assert elsewhere.passed and elsewhere.note.startswith("latency was not compared: no baseline of device H100")
    none = judge_latency(ratio(case=OTHER), STORED)
    assert none.kind == "NO BASELINE" and none.reason.startswith(f"baselines.json has no latency of {OTHER.id}; store")


@pytest.mark.parametrize(("value", "ci"), [(None, False), ("", False), ("0", False), ("False", False), ("1", True)])
def test_ci_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, value: str | None, ci: bool) -> None:
    monkeypatch.delenv("CI", raising=False)
    if value is not None:
        monkeypatch.setenv("CI", value)
    assert in_ci() is ci


def test_what_is_not_compared_names_the_facts_that_differ_from_the_most_similar_baseline() -> None:
    far = replace(FACTS, model="zz", captions="yy", scheduler="xx")
    two = STORED.updated([record(facts=far)], {**KNOWN, far.key: far}, (), FIRST)
    ours = replace(FACTS, latent_seed=8, guidance_scale=4.0)
    given = judge(record(facts=ours), two, workload=ours)
    assert given.kind == "NOT COMPARED"
    assert given.reason.startswith(
        "baselines.json has this case with other facts: the guidance, the start noise; store the case beside the "
    )


def test_a_case_without_pictures_is_not_compared_by_its_pictures() -> None:
    stored = put(EMPTY, record(degenerate=9))
    spared = replace(record(), quality={}, paired={}, cost=replace(record().cost, note=SPARED))
    assert judge(spared, stored).kind == "UNCHANGED"
    assert judge(replace(spared, keep="b" * 64), stored).gate == "exact"
