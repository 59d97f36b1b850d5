"""An executor whose outcomes are made up: everything in front of it and behind it is what ships.

Variables of the environment move a case's figures, so that a second session differs from the first one.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.executor import Progress, Setup
from harness.execution.outcome import Outcome
from harness.facts import Conditions, Stack, WorkloadFacts
from harness.measurement import Measurement
from harness.record import Cost, Counts, Record
from harness.workloads.captions import Caption

VALUES = {"fid": 3.0, "fid_dense": 2.0, "clip": 60.0, "composition": 0.5, "drift": 1.0}
STACK = Stack("toy", "2.13.0", "0.42.0", "5.0.0", "float32", "contiguous", "none")


@dataclass(frozen=True)
class NoEvidence:
    """Stands in for evidence, which would need torch."""

    pictures: None = None


def _number(name: str, default: float) -> float:
    return float(os.environ.get(name, default))


def _numbers(name: str) -> dict[str, float]:
    numbers: dict[str, float] = json.loads(os.environ.get(name, "{}"))
    return numbers


def _log(text: str) -> None:
    if "TOY_LOG" in os.environ:
        with Path(os.environ["TOY_LOG"]).open("a") as log:
            log.write(f"{text}\n")


class ToyBench:
    """What the plugin asks of a workbench."""

    def __init__(self, setup: Setup) -> None:
        captions = (Caption("0", "0", "one"), Caption("1", "1", "two"))
        self.setup, self.workload = setup, replace(setup.workload, captions=captions)
        self.texts = self.workload.texts
        self.stack = replace(STACK, device=os.environ.get("TOY_DEVICE", "toy"))
        self.conditions = Conditions(self.stack, 1, 1, int(_number("TOY_BATCH", 4)), "2.13.0+toy")

    def facts(self, case: Case) -> WorkloadFacts:
        scorer, model = os.environ.get("TOY_WORKLOAD", "toyscorer"), os.environ.get("TOY_MODEL", "model")
        protocol = self.workload.protocol
        return WorkloadFacts(
            self.workload.name, model, "captions", 64, protocol.num_inference_steps, protocol.guidance_scale, 0,
            "scheduler", scorer, scorer, None, "calibration" if case.needs else None,
        )  # fmt: skip


class ToyExecutor:
    """As `harness.execution.executor.Executor`, without a model."""

    def __init__(self, setup: Setup, progress: Progress) -> None:
        self.bench: Any = ToyBench(setup)
        self._progress = progress

    def plan(self, cases: Sequence[Case]) -> None:
        _log(f"plan {len(cases)}")
        if "TOY_CANNOT_LOAD" in os.environ:
            raise HarnessError("the toy cannot be loaded; wind it up")

    def submit(self, case: Case) -> Future[Outcome]:
        future: Future[Outcome] = Future()
        try:
            future.set_result(self._run(case))
        except HarnessError as error:
            future.set_exception(error)
        return future

    def close(self) -> None:
        _log("close")

    def _run(self, case: Case) -> Outcome:
        self._progress(f"{case.id}: generating")
        _log(case.id)
        if case.is_dense and "TOY_SLOW_DENSE" in os.environ:
            time.sleep(1)
        if os.environ.get("TOY_KILLED") == case.id:
            os.kill(os.getpid(), 9)
        if os.environ.get("TOY_INTERRUPTED") == case.id:
            raise KeyboardInterrupt
        if os.environ.get("TOY_BREAKS") == case.id:
            raise HarnessError("layer conv_in cannot be pruned: a weight is NaN or infinite")
        pictures: Any = None
        if self.bench.setup.keeps_pictures:
            import torch

            pictures = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        evidence: Any = NoEvidence()
        return Outcome(record_of(case, self.bench), evidence, _row(), pictures)


def _row() -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (192, 96)).save(encoded, "PNG")
    return encoded.getvalue()


def record_of(case: Case, bench: Any) -> Record:
    """Return the outcome of a case."""
    shift, scatter = _numbers("TOY_SHIFT"), _numbers("TOY_SCATTER")
    wobble = _number("TOY_WOBBLE", 0) * int(_number("OMP_NUM_THREADS", 0))
    shift["clip"] = shift.get("clip", 0) + wobble
    values = {**VALUES, **dict.fromkeys(bench.setup.metrics, 20.0)}
    paired = {
        name: [value + i / 8 + shift.get(name, 0) + (-1) ** i * scatter.get(name, 0) for i in range(8)]
        for name, value in values.items()
    }
    counts = {}
    for component in ("text_encoder", "unet"):
        sparsity = case.requested.get(component, 0.0)
        zeros = round(1000 * sparsity)
        counts[component] = Counts(
            2000, 1000, zeros, sparsity, sparsity / 2, 0.0, 8000, int(_number("TOY_BYTES", 5000))
        )
    return Record(
        case=case,
        workload=bench.facts(case).key,
        keep=("0" if case.is_dense else os.environ.get("TOY_KEEP", "0")) * 64,
        components=counts,
        quality={name: Measurement(value + shift.get(name, 0), 0.1, 64) for name, value in values.items()},
        paired=paired,
        degenerate=int(_number("TOY_DEGENERATE", 0)),
        cost=Cost(0.3, 0.1, 0.2, 50.0 * _number("TOY_MEMORY", 1)),
        conditions=bench.conditions,
    )
