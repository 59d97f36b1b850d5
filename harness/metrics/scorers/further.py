"""Scorers behind the first `--scorer`: any CLIP, or a program in another interpreter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness import digests
from harness.errors import HarnessError
from harness.metrics.further import PREFIX
from harness.metrics.scorers import check_scorer, load_scorer
from harness.metrics.scorers.command import KIND, Program, check_command

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.metrics.scorers.scorer import Scorer


class Scores(Protocol):
    """A scorer that gives each picture one number. A higher one is better."""

    @property
    def digest(self) -> str:
        """Return the digest of everything that the scores depend on."""

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Return a score per picture, float32 `[n]`. images: uint8 `[n, 3, h, w]` on the CPU."""


@dataclass(frozen=True)
class Further:
    """A further scorer as `--scorer` names it. Nothing is loaded yet."""

    name: str
    """Its name in figures: a metric `score_NAME`."""
    place: str
    """A folder that transformers saved, `open_clip:ARCH:WEIGHTS`, or `cmd:PROGRAM …`."""


def parsed(text: str) -> Further:
    """Return a further scorer.

    Args:
        text: "NAME=PLACE", or a place alone, whose last part is the name.

    Raises:
        HarnessError: The place cannot be a scorer, or a program has no name.
    """
    name, equals, place = text.partition("=")
    if not equals or not re.fullmatch(r"\w+", name) or Path(text).exists():
        name, place = "", text
    if place.partition(":")[0] == KIND:
        if not name:
            raise HarnessError(f"--scorer {text} has no name; write NAME=, such as --scorer 'reward={text}'")
        check_command(f"--scorer {text}", place)
    else:
        check_scorer(place)
    return Further(name or re.sub(r"\W+", "_", Path(place).name).strip("_").lower(), place)


def load(further: Further, device: torch.device) -> Scores:
    """Load a further scorer. Raises HarnessError where it cannot be loaded or started."""
    if further.place.partition(":")[0] == KIND:
        return Program(f"--scorer {further.name}={further.place}", further.place)
    return Clip(load_scorer(further.place, device))


def load_all(
    places: Sequence[tuple[str, str]], device: torch.device, check: Callable[[Scorer], None]
) -> dict[str, Scores]:
    """Load further scorers.

    Args:
        places: Name and place of each, see `Further`.
        device: Where networks run.
        check: Refuses a CLIP that may not score these pictures.

    Returns:
        Name of the metric → scorer.

    Raises:
        HarnessError: One cannot be loaded or started, or is refused.
    """
    loaded = {PREFIX + name: load(Further(name, place), device) for name, place in places}
    for one in loaded.values():
        if isinstance(one, Clip):
            check(one.scorer)
    return loaded


def digest(loaded: Mapping[str, Scores]) -> str | None:
    """Return the digest of names and scorers, None where there are none."""
    return digests.of_value({name: one.digest for name, one in loaded.items()}) if loaded else None


class Clip:
    """A CLIP whose score is its logit: exp(logit scale) · cos, as PickScore has it (Kirstain et al., arXiv 2305.01569).

    CLIPs that were trained to the end have a scale of 100.
    """

    def __init__(self, scorer: Scorer) -> None:
        """Use a loaded scorer."""
        self.scorer = scorer
        scale = getattr(getattr(scorer, "model", None), "logit_scale", None)
        self._scale = 1.0 if scale is None else float(scale.detach().exp()) / 100

    @property
    def digest(self) -> str:
        """Return the scorer's digest."""
        return self.scorer.digest

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Return the logits; see `Scores`."""
        return self._scale * self.scorer.look(images, captions).scores
