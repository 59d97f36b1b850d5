"""The type `Metric`. One entry holds every fact about a metric; all other code iterates the entries."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from harness.errors import HarnessError, install
from harness.measurement import decimals

if TYPE_CHECKING:
    from torch import Tensor

    from harness.measurement import Measurement
    from harness.metrics.evidence import Evidence
    from harness.metrics.reference import Reference

# The inputs that a metric may take of a `Sample`. Every workload has "features", "embeddings" and "scores".
INPUTS = (
    "features", "embeddings", "scores", "composition", "pictures", "captions",
    "dense", "reference", "reference_features", "further", "dinov2",
)  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """The inputs of a metric: evidence on one model's pictures and on the dense model's, and the reference."""

    own: Evidence
    """The evidence on the pictures to measure."""
    dense: Evidence
    """The evidence on the dense model's pictures of the same captions and start noise. For the dense case itself: on
    its own pictures at another batch size (the null arm)."""
    reference: Reference | None
    """Statistics of reference pictures, None where the workload has none."""
    captions: Sequence[str]
    """The caption of every picture."""
    groups: Sequence[int] | None
    """For every caption the number of the real picture that it describes. None where every caption has a picture of its
    own."""
    device: str
    """The device for metrics that run a network."""

    @property
    def count(self) -> int:
        """Return the number of independent pictures: of groups where there are groups, else of captions."""
        return len(self.captions) if self.groups is None else max(self.groups) + 1


@dataclass(frozen=True)
class Values:
    """The result of a metric."""

    figure: Measurement
    """Value, standard error and n."""
    paired: Tensor
    """float64 `[captions]` or `[resamples]`, see `Metric.pairing`. Values of two runs over the same captions pair."""


Measure = Callable[[Sample], Values]


@dataclass(frozen=True)
class Metric:
    """All facts of one metric. Reports, verdicts, the store and the documentation read them here.

    Raises:
        ValueError: A field has a value that does not exist.
    """

    name: str
    """The key in JSON and behind `--metrics`: lower-case letters, digits and "_"."""
    label: str
    """The name in reports, such as "CLIP score"."""
    summary: str
    """One sentence for the README's table: what it measures, in which unit."""
    measure: str | Measure
    """The function that computes it, or "module:function", which is imported at the first use."""
    direction: Literal["lower", "higher"]
    """Which way is better."""
    decimals: int
    """The fewest decimals in tables; small standard errors get more."""
    pairing: Literal["caption", "resample"]
    """Whether `Values.paired` holds a value per caption or per bootstrap resample."""
    takes: frozenset[str]
    """The inputs that the metric reads of a `Sample`: names of `INPUTS`. A workload without one of them does not have
    the metric."""
    tolerance: float
    """How far the figure of a case may move in either direction, in the metric's unit."""
    noise: float
    """Standard deviation of the figure when nothing has changed (other threads and batches), in the metric's unit."""
    solved_tolerance: float = 0.25
    """`tolerance` for methods that move surviving weights, in `solved_unit`. The larger of the two applies."""
    solved_noise: float = 0.04
    """`noise` for methods that move surviving weights, in `solved_unit`. The larger of the two applies."""
    solved_unit: Literal["se", "picture"] = "se"
    """Unit of `solved_tolerance` and `solved_noise`: the figure's standard error, or 1/n (one picture of n)."""
    steps: bool = False
    """Whether a value per caption is 0 or 1, so that its mean moves in steps of one picture."""
    default: bool = True
    """Whether every run measures it. Other metrics are measured with `--metrics NAME`."""
    headline: bool = False
    """Whether the line of a finished case and the labels of contact sheets show it."""
    brief: bool = False
    """Whether tables show the value without its standard error."""
    spread: float = 0.0
    """Standard deviation of one picture's value when nothing has changed within one stack, in the metric's unit."""
    effect_tolerance: float | None = None
    """How far the effect of pruning, pruned minus dense, may move on another stack: the fixed part, in the metric's
    unit. None: the metric is not judged there."""
    effect_share: float = 0.0
    """The further part of that tolerance, as a share of the effect."""
    effect_ceiling: float | None = None
    """Values above it count as it on another stack, where the rounding of pictures alone decides them. None: no value
    does."""
    margin: float | None = None
    """The largest loss against dense at which quality still holds, unless `--budget` says otherwise: see
    docs/measurements/budget.md. None: the metric has no part in that."""
    packages: tuple[str, ...] = ()
    """Modules that it imports beyond the project's own dependencies."""
    extra: str = ""
    """The extra of the project that installs `packages`, such as "vision"; "": no extra does."""
    short: str = ""
    """A few words for the legend below tables, such as "distance to real pictures"; "": the legend shows `summary`."""

    def __post_init__(self) -> None:
        if not self.name.replace("_", "a").isalnum() or self.name != self.name.lower():
            raise ValueError(f"metric name {self.name!r} has other characters than a-z, 0-9 and _")
        if not self.takes <= set(INPUTS):
            raise ValueError(f"metric {self.name} takes {sorted(self.takes)}; known inputs: {', '.join(INPUTS)}")
        if self.tolerance <= 0 or self.tolerance < 3 * self.noise:
            raise ValueError(f"metric {self.name} has tolerance {self.tolerance}, under three times its noise")

    @property
    def lower_is_better(self) -> bool:
        """Return whether a smaller value is the better one."""
        return self.direction == "lower"

    def check(self) -> None:
        """Raise HarnessError where a package is not installed."""
        for package in self.packages:
            if find_spec(package) is None:
                advice = install(self.extra) if self.extra else f"run `pip install {package}`"
                raise HarnessError(f"--metrics {self.name} needs {package}, which is not installed; {advice}")

    def compute(self, sample: Sample) -> Values:
        """Compute the metric on a sample. Raises HarnessError where it cannot be computed."""
        self.check()
        if not isinstance(self.measure, str):
            return self.measure(sample)
        module, function = self.measure.split(":")
        measure: Measure = getattr(importlib.import_module(module), function)
        return measure(sample)

    def worse_by(self, change: float) -> float:
        """Return a change of the value as a change for the worse."""
        return change if self.lower_is_better else -change

    def allowed(self, figure: Measurement, solved: bool) -> float:
        """Return the tolerance of one figure, rounded to four decimals. solved: the method moves surviving weights."""
        return round(max(self.tolerance, self._solved(figure, solved, self.solved_tolerance)), 4)

    def expected_noise(self, figure: Measurement, solved: bool) -> float:
        """Return the noise of one figure, rounded to six decimals. solved: the method moves surviving weights."""
        return round(max(self.noise, self._solved(figure, solved, self.solved_noise)), 6)

    def _solved(self, figure: Measurement, solved: bool, units: float) -> float:
        if not solved:
            return 0.0
        return units / figure.n if self.solved_unit == "picture" else units * figure.se

    def digits(self, figures: Iterable[Measurement]) -> int:
        """Return how many decimals show figures that stand in one column: `decimals`, or more where they are small."""
        return decimals([(figure.value, figure.se) for figure in figures], self.decimals)

    def text(self, figure: Measurement, digits: int | None = None) -> str:
        """Return "value ± standard error", or the value alone where the metric is brief.

        Args:
            figure: The figure.
            digits: How many decimals to show; None: as `digits` has it for this figure alone.
        """
        shown = self.digits([figure]) if digits is None else digits
        # Adding nothing makes a rounded -0 a 0.
        value = f"{round(figure.value, shown) + 0.0:.{shown}f}"
        return value if self.brief else f"{value} ± {figure.se:.{shown}f}"
