"""From a case to its record: the one file that knows the order of the steps."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from harness import digests
from harness.case import Case
from harness.cost.memory import peak_memory
from harness.engine import Engine
from harness.errors import HarnessError
from harness.measurement import mean
from harness.quality.fid import fid
from harness.quality.generate import generate
from harness.record import Record
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import Pruning, census, keep_digest, masked
from harness.targets.base import Target
from pruners import PRUNERS
from pruners.types import Pruned, Pruner


@dataclass(frozen=True)
class Run:
    """A case's record, and the pictures it rests on: uint8 `[n, 3, h, w]`."""

    record: Record
    images: Tensor


def prune(target: Target, case: Case) -> Pruning:
    """Return component → layer → `Pruned` for a case; the target is not changed.

    Raises HarnessError that names the layer where a method refuses it.
    """
    found: dict[str, dict[str, Pruned]] = {}
    if not case.plan:
        return found
    module, function = PRUNERS[case.method].split(":")
    pruner: Pruner = getattr(importlib.import_module(module), function)
    for component, sparsity in case.plan.items():
        found[component] = {}
        for name, layer in prunable(target.components[component], case.layers).items():
            seed = int(digests.of_value([component, name])[:15], 16)
            try:
                found[component][name] = pruner(matrix(layer), None, [sparsity], seed)[0]
            except ValueError as error:
                raise HarnessError(f"{case.method} cannot prune {component}.{name}: {error}") from error
    return found


def run(case: Case, engine: Engine) -> Run:
    """Prune, generate and measure. The target leaves as dense as it came."""
    target = engine.target
    engine.progress("pruning")
    start = time.perf_counter()
    pruning = prune(target, case)
    pruned_in = time.perf_counter() - start
    with masked(target.components, pruning):
        counts = census(target.components, pruning, case.layers)
        with peak_memory(engine.device) as peak:
            start = time.perf_counter()
            pictures = generate(target, engine.captions, engine.batch_size, engine.progress)
            generated_in = time.perf_counter() - start
    engine.progress("judging")
    opinion = engine.judges.look(pictures.images, engine.captions, engine.scenes)
    exact: dict[str, Any] = {"keep": keep_digest(pruning), "components": counts}
    record = Record(
        case=case.id,
        workload=engine.workload_key,
        exact=exact,
        requested=case.plan,
        quality={
            "fid": fid(opinion.features, engine.reference),
            "clip": mean(opinion.clip),
            "composition": opinion.composition.accuracy(),
        },
        attributes=opinion.composition.by_attribute(),
        degenerate=int(pictures.degenerate.sum()),
        seconds={"prune": pruned_in, "generate": generated_in},
        peak_megabytes=peak.megabytes,
        peak_of=peak.of,
        conditions=engine.conditions(),
    )
    return Run(record, pictures.images)


def sampling_step(target: Target, batch_size: int) -> Callable[[], Tensor]:
    """Return a function that runs the U-Net once on a batch with guidance: what latency is measured on."""
    unet, encoder = target.components["unet"], target.components["text_encoder"]
    config = target.pipeline.unet.config
    generator = torch.Generator().manual_seed(0)
    shape = (2 * batch_size, config.in_channels, config.sample_size, config.sample_size)
    noisy = torch.randn(shape, generator=generator).to(target.device)
    length = target.pipeline.tokenizer.model_max_length
    tokens = torch.ones(2 * batch_size, length, dtype=torch.long, device=target.device)

    @torch.inference_mode()
    def step() -> Tensor:
        out: Tensor = unet(noisy, 500, encoder(tokens).last_hidden_state).sample
        return out

    return step
