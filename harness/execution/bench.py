"""One process's loaded workload."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from harness import digests
from harness.errors import HarnessError, unknown
from harness.facts import Conditions, Stack, WorkloadFacts
from harness.generation.generate import Pictures, check_steps, out_of_memory, sample
from harness.generation.prompts import Prompts
from harness.metrics import METRICS, learn
from harness.metrics import reference as references
from harness.metrics.evidence import Evidence
from harness.metrics.metric import Metric
from harness.metrics.scorers import DINOV2, further, load_extractor, load_scorer
from harness.metrics.scorers.scorer import refuse
from harness.targets import candidate as candidates
from harness.targets import layout, resolve
from harness.targets.target import Target, choose_device
from harness.workloads import captions

if TYPE_CHECKING:
    from harness.case import Case
    from harness.execution.executor import Setup
    from harness.metrics.reference import Reference
    from harness.metrics.scorers.scorer import Extractor, Scorer
    from harness.targets.spec import TargetSpec


class Workbench:
    """The loaded target, scorer and reference of one workload.

    Each part is loaded at its first use. No other module assigns an attribute.
    """

    def __init__(self, setup: Setup, progress: Callable[[str], None] = lambda _: None) -> None:
        """Choose the device and check the setup.

        Args:
            setup: The workload to load, and how to run its cases.
            progress: Called with a short line about the part that is being loaded.

        Raises:
            HarnessError: The device cannot be used, the batch size is below 1, or a metric does not exist.
        """
        if setup.batch_size < 1:
            raise HarnessError(f"--batch-size {setup.batch_size} is too small; give 1 or more")
        # A worker of an executor has parsed no option.
        learn(setup.metrics)
        for name in setup.metrics:
            if name not in METRICS:
                raise unknown("--metrics", name, METRICS)
            METRICS[name].check()
        self.setup, self.workload, self._progress = setup, setup.workload, progress
        self.device = choose_device(setup.device, "--torch-device")

    @cached_property
    def target(self) -> Target:
        """The dense pipeline, under the workload's name and protocol."""
        self._progress(f"loading {self.workload.target.place}")
        loaded = resolve.load(self.workload.target, self.device)
        return _usable(replace(loaded, name=self.workload.name, protocol=self.workload.protocol))

    def candidate(self, name: str) -> Target:
        """Load a candidate in the target's place: another pipeline under the target's name and protocol.

        Args:
            name: The candidate's name in ids.

        Raises:
            HarnessError: The setup has no candidate of the name, or the candidate cannot take the target's place. The
                message names it.
        """
        spec = self._candidate(name)
        self._progress(f"loading {spec.place}")
        with candidates.naming(name):
            loaded = _usable(candidates.load(spec, self.target))
            refuse(self.scorer, loaded.components)
        return loaded

    def digest_of(self, candidate: str) -> str:
        """Return the digest of all files that a candidate is loaded from. It is not loaded. Errors as `candidate`."""
        return layout.digest(Path(self._candidate(candidate).place))

    def _candidate(self, name: str) -> TargetSpec:
        spec = next((spec for spec in self.setup.candidates if spec.name == name), None)
        if spec is None:
            raise HarnessError(f"--candidate {name} is missing, and a case needs it; give --candidate {name}=DIR")
        return spec

    @cached_property
    def scorer(self) -> Scorer:
        """The network that scores pictures. Raises HarnessError where it is the text encoder under test."""
        scorer = load_scorer(self.workload.scorer, self.device)
        refuse(scorer, self.target.components)
        return scorer

    @cached_property
    def extractor(self) -> Extractor:
        """The network whose features FID and KID compare; often the scorer itself."""
        return load_extractor(self.workload.features, self.scorer, self.device)

    @cached_property
    def further(self) -> dict[str, further.Scores]:
        """The further scorers by the names of their metrics."""
        parts = self.target.components
        return further.load_all(self.workload.further, self.device, lambda scorer: refuse(scorer, parts))

    @cached_property
    def reference(self) -> Reference | None:
        """Statistics of the reference pictures, None where the workload has none."""
        if self.workload.reference is None:
            return None
        return references.load(self.workload.reference, self.extractor, self._progress)

    @cached_property
    def prompts(self) -> Prompts:
        """Captions as the dense text encoders encode them. Use it only while the text encoders are dense."""
        return Prompts(self.target)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics to measure: the default ones that the workload can have, and the requested ones.

        Raises HarnessError where the workload lacks an input of a requested metric.
        """
        there = {"features", "embeddings", "scores", "pictures", "captions", "dense"}
        there |= {"composition"} if self.scorer.sees_composition else set()
        there |= {"further"} if self.further else set()
        there |= {"dinov2"} if self.workload.features.startswith(f"{DINOV2}:") else set()
        there |= {"reference"} if self.reference is not None else set()
        there |= {"reference_features"} if self.reference is not None and self.reference.kid is not None else set()
        for name in self.setup.metrics:
            lacking = METRICS[name].takes - there
            if lacking:
                raise HarnessError(
                    f"--metrics {name} takes {' and '.join(sorted(lacking))}, which {self.workload.name} lacks; "
                    f"leave {name} out" + (", or give --reference DIR" if "reference" in " ".join(lacking) else "")
                )
        return tuple(m for m in METRICS.values() if m.takes <= there and (m.default or m.name in self.setup.metrics))

    @property
    def texts(self) -> list[str]:
        """Return the captions' texts, in order."""
        return self.workload.texts

    @property
    def first(self) -> int:
        """Return the number of the first caption: 0 unless this is a shard."""
        return 0

    def look(self, pictures: Pictures) -> Evidence:
        """Return the evidence on the pictures of all captions, in order. Metrics are computed from it."""
        evidence = self.scorer.look(pictures.images, self.texts)
        if self.extractor is not self.scorer:
            evidence = replace(evidence, features=self.extractor.features(pictures.images))
        wanted = any("pictures" in metric.takes for metric in self.metrics)
        return replace(
            evidence,
            degenerate=pictures.degenerate,
            pictures=pictures.images if wanted else None,
            stages=pictures.stages,
            further={name: one.score(pictures.images, self.texts) for name, one in self.further.items()},
        )

    def warm_up(self, cases: Sequence[Case]) -> None:
        """Load everything that the cases need. Mistakes then show before the first case runs.

        Raises:
            HarnessError: Something cannot be loaded, does not fit into memory, or a case cannot be calibrated.
        """
        try:
            _ = self.target, self.metrics
        except RuntimeError as error:
            if out_of_memory(error):
                raise HarnessError(
                    f"{self.workload.name} and its scorer do not fit into the memory of {self.device}; "
                    "choose another --torch-device, or --dtype float16"
                ) from error
            raise
        for case in cases:
            self.facts(case)
        for name in dict.fromkeys(case.candidate for case in cases if case.candidate):
            self._try(name)

    def _try(self, name: str) -> None:
        """Take one step with a candidate: its parts then fit each other, and both pipelines fit into memory."""
        try:
            with candidates.naming(name):
                sample(self.candidate(name), self.texts[:1], 1)
        except RuntimeError as error:
            if out_of_memory(error):
                raise HarnessError(
                    f"--candidate {name} does not fit into the memory of {self.device} beside {self.workload.name}; "
                    "choose another --torch-device, or --dtype float16"
                ) from error
            raise

    @cached_property
    def stack(self) -> Stack:
        """Device, versions and numerics."""
        processors = getattr(self.target.denoiser, "attn_processors", {}).values()
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return Stack(
            device=name,
            torch=version("torch").partition("+")[0],
            diffusers=version("diffusers"),
            transformers=version("transformers"),
            dtype=str(self.target.dtype).removeprefix("torch."),
            memory_format="channels_last" if self.workload.target.channels_last else "contiguous",
            attention=", ".join(sorted({type(processor).__name__ for processor in processors})),
            cpu=torch.backends.cpu.get_cpu_capability() if self.device.type == "cpu" else "",
        )

    @property
    def conditions(self) -> Conditions:
        """Return the conditions that every result records."""
        cores = os.cpu_count() or 0
        return Conditions(self.stack, torch.get_num_threads(), cores, self.setup.batch_size, version("torch"))

    def facts(self, case: Case) -> WorkloadFacts:
        """Return the facts that must be equal for two runs of a case to compare.

        Raises:
            HarnessError: The case needs calibration, and the workload has no captions for it.
        """
        return replace(self._facts, calibration=digests.of_value(self.calibration())) if case.needs else self._facts

    def calibration(self) -> list[str]:
        """Return the captions for calibration. Raises HarnessError where the workload has none."""
        if not self.workload.calibration:
            raise HarnessError(
                f"{self.workload.source} has no caption left to calibrate on, because all its pictures are evaluated; "
                "give a file with more captions (captions_train2017.json), fewer --captions, or methods without data"
            )
        return list(self.workload.calibration)

    @cached_property
    def _facts(self) -> WorkloadFacts:
        scheduler = self.target.pipeline.scheduler
        config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
        return WorkloadFacts(
            target=self.workload.name,
            model=self.target.digest,
            captions=captions.digest(self.workload.captions),
            n=len(self.workload.captions),
            num_inference_steps=self.workload.protocol.num_inference_steps,
            guidance_scale=self.workload.protocol.guidance_scale,
            latent_seed=self.workload.protocol.latent_seed,
            scheduler=digests.of_value([type(scheduler).__name__, config]),
            scorer=self.scorer.digest,
            features=self.extractor.digest,
            reference=self.reference.digest if self.reference is not None else None,
            further=further.digest(self.further),
        )


def _usable(target: Target) -> Target:
    """Return a pipeline without its safety checker. Raises HarnessError for a wrong number of steps."""
    # A safety checker blackens pictures, and more of them at higher sparsity. Figures must show the model alone.
    if getattr(target.pipeline, "safety_checker", None) is not None:
        target.pipeline.safety_checker = None
    check_steps(target)
    return target
