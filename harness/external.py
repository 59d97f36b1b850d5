"""The workbench for a pipeline of the user's: captions from a file, a CLIP as the judge, pictures as the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from harness import captions as written
from harness import digests
from harness.clock import Clock
from harness.engine import CALIBRATION_CAPTIONS, Engine
from harness.errors import HarnessError
from harness.quality import kid
from harness.quality.fid import Reference, reference, summarise
from harness.quality.judging import Opinion
from harness.quality.prompts import Prompts
from harness.quality.scorers import Extractor, load_extractor, load_scorer
from harness.quality.vision import Judge, open_all, pictures
from harness.targets.base import Protocol, Target
from harness.targets.base import load as built
from harness.targets.folder import load

# What the reference study generated with, and a faster one for every day.
PROTOCOLS = {"paper": Protocol(50, 7.5, 20241117), "pr": Protocol(20, 7.5, 20241117)}


@dataclass(frozen=True)
class Source:
    """What an external target is measured with.

    captions: a file for `captions.read`. scorer, features: for `load_scorer` and `load_extractor`. reference: a folder
    of pictures, a file that `python -m harness reference` wrote, or None: no FID and KID to real pictures then. steps:
    in place of the protocol's. subset: which captions of the file, a file of `captions.write_subset`; None: the fixed
    order decides. dtype: of all components, None as stored. channels_last: lay the weights of convolutions out so.
    """

    captions: Path
    scorer: str
    reference: Path | None
    protocol: str
    steps: int | None
    features: str = "clip"
    subset: Path | None = None
    dtype: str | None = None
    channels_last: bool = False


class ExternalEngine(Engine):
    """As `Engine`, with everything but the method from the user."""

    def __init__(
        self,
        name: str,
        folder: Path | None,
        source: Source,
        device: str,
        captions: int,
        batch_size: int,
        progress: Callable[[str], None],
    ) -> None:
        """name: in ids. folder: of the pipeline; None: `name` is of `TARGETS`. captions: how many of the file.

        Raises HarnessError for a file that has fewer.
        """
        self.folder, self.source = folder, source
        super().__init__(name, device, captions, batch_size, progress)

    def choose(self, count: int) -> None:
        """Set so many captions of the file. Raises HarnessError where it has fewer."""
        self._chosen, self._others = written.first(self.source.captions, count, self.source.subset)
        self.captions = [caption.text for caption in self._chosen]
        self.groups = written.pictures_of(self._chosen)

    @cached_property
    def target(self) -> Target:
        """The user's pipeline."""
        self.progress(f"loading {self.folder or self.name}")
        dtype = None if self.source.dtype is None else getattr(torch, self.source.dtype)
        if self.folder is None:
            found = built(self.name, self.device)
            for module in (part for part in found.pipeline.components.values() if isinstance(part, torch.nn.Module)):
                # Not the pipeline's own `to`, which warns of layers that may have to stay in float32, and has none.
                torch.nn.Module.to(module, dtype or found.dtype)
        else:
            found = load(self.folder, self.device, dtype)
        if self.source.channels_last:
            for module in (found.denoiser, found.pipeline.vae):
                module.to(memory_format=torch.channels_last)
        # It blackens pictures, as many as pruning makes it: what is measured is the model.
        if getattr(found.pipeline, "safety_checker", None) is not None:
            found.pipeline.safety_checker = None
        steps = {} if self.source.steps is None else {"num_inference_steps": self.source.steps}
        return replace(found, name=self.name, protocol=replace(PROTOCOLS[self.source.protocol], **steps))

    @cached_property
    def prompts(self) -> Prompts:
        """Captions that the dense text encoders have encoded."""
        return Prompts(self.target)

    def conditions(self) -> dict[str, Any]:
        """Return what is recorded with a result but not compared; dtype is of the workload, and compared."""
        processors = getattr(self.target.denoiser, "attn_processors", {}).values()
        return super().conditions() | {
            "dtype": str(self.target.dtype).removeprefix("torch."),
            "memory_format": "channels_last" if self.source.channels_last else "contiguous",
            "attention": ", ".join(sorted({type(processor).__name__ for processor in processors})),
        }

    @cached_property
    def scorer(self) -> Judge:
        """The user's CLIP."""
        found = load_scorer(self.source.scorer, self.device)
        for name, module in self.target.components.items():
            if name.startswith("text_encoder"):
                found.refuse(module)
        return found

    @cached_property
    def extractor(self) -> Extractor:
        """What FID and KID take their features from."""
        return load_extractor(self.source.features, self.scorer, self.device)

    def judge(self, images: Tensor) -> Opinion:
        """Return what the CLIP says of pictures of the captions, uint8 `[n, 3, h, w]`."""
        found = self.scorer.look(images, self.captions)
        return found if self.extractor is self.scorer else replace(found, features=self.extractor.features(images))

    def _load(self) -> None:
        _ = self.target, self.scorer, self.reference, self.workload(self.dense_case())

    def calibration_captions(self) -> list[str]:
        """Return the captions behind the evaluated ones: neither seen nor described there."""
        found = [caption.text for caption in self._others[:CALIBRATION_CAPTIONS]]
        if not found:
            raise HarnessError(
                f"{self.source.captions} has no caption left to calibrate on, all its pictures are among the evaluated "
                "ones: give a file with more (captions_train2017.json), fewer --captions, or methods without data"
            )
        return found

    @cached_property
    def _reference(self) -> tuple[Reference, kid.Reference | None, str] | None:
        path = self.source.reference
        if path is None:
            return None
        if path.is_dir():
            files = pictures(path)
            features = measure(files, self.extractor, self.progress)
            return reference(*summarise(features), len(files)), kid.Reference(features), _digest(files)
        return read_reference(path, self.extractor)

    @property
    def reference(self) -> Reference | None:  # type: ignore[override]
        """Feature statistics of the reference pictures, None where none were given."""
        return self._reference[0] if self._reference else None

    @property
    def kid_reference(self) -> kid.Reference | None:  # type: ignore[override]
        """Features of the reference pictures, None where none were given or only their statistics."""
        return self._reference[1] if self._reference else None

    @cached_property
    def _workload(self) -> dict[str, Any]:
        extractor = {} if self.extractor is self.scorer else {"features": self.extractor.digest}
        return self.common_workload() | extractor | {
            "captions": written.digest(self._chosen),
            "judges": self.scorer.digest,
            "reference": self._reference[2] if self._reference else None,
        }  # fmt: skip


