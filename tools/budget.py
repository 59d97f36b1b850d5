"""How far figures of the dense model of `scenes` move when its start noise is drawn again: a scale for budgets.

    python tools/budget.py --out DIR [--draws 12] [--captions 256]

Makes the dense model's pictures with every start noise. DIR keeps the figures, so an interrupted run goes on. Prints
Markdown: each metric's standard deviation between start noises, with 64 captions and with all, beside its margin. See
docs/measurements/budget.md.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from harness import files
from harness.cli.errors import guarded
from harness.cli.parsers import count, of_tool, path
from harness.metrics import METRICS
from harness.verdict.effect import is_effect

FEW = 64
"""The captions of the default tier."""
# Name of a metric → one figure per part of the captions: parts of `FEW`, then all.
Figures = Mapping[str, Sequence[float]]


def measured(seed: int, captions: int) -> Figures:
    """Return the figures of the dense model with one start noise."""
    from harness.execution.bench import Workbench
    from harness.execution.executor import Setup
    from harness.execution.pictures import make
    from harness.metrics.evidence import Composition, Evidence
    from harness.metrics.metric import Sample
    from harness.workloads.scenes import scenes

    plain = scenes(captions)
    workload = replace(plain, protocol=replace(plain.protocol, latent_seed=seed))
    bench = Workbench(Setup(workload, "cpu"))
    whole = bench.look(make(bench, bench.target, {}, 32, lambda _: None, None))
    assert whole.composition is not None

    def part(start: int, stop: int) -> Evidence:
        seen = whole.composition
        assert seen is not None
        taken = [values[start:stop] for values in (whole.features, whole.embeddings, whole.scores, whole.degenerate)]
        return Evidence(*taken, composition=Composition(seen.right[start:stop], seen.wanted[start:stop]))

    figures: dict[str, list[float]] = {}
    for start, stop in [*((at, at + FEW) for at in range(0, captions - FEW + 1, FEW)), (0, captions)]:
        own = part(start, stop)
        sample = Sample(own, own, bench.reference, bench.texts[start:stop], None, "cpu")
        for metric in bench.metrics:
            if not is_effect(metric):
                figures.setdefault(metric.name, []).append(metric.compute(sample).figure.value)
    return figures


def table(draws: Sequence[Figures], captions: int) -> Iterator[str]:
    """Yield the table, line by line.

    Args:
        draws: The figures of every start noise: two or more.
        captions: All captions of a draw.
    """
    yield f"{len(draws)} start noises, {captions} captions\n"
    yield f"| metric | σ, {FEW} captions | σ, {captions} captions | margin | margin / σ of {FEW} |"
    yield "|---" * 5 + "|"
    for name in draws[0]:
        *parts, whole = (statistics.stdev(draw[name][i] for draw in draws) for i in range(len(draws[0][name])))
        few = math.sqrt(statistics.fmean(sigma**2 for sigma in parts))
        margin = METRICS[name].margin
        told = ("", "") if margin is None else (f"{margin:g}", f"{margin / few:.1f}")
        yield f"| {METRICS[name].label} | {few:.3g} | {whole:.3g} | {told[0]} | {told[1]} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = of_tool(__file__, __doc__)
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the folder of finished figures")
    parser.add_argument("--draws", type=count, default=12, metavar="N", help="start noises (default: 12)")
    parser.add_argument("--captions", type=count, default=256, metavar="N", help="default: 256; at least 128")

    def work() -> int:
        given = parser.parse_args(arguments)
        draws = [_kept(given.out, seed, given.captions) for seed in range(1, given.draws + 1)]
        for line in table(draws, given.captions):
            print(line)
        return 0

    return guarded(work)


def _kept(folder: Path, seed: int, captions: int) -> Figures:
    place = folder / f"{seed}-{captions}.json"
    if not place.is_file():
        files.write(place, msgspec.json.encode(measured(seed, captions)))
    return msgspec.json.decode(files.read(place), type=dict[str, list[float]])


if __name__ == "__main__":
    sys.exit(main())
