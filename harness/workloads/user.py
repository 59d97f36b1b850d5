"""The workload of a user's pipeline: captions from a file, a CLIP as the scorer, pictures as the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.targets.spec import PROTOCOLS, TargetSpec
from harness.workloads.captions import first
from harness.workloads.workload import CALIBRATION_CAPTIONS, Workload


def user(
    target: TargetSpec,
    file: Path,
    captions: int,
    *,
    scorer: str,
    features: str = "scorer",
    reference: Path | None = None,
    protocol: str = "pr",
    steps: int | None = None,
    subset: Path | None = None,
    further: tuple[tuple[str, str], ...] = (),
) -> Workload:
    """Return the workload of a pipeline with captions from a file.

    Args:
        target: The pipeline.
        file: The captions, see `harness.workloads.captions.read`.
        captions: Number of captions to take from the file.
        scorer: A CLIP: a folder that transformers saved, or `open_clip:ARCH:WEIGHTS`.
        features: The network whose features FID and KID compare: "scorer" or `inception[:FILE]`.
        reference: A folder of pictures, or a file that `prunegate reference` wrote; None: no FID and no KID.
        protocol: A name of `PROTOCOLS`.
        steps: Denoising steps in place of the protocol's.
        subset: A file that `prunegate captions` wrote: it says which captions to take. None: the fixed order.
        further: Further scorers, see `Workload.further`.

    Raises:
        HarnessError: The captions cannot be read, or there are too few.
    """
    chosen, others = first(file, captions, subset)
    how = PROTOCOLS[protocol]
    return Workload(
        target=target,
        captions=tuple(chosen),
        calibration=tuple(caption.text for caption in others[:CALIBRATION_CAPTIONS]),
        protocol=how if steps is None else replace(how, num_inference_steps=steps),
        scorer=scorer,
        features=features,
        reference=reference,
        further=further,
        source=str(file),
    )
