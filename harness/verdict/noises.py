"""What several runs of unchanged code say about the noise of a case."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from harness.case import Case
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.record import Record
from harness.verdict.baseline import Entry, Noise
from harness.verdict.statistics import different_bits
from harness.verdict.update import noisy


def between(metric: Metric, records: Sequence[Record]) -> Noise:
    """Return the noise of a metric between runs of one case.

    Args:
        metric: The metric. Every record has it.
        records: The records of two runs or more.

    Returns:
        The standard deviation of the figure between the runs, rounded to six decimals; and the root mean square over
        captions of the standard deviation of one caption's value. For two runs the latter is the root mean square of
        the change, divided by √2. It is 0 where the metric pairs by resample, or runs have different captions.
    """
    sigma = round(statistics.stdev(record.quality[metric.name].value for record in records), 6)
    values = [record.paired[metric.name] for record in records]
    if metric.pairing == "resample" or len({len(of_run) for of_run in values}) > 1:
        return Noise(sigma)
    variances = [statistics.variance(of_caption) for of_caption in zip(*values, strict=True)]
    return Noise(sigma, round(math.sqrt(statistics.fmean(variances)), 6))


def covered(records: Sequence[Record]) -> str:
    """Return the settings that the runs covered, such as "threads 1, 2, 4; batches of 16, 32; one machine"."""
    threads, batches = (
        ", ".join(map(str, sorted(set(values))))
        for values in zip(*((r.conditions.threads, r.conditions.batch_size) for r in records), strict=True)
    )
    return f"threads {threads}; batches of {batches}; one machine"


def line(case: Case, entry: Entry, noise: Mapping[str, Noise], records: Sequence[Record]) -> str:
    """Return the line of a case: the noise of every metric, old → new tolerances, and bits of masks that differ."""
    parts = []
    for name, one in noise.items():
        old, new = entry.quality[name], noisy(entry.quality[name], METRICS[name], one, case)
        moved = f" (tolerance {old.tolerance:.4g} → {new.tolerance:.4g})" if new.tolerance != old.tolerance else ""
        parts.append(f"{name} {one.sigma:.2g}{moved}")
    masks = max(different_bits(record.keep, records[0].keep)[0] for record in records)
    return f"{case.id:<46} {'  '.join(parts)}  masks {masks} bits"
