"""The first stage at which two runs of a case part: masks, weights, text, latents, picture, features, scores.

The noise of a stage is what moves it within one stack. On another stack, it is what moves the dense model there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.case import Case
from harness.record import Measured
from harness.verdict.statistics import different_bits

# The share of weights by which a component's zeros may differ on another stack, where calibration data divides the
# sparsity among layers: twice the largest share measured, one weight of every output of one layer in bfloat16.
COUNT_TOLERANCE = 2.2e-4
# The share of a sketch that may differ, because masks of calibrated methods change with the rounding of sums.
MASK_TOLERANCE = 0.01
# The same where the dtype differs: rounded weights tie or change places, and so do the sums of their inputs.
OTHER_DTYPE_TOLERANCE = 0.02
# How far a stage moves when nothing has changed within one stack: root mean square of the difference / root mean square
# of the stage. The rule behind them is in docs/measurements/noise.md.
NOISE = {"weights": 1e-06, "text": 2e-06, "latent": 9e-06, "picture": 5e-05, "features": 1e-04, "scores": 9e-06}
# The same for methods that move surviving weights: rounding changes the weights themselves.
SOLVED_NOISE = {"weights": 0.008, "text": 0.01, "latent": 0.02, "picture": 0.004, "features": 0.02, "scores": 0.009}
# A stage differs where it has moved by more than this many times its noise.
BEYOND = 5.0
# Stands for a difference that the recorded numbers do not show.
LEAST = 1e-12


def mask_tolerance(case: Case, before: str, after: str) -> float:
    """Return the share of a sketch that may differ.

    Args:
        case: The case.
        before: The dtype of the baseline.
        after: The dtype of the run.
    """
    if before != after:
        return OTHER_DTYPE_TOLERANCE
    return MASK_TOLERANCE if case.needs else 0.0


@dataclass(frozen=True)
class Stage:
    """One stage of two runs."""

    name: str
    """"masks", "weights", "text", "latent 1", …, "picture", "features" or "scores"."""
    moved: float
    """Root mean square of the difference / root mean square of the earlier run. For masks: the share of bits."""
    noise: float
    """The same when nothing has changed."""
    exact: bool = False
    """Whether the stage is equal only where nothing at all differs."""

    @property
    def differs(self) -> bool:
        """Return whether the stage has moved by more than noise."""
        return self.moved > (0.0 if self.exact else BEYOND * self.noise)

    @property
    def kind(self) -> str:
        """Return the name without the number of the denoising step."""
        return self.name.partition(" ")[0]

    @property
    def sigmas(self) -> float:
        """Return how far the stage has moved, in units of its noise."""
        return self.moved / self.noise


def stages(before: Measured, after: Measured, dense: Dense | None = None) -> Iterator[Stage]:
    """Yield the stages that both runs have, in the order of the work.

    Args:
        before: The baseline, or the earlier run.
        after: The later run of the same case.
        dense: The dense model of both, where the stacks differ: what moves it counts as noise.
    """
    old, new, case = before.trace, after.trace, after.case
    one_dtype = before.stack.dtype == after.stack.dtype
    if old.sketch and new.sketch:
        differ, bits = different_bits(old.sketch, new.sketch)
        exact = not case.needs and one_dtype and before.keep != after.keep
        # A digest sees weights between the sampled places.
        allowed = mask_tolerance(case, before.stack.dtype, after.stack.dtype) or MASK_TOLERANCE
        yield Stage("masks", max(differ, exact) / bits, allowed / BEYOND, exact)
    floors = SOLVED_NOISE if case.moves_weights else NOISE
    elsewhere = {} if dense is None else dense.moved
    for name, values in old.stages.items():
        if name not in new.stages:
            continue
        moved = _distance(values, new.stages[name])
        noise = max(floors[name.partition(" ")[0]], elsewhere.get(name, 0.0))
        exact = name == "weights" and not case.needs and one_dtype and "" != old.weights != new.weights
        yield Stage(name, max(moved, LEAST) if exact else moved, noise, exact)


@dataclass(frozen=True)
class Dense:
    """The dense model on two stacks."""

    before: Measured
    """The dense model of the baselines."""
    after: Measured
    """The dense model of the run."""

    @property
    def moved(self) -> dict[str, float]:
        """Return stage → how far the dense model has moved, as `Stage.moved`."""
        return {stage.name: stage.moved for stage in stages(self.before, self.after)}


def first_difference(before: Measured, after: Measured, dense: Dense | None = None) -> str:
    """Return the name of the first stage that differs, or "" where none does or nobody recorded any. As `stages`."""
    return next((stage.name for stage in stages(before, after, dense) if stage.differs), "")


def named(name: str) -> str:
    """Return a stage in words. name: as `first_difference` returns it, not ""."""
    kind, _, step = name.partition(" ")
    return {
        "masks": "the masks",
        "weights": "the pruned weights, under equal masks",
        "text": "the encoded captions",
        "latent": f"the latent after step {step}",
        "picture": "the picture",
        "features": "the features of equal pictures",
        "scores": "the scores of equal pictures",
    }[kind]


def sentence(before: Measured, after: Measured, gate: str, dense: Dense | None = None) -> str:
    """Return where the two begin to differ, for a verdict that is not PASS; "" where nobody recorded stages.

    Args:
        before: The baseline.
        after: The record.
        gate: The gate that decided.
        dense: As for `stages`.
    """
    if not (before.trace.stages and after.trace.stages):
        return ""
    name = first_difference(before, after, dense)
    if gate == "exact" and name not in ("masks", "weights"):
        name = "masks"
    if name:
        return f"the first stage that differs: {named(name)}"
    if dense is not None:
        return "no stage has moved clearly further than the dense model's"
    equal = "no recorded stage differs: "
    return equal + ("the pictures are the same" if gate == "memory" else "the figures are computed in another way")


def _distance(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the root mean square of the difference, relative to that of the first, of the captions that both have."""
    common = min(len(before), len(after))
    before, after = before[:common], after[:common]
    size = math.fsum(value**2 for value in before)
    change = math.fsum((b - a) ** 2 for a, b in zip(before, after, strict=True))
    return math.sqrt(change / size) if size else float(change > 0)
