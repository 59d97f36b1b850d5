"""Another stack: when cases are judged by their effect, how the effect is compared, and what stays red."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.case import Case
from harness.metrics import METRICS
from harness.record import Record, Trace
from harness.verdict.effect import Rules, anchor
from harness.verdict.judge import judge
from harness.verdict.repository import Repository
from harness.verdict.statistics import UNDERPOWERED
from tests.verdict.made_up import CASE, FIRST, GPU, KNOWN, SOLVED, STACK, record

DENSE = Case("scenes")
EMPTY = Repository(Path("baselines.json"))
SKETCH = "f" * 1024
# On another stack every caption's score moves by its own amount: the same for the dense and for the pruned model.
MOVES = [random.Random(i).gauss(0, 1) for i in range(64)]
MOVES = [value - sum(MOVES) / 64 for value in MOVES]


def traced(one: Record) -> Record:
    return replace(one, trace=Trace(SKETCH, "", {}))


def dense(by: float = 0.0, **more: object) -> Record:
    scatter = [by * value for value in MOVES]
    return record(DENSE, keep="d" * 64, scatter=scatter, **more)  # type: ignore[arg-type]


def pruned(values: dict[str, float] | None = None, by: float = 1.0, case: Case = CASE, **more: object) -> Record:
    scatter = [by * value for value in MOVES]
    return traced(record(case, values, scatter=scatter, **more))  # type: ignore[arg-type]


STORED = EMPTY.updated([dense(), pruned(by=0.0), pruned(by=0.0, case=SOLVED, keep=SKETCH)], KNOWN, (), FIRST)


def test_a_fact_that_nobody_recorded_counts_as_equal() -> None:
    new = replace(STACK, cpu="AVX512")
    assert STACK.differences(new) == new.differences(STACK) == ()
    assert new.differences(replace(new, cpu="AVX2", torch="2.12.0")) == ("torch", "cpu")
    assert judge(pruned(by=0.0, stack=new), STORED, dense(stack=new)).note == ""


def test_on_the_same_stack_the_dense_model_excuses_nothing() -> None:
    given = judge(pruned(), STORED, dense(by=1.0))
    assert not given.by_effect and given.kind == UNDERPOWERED and given.red(ci=True, gains_pass=False)


def test_on_another_stack_a_case_that_moves_as_the_dense_model_does_passes() -> None:
    given = judge(pruned(stack=GPU), STORED, dense(by=1.0, stack=GPU))
    assert (given.kind, given.by_effect) == ("PASS", True)
    assert given.note.startswith(
        "judged by the effect of pruning: the stack differs (device cpu → H100), and the dense"
    )


def test_another_stack_on_which_the_dense_model_stays_is_compared_as_the_same_stack() -> None:
    given = judge(pruned({"fid": 14.0}, by=0.0, stack=GPU), STORED, dense(stack=GPU))
    assert not given.by_effect and given.kind == "REGRESSION" and given.gate == "quality"


def test_whoever_expects_the_same_stack_gets_the_tight_comparison() -> None:
    rules = Rules(expect_same_stack=True)
    given = judge(pruned(stack=GPU), STORED, dense(by=1.0, stack=GPU), rules)
    assert not given.by_effect and given.kind == UNDERPOWERED


def test_an_effect_that_has_moved_is_red_and_the_line_says_by_how_much() -> None:
    given = judge(pruned({"clip": 50.0}, stack=GPU), STORED, dense(by=1.0, stack=GPU))
    assert (given.kind, given.gate, given.by_effect) == ("REGRESSION", "effect", True)
    assert given.reason.startswith("the effect of pruning on clip, +0, has moved by -10 ± ")


def test_without_enough_captions_the_line_names_their_number_and_warns_only() -> None:
    noisy = pruned(stack=GPU, by=-6.0)
    given = judge(noisy, STORED, dense(by=1.0, stack=GPU))
    assert given.kind == UNDERPOWERED and "captions would decide" in given.reason
    assert not given.red(ci=True, gains_pass=False) and given.red(ci=False, gains_pass=False, require_power=True)


def test_a_tolerance_of_effect_can_be_given() -> None:
    moved, of_dense = pruned({"clip": 50.0}, stack=GPU), dense(by=1.0, stack=GPU)
    assert judge(moved, STORED, of_dense, Rules(effect_tolerances={"clip": 20.0})).passed


def test_the_dense_model_is_judged_by_its_own_change() -> None:
    assert judge(dense(by=1.0, stack=GPU), STORED, dense(by=1.0, stack=GPU)).kind in ("PASS", UNDERPOWERED)
    broken = dense(by=1.0, stack=GPU, values={"clip": 40.0})
    assert judge(broken, STORED, broken).kind == "REGRESSION"


def test_counts_are_exact_on_every_stack() -> None:
    given = judge(pruned(stack=GPU, zeros=501), STORED, dense(by=1.0, stack=GPU))
    assert (given.kind, given.gate) == ("REGRESSION", "exact")


@pytest.mark.parametrize(("bits", "kind"), [("7", "PASS"), ("0" * 100, "REGRESSION")])
def test_in_another_dtype_masks_may_move_a_little_and_bytes_are_not_compared(bits: str, kind: str) -> None:
    half = replace(GPU, dtype="bfloat16")
    moved = replace(pruned(stack=half, keep="b" * 64, stored=2500), trace=Trace(bits + SKETCH[len(bits) :], "", {}))
    given = judge(moved, STORED, dense(by=1.0, stack=half))
    assert given.kind == kind
    if given.passed:
        assert "memory was not compared: the dtype is bfloat16, the baseline's float32" in given.note
    same = judge(replace(moved, conditions=pruned(stack=GPU).conditions), STORED, dense(by=1.0, stack=GPU))
    assert (same.kind, same.gate) == ("REGRESSION", "exact")


def test_methods_that_solve_for_weights_are_judged_by_effect_on_every_other_stack() -> None:
    other = replace(STACK, cpu="AVX2")
    known = EMPTY.updated(
        [
            dense(stack=replace(STACK, cpu="AVX512")),
            *(
                pruned(by=0.0, case=case, keep=keep, stack=replace(STACK, cpu="AVX512"))
                for case, keep in ((CASE, "a" * 64), (SOLVED, SKETCH))
            ),
        ],
        KNOWN,
        (),
        FIRST,
    )
    assert judge(pruned(by=0.0, case=SOLVED, keep=SKETCH, stack=other), known, dense(stack=other)).by_effect
    assert not judge(pruned(by=0.0, stack=other), known, dense(stack=other)).by_effect


@pytest.mark.parametrize(("threads", "given"), [(2, ("REGRESSION", False)), (4, ("PASS", True))])
def test_a_solved_case_that_moved_with_the_number_of_threads_is_judged_by_effect(
    threads: int, given: tuple[str, bool]
) -> None:
    """The baseline has 2 threads. With as many, the same move is red."""

    def run(one: Record) -> Record:
        return replace(one, conditions=replace(one.conditions, threads=threads))

    moved = run(pruned({"clip": 59.5}, by=0.0, case=SOLVED, keep=SKETCH))
    verdict = judge(moved, STORED, run(dense()))
    assert (verdict.kind, verdict.by_effect) == given
    kept = judge(run(pruned({"clip": 59.5}, by=0.0)), STORED, run(dense()))
    assert (kept.kind, kept.by_effect) == ("REGRESSION", False)
    assert not judge(run(pruned(by=0.0, case=SOLVED, keep=SKETCH)), STORED, run(dense())).by_effect


def test_effects_pair_by_caption() -> None:
    """What both models share cancels: the standard error of the effect is that of the rest."""
    from harness.verdict.effect import effect

    before = STORED.find(CASE, pruned().workload, GPU)
    of_dense = STORED.find(DENSE, pruned().workload, GPU)
    assert before is not None and of_dense is not None
    both = anchor(dense(by=1.0, stack=GPU), of_dense, Rules())
    assert both is not None and both.moved == pytest.approx((sum(m**2 for m in MOVES) / 64) ** 0.5)
    then, change = effect(METRICS["clip"], before, pruned(stack=GPU), both)
    assert (then, change.value, change.se) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    twice = effect(METRICS["clip"], before, pruned(by=2.0, stack=GPU), both)[1]
    assert twice.se == pytest.approx(both.moved / 63**0.5, rel=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "kind"), [(56.0, 51.0, "PASS"), (41.0, 60.0, "PASS"), (39.0, 38.0, "REGRESSION")]
)
def test_nearly_equal_pictures_differ_by_rounding_alone_on_another_stack(old: float, new: float, kind: str) -> None:
    """A PSNR above its ceiling says how a stack rounds pictures. Below it, the same change is red."""
    before = pruned({"psnr": old}, by=0.0)
    stored = EMPTY.updated([dense(), before], KNOWN, (), FIRST)
    now = pruned({"psnr": new}, by=1.0, stack=GPU)
    assert judge(now, stored, dense(by=1.0, stack=GPU)).kind == kind
    same = judge(pruned({"psnr": new}, by=0.0), stored, dense())
    assert same.kind == ("IMPROVED" if new > old else "REGRESSION")


def test_survivors_of_methods_without_data_are_equal_bit_for_bit() -> None:
    from harness.verdict.exact import exact

    before, after = (replace(record(), trace=Trace(SKETCH, weights * 64, {})) for weights in "ab")
    given = exact(after, before)
    assert given is not None and given.reason == "the keep masks are equal, but surviving weights have changed"
    solved = replace(after, case=SOLVED), replace(before, case=SOLVED)
    assert exact(*solved) is None and exact(before, before) is None
    half = replace(after.conditions, stack=replace(STACK, dtype="float16"))
    assert exact(replace(after, conditions=half), before) is None


def test_zeros_that_data_divides_may_take_other_bytes_on_another_stack() -> None:
    owl = Case("scenes", "unet", "owl_wanda", "all", (0.5,))
    here, there = replace(STACK, cpu="AVX512"), replace(STACK, cpu="AVX2")
    before = traced(record(owl, keep=SKETCH, stack=here))
    counts = before.components["unet"]
    large = replace(counts, targeted=10**6, parameters=2 * 10**6, zeros=500_000, sparsity_component=0.25)
    before = replace(before, components={"unet": large})
    moved = replace(large, zeros=500_040, stored_bytes=large.stored_bytes - 160)
    after = replace(before, components={"unet": moved}, conditions=replace(before.conditions, stack=there))
    stored = EMPTY.updated([dense(stack=here), before], KNOWN, (), FIRST)
    assert judge(after, stored, dense(stack=there)).passed
    fewer = replace(after, components={"unet": replace(large, stored_bytes=moved.stored_bytes)})
    assert judge(fewer, stored, dense(stack=there)).gate == "memory"
