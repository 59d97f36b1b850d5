"""Where a case and its baseline begin to differ, stage by stage, in lines for a person: `prunegate explain`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

from harness.measurement import decimals
from harness.metrics import METRICS
from harness.record import Record
from harness.verdict.baseline import Baseline
from harness.verdict.stages import Dense, Stage, named, stages
from harness.verdict.statistics import difference


def lines(record: Record, before: Baseline, dense: Dense | None = None) -> Iterator[str]:
    """Yield the first difference, a line per stage, and the figures that moved.

    Args:
        record: The case as it is now.
        before: Its baseline.
        dense: The dense model of both, where this is not the baseline's stack.
    """
    compared = list(stages(before, record, dense))
    first = next((stage.name for stage in compared if stage.differs), "")
    if first:
        yield f"first difference: {named(first)}"
    elif record.spared:
        yield "no difference up to the pruned weights; nobody made pictures (UNCHANGED)"
    else:
        yield "no recorded stage differs"
    differing = before.stack.differences(record.stack)
    if differing:
        facts = ", ".join(f"{f} {getattr(before.stack, f)} → {getattr(record.stack, f)}" for f in differing)
        yield f"the stack differs: {facts}" + ("; σ is what moved the dense model" if dense is not None else "")
    for kind, parts in groupby(compared, key=lambda stage: stage.kind):
        yield f"  {kind:<9} {_of(list(parts))}"
    moved = list(_figures(record, before)) if not record.spared else []
    if moved:
        yield "figures that moved, with their tolerances:"
        yield from moved
    elif not record.spared:
        yield "no figure moved"


def _of(parts: list[Stage]) -> str:
    """Return what there is to say of a stage: of all its steps, where it has several."""
    numbers = [i for i, stage in enumerate(parts) if stage.differs]
    if not numbers:
        return "equal" if not any(stage.moved for stage in parts) else f"equal ({_sigmas(_largest(parts))})"
    first = parts[numbers[0]]
    if first.name == "masks":
        return f"differs ({first.moved:.2%} of the sampled places)"
    if first.exact:
        return "differs (SHA-256)"
    if len(parts) == 1:
        return f"differs ({_sigmas(first)})"
    earlier = f"{_sigmas(parts[numbers[0] - 1])} → " if numbers[0] else ""
    return f"differs from step {first.name.partition(' ')[2]} on ({earlier}{_sigmas(first)})"


def _largest(parts: Iterable[Stage]) -> Stage:
    return max(parts, key=lambda stage: stage.sigmas)


def _sigmas(stage: Stage) -> str:
    return f"{stage.sigmas:,.{1 if stage.sigmas < 10 else 0}f} σ"


def _figures(record: Record, before: Baseline) -> Iterator[str]:
    """Yield the figures whose change is more than noise."""
    wide = max(len(metric.label) for metric in METRICS.values())
    for name, metric in METRICS.items():
        figure, now = before.quality.get(name), record.quality.get(name)
        if figure is None or now is None:
            continue
        change = difference(metric, before, record)
        if abs(change.value) <= figure.noise:
            continue
        digits = decimals([(change.value, change.se)], 3)
        said = f"{figure.value:.4g} → {now.value:.4g} ({change.value:+.{digits}f} ± {change.se:.{digits}f}"
        yield f"  {metric.label:<{wide}} {said}, tolerance ±{figure.tolerance:g})"
