"""The shipped weights: checked byte by byte, loadable without us, in one dtype, small enough."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness import digests
from harness.engine import Engine
from harness.errors import HarnessError
from harness.scenes.weights import PIPELINE, WEIGHTS, verified
from harness.targets.base import choose_device, load


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


def test_shipped_files_are_as_promised_and_small() -> None:
    assert set(verified()) == {"pipeline", "judges", "reference"}
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*") if p.is_file()) <= 40e6


def test_a_changed_byte_is_refused_by_name(copy: Path) -> None:
    path = copy / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=r"unet/diffusion_pytorch_model.safetensors has changed.*git checkout"):
        verified(copy)


def test_missing_and_foreign_files_are_refused(copy: Path) -> None:
    (copy / "judges" / "clip.safetensors").rename(copy / "judges" / "other.safetensors")
    with pytest.raises(HarnessError, match=r"clip.safetensors is missing"):
        verified(copy)
    (copy / "judges" / "other.safetensors").rename(copy / "judges" / "clip.safetensors")
    (copy / "judges" / "more.json").touch()
    with pytest.raises(HarnessError, match=r"more.json is not in digests.json"):
        verified(copy)
    with pytest.raises(HarnessError, match=r"digests.json cannot be read"):
        verified(copy / "judges")


def test_sizes_and_shapes(engine: Engine) -> None:
    parts = engine.target.components
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert count["unet"] >= 3_000_000 and count["text_encoder"] >= 1_000_000
    kinds = {type(m) for m in parts["unet"].modules()}
    assert {torch.nn.Conv2d, torch.nn.Linear} <= kinds
    assert parts["text_encoder"].config.eos_token_id != 2


def test_other_weights_are_another_workload(engine: Engine, copy: Path) -> None:
    dense = engine.dense_case()
    same = Engine("scenes", "cpu", len(engine.captions), 2, weights=copy)
    assert same.workload(dense) == engine.workload(dense)
    card = copy / "pipeline" / "unet" / "config.json"
    card.write_text(card.read_text() + " ")
    other = Engine("scenes", "cpu", len(engine.captions), 2, weights=copy)
    assert other.workload_key(dense) != engine.workload_key(dense)


def test_diffusers_loads_it_without_us(tmp_path: Path) -> None:
    code = f"""
import sys, torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({str(PIPELINE)!r})
assert {{pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype}} == {{torch.float32}}
picture = pipeline("a large red circle on a white background", height=64, width=64, num_inference_steps=2).images[0]
assert picture.size == (64, 64)
assert not any(name.split(".")[0] in ("harness", "pruners") for name in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_unknown_target_and_device() -> None:
    with pytest.raises(HarnessError, match="did you mean scenes"):
        load("scene", torch.device("cpu"))
    with pytest.raises(HarnessError, match="cannot be used here"):
        choose_device("cuda:99")
    with pytest.raises(HarnessError, match="cannot be used here"):
        choose_device("gpu")


def test_the_digest_of_tensors_is_of_every_kind() -> None:
    found = {
        digests.of_tensors([("a", tensor)])
        for tensor in (
            torch.tensor(3), torch.tensor(4), torch.tensor([3]), torch.tensor(3.0, dtype=torch.bfloat16),
            torch.zeros(0), torch.zeros(2, 0), torch.tensor(True),
        )
    }  # fmt: skip
    assert len(found) == 7
