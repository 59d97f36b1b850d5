"""FID: the Fréchet distance between features of the pictures and features of reference pictures."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.metrics.metric import Metric, Sample, Values
from harness.metrics.values import by_resample


def measure(sample: Sample) -> Values:
    """Return the Fréchet distance to the reference, and of every resample: see `frechet.resampled`."""
    from harness.metrics import frechet

    if sample.reference is None:
        raise HarnessError("fid needs reference pictures; give --reference DIR, or leave fid out")
    value, distances = frechet.resampled(sample.own.features, sample.reference.frechet, sample.groups)
    return by_resample(value, distances, sample.count)


METRIC = Metric(
    name="fid",
    label="FID",
    summary="Fréchet distance between features of the pictures and of the reference pictures",
    measure=measure,
    direction="lower",
    decimals=2,
    pairing="resample",
    takes=frozenset({"features", "reference"}),
    tolerance=0.02,
    noise=0.0,
    solved_tolerance=0.25,
    solved_noise=0.025,
    effect_tolerance=0.79,
    effect_share=0.74,
    headline=True,
    margin=2.0,
    short="distance to the reference pictures",
)
