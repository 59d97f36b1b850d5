"""The training stage of the U-Net. It also trains the text encoder further."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from harness.scenes import models
from harness.scenes.stage import Stage


@dataclass
class _Pool:
    """A pool of encoded batches, with the models that encode them and the scheduler that adds noise."""

    vae: Any
    tokenizer: Any
    noise: Any
    empty: Tensor
    first: int
    next: int
    latents: Tensor
    tokens: Tensor


class UNet(Stage):
    """Trains the U-Net to predict v on latents, and the text encoder at `TEXT_SHARE` of the U-Net's learning rate.

    The latents come from a pool of encoded batches; every `STEPS_PER_REFILL` steps a new batch replaces the oldest.
    Times with much noise are drawn more often, because the layout of a picture is decided there. One caption in ten is
    replaced by the empty caption, for guidance.
    """

    TEXT_SHARE = 0.3
    POOL_BATCHES = 256
    STEPS_PER_REFILL = 4
    _pool: _Pool | None = None

    def groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """See `Stage.groups`."""
        text = list(self.model["text_encoder"].parameters())
        return [(1.0, list(self.model["unet"].parameters())), (self.TEXT_SHARE, text)]

    @torch.no_grad()
    def encode(self, step: int, vae: Any, tokenizer: Any) -> tuple[Tensor, Tensor]:
        """Return latents `[n, 4, 16, 16]` and token ids `[n, 24]` of a step's batch."""
        pixels, captions, _ = self.data(step)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        latents: Tensor = vae.encode(pixels).latent_dist.mean
        return latents, tokenize(tokenizer, captions).to(self.device)

    def fill_pool(self, step: int) -> _Pool:
        """Load the autoencoder and return the first pool of a run that begins at the given step."""
        from diffusers import AutoencoderKL, DDPMScheduler
        from transformers import CLIPTokenizer

        pipeline = self.folder / "pipeline"
        vae = AutoencoderKL.from_pretrained(pipeline / "vae").eval().to(self.device)
        tokenizer = CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
        vae = vae.to(memory_format=torch.channels_last)
        parts = [self.encode(step + i, vae, tokenizer) for i in range(self.POOL_BATCHES)]
        return _Pool(
            vae=vae,
            tokenizer=tokenizer,
            noise=DDPMScheduler.from_config(models.build_scheduler().config),
            empty=tokenize(tokenizer, [""]).to(self.device),
            first=step,
            next=step + self.POOL_BATCHES,
            latents=torch.cat([latents for latents, _ in parts]),
            tokens=torch.cat([tokens for _, tokens in parts]),
        )

    def refill(self, pool: _Pool) -> None:
        """Encode a new batch in place of the pool's oldest batch."""
        place = (pool.next - pool.first) % self.POOL_BATCHES * self.batch
        rows = slice(place, place + self.batch)
        pool.latents[rows], pool.tokens[rows] = self.encode(pool.next, pool.vae, pool.tokenizer)
        pool.next += 1

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        if self._pool is None:
            self._pool = self.fill_pool(step)
        elif step % self.STEPS_PER_REFILL == 0:
            self.refill(self._pool)
        generator = torch.Generator().manual_seed(self.seed * 10**7 + step)
        n, pool = self.batch, self._pool
        rows = torch.randint(len(pool.latents), (n,), generator=generator).to(self.device)
        dropped = (torch.rand(n, generator=generator) < 0.1).to(self.device)
        times = (1000 * torch.rand(n, generator=generator).sqrt()).long().to(self.device)
        clean = pool.latents[rows]
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        tokens = torch.where(dropped[:, None], pool.empty, pool.tokens[rows])
        states = self.model["text_encoder"](tokens).last_hidden_state
        noisy = pool.noise.add_noise(clean, noise, times)
        wanted = pool.noise.get_velocity(clean, noise, times)
        loss = mse_loss(self.model["unet"](noisy, times, states).sample, wanted)
        return loss, f"v error {loss.item():.4f}"

    def finish(self, model: Any) -> None:
        """See `Stage.finish`."""
        from diffusers import AutoencoderKL, StableDiffusionPipeline
        from transformers import CLIPTokenizer

        folder = self.folder / "pipeline"
        StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(folder / "vae"),
            text_encoder=copy.deepcopy(model["text_encoder"]).cpu(),
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            unet=copy.deepcopy(model["unet"]).cpu(),
            scheduler=models.build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)


def tokenize(tokenizer: Any, captions: list[str]) -> Tensor:
    """Return token ids `[n, 24]` of n captions, padded in the same way as the pipeline pads them."""
    options = {"padding": "max_length", "max_length": models.TOKENS, "truncation": True, "return_tensors": "pt"}
    ids: Tensor = tokenizer(captions, **options).input_ids
    return ids
