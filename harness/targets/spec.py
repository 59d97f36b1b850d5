"""A target before it is loaded: its name in ids, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Protocol:
    """How pictures are made from captions."""

    num_inference_steps: int
    """Denoising steps."""
    guidance_scale: float
    """Weight of classifier-free guidance; 1 or less switches guidance off."""
    latent_seed: int
    """Seed of the start noise; every caption has a generator of its own."""


@dataclass(frozen=True)
class TargetSpec:
    """A target by name. `resolve` makes it from a typed name. Nothing is loaded yet."""

    name: str
    """The name in ids, without "-" and "/"."""
    kind: Literal["built", "folder", "hub"]
    """"built": a name of `TARGETS`; "folder": a local pipeline that diffusers saved; "hub": an id on the Hub."""
    place: str
    """The name in `TARGETS`, the folder's absolute path, or the Hub id."""
    revision: str | None = None
    """Branch, tag or commit of a Hub id; None: the main branch."""
    dtype: str | None = None
    """"float32", "float16" or "bfloat16" for all components; None: as stored."""
    channels_last: bool = False
    """Whether convolutions use the memory layout channels_last."""
    weights: Path | None = None
    """For the target `scenes`: a folder that `train-scenes` wrote, in place of the shipped weights."""


# "scenes" is the protocol of the embedded model. All other targets use "pr", which is faster, or "paper", which is the
# reference study's.
PROTOCOLS = {
    "scenes": Protocol(num_inference_steps=8, guidance_scale=3.0, latent_seed=20241117),
    "pr": Protocol(num_inference_steps=20, guidance_scale=7.5, latent_seed=20241117),
    "paper": Protocol(num_inference_steps=50, guidance_scale=7.5, latent_seed=20241117),
}
