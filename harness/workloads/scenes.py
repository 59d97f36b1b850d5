"""The workload of the embedded model: held-out captions, the scorers of `scenes`, drawn reference pictures."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError
from harness.scenes.captions import held_out, sample_captions
from harness.scenes.weights import REFERENCE
from harness.targets.resolve import resolve
from harness.targets.spec import PROTOCOLS
from harness.workloads.captions import Caption
from harness.workloads.workload import CALIBRATION_CAPTIONS, Workload

NAME = "scenes"


def calibration_captions() -> tuple[str, ...]:
    """Return captions of scenes that nothing was trained on and that are never evaluated."""
    return tuple(caption for caption, _ in sample_captions(CALIBRATION_CAPTIONS, 7, "calibration"))


def scenes(captions: int, weights: Path | None = None, dtype: str | None = None) -> Workload:
    """Return the workload of the embedded model.

    Args:
        captions: Number of captions, from the start of the list of 1,000 held-out captions.
        weights: A folder that `prunegate train-scenes` wrote. Its pipeline replaces the shipped one.
        dtype: The dtype of the pipeline, "float32" where None.

    Raises:
        HarnessError: The list has fewer captions, or the folder holds no pipeline.
    """
    known = held_out()
    if captions > len(known):
        raise HarnessError(
            f"--captions {captions} asks for more than the {len(known)} held-out captions of scenes; give fewer"
        )
    return Workload(
        target=resolve(NAME, weights=weights, dtype=dtype),
        captions=tuple(Caption(str(i), str(i), text) for i, (text, _) in enumerate(known[:captions])),
        calibration=calibration_captions(),
        protocol=PROTOCOLS["scenes"],
        scorer=NAME,
        reference=REFERENCE,
        source="the held-out captions of scenes",
    )
