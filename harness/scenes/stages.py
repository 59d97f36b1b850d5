"""The five trainings: what each learns from, its loss, and what it leaves behind. `train.py` runs them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, max_pool2d

from harness.scenes import judges, models
from harness.scenes.captions import Scene
from harness.scenes.diffusion import UNet, tokenize
from harness.scenes.stage import Stage


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
