"""The gates that need no metric: counts, keep masks, degenerate pictures."""

from __future__ import annotations

from collections.abc import Mapping

from harness.case import Case
from harness.metrics import METRICS
from harness.record import Counts, Measured, PrunedFacts
from harness.verdict.stages import COUNT_TOLERANCE, mask_tolerance
from harness.verdict.statistics import IMPROVED, REGRESSION, different_bits
from harness.verdict.verdict import Verdict
from pruners import METHODS


def facts(record: Measured, before: Measured) -> Verdict | None:
    """Return the verdict of the gates before quality (exact, degenerate); None if nothing differs."""
    return exact(record, before) or _degenerate(record, before)


def exact(record: PrunedFacts, before: PrunedFacts) -> Verdict | None:
    """Return the verdict on counts and keep masks, which need no picture; None if nothing differs.

    Where calibration data divides the sparsity among layers, sums of data that are rounded on another stack move a few
    zeros from layer to layer, and change their number: see `COUNT_TOLERANCE`. All other counts are equal everywhere.

    In one dtype, the masks of methods without data are equal bit for bit, and so are the weights that survive. All
    other masks are compared at sampled places, with the tolerance of `mask_tolerance`.

    Args:
        record: The facts of the pruned model.
        before: Those of the baseline, or of the earlier run.
    """
    case, components = record.case, record.components
    impossible = as_asked(case.requested, components)
    if impossible:
        return impossible
    elsewhere = bool(before.stack.differences(record.stack))
    for component, counts in before.components.items():
        now = components.get(component)
        for name in ("parameters", "targeted", "zeros"):
            value, wanted = None if now is None else getattr(now, name), getattr(counts, name)
            allowed = COUNT_TOLERANCE * counts.targeted if name == "zeros" and _by_data(case, component) else 0.0
            if value != wanted and (value is None or not elsewhere or abs(value - wanted) > allowed):
                return Verdict(REGRESSION, "exact", f"{component} has {name} {value}, the baseline {wanted}")
        if now is not None and not elsewhere:
            others = (one.sparsity_component * one.parameters for one in (now, counts))
            if abs(next(others) - next(others)) > 0.5:
                reason = f"{component} has {now.sparsity_component:.6%} zeros in all, the baseline "
                reason += f"{counts.sparsity_component:.6%}: parameters outside of the pruned layers have changed"
                return Verdict(REGRESSION, "exact", reason)
    ours, theirs = record.trace.weights, before.trace.weights
    if record.keep == before.keep:
        # Without data, equal weights under equal masks are equal on every machine, bit for bit.
        same = case.needs or case.moves_weights or before.stack.dtype != record.stack.dtype or not (ours and theirs)
        if same or ours == theirs:
            return None
        return Verdict(REGRESSION, "exact", "the keep masks are equal, but surviving weights have changed")
    reason = "the same number of weights is pruned, but different ones: the keep masks differ"
    dtypes = before.stack.dtype, record.stack.dtype
    if not case.needs and dtypes[0] == dtypes[1]:
        return Verdict(REGRESSION, "exact", reason)
    differ, bits = different_bits(record.trace.sketch or record.keep, before.trace.sketch or before.keep)
    if differ > mask_tolerance(case, *dtypes) * bits:
        return Verdict(REGRESSION, "exact", f"{reason} at {differ} of {bits} sampled places")
    return None


def _by_data(case: Case, component: str) -> bool:
    """Return whether calibration data divides the sparsity among the layers of a component."""
    method = METHODS[case.methods[component]] if component in case.methods else None
    return method is not None and method.allocation != "uniform" and bool(method.needs)


def as_asked(requested: Mapping[str, float], components: Mapping[str, Counts]) -> Verdict | None:
    """Return the verdict on a sparsity that is not the requested one; None where it is.

    Args:
        requested: Component → requested sparsity.
        components: Component → counts.
    """
    for component, sparsity in requested.items():
        counts = components[component]
        # Every group rounds to whole weights, and trained weights that are exactly zero count as pruned.
        if abs(counts.sparsity_targeted - sparsity) > 1e-3 + counts.rounding:
            reason = f"{component} was to be pruned to {sparsity:.2%}, achieved {counts.sparsity_targeted:.2%}"
            return Verdict(REGRESSION, "exact", reason)
    return None


def _degenerate(record: Measured, before: Measured) -> Verdict | None:
    captions = max((len(of) for name, of in record.paired.items() if METRICS[name].pairing == "caption"), default=0)
    change = record.degenerate - before.degenerate
    if abs(change) <= max(1, round(0.02 * captions)):
        return None
    kind = REGRESSION if change > 0 else IMPROVED
    reason = f"{record.degenerate} pictures are degenerate, the baseline has {before.degenerate}"
    return Verdict(kind, "degenerate", reason)
