"""The workload and the machine behind a figure. The two keys of a baseline are digests of these facts."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from harness import digests


@dataclass(frozen=True)
class Stack:
    """The machine and software that a figure was measured on.

    Two stacks may give different pictures although both are right.
    """

    device: str
    """The name of the GPU, or "cpu"."""
    torch: str
    """Version without the build: builds of one version (`+cpu`) count as equal."""
    diffusers: str
    """Version."""
    transformers: str
    """Version."""
    dtype: str
    """The dtype of the denoiser, such as "float32"."""
    memory_format: str
    """"contiguous" or "channels_last"."""
    attention: str
    """The names of the attention processors, joined by ", "."""
    cpu: str = ""
    """The instructions that torch uses on a CPU, such as "AVX512"; "" on a GPU, and where nobody recorded it."""

    def differences(self, other: Stack) -> tuple[str, ...]:
        """Return the names of the facts that differ. A fact that one side did not record counts as equal."""
        pairs = ((part.name, getattr(self, part.name), getattr(other, part.name)) for part in fields(self))
        return tuple(name for name, own, theirs in pairs if own and theirs and own != theirs)

    @property
    def key(self) -> str:
        """Return the first 16 digits of the digest of all fields."""
        return digests.of_value(asdict(self))[:16]


@dataclass(frozen=True)
class Conditions:
    """The stack, and settings that move figures by rounding only."""

    stack: Stack
    """Device, versions and numerics."""
    threads: int
    """CPU threads that torch uses."""
    cores: int
    """CPU cores of the machine."""
    batch_size: int
    """The requested number of pictures generated at once."""
    torch_build: str
    """The full version of torch."""


@dataclass(frozen=True)
class WorkloadFacts:
    """The facts that must be equal for two runs of a case to compare.

    Code, masks and pruned weights are not among them: the gate is there to see their changes.
    """

    target: str
    """The target's name in ids."""
    model: str
    """Digest of the dense weights and configurations."""
    captions: str
    """Digest of the captions, in order."""
    n: int
    """Number of captions."""
    num_inference_steps: int
    """Denoising steps."""
    guidance_scale: float
    """Weight of classifier-free guidance."""
    latent_seed: int
    """Seed of the start noise."""
    scheduler: str
    """Digest of the scheduler's class and configuration."""
    scorer: str
    """Digest of the network that scores pictures."""
    features: str
    """Digest of the network whose features FID and KID use."""
    reference: str | None
    """Digest of the reference pictures, None where there are none."""
    calibration: str | None = None
    """Digest of the calibration captions, None for cases that are not calibrated."""
    further: str | None = None
    """Digest of the names and networks of further scorers, None where there are none."""

    @property
    def key(self) -> str:
        """Return the first 16 digits of the digest of all fields."""
        # JSON may give back 3.0 where 3 was written. Both must have one key.
        facts = asdict(self) | {"guidance_scale": float(self.guidance_scale)}
        if self.further is None:
            # Most runs have no further scorer, and the key of their baselines does not know the field.
            del facts["further"]
        return digests.of_value(facts)[:16]
