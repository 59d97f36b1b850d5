"""The shipped weights: checked byte by byte, signed part by part, loadable without this project, small enough."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.case import Case
from harness.errors import HarnessError
from harness.execution.bench import Workbench
from harness.execution.executor import Setup
from harness.scenes.weights import DIGESTS, PIPELINE, WEIGHTS, check, sign, verified
from harness.workloads.scenes import scenes

UNET = Path("pipeline") / "unet" / "diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_shipped_files_are_as_promised_and_small() -> None:
    assert set(verified()) == {"pipeline", "judges", "reference"}
    assert sum(p.stat().st_size for p in WEIGHTS.rglob("*") if p.is_file()) <= 40e6


def test_a_changed_byte_is_refused_by_name(copy: Path) -> None:
    flip(copy / UNET)
    with pytest.raises(HarnessError, match=r"unet/diffusion_pytorch_model.safetensors has changed.*git checkout"):
        verified(copy)
    assert set(check(copy, ("judges",))) == {"judges"}


def test_missing_and_foreign_files_are_refused(copy: Path) -> None:
    (copy / "judges" / "clip.safetensors").rename(copy / "judges" / "other.safetensors")
    with pytest.raises(HarnessError, match=r"clip.safetensors is missing"):
        verified(copy)
    (copy / "judges" / "other.safetensors").rename(copy / "judges" / "clip.safetensors")
    (copy / "judges" / "more.json").touch()
    with pytest.raises(HarnessError, match=r"more.json is not in digests.json"):
        verified(copy)


@pytest.mark.parametrize("content", [None, "", "[1]", '{"judges/clip.safetensors": 3}'])
def test_a_damaged_list_of_digests_is_one_message(content: str | None, copy: Path) -> None:
    (copy / DIGESTS).unlink()
    if content is not None:
        (copy / DIGESTS).write_text(content)
    with pytest.raises(HarnessError, match=r"digests.json cannot be read"):
        verified(copy)


def test_signing_records_one_part_and_leaves_the_others(copy: Path) -> None:
    before = json.loads((copy / DIGESTS).read_text())
    flip(copy / "reference" / "reference.safetensors")
    sign(copy, "reference")
    after = json.loads((copy / DIGESTS).read_text())
    assert list(after) == list(before)
    assert [name for name in after if after[name] != before[name]] == ["reference/reference.safetensors"]
    verified(copy)


def test_signing_refuses_a_change_in_another_part(copy: Path) -> None:
    before = (copy / DIGESTS).read_bytes()
    flip(copy / UNET)
    with pytest.raises(HarnessError, match=r"unet/diffusion_pytorch_model.safetensors has changed"):
        sign(copy, "reference")
    (copy / UNET).unlink()
    with pytest.raises(HarnessError, match=r"unet/diffusion_pytorch_model.safetensors is missing"):
        sign(copy, "reference")
    assert (copy / DIGESTS).read_bytes() == before


def test_signing_records_no_foreign_file_of_another_part(copy: Path) -> None:
    (copy / "pipeline" / "more.json").touch()
    sign(copy, "reference")
    assert "pipeline/more.json" not in json.loads((copy / DIGESTS).read_text())
    with pytest.raises(HarnessError, match=r"more.json is not in digests.json"):
        verified(copy)


def test_signing_starts_a_list_and_knows_three_parts(copy: Path, tmp_path: Path) -> None:
    (copy / DIGESTS).unlink()
    sign(copy, "judges")
    assert {name.partition("/")[0] for name in json.loads((copy / DIGESTS).read_text())} == {"judges"}
    with pytest.raises(HarnessError, match="did you mean pipeline"):
        sign(copy, "pipelines")
    with pytest.raises(HarnessError, match="judges holds no files"):
        sign(tmp_path, "judges")


def test_sizes_and_shapes(bench: Workbench) -> None:
    parts = bench.target.components
    count = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    assert count["unet"] >= 3_000_000 and count["text_encoder"] >= 1_000_000
    kinds = {type(m) for m in parts["unet"].modules()}
    assert {torch.nn.Conv2d, torch.nn.Linear} <= kinds
    assert parts["text_encoder"].config.eos_token_id != 2


def test_other_weights_are_another_workload(bench: Workbench, copy: Path) -> None:
    def key(weights: Path | None) -> str:
        return Workbench(Setup(scenes(64, weights), "cpu", 2)).facts(Case("scenes")).key

    assert key(copy) == key(None) == bench.facts(Case("scenes")).key
    card = copy / "pipeline" / "unet" / "config.json"
    card.write_text(card.read_text() + " ")
    sign(copy, "pipeline")
    assert key(copy) != key(None)


def test_diffusers_loads_it_without_this_project(tmp_path: Path) -> None:
    code = f"""
import sys, torch
from diffusers import StableDiffusionPipeline
pipeline = StableDiffusionPipeline.from_pretrained({str(PIPELINE)!r})
assert {{pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype}} == {{torch.float32}}
picture = pipeline("a large red circle on a white background", height=64, width=64, num_inference_steps=2).images[0]
assert picture.size == (64, 64)
assert not any(name.split(".")[0] in ("harness", "pruners") for name in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
