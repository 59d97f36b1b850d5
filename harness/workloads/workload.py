"""A `Workload` says what cases are measured with: `scenes` is one, a user's pipeline with COCO captions another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.targets.spec import Protocol, TargetSpec
from harness.workloads.captions import Caption, pictures_of

# Enough for every layer to see many more rows than it has inputs. Layers of time embeddings are the exception.
CALIBRATION_CAPTIONS = 32


@dataclass(frozen=True)
class Workload:
    """What cases are measured with. Two runs compare only if their workloads are equal. Nothing is loaded yet.

    Raises:
        HarnessError: There are fewer than two captions.
    """

    target: TargetSpec
    """The pipeline."""
    captions: tuple[Caption, ...]
    """The captions that pictures are generated from, in order."""
    calibration: tuple[str, ...]
    """Captions for calibration. None of them is evaluated. Empty where the file has no others."""
    protocol: Protocol
    """Steps, guidance and start noise."""
    scorer: str
    """The network that scores pictures: "scenes", a folder that transformers saved, or `open_clip:ARCH:WEIGHTS`."""
    features: str = "scorer"
    """The network whose features FID and KID compare: "scorer", or `inception[:FILE]`."""
    reference: Path | None = None
    """A folder of pictures, or a file that `prunegate reference` wrote; None: no FID and KID to real pictures."""
    further: tuple[tuple[str, str], ...] = ()
    """Further scorers: name and place, see `harness.metrics.scorers.further`. Each adds a metric `score_NAME`."""
    source: str = ""
    """Where the captions come from, for messages."""

    def __post_init__(self) -> None:
        if len(self.captions) < 2:
            raise HarnessError(f"--captions {len(self.captions)} is too few for a standard error; use 2 or more")

    @property
    def name(self) -> str:
        """Return the target's name in ids."""
        return self.target.name

    @property
    def texts(self) -> list[str]:
        """Return the texts of the captions, in order."""
        return [caption.text for caption in self.captions]

    @property
    def groups(self) -> list[int] | None:
        """Return the number of the picture that every caption describes; None where each has a picture of its own."""
        return pictures_of(self.captions)
