"""`sd2_untrained` has the shape of Stable Diffusion 2-base; the tests do not build its 4.9 GB."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from harness.surgery.layers import matrix, prunable
from harness.targets import sd2_untrained


@pytest.fixture(scope="module")
def components() -> dict[str, nn.Module]:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        return {
            "unet": UNet2DConditionModel(**sd2_untrained.UNET),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**sd2_untrained.TEXT_ENCODER)),
        }


# The published counts; layers and the share of linear ones are counted from the public configuration.
@pytest.mark.parametrize(
    ("component", "parameters", "layers", "linear", "share"),
    [("unet", 865_910_724, 282, 216, 0.348), ("text_encoder", 340_387_840, 138, 138, 0.850)],
)
def test_counts(components: Any, component: str, parameters: int, layers: int, linear: int, share: float) -> None:
    module = components[component]
    assert sum(p.numel() for p in module.parameters()) == parameters
    assert len(prunable(module, "all")) == layers
    weights = prunable(module, "linear")
    assert len(weights) == linear
    assert sum(matrix(layer).numel() for layer in weights.values()) / parameters == pytest.approx(share, abs=5e-4)


def test_the_studys_operating_point_is_a_fifth_of_the_parameters(components: Any) -> None:
    """47.5 % and 35 %: 38.5 % if every parameter counted, 20.1 % true zeros when linear layers are pruned."""
    sizes = {c: sum(p.numel() for p in m.parameters()) for c, m in components.items()}
    linear = {c: sum(matrix(x).numel() for x in prunable(m, "linear").values()) for c, m in components.items()}
    levels = {"unet": 0.35, "text_encoder": 0.475}
    total = sum(sizes.values())
    assert sum(levels[c] * sizes[c] for c in sizes) / total == pytest.approx(0.385, abs=5e-4)
    assert sum(levels[c] * linear[c] for c in sizes) / total == pytest.approx(0.201, abs=5e-4)
