"""Everything that cases of one session share, loaded once: target, captions, judges, reference and the dense run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import digests
from harness.calibration import Calibration, NoRoom, calibrate
from harness.case import Case
from harness.errors import HarnessError
from harness.pruning import Statistics, calibrated, needs
from harness.quality import kid
from harness.quality.fid import Reference, load_reference
from harness.quality.generate import Kept, generate, out_of_memory
from harness.quality.judging import Judges, Opinion, Seen
from harness.quality.prompts import Prompts
from harness.record import Record
from harness.scenes.captions import Scene, held_out, sample_captions
from harness.scenes.weights import JUDGES, REFERENCE, list_files, verified
from harness.targets.base import Target, choose_device, load
from harness.targets.scenes import from_folder
from pruners.levels import Level
from pruners.types import Pruned

# Enough that every layer but the time embeddings' sees far more rows than it has inputs.
CALIBRATION_CAPTIONS = 32
CALIBRATION_BATCH = 16


def calibration_captions() -> list[str]:
    """Return the captions that statistics are taken on: neither trained on nor evaluated."""
    return [caption for caption, _ in sample_captions(CALIBRATION_CAPTIONS, 7, "calibration")]


def _covers(calibration: Calibration, case: Case) -> bool:
    about = calibration.about
    return (
        set(calibrated(case)) <= calibration.components.keys()
        and about["layers"] in ("all", case.layers)
        and (about["gram"] or needs(case.method) != "gram")
    )


class Engine:
    """One process's workbench. Loading happens at the first use, so that collecting tests costs nothing."""

    # Whether a run's pictures are wanted when it is done, beyond those of its row of the contact sheet.
    keeps_pictures = False
    # Features of reference pictures, where KID is measured.
    kid_reference: kid.Reference | None = None

    def __init__(
        self,
        target: str,
        device: str,
        captions: int,
        batch_size: int,
        progress: Callable[[str], None] = lambda _: None,
        weights: Path | None = None,
    ) -> None:
        """captions: how many of the held-out list, from its start. progress: told what is being done.

        weights: a folder that `train-scenes` wrote, whose pipeline takes the place of the shipped one.
        """
        if captions < 2:
            raise HarnessError(f"{captions} captions asked for, wanted 2 or more")
        if batch_size < 1:
            raise HarnessError(f"batch size is {batch_size}, wanted 1 or more")
        self.name, self.batch_size, self.progress, self.weights = target, batch_size, progress, weights
        self.dense_record: Record | None = None
        self.records: dict[Case, Record] = {}
        # The cases that are to come, and what has been pruned for them in advance: key → level → layer → `Pruned`.
        self.planned: Sequence[Case] = ()
        self.pruned: dict[tuple[str, str, str], dict[Level, dict[str, Pruned]]] = {}
        # Where the batches of the case that is being measured are kept, by the name of the generation; None: nowhere.
        self.batches: Callable[[str], Kept | None] = lambda _: None
        # What is known of the pictures of a model, by the digest of its pruned weights; None: nobody keeps it.
        self.seen: Callable[[str], Seen | None] | None = None
        # For every caption which picture it describes, where several describe one.
        self.groups: list[int] | None = None
        self._calibration: Calibration | None = None
        self._calibrated: set[Case] = set()
        self.captions: list[str] = []
        self.scenes: list[Scene] = []
        self.choose(captions)
        self.device = choose_device(device)

    def choose(self, count: int) -> None:
        """Set so many captions. Raises HarnessError where there are fewer."""
        if count > len(held_out()):
            raise HarnessError(f"{count} captions asked for, the held-out list has {len(held_out())}")
        chosen = held_out()[:count]
        self.captions, self.scenes = [caption for caption, _ in chosen], [scene for _, scene in chosen]

    @cached_property
    def target(self) -> Target:
        """The loaded pipeline."""
        self.progress(f"loading {self.name}")
        if self.weights is None:
            return load(self.name, self.device)
        found = {name: digest for name, digest in list_files(self.weights).items() if name.startswith("pipeline/")}
        return from_folder(self.weights / "pipeline", self.device, digests.of_value(found))

    @cached_property
    def judges(self) -> Judges:
        """The reader and the judge CLIP."""
        return Judges(JUDGES, self.device)

    def judge(self, images: Tensor) -> Opinion:
        """Return what the judges say of pictures of the captions, uint8 `[n, 3, h, w]`."""
        return self.judges.look(images, self.captions, self.scenes)

    @cached_property
    def dense(self) -> Opinion:
        """What the judges say of the dense model's pictures; ask for it only while the model is dense."""
        self.progress("dense pictures")
        return self.judge(generate(self.target, self.captions, self.batch_size, self.progress).images)

    @cached_property
    def reference(self) -> Reference:
        """Feature statistics of the reference pictures."""
        return load_reference(REFERENCE)

    @property
    def prompts(self) -> Prompts | None:
        """Captions that were encoded before; None: the pipeline encodes them every time."""
        return None

    def statistics(self, case: Case) -> Statistics | None:
        """Return component → layer → calibration statistics, None where the case's method wants none.

        They are taken once, of no more than this case and those that are to come want: Gram matrices are large. Where
        that does not fit into memory, of what this case wants. From a GPU they are moved to the CPU where it has room.
        """
        if needs(case.method) is None:
            return None
        if self._calibration is None or not _covers(self._calibration, case):
            cases = {case, *self._calibrated, *(c for c in self.planned if needs(c.method))}
            self._calibration, self._calibrated = None, set()
            try:
                found = self._calibrate(cases)
            except NoRoom:
                # What all want at once need not be what this one wants.
                cases = {case}
                found = self._calibrate(cases)
            self._calibration, self._calibrated = found if self.device.type == "cpu" else found.on_cpu(), cases
        return self._calibration.components

    def _calibrate(self, cases: set[Case]) -> Calibration:
        parts = [name for name in self.target.components if any(name in calibrated(case) for case in cases)]
        layers = "all" if any(case.layers == "all" for case in cases) else "linear"
        gram = any(needs(case.method) == "gram" for case in cases)
        size = min(CALIBRATION_BATCH, self.batch_size)
        captions = self.calibration_captions()
        return calibrate(self.target, parts, layers, captions, gram, batch_size=size, progress=self.progress)

    def calibration_captions(self) -> list[str]:
        """Return the captions that statistics are taken on."""
        return calibration_captions()

    def warm_up(self) -> None:
        """Load everything that cases need, so that what is wrong with it is said first."""
        try:
            self._load()
        except RuntimeError as error:
            if out_of_memory(error):
                raise HarnessError(
                    f"{self.name} and what judges it do not fit into the memory of {self.device}"
                ) from error
            raise
        # A workload knows the captions that its method is calibrated on, and says where there are none.
        for case in {case.method: case for case in self.planned}.values():
            self.workload(case)

    def _load(self) -> None:
        _ = self.target, self.judges, self.reference, self.workload(self.dense_case())

    def workload(self, case: Case) -> dict[str, Any]:
        """Return everything that two comparable runs of a case share; never our code, masks or pruned weights."""
        if needs(case.method) is None:
            return self._workload
        return {**self._workload, "calibration": digests.of_value(self.calibration_captions())}

    def workload_key(self, case: Case) -> str:
        """Return the first 16 digits of the workload's digest."""
        return digests.of_value(self.workload(case))[:16]

    def common_workload(self) -> dict[str, Any]:
        """Return what of a workload the target and its protocol make up."""
        scheduler = {k: v for k, v in self.target.pipeline.scheduler.config.items() if not k.startswith("_")}
        return {
            "target": self.name,
            "model": self.target.digest,
            "captions": digests.of_value(self.captions),
            "n": len(self.captions),
            "protocol": asdict(self.target.protocol),
            "scheduler": digests.of_value([type(self.target.pipeline.scheduler).__name__, scheduler]),
            "dtype": str(self.target.dtype).removeprefix("torch."),
        }

    @cached_property
    def _workload(self) -> dict[str, Any]:
        weights = verified()
        return self.common_workload() | {"judges": weights["judges"], "reference": weights["reference"]}

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
