"""The settings of a run: its parsed options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.execution.executor import Cluster
from harness.metrics import METRICS
from harness.metrics.metric import Metric
from harness.metrics.scorers import DINOV2
from harness.metrics.scorers.further import Further
from harness.targets.spec import TargetSpec
from harness.verdict.effect import Rules
from harness.verdict.sidecar import file_of
from harness.workloads.scenes import NAME as SCENES
from harness.workloads.scenes import scenes
from harness.workloads.user import user
from harness.workloads.workload import Workload


@dataclass(frozen=True)
class Settings:
    """Every option of a run, with defaults filled in. Output paths are absolute."""

    targets: tuple[TargetSpec, ...]
    """The targets, in the order of `--target`. Their names differ."""
    candidates: tuple[TargetSpec, ...]
    """Pipelines of other tools that are measured against the one target. Their names differ."""
    tier: str
    """"smoke", "pr" or "full"."""
    changed: bool
    """Whether cases whose pruned weights are the baseline's make no pictures."""
    captions: int
    """Number of captions that each case is measured with."""
    caption_file: Path | None
    """Captions of all targets but `scenes`."""
    caption_subset: Path | None
    """A file that says which captions to take, None: the fixed order decides."""
    scorer: str | None
    """The CLIP that scores pictures of all targets but `scenes`."""
    further: tuple[Further, ...]
    """Further scorers of those targets, in the order of `--scorer`. Their names differ."""
    features: str
    """The network whose features FID and KID of those targets compare."""
    reference: Path | None
    """Reference pictures of those targets, or a file of their statistics."""
    protocol: str
    """The protocol of those targets: a name of `PROTOCOLS`."""
    steps: int | None
    """Denoising steps of those targets in place of the protocol's."""
    metrics: tuple[str, ...]
    """Names of `METRICS` to measure besides the default ones."""
    plan: bool
    """Whether the run's cost is printed, and no case runs."""
    rate: float | None
    """For the plan: the 10¹² operations per second that a worker reaches; None: small targets are timed."""
    shard: tuple[int, int] | None
    """The shard of the cases that runs, from 1, and the number of shards; None: all cases run."""
    executor: str
    """A name of `EXECUTORS`."""
    cluster: Cluster
    """How that executor shares cases out."""
    device: str
    """"auto", "cpu", "cuda", "cuda:1", …"""
    batch_size: int
    """Pictures generated at once."""
    images: Path | None
    """The folder for every picture, None: only the first twelve of each case are kept."""
    report: Path
    """The folder for the page and the contact sheets."""
    store: Path | str | None
    """The folder or address of finished work, None: nothing is kept or looked up."""
    json: Path | None
    """The file for all results, None: none is written."""
    benchmark_json: Path | None
    """The file that pytest-benchmark writes, None: none is written."""
    junit: Path | None
    """The file that pytest writes for `--junitxml`, None: none is written."""
    root: Path
    """The folder of pytest's configuration, where baselines files lie."""
    baselines: Path | None
    """One baselines file for all targets, None: each target has its own."""
    update: bool
    """Whether the figures of this run become the baselines."""
    accept_degenerate: bool
    """Whether figures of cases with degenerate pictures become baselines too."""
    calibrate: int | None
    """Number of processes that measure noise, None: noise is not measured."""
    reason: str
    """The text of `--baseline-reason`; "" where no baseline changes."""
    allow_improvements: bool
    """Whether IMPROVED is green."""
    ci: bool
    """Whether UNDERPOWERED is red."""
    rules: Rules
    """How cases are judged on another machine or stack."""
    budget: Mapping[str, float]
    """Metric → the largest loss against dense at which quality still holds."""
    compare_only: bool
    """Whether nothing is red, and every figure is compared with the baseline's."""
    require_power: bool
    """Whether UNDERPOWERED is red on another stack too."""

    def target(self, name: str) -> TargetSpec:
        """Return the target that ids call `name`."""
        return next(spec for spec in self.targets if spec.name == name)

    def baselines_of(self, target: str) -> Path:
        """Return the baselines file of a target, given by its name in ids."""
        return self.baselines or self.root / file_of(target)

    def workload(self, target: str) -> Workload:
        """Return a target's workload. Reads the caption file, and loads nothing.

        Args:
            target: The target's name in ids.

        Raises:
            HarnessError: The captions cannot be read, or there are too few.
        """
        spec = self.target(target)
        if spec.name == SCENES:
            return scenes(self.captions, spec.weights, spec.dtype)
        assert self.caption_file is not None and self.scorer is not None  # `options.parse` refuses anything else
        return user(
            spec,
            self.caption_file,
            self.captions,
            scorer=self.scorer,
            features=self.features,
            reference=self.reference,
            protocol=self.protocol,
            steps=self.steps,
            subset=self.caption_subset,
            further=tuple((one.name, one.place) for one in self.further),
        )

    @property
    def headlines(self) -> list[Metric]:
        """Return the metrics that the line of a finished case can show."""
        return [
            metric
            for metric in METRICS.values()
            if metric.headline
            and (metric.default or metric.name in self.metrics)
            and not all(self.lacking(spec.name, metric.takes) for spec in self.targets)
        ]

    def lacking(self, target: str, takes: frozenset[str]) -> frozenset[str]:
        """Return the inputs of a metric that a target's workload certainly lacks.

        Args:
            target: The target's name in ids.
            takes: The metric's inputs, see `Metric.takes`.
        """
        if target == SCENES:
            return takes & {"reference_features", "further", "dinov2"}
        absent = set() if self.scorer == SCENES else {"composition"}
        if not self.features.startswith(f"{DINOV2}:"):
            absent |= {"dinov2"}
        if self.reference is None:
            absent |= {"reference", "reference_features"}
        return takes & absent
