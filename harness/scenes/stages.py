"""The five trainings: what each learns from, its loss, and what it leaves behind. `train.py` runs them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, max_pool2d, mse_loss

from harness.scenes import judges, models
from harness.scenes.captions import Scene
from harness.scenes.render import sample_batch


@dataclass
class Stage:
    """One training: `loss(step)` draws its own batch from the step's number, so that a resumed run sees new data."""

    name: str
    model: Any
    rate: float
    folder: Path
    device: torch.device
    seed: int
    batch: int
    splits: tuple[str, ...] = ("train",)
    twins: bool = False
    ema: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def data(self, step: int) -> tuple[Tensor, list[str], list[Scene]]:
        """Return the pictures in [-1, 1], captions and scenes of one step."""
        pixels, captions, scenes = sample_batch(self.batch, self.seed * 10**7 + step, self.splits, self.twins)
        return (pixels * 2 - 1).to(self.device), captions, scenes

    def groups(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return groups of parameters, each with its share of the learning rate."""
        return [(1.0, list(self.model.parameters()))]

    def loss(self, step: int) -> tuple[Tensor, str]:
        """Return the step's loss (a scalar) and a few words on how it goes."""
        raise NotImplementedError

    def finish(self, model: Any) -> None:
        """Write what the training leaves behind into `folder`."""
        raise NotImplementedError


class Autoencoder(Stage):
    """L1 and squared error, weighted where the picture changes: shapes are small and backgrounds easy.

    Three steps in four see a quarter of each picture, cut out around a place that changes; the fourth sees whole ones,
    so that borders and normalisation over the whole picture are learnt too.
    """

    WINDOW = 32

    def windows(self, pixels: Tensor, step: int) -> Tensor:
        """Cut one window `[3, 32, 32]` out of each picture, around a random pixel that differs from its neighbours."""
        generator = torch.Generator().manual_seed(step)
        places = (_change(pixels.cpu())[:, 0].flatten(1) > 0.2).float() + 1e-4
        picked = torch.multinomial(places, 1, generator=generator)[:, 0]
        side = pixels.shape[-1]
        corners = torch.stack([picked // side, picked % side], 1) - self.WINDOW // 2
        corners = corners.clamp(0, side - self.WINDOW) // 4 * 4
        cut = [
            p[:, y : y + self.WINDOW, x : x + self.WINDOW] for p, (y, x) in zip(pixels, corners.tolist(), strict=True)
        ]
        return torch.stack(cut)

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        pixels, _, _ = self.data(step)
        pixels = self.windows(pixels, step) if step % 4 else pixels[: self.batch // 2]
        posterior = self.model.encode(pixels).latent_dist
        drawn = self.model.decode(posterior.sample()).sample
        weight = 1 + 4 * (_change(pixels) > 0.2)
        error = ((drawn - pixels) * weight).abs().mean() + ((drawn - pixels).square() * weight).mean()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        return error + 2e-3 * kl, f"L1 {l1_loss(drawn, pixels).item():.4f} KL {kl.item():.2f}"

    @torch.no_grad()
    def finish(self, model: Any) -> None:
        """Fold the latents' mean and deviation per channel into the quantising convolutions, then save.

        A pipeline knows one `scaling_factor` only; after the fold every channel has mean 0 and deviation 1.
        """
        latents = torch.cat([model.encode(self.data(-1 - i)[0]).latent_dist.mean for i in range(16)])
        mean, deviation = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        channels = len(mean)
        before, after = model.quant_conv, model.post_quant_conv
        before.weight[:channels] /= deviation[:, None, None, None]
        before.bias[:channels] = (before.bias[:channels] - mean) / deviation
        before.bias[channels:] -= 2 * deviation.log()
        after.bias += after.weight[:, :, 0, 0] @ mean
        after.weight *= deviation[None, :, None, None]
        model.save_pretrained(self.folder / "pipeline" / "vae")


def _change(pixels: Tensor) -> Tensor:
    """Return by how much each pixel's 5×5 neighbourhood varies: `[n, 3, h, w]` → `[n, 1, h, w]`."""
    return (max_pool2d(pixels, 5, 1, 2) + max_pool2d(-pixels, 5, 1, 2)).amax(1, keepdim=True)


def contrast(image: Tensor, text: Tensor, scenes: list[Scene], log_scale: Tensor) -> tuple[Tensor, str]:
    """Symmetric contrastive loss of unit vectors `[n, d]`; captions that mean the same share the target evenly."""
    table = text @ image.T * log_scale.exp().clamp(max=100)
    meanings = [scene.meaning() for scene in scenes]
    index = {m: i for i, m in enumerate(dict.fromkeys(meanings))}
    group = torch.tensor([index[m] for m in meanings], device=table.device)
    same = group[:, None] == group[None, :]
    target = same / same.sum(1, keepdim=True)
    loss = (cross_entropy(table, target) + cross_entropy(table.T, target)) / 2
    hit = same.gather(1, table.argmax(1, keepdim=True)).float().mean()
    return loss, f"retrieved {hit.item():.3f} of {len(scenes)}"


class TextEncoder(Stage):
    """Contrastive, against a convolutional image tower that is thrown away.

    The last layer is dropped and the final norm kept, as Stable Diffusion 2 does with its OpenCLIP encoder.
    """

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        pixels, captions, scenes = self.data(step)
        tokens = tokenize(self.extra["tokenizer"], captions).to(self.device)
        text = self.model["text"](tokens).pooler_output
        unit = nn.functional.normalize
        image = unit(self.model["image"](pixels), dim=1)
        return contrast(image, unit(self.model["head"](text), dim=1), scenes, self.model["scale"].weight[0, 0])

    def finish(self, model: Any) -> None:
        """See `Stage.finish`."""
        text = copy.deepcopy(model["text"])
        layers = text.encoder.layers
        del layers[-1]
        text.config.num_hidden_layers = len(layers)
        text.save_pretrained(self.folder / "pipeline" / "text_encoder")


class ReaderStage(Stage):
    """Cross entropy of every attribute, on pictures with a little noise."""

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        pixels, _, scenes = self.data(step)
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(pixels.shape, generator=generator) * torch.rand(len(pixels), 1, 1, 1, generator=generator)
        target = judges.labels(scenes).to(self.device)
        _, logits = self.model(pixels + 0.08 * noise.to(self.device))
        losses = [cross_entropy(t, target[:, i], ignore_index=judges.IGNORED) for i, t in enumerate(logits)]
        exact = judges.correct(logits, target).all(1).float().mean()
        return torch.stack(losses).sum(), f"exact {exact.item():.3f}"

    def finish(self, model: Any) -> None:
        """Bring the features to unit variance, then save: FID is in squared units of them."""
        with torch.no_grad():
            features = torch.cat([model.trunk(self.data(-1 - i)[0]) for i in range(16)])
            model.scale.copy_(features.var(0).mean().rsqrt())
        judges.save_judge(model, self.folder / "judges" / "reader.safetensors")


class JudgeCLIPStage(Stage):
    """Contrastive; nothing of it is shared with the text encoder under test."""

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        pixels, captions, scenes = self.data(step)
        image = self.model.embed_image(pixels)
        text = self.model.embed_text(self.model.tokens(captions).to(self.device))
        return contrast(image, text, scenes, self.model.log_scale)

    def finish(self, model: Any) -> None:
        """See `Stage.finish`."""
        judges.save_judge(model, self.folder / "judges" / "clip.safetensors")


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


def build(name: str, preset: str, folder: Path, device: torch.device) -> Stage:
    """Return the stage called `name`, untrained, with its own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(1000 + STAGES.index(name))
        if name == "autoencoder":
            return Autoencoder(
                name, models.build_autoencoder(preset).to(device), 2e-3, folder, device, 1, 32, PICTURES, ema=0.998
            )
        if name == "text_encoder":
            tokenizer = models.build_tokenizer(folder / "pipeline" / "tokenizer")
            text = models.build_text_encoder(preset, tokenizer)
            scale = nn.Linear(1, 1, bias=False)
            nn.init.constant_(scale.weight, 2.7)
            head = nn.Linear(text.config.hidden_size, 128)
            parts = nn.ModuleDict({"text": text, "image": models.ImageTower(), "head": head, "scale": scale})
            extra = {"tokenizer": tokenizer}
            return TextEncoder(name, parts.to(device), 1e-3, folder, device, 2, 128, twins=True, extra=extra)
        if name == "reader":
            return ReaderStage(name, judges.Reader().to(device), 2e-3, folder, device, 3, 96, PICTURES)
        if name == "judge_clip":
            judge = judges.JudgeCLIP().to(device)
            return JudgeCLIPStage(name, judge, 2e-3, folder, device, 4, 192, PICTURES, twins=True)
        from transformers import CLIPTextModel

        # The fused attention of a CPU takes a second for the gradient that comes back from the U-Net.
        text = CLIPTextModel.from_pretrained(folder / "pipeline" / "text_encoder", attn_implementation="eager")
        parts = nn.ModuleDict({"unet": models.build_unet(preset), "text_encoder": text})
        return UNet(name, parts.to(device), 1e-3, folder, device, 5, 64, ema=0.999)


# What judges and autoencoder may see: everything but the captions kept apart for evaluation and calibration.
PICTURES = ("train", "combination")
STAGES = ("autoencoder", "text_encoder", "reader", "judge_clip", "unet")
