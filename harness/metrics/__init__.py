"""The metrics. To add one, write one file here and one name in `_BUILT_IN`; from outside, call `register`."""

from __future__ import annotations

from collections.abc import Iterable

from harness.metrics import clip, cmmd, composition, dinov2, drift, fid, fid_dense, kid, lpips, ms_ssim, psnr, ssim
from harness.metrics.further import of_further
from harness.metrics.metric import Metric

METRICS: dict[str, Metric] = {}
"""name → metric, in the order of reports."""


def register(metric: Metric) -> None:
    """Add a metric to `METRICS`. Call it from your conftest.py or your own module.

    Raises:
        ValueError: Another metric has the name.
    """
    if METRICS.get(metric.name, metric) != metric:
        raise ValueError(f"metric {metric.name} exists already; choose another name")
    METRICS[metric.name] = metric


def learn(names: Iterable[str]) -> None:
    """Register the metrics of further scorers. Their names say all about them; other names stay unknown."""
    for metric in of_further(names):
        METRICS.setdefault(metric.name, metric)


# These modules import no torch, because cases are collected without it.
_BUILT_IN = (fid, fid_dense, kid, cmmd, clip, composition, drift, dinov2, ssim, ms_ssim, psnr, lpips)
for _module in _BUILT_IN:
    register(_module.METRIC)
