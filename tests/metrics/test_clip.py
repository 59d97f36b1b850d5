"""CLIP score against torchmetrics, with the network of `scenes` in the place of OpenAI's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.multimodal.clip_score import CLIPScore

from harness.metrics.clip import clip_scores
from harness.metrics.scorers import load_scorer
from harness.metrics.scorers.scenes import ScenesScorer
from harness.scenes.captions import held_out
from harness.scenes.render import render


def test_clip_score_equals_torchmetrics() -> None:
    scorer = load_scorer("scenes", torch.device("cpu"))
    assert isinstance(scorer, ScenesScorer)
    network = scorer.clip
    captions, scenes = zip(*held_out()[:6], strict=True)
    images = (render([*scenes], 0) * 255).round().to(torch.uint8)

    class Model(nn.Module):
        config = SimpleNamespace(text_config=SimpleNamespace(max_position_embeddings=10_000))

        def get_image_features(self, pixels: Tensor) -> Tensor:
            return 3 * network.embed_image(pixels)

        def get_text_features(self, tokens: Tensor, mask: Tensor) -> Tensor:
            return 2 * network.embed_text(tokens)

    def processor(text: Any = None, images: Any = None, **_: object) -> dict[str, Tensor]:
        if images is not None:
            return {"pixel_values": torch.stack(images).float() / 127.5 - 1}
        tokens = network.tokens(text)
        return {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}

    metric = CLIPScore(model_name_or_path=lambda: (Model(), processor))
    with torch.inference_mode():
        metric.update(list(images), [*captions])
    ours = scorer.look(images, captions).scores
    assert ours.mean().item() == pytest.approx(float(metric.compute()), abs=1e-4) and ours.mean() > 80
    # Nothing is clamped.
    assert clip_scores(torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, -0.8]])).tolist() == pytest.approx([100, -80])
