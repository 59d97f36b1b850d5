"""The training of the U-Net and, with it, of the text encoder."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from harness.scenes import models
from harness.scenes.stage import Stage


class UNet(Stage):
    """Predict v on latents, together with the text encoder, which learns at `TEXT_SHARE` of the U-Net's rate.

    Latents come from a pool that takes in `data` batch by batch. Times are drawn with a density that rises with the
    noise, because what stands where is decided while there is much of it; one caption in ten is dropped, for guidance.
    """

    TEXT_SHARE = 0.3
    POOL_BATCHES = 256
    STEPS_PER_REFILL = 4

    def groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """See `Stage.groups`."""
        text = list(self.model["text_encoder"].parameters())
        return [(1.0, list(self.model["unet"].parameters())), (self.TEXT_SHARE, text)]

    @torch.no_grad()
    def encode(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the latents `[n, 4, 16, 16]` and token ids `[n, 24]` of `data(step)`."""
        pixels, captions, _ = self.data(step)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        latents: Tensor = self.extra["vae"].encode(pixels).latent_dist.mean
        return latents, tokenize(self.extra["tokenizer"], captions).to(self.device)

    def fill_pool(self, step: int) -> None:
        """Load the frozen autoencoder and encode the pool of a run that begins at `step`."""
        from diffusers import AutoencoderKL, DDPMScheduler
        from transformers import CLIPTokenizer

        pipeline = self.folder / "pipeline"
        vae = AutoencoderKL.from_pretrained(pipeline / "vae").eval().to(self.device)
        tokenizer = CLIPTokenizer.from_pretrained(pipeline / "tokenizer")
        self.extra |= {
            "vae": vae.to(memory_format=torch.channels_last),
            "tokenizer": tokenizer,
            "empty": tokenize(tokenizer, [""]).to(self.device),
            "noise": DDPMScheduler.from_config(models.build_scheduler().config),
            "first": step,
            "next": step + self.POOL_BATCHES,
        }
        parts = [self.encode(step + i) for i in range(self.POOL_BATCHES)]
        self.extra["latents"] = torch.cat([latents for latents, _ in parts])
        self.extra["tokens"] = torch.cat([tokens for _, tokens in parts])

    def refill(self) -> None:
        """Replace the oldest batch of the pool."""
        fresh = self.extra["next"]
        place = (fresh - self.extra["first"]) % self.POOL_BATCHES * self.batch
        rows = slice(place, place + self.batch)
        self.extra["latents"][rows], self.extra["tokens"][rows] = self.encode(fresh)
        self.extra["next"] = fresh + 1

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        if "latents" not in self.extra:
            self.fill_pool(step)
        elif step % self.STEPS_PER_REFILL == 0:
            self.refill()
        generator = torch.Generator().manual_seed(self.seed * 10**7 + step)
        n, pool = self.batch, self.extra["latents"]
        rows = torch.randint(len(pool), (n,), generator=generator).to(self.device)
        dropped = (torch.rand(n, generator=generator) < 0.1).to(self.device)
        times = (1000 * torch.rand(n, generator=generator).sqrt()).long().to(self.device)
        clean = pool[rows]
        noise = torch.randn(clean.shape, generator=generator).to(self.device)
        tokens = torch.where(dropped[:, None], self.extra["empty"], self.extra["tokens"][rows])
        states = self.model["text_encoder"](tokens).last_hidden_state
        noisy = self.extra["noise"].add_noise(clean, noise, times)
        wanted = self.extra["noise"].get_velocity(clean, noise, times)
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
    """Return token ids `[n, 24]`, padded as the pipeline pads them."""
    options = {"padding": "max_length", "max_length": models.TOKENS, "truncation": True, "return_tensors": "pt"}
    ids: Tensor = tokenizer(captions, **options).input_ids
    return ids
