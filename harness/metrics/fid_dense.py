"""FID to dense: the Fréchet distance between features of the pictures and features of the dense model's pictures."""

from __future__ import annotations

from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_resample


def measure(sample: Sample) -> Values:
    """Return the Fréchet distance to the dense model's pictures, and of every resample: see `frechet.between`."""
    from harness.metrics import frechet

    value, distances = frechet.between(sample.own.features, sample.dense.features, sample.groups)
    return by_resample(value, distances, sample.count)


METRIC = Metric(
    name="fid_dense",
    label="FID to dense",
    summary="Fréchet distance between features of the pictures and of the dense model's pictures",
    measure=measure,
    direction="lower",
    decimals=2,
    pairing="resample",
    takes=frozenset({"features", "dense"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.012,
    effect_tolerance=0.64,
    effect_share=0.3,
    brief=True,
    short="distance to the dense model's pictures",
)
