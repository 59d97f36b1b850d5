"""DINOv2 as the features of FID, and DINOv2 similarity: true geometry, randomly initialised."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.metrics.dinov2 import similarity
from harness.metrics.scorers import check_features, load_extractor
from tests.metrics.samples import evidence, sample

CPU = torch.device("cpu")


def save(folder: Path, seed: int = 1) -> None:
    """Save a network with DINOv2's patches and 37 × 37 positions, which it interpolates to 16 × 16; it is narrow."""
    from transformers import Dinov2Config, Dinov2Model

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = Dinov2Config(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, image_size=518, patch_size=14)
        Dinov2Model(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dinov2")
    save(place)
    return place


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (3, 3, 40, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_features_are_the_class_token_of_the_network_itself(folder: Path, images: torch.Tensor) -> None:
    """Control: Pillow's resizing, and transformers' last hidden state, whose norm stands behind all layers."""
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(folder).eval()
    arrays = [
        Image.fromarray(image.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC) for image in images
    ]
    scaled = (numpy.stack(arrays) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.inference_mode():
        expected = model(torch.from_numpy(scaled).permute(0, 3, 1, 2).float()).last_hidden_state[:, 0]
    extractor = load_extractor(f"dinov2:{folder}", None, CPU)
    made = extractor.features(images)
    assert made.shape == (3, 32) and made.dtype == torch.float32
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(extractor.features([*images]), made)


def test_similarity_is_the_cosine(folder: Path, images: torch.Tensor) -> None:
    extractor = load_extractor(f"dinov2:{folder}", None, CPU)
    own, dense = extractor.features(images), torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    expected = 100 * cosine_similarity(own.double(), dense.double())
    assert similarity(own, dense).tolist() == pytest.approx(expected.tolist(), abs=1e-9)
    assert similarity(own, own).tolist() == [100.0] * 3 and 0 < expected.std() and expected.max() < 80
    values = METRICS["dinov2"].compute(sample(evidence(4, 0), evidence(4, 1)))
    assert values.figure.n == 4 and abs(values.figure.value) < 100
    with pytest.raises(HarnessError, match="there are 3 pictures and 2 dense ones"):
        similarity(own, dense[:2])


def test_other_weights_are_another_network(folder: Path, tmp_path: Path) -> None:
    save(tmp_path / "other", seed=2)
    save(tmp_path / "same", seed=1)
    keys = {
        load_extractor(f"dinov2:{place}", None, CPU).digest for place in (folder, tmp_path / "other", tmp_path / "same")
    }
    assert len(keys) == 2


def test_folders_without_dinov2_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"--features dinov2:nowhere: there is no folder nowhere"):
        check_features("dinov2:nowhere")
    with pytest.raises(HarnessError, match=r"--features 'dinov2:?' is unknown"):
        check_features("dinov2")
    config = tmp_path / "config.json"
    config.write_text('{"model_type": "clip"}')
    with pytest.raises(HarnessError, match=r"--features dinov2:.* holds no DINOv2; name a folder"):
        load_extractor(f"dinov2:{tmp_path}", None, CPU)
    config.write_text((folder / "config.json").read_text())
    state = load_file(folder / "model.safetensors")
    state["layernorm.weight"][3] = torch.nan
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(HarnessError, match=r"--features dinov2:.*layernorm\.weight"):
        load_extractor(f"dinov2:{tmp_path}", None, CPU)
