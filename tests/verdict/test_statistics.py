"""The decision rule against tables, simulation, arithmetic, and the integration that it replaces."""

from __future__ import annotations

import math
import random

import pytest

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.verdict.statistics import decide, difference, different_bits, p_value, shaky, tail
from tests.verdict.made_up import record


# Upper tail points of Student's t, from the printed tables.
@pytest.mark.parametrize(
    ("t", "degrees", "p"),
    [
        (12.706, 1, 0.025),
        (2.228, 10, 0.025),
        (3.169, 10, 0.005),
        (1.671, 60, 0.05),
        (3.460, 60, 0.0005),
        (0.0, 7, 0.5),
        (-2.228, 10, 0.975),
    ],
)
def test_tail_is_that_of_the_tables(t: float, degrees: int, p: float) -> None:
    assert tail(t, degrees) == pytest.approx(p, rel=2e-3)


def test_tail_far_out_keeps_its_digits() -> None:
    # With two degrees of freedom the tail is known: (1 - t / √(2 + t²)) / 2.
    for t in (5.0, 50.0):
        assert tail(t, 2) == pytest.approx((1 - t / (2 + t * t) ** 0.5) / 2, rel=1e-6)


def integrated(t: float, degrees: int) -> float:
    """Return the tail by Simpson's rule: with t = √ν tan θ the density is proportional to cos^(ν-1) θ."""

    def simpson(low: float, high: float, steps: int = 2000) -> float:
        width = (high - low) / steps
        heights = [max(0.0, math.cos(low + i * width)) ** (degrees - 1) for i in range(steps + 1)]
        return width / 3 * (heights[0] + 4 * math.fsum(heights[1::2]) + 2 * math.fsum(heights[2:-1:2]) + heights[-1])

    angle = math.atan(t / math.sqrt(degrees))
    below, above = simpson(0.0, angle), simpson(angle, math.pi / 2)
    return 0.5 * above / (below + above)


@pytest.mark.parametrize("degrees", [1, 2, 5, 11, 15, 19, 63, 95, 99])
def test_tail_is_the_integral_of_the_density(degrees: int) -> None:
    for t in (0.0, 0.1, 0.5, 1.0, 1.96, 2.5, 4.0, 5.5, 8.0, 20.0):
        assert tail(t, degrees) == pytest.approx(integrated(t, degrees), abs=1e-9)
        assert tail(-t, degrees) == pytest.approx(1 - tail(t, degrees), abs=1e-12)


@pytest.mark.parametrize(
    ("worse_by", "se", "noise", "verdict"),
    [
        (2.0, 0.1, 0.0, "REGRESSION"),
        (-2.0, 0.1, 0.0, "IMPROVED"),
        (0.9, 0.1, 0.0, "PASS"),
        (2.0, 0.8, 0.0, "UNDERPOWERED"),  # large, but may be chance
        (0.0, 0.3, 0.0, "UNDERPOWERED"),  # a change of 1 would go unseen
        (2.0, 0.0, 0.0, "REGRESSION"),
        (2.0, 0.1, 1.0, "UNDERPOWERED"),
    ],
)
def test_verdicts(worse_by: float, se: float, noise: float, verdict: str) -> None:
    assert decide(worse_by, se, noise, tolerance=1.0, alpha=0.001, n=64) == verdict


def test_nothing_beyond_its_tolerance_passes() -> None:
    """Of few captions the tail of t is heavier than the normal one that the power goes by: 5.8 errors are not sure."""
    assert decide(1.05, 1.05 / 5.8, 0.0, 1.0, 0.01 / 3560, 16) == "UNDERPOWERED"
    assert decide(0.95, 1.05 / 5.8, 0.0, 1.0, 0.01 / 3560, 16) == "PASS"
    rng = random.Random(0)
    for _ in range(300):
        change, se, n = rng.uniform(-3, 3), rng.uniform(0, 0.5), rng.randint(2, 20)
        assert (decide(change, se, 0.0, 1.0, 1e-5, n) == "PASS") <= (abs(change) <= 1)


def test_a_smaller_alpha_is_harder_to_convince() -> None:
    verdicts = [decide(0.5, 0.1, 0.0, 0.4, alpha, 64) for alpha in (0.01 / 2, 0.01 / 3560, 1e-12)]
    assert verdicts == ["REGRESSION", "REGRESSION", "UNDERPOWERED"]


def test_false_alarms_are_as_rare_as_alpha_says() -> None:
    rng = random.Random(1)
    alarms = 0
    for _ in range(400):
        changes = [rng.gauss(1.0, 2.0) for _ in range(20)]  # the change is the tolerance itself
        average = sum(changes) / 20
        se = (sum((c - average) ** 2 for c in changes) / 19 / 20) ** 0.5
        alarms += decide(average, se, 0.0, 1.0, 0.05, 20) == "REGRESSION"
    # A change of just the tolerance measures below it half the time.
    assert 100 < alarms < 210
    calm = 0
    for _ in range(400):
        changes = [rng.gauss(0.0, 2.0) for _ in range(20)]
        average = sum(changes) / 20
        se = (sum((c - average) ** 2 for c in changes) / 19 / 20) ** 0.5
        calm += decide(average, se, 0.0, 0.0, 0.05, 20) == "REGRESSION"
    assert 8 < calm < 34


def test_pairing_sees_what_means_hide() -> None:
    change = difference(METRICS["clip"], record(values={"clip": 60.0}), record(values={"clip": 59.5}))
    assert change.value == pytest.approx(-0.5) and change.se == pytest.approx(0, abs=1e-9) and change.n == 64
    assert difference(METRICS["fid"], record(), record()).se == 0


def test_resamples_spread_like_the_metric_and_captions_like_its_parts() -> None:
    before, after = record(), record()
    for name, shrink in (("fid", 1), ("clip", 8)):
        after.paired[name][:] = [value + (1 if i % 2 else -1) for i, value in enumerate(before.paired[name])]
        spread = math.sqrt(64 / 63)
        assert difference(METRICS[name], before, after).se == pytest.approx(spread / shrink)


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 63])
def test_runs_without_paired_values_are_refused(values: list[float]) -> None:
    old = record()
    old.paired["clip"][:] = values
    with pytest.raises(HarnessError, match=rf"clip has {len(values)} paired values .* Measure both runs"):
        difference(METRICS["clip"], old, record())


def test_means_that_hide_movement_are_shaky() -> None:
    assert not shaky(0.0, 2e-4, 0.02) and not shaky(0.007, 0.0, 0.02)
    assert shaky(0.009, 0.0, 0.02) and shaky(0.0, 0.009, 0.02)
    assert p_value(0.5, 0.0, 0.0, 64) == 0 and p_value(0.0, 1.0, 0.0, 64) == pytest.approx(0.5)


def test_different_bits() -> None:
    assert (
        different_bits("ff", "0f") == (4, 8)
        and different_bits("ff", "f") == (8, 8)
        and different_bits("", "") == (0, 0)
    )
