"""The rule that turns the ladder of noise into constants: tolerances and noise of metrics, masks and stages.

    python tools/rule.py FIRST.json NAME=KIND=OTHER.json …

Noise, tolerances and spreads come from rungs within one stack: other processes, threads and batches. Other kernels,
versions of torch, dtypes and start noises decide only how far the effect of pruning and the masks may move.
docs/measurements/noise.md states the rule in words.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence

from ladder import ELSEWHERE, WITHIN, Pair, command, common, own_effect, root

from harness.metrics.metric import Metric
from harness.verdict.effect import is_effect
from harness.verdict.stages import NOISE

SIGMAS = 3.0
"""A tolerance is so many standard deviations of the noise; the metric's floor if that is more."""
FACTOR = 2.0
"""The tolerance of masks is so many times the largest share of places that differ."""
MASKS = 0.01
"""The smallest tolerance of masks. Strong defects change far more places: see docs/measurements/travel.md."""
CAPTIONS = 64
"""The smallest step of a metric that counts pictures is one of so many."""
WRITTEN = 1e-6
"""Noise is kept with six decimals, and numbers of stages with six digits, so nothing below this can be seen."""
SOLVED_FLOOR = {"se": 0.25, "picture": 2.0}
"""The smallest tolerance of solved methods. Solving amplifies the rounding of sums, by more the nearer a matrix is to
singular, and a handful of rungs on one machine does not show the worst."""
PAIRED = 1e-4
"""Values per caption are kept with four decimals, so no smaller spread can be seen."""
SYSTEMATIC = tuple(kind for kind in ELSEWHERE if kind != "start noise")
"""Rungs that change arithmetic alone."""


def up(value: float, digits: int = 2) -> float:
    """Return a number rounded up to so many significant digits; 0 stays 0."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.ceil(round(value / unit, 6)) * unit:.{digits}g}")


def floor(metric: Metric) -> float:
    """Return a metric's smallest tolerance: two units of the last decimal that reports show, or one picture."""
    return up(1 / CAPTIONS) if metric.steps else 2 * 10.0**-metric.decimals


def worst(made: Sequence[Pair], value: Callable[[Pair], list[float]]) -> float:
    """Return the largest root mean square of a rung."""
    rungs = dict.fromkeys(pair.rung for pair in made)
    return max((root(v for p in made if p.rung == rung for v in value(p)) for rung in rungs), default=0.0)


def constants(metric: Metric, made: Sequence[Pair]) -> dict[str, float]:
    """Return the constants of a metric: name of the field of `Metric` → value.

    Two runs differ by √2 times the standard deviation of one.
    """
    within = [pair for pair in made if pair.kind in WITHIN]
    plain = [pair for pair in within if pair.family != "solved"]
    noise = worst(plain, lambda p: [p.shift(metric)]) / math.sqrt(2)
    noise = up(noise) if noise >= WRITTEN else 0.0

    def in_units(pair: Pair) -> list[float]:
        figure = pair.before.quality[metric.name]
        return [pair.shift(metric) * figure.n if metric.solved_unit == "picture" else pair.shift(metric) / figure.se]

    solved = up(worst([pair for pair in within if pair.family == "solved"], in_units) / math.sqrt(2))
    told = {"noise": noise, "tolerance": max(floor(metric), up(SIGMAS * noise))}
    told |= {"solved_noise": solved, "solved_tolerance": max(SOLVED_FLOOR[metric.solved_unit], up(SIGMAS * solved))}
    if metric.pairing == "caption" and not metric.steps:
        told["spread"] = max(PAIRED, up(worst(plain, lambda p: p.changes(metric)) / math.sqrt(2)))
    fixed, share = of_effect(metric, made, told["tolerance"])
    return told | {"effect_tolerance": fixed, "effect_share": share}


def of_effect(metric: Metric, made: Sequence[Pair], least: float) -> tuple[float, float]:
    """Return the fixed part of the tolerance of effect, and the share of the effect.

    The fixed part covers the weaker half of the effects: three root mean squares of the changes that other arithmetic
    makes, or one of those that other start noise makes: the largest of all rungs. The share covers the stronger half:
    the same, divided by the root mean square of those effects. A metric that compares with the dense model, and where
    more is better, has no share: there a large value is a small effect.

    Args:
        metric: The metric.
        made: All pairs.
        least: The smallest fixed part.
    """
    pairs = [(p, *p.effect(metric)) for p in made if p.kind in ELSEWHERE and own_effect(metric, p)]
    if not pairs:
        return least, 0.0
    whole = is_effect(metric) and not metric.lower_is_better
    middle = math.inf if whole else statistics.median(abs(then) for _, then, _ in pairs)

    def covered(strong: bool) -> float:
        parts = [0.0]
        for rung in dict.fromkeys(p.rung for p, _, _ in pairs):
            few = [(p.kind, then, change.value) for p, then, change in pairs if p.rung == rung]
            few = [one for one in few if (abs(one[1]) > middle) == strong]
            if few:
                size = root(then for _, then, _ in few) if strong else 1.0
                times = SIGMAS if few[0][0] in SYSTEMATIC else 1.0
                parts.append(times * root(moved for _, _, moved in few) / size)
        return up(max(parts))

    return max(least, covered(False)), covered(True)


def of_masks(made: Sequence[Pair]) -> dict[str, float]:
    """Return the tolerances of masks: in one dtype (methods that read data), and between dtypes (all)."""
    known = [pair for pair in made if pair.kind != "start noise" and pair.family != "dense"]
    here = [pair.bits for pair in known if pair.kind != "dtype" and pair.family != "data-free"]
    other = [pair.bits for pair in known if pair.kind == "dtype"]
    return {
        "MASK_TOLERANCE": max(MASKS, up(FACTOR * max(here, default=0.0), 1)),
        "OTHER_DTYPE_TOLERANCE": max(MASKS, up(FACTOR * max(other, default=0.0), 1)),
    }


def of_stages(made: Sequence[Pair], solved: bool) -> dict[str, float]:
    """Return stage → the largest distance in one dtype. solved: of methods that move surviving weights.

    Kernels and versions of torch count: these numbers name a stage, and decide nothing.
    """
    within = [p for p in made if p.kind in (*WITHIN, "kernels", "torch") and (p.family == "solved") == solved]
    return {name: max(WRITTEN, up(max((p.stages.get(name, 0.0) for p in within), default=0.0), 1)) for name in NOISE}


def lines(made: Sequence[Pair]) -> Iterator[str]:
    """Yield the constants as they are written in the code."""
    for metric in common(made):
        yield f"harness/metrics/{metric.name}.py: " + ", ".join(
            f"{name}={value:g}" for name, value in constants(metric, made).items()
        )
    for name, value in of_masks(made).items():
        yield f"harness/verdict/stages.py: {name} = {value:g}"
    for name, solved in (("NOISE", False), ("SOLVED_NOISE", True)):
        yield f"harness/verdict/stages.py: {name} = {of_stages(made, solved)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the constants; return the exit code."""
    return command(__file__, __doc__, lines, arguments)


if __name__ == "__main__":
    sys.exit(main())
