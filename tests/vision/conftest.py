"""Networks of the true shape with random weights, and pictures: nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

import tests.vision.operators  # noqa: F401
from tests.vision import networks


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights: clip.safetensors (open_clip, ViT-B-32-quickgelu), clip/ (the same, transformers), inception.pth."""
    folder = tmp_path_factory.mktemp("vision")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        networks.save_clips(folder / "clip.safetensors", folder / "clip")
        networks.save_inception(folder / "inception.pth")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders of 24 PNG files, 96 by 80: blocks of colour, and the same kind with other colours."""
    rng = numpy.random.default_rng(0)
    folders = []
    for name, low in (("real", 0), ("made", 60)):
        folder = tmp_path_factory.mktemp(name)
        for i in range(24):
            blocks = rng.integers(low, 256, (rng.integers(1, 9), rng.integers(1, 9), 3), dtype=numpy.uint8)
            Image.fromarray(blocks).resize((96, 80), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
        folders.append(folder)
    return folders[0], folders[1]