def measure(files: list[Path], extractor: Extractor, progress: Callable[[str], None] = lambda _: None) -> Tensor:
    """Return the features of picture files, read a batch at a time: float32 `[n, d]`."""
    found, clock = [], Clock(len(files))
    for first in range(0, len(files), 64):
        clock.begin(first)
        progress(f"features of reference pictures, {first}/{len(files)}{clock.left(first)}")
        found.append(extractor.features(open_all(files[first : first + 64])))
    return torch.cat(found)


def _digest(files: list[Path]) -> str:
    return digests.of_value([digests.of_file(path) for path in files])


def write_reference(folder: Path, extractor: Extractor, path: Path) -> int:
    """Measure a folder of pictures and keep their features (for KID) and statistics; return how many there are."""
    from safetensors.torch import save

    from harness import files

    found = pictures(folder)
    features = measure(found, extractor)
    mean, covariance = summarise(features)
    about = {"extractor": extractor.digest, "pictures": _digest(found), "n": str(len(found))}
    files.write(path, save({"mean": mean, "covariance": covariance, "features": features}, about))
    return len(found)


def read_reference(path: Path, extractor: Extractor) -> tuple[Reference, kid.Reference | None, str]:
    """Return what `write_reference` kept, and the digest of its pictures; no `kid.Reference` where it has no features.

    Raises HarnessError where the file is missing, something else, or was made with another extractor.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stream:
            about: Mapping[str, str] = stream.metadata() or {}
            found = reference(stream.get_tensor("mean"), stream.get_tensor("covariance"), int(about["n"]))
            features = kid.Reference(stream.get_tensor("features")) if "features" in [*stream.keys()] else None
        made_with, shown = about["extractor"], about["pictures"]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise HarnessError(
            f"--reference {path} is neither a folder of pictures nor a file of `python -m harness reference` ({error})"
        ) from error
    if made_with != extractor.digest:
        raise HarnessError(
            f"--reference {path} was measured with another scorer or --features; measure the pictures anew with these"
        )
    return found, features, shown
