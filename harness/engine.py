"""Everything that cases of one session share, loaded once: target, captions, judges, reference and the dense run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from typing import Any

import torch

from harness import digests
from harness.case import Case
from harness.errors import HarnessError
from harness.quality.fid import Reference, load_reference
from harness.quality.judging import Judges
from harness.record import Record
from harness.scenes.captions import Scene, held_out
from harness.scenes.weights import JUDGES, REFERENCE, verified
from harness.targets.base import Target, choose_device, load


class Engine:
    """One process's workbench. Loading happens at the first use, so that collecting tests costs nothing."""

    def __init__(
        self, target: str, device: str, captions: int, batch_size: int, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        """captions: how many of the held-out list, from its start. progress: told what is being done."""
        if not 2 <= captions <= len(held_out()):
            raise HarnessError(
                f"{captions} captions asked for; the held-out list has {len(held_out())}, wanted 2 or more"
            )
        if batch_size < 1:
            raise HarnessError(f"batch size is {batch_size}, wanted 1 or more")
        self.name, self.batch_size, self.progress = target, batch_size, progress
        self.dense_record: Record | None = None
        self.device = choose_device(device)
        # TF32 products are rounded to 10 bits: figures from two cards would not compare.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        chosen = held_out()[:captions]
        self.captions: list[str] = [caption for caption, _ in chosen]
        self.scenes: list[Scene] = [scene for _, scene in chosen]

    @cached_property
    def target(self) -> Target:
        """The loaded pipeline."""
        self.progress(f"loading {self.name}")
        return load(self.name, self.device)

    @cached_property
    def judges(self) -> Judges:
        """The reader and the judge CLIP."""
        return Judges(JUDGES, self.device)

    @cached_property
    def reference(self) -> Reference:
        """Feature statistics of the reference pictures."""
        return load_reference(REFERENCE)

    @cached_property
    def workload(self) -> dict[str, Any]:
        """Everything that two comparable runs share; never our code, masks or pruned weights."""
        weights = verified()
        scheduler = {k: v for k, v in self.target.pipeline.scheduler.config.items() if not k.startswith("_")}
        return {
            "target": self.name,
            "model": self.target.digest,
            "captions": digests.of_value(self.captions),
            "n": len(self.captions),
            "protocol": asdict(self.target.protocol),
            "scheduler": digests.of_value([type(self.target.pipeline.scheduler).__name__, scheduler]),
            "judges": weights["judges"],
            "reference": weights["reference"],
            "dtype": str(self.target.pipeline.unet.dtype).removeprefix("torch."),
        }

    @cached_property
    def workload_key(self) -> str:
        """The first 16 digits of the workload's digest."""
        return digests.of_value(self.workload)[:16]

    def conditions(self) -> dict[str, Any]:
        """Return what is recorded with a result but not compared: device, threads, batch size, versions."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return {
            "device": name,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "batch_size": self.batch_size,
            **{package: version(package) for package in ("torch", "diffusers", "transformers")},
        }

    def dense_case(self) -> Case:
        """Return the case that prunes nothing."""
        return Case(self.name)
