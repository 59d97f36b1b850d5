"""Drop-off detection on the reference study's published figures, and on curves made up to know the answer."""

from __future__ import annotations

import random

import pytest

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.verdict.dropoff import STUDIED, Point, curve, dropoff, knee, margins
from tests.verdict.test_claims import CURVE, record
from tests.verdict.test_claims import DENSE as DENSE_CASE

# arXiv 2411.15113, its result tables: (level, cosine, FID) beside a dense model of 0.3140 and 18.07. The study gives no
# standard errors; 0.05 of CLIP score and 1.0 of FID are assumed.
DENSE = (0.3140, 18.07)
TEXT_MAGNITUDE = [
    (0.3, 0.3166, 17.15), (0.4, 0.3144, 17.63), (0.5, 0.3103, 18.06), (0.55, 0.3042, 19.04), (0.575, 0.2929, 20.26),
    (0.6, 0.2677, 27.21), (0.625, 0.2223, 61.66), (0.65, 0.1858, 134.24), (0.7, 0.1716, 199.68),
]  # fmt: skip
TEXT_OWL_MAGNITUDE = [
    (0.3, 0.3166, 17.28), (0.4, 0.3144, 18.1), (0.5, 0.3101, 17.93), (0.55, 0.3043, 18.93), (0.575, 0.2978, 19.18),
    (0.6, 0.2822, 21.77), (0.625, 0.2485, 41.32), (0.65, 0.2043, 119.39), (0.7, 0.1795, 258.24),
]  # fmt: skip
TEXT_WANDA = [
    (0.3, 0.3158, 16.42), (0.4, 0.3149, 16.6), (0.5, 0.3088, 17.75), (0.525, 0.3034, 19.19), (0.55, 0.2922, 20.59),
    (0.575, 0.2653, 26.71), (0.6, 0.2156, 79.54), (0.65, 0.1763, 174.84), (0.7, 0.1783, 263.23),
]  # fmt: skip
TEXT_OWL_WANDA = [
    (0.3, 0.3158, 16.33), (0.4, 0.3141, 16.96), (0.5, 0.3088, 18.07), (0.55, 0.2973, 19.66), (0.575, 0.2776, 23.12),
    (0.6, 0.2343, 52.68), (0.625, 0.193, 126.23), (0.65, 0.1822, 196.16), (0.7, 0.1807, 274.74),
]  # fmt: skip
UNET_MAGNITUDE = [
    (0.1, 0.3164, 16.22), (0.2, 0.3173, 16.42), (0.3, 0.3166, 16.15), (0.35, 0.3144, 18.81), (0.375, 0.3133, 22.2),
    (0.4, 0.3113, 25.38), (0.425, 0.3081, 30.31), (0.45, 0.3024, 38.82), (0.475, 0.2941, 54.08), (0.5, 0.2832, 72.3),
    (0.525, 0.2663, 94.73), (0.55, 0.2477, 121.86), (0.575, 0.2206, 183.95),
]  # fmt: skip


def published(rows: list[tuple[float, float, float]]) -> list[Point]:
    return [
        Point(level, {"clip": (100 * (DENSE[0] - cosine), 0.05), "fid": (fid - DENSE[1], 1.0)})
        for level, cosine, fid in rows
    ]


@pytest.mark.parametrize(
    ("rows", "last", "steep"),
    [
        (TEXT_MAGNITUDE, 0.50, 0.575),
        (TEXT_OWL_MAGNITUDE, 0.50, 0.60),
        (TEXT_WANDA, 0.40, 0.55),
        (TEXT_OWL_WANDA, 0.40, 0.575),
        (UNET_MAGNITUDE, 0.35, 0.50),
    ],
)
def test_the_published_table(rows: list[tuple[float, float, float]], last: float, steep: float) -> None:
    drop = dropoff(published(rows))
    assert drop.last == last and drop.low <= last <= drop.high
    assert drop.knee == steep


def test_a_level_holds_only_with_all_below_it() -> None:
    losses = [(0.1, 0.0), (0.2, 0.9), (0.3, 0.1), (0.4, 5.0)]
    points = [Point(level, {"clip": (loss, 0.0), "fid": (0.0, 0.0)}) for level, loss in losses]
    assert dropoff(points).last == dropoff(points).low == dropoff(points).high == 0.1
    bad = [Point(p.level, {"clip": (9.0, 0.0), "fid": (0.0, 0.0)}) for p in points]
    assert dropoff(bad).last == 0.0


