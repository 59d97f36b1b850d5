"""The five training stages: the data, the loss and the result of each. `train.py` runs them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, l1_loss, max_pool2d

from harness.loaded import Fit, check_finite
from harness.scenes import judges, models
from harness.scenes.captions import Scene
from harness.scenes.diffusion import UNet, tokenize
from harness.scenes.stage import Stage


class Autoencoder(Stage):
    """Trains the autoencoder on absolute and squared error. Edges weigh more: shapes are small, backgrounds are easy.

    Three steps in four see one window of each picture, cut around an edge. The fourth step sees whole pictures, so that
    the model also learns borders and the normalisation over a whole picture.
    """

    WINDOW = 32

    def windows(self, pixels: Tensor, step: int) -> Tensor:
        """Cut a window `[3, 32, 32]` out of each picture, around a random pixel that differs from its neighbours."""
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
        """See `Stage.finish`. First normalise the latents to mean 0 and standard deviation 1 in every channel.

        The convolutions around the latents absorb the change, because a pipeline has a single `scaling_factor`.
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
    """Return how far values differ within 5×5 pixels around every pixel: `[n, 3, h, w]` → `[n, 1, h, w]`."""
    return (max_pool2d(pixels, 5, 1, 2) + max_pool2d(-pixels, 5, 1, 2)).amax(1, keepdim=True)


def contrast(image: Tensor, text: Tensor, scenes: list[Scene], log_scale: Tensor) -> tuple[Tensor, str]:
    """Return the symmetric contrastive loss of n pictures and their captions.

    Args:
        image: Unit vectors of the pictures, `[n, d]`.
        text: Unit vectors of the captions, `[n, d]`.
        scenes: The n scenes. Captions with the same meaning share the target evenly.
        log_scale: Logarithm of the factor on cosines, a scalar.

    Returns:
        The loss, a scalar, and a few words for the progress line.
    """
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
    """Trains the text encoder contrastively, together with an image tower that is not saved.

    The saved encoder lacks the last layer and keeps the final norm, as Stable Diffusion 2 does with OpenCLIP's encoder.
    """

    def loss(self, step: int) -> tuple[Tensor, str]:
        """See `Stage.loss`."""
        pixels, captions, scenes = self.data(step)
        tokens = tokenize(self.tokenizer, captions).to(self.device)
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
    """Trains the reader: cross entropy of every attribute, on pictures with a little noise."""

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
        """See `Stage.finish`. First scale the features to unit variance: FID is in their unit squared."""
        with torch.no_grad():
            features = torch.cat([model.trunk(self.data(-1 - i)[0]) for i in range(16)])
            model.scale.copy_(features.var(0).mean().rsqrt())
        judges.save_judge(model, self.folder / "judges" / "reader.safetensors")


class JudgeCLIPStage(Stage):
    """Trains the scorer CLIP contrastively. It shares no weights with the text encoder under test."""

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
    """Return an untrained stage.

    Args:
        name: One of `STAGES`.
        preset: A name of `models.PRESETS`.
        folder: The weights folder that it writes into.
        device: Where it trains.
    """
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
            parts = parts.to(device)
            return TextEncoder(name, parts, 1e-3, folder, device, 2, 128, twins=True, tokenizer=tokenizer)
        if name == "reader":
            return ReaderStage(name, judges.Reader().to(device), 2e-3, folder, device, 3, 96, PICTURES)
        if name == "judge_clip":
            judge = judges.JudgeCLIP().to(device)
            return JudgeCLIPStage(name, judge, 2e-3, folder, device, 4, 192, PICTURES, twins=True)
        from transformers import CLIPTextModel

        # The fused attention on CPUs needs a second for the gradient from the U-Net.
        place = folder / "pipeline" / "text_encoder"
        text, info = CLIPTextModel.from_pretrained(
            place, attn_implementation="eager", ignore_mismatched_sizes=True, output_loading_info=True
        )
        Fit.of(info).check(str(place))
        check_finite({"": text}, str(place), "train the text encoder again")
        parts = nn.ModuleDict({"unet": models.build_unet(preset), "text_encoder": text})
        return UNet(name, parts.to(device), 1e-3, folder, device, 5, 64, ema=0.999)


# Splits for the scorers and the autoencoder: all scenes that are not kept for evaluation or calibration.
PICTURES = ("train", "combination")
STAGES = ("autoencoder", "text_encoder", "reader", "judge_clip", "unet")