def test_the_interval_grows_with_the_standard_error() -> None:
    losses = [(i / 10, 2 * margins()["clip"] * (i / 10)) for i in range(1, 10)]
    widths = []
    for se in (0.01, 0.1, 0.4):
        drop = dropoff([Point(level, {"clip": (loss, se), "fid": (0.0, 0.0)}) for level, loss in losses])
        assert drop.low <= drop.last <= drop.high
        widths.append(drop.high - drop.low)
    assert widths == sorted(widths) and widths[0] < widths[-1]


def test_resamples_of_the_captions_move_all_levels_together() -> None:
    """A loss that is shared by all levels, and never crosses the margin between two, leaves no doubt between them."""
    losses = [(0.1, 0.0), (0.2, 0.1), (0.3, 5.0), (0.4, 6.0)]
    shared = [random.Random(i).gauss(0, 0.1) for i in range(100)]
    points = [
        Point(level, {"clip": (loss, 0.1), "fid": (0.0, 0.0)}, {"clip": [loss + s for s in shared], "fid": [0.0] * 100})
        for level, loss in losses
    ]
    drop = dropoff(points)
    assert (drop.last, drop.low, drop.high) == (0.2, 0.2, 0.2)


def test_an_interval_covers_the_truth_on_a_fine_grid() -> None:
    """The true curve crosses the margin at 0.5; captions are drawn again each time, 64 of them shared by all levels."""
    levels = [i / 40 for i in range(8, 33)]
    covered = 0
    for trial in range(60):
        rng = random.Random(trial)
        parts = [rng.gauss(0, 1.0) for _ in range(64)]
        base = sum(parts) / 64
        resampled = [sum(rng.choices(parts, k=64)) / 64 for _ in range(100)]
        points = [
            Point(
                x,
                {"clip": (4 * (x - 0.375) + x * base, 0.0), "fid": (0.0, 0.0)},
                {"clip": [4 * (x - 0.375) + x * r for r in resampled], "fid": [0.0] * 100},
            )
            for x in levels
        ]
        drop = dropoff(points)
        covered += drop.low <= 0.5 <= drop.high
    assert covered >= 51


def test_knee_of_a_bent_line() -> None:
    assert knee([(0.1, -0.1), (0.2, -0.2), (0.3, -0.3)]) == 0.3
    assert knee([(0.0, 0.0), (0.2, 0.1), (0.3, 2.0)]) == 0.2
    assert knee([(0.1, 0.0), (0.2, 0.0), (0.3, 0.1), (0.4, 3.0), (0.5, 6.0)]) == 0.3


def test_too_few_levels() -> None:
    with pytest.raises(HarnessError, match="three levels"):
        dropoff([Point(0.1, {"clip": (0.0, 0.0), "fid": (0.0, 0.0)})])


def test_margins_are_those_of_the_metrics() -> None:
    assert margins() == {"fid": 2.0, "clip": 0.5, "composition": 0.05}
    assert margins(["clip", "drift", "fid"]) == {"fid": 2.0, "clip": 0.5} == margins(STUDIED)
    assert margins(["clip"]) == {"clip": 0.5} and margins([]) == {}
    assert all(METRICS[name].margin == margin for name, margin in margins().items())


def test_records_become_points() -> None:
    points = curve(record(DENSE_CASE, 0.0), [record(case, 10 * i) for i, case in enumerate(CURVE)])
    assert [point.level for point in points] == [0.2, 0.4, 0.6, 0.8]
    for i, point in enumerate(points):
        assert list(point.losses["clip"]) == pytest.approx([10 * i, 0], abs=1e-9)
        assert list(point.losses["fid"]) == [0, 0] and set(point.redrawn) == {"fid", "clip"}
        assert list(point.redrawn["clip"]) == pytest.approx([10 * i] * 100, abs=1e-4)
        assert list(point.redrawn["fid"]) == pytest.approx([0] * 100, abs=1e-6)


def test_a_run_without_a_metric_of_the_margin_is_refused() -> None:
    bare = record(CURVE[0], 0.0)
    del bare.quality["fid"]
    with pytest.raises(HarnessError, match="fid has"):
        curve(record(DENSE_CASE, 0.0), [bare])
