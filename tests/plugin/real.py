"""Real sessions of `pytest benchmarks` on small pipelines that the tests save: nothing is made up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.pipelines import save_clip_scorer, save_coco, save_pictures, seeded

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> None:
    """Save two pipelines, a scorer, annotations and reference pictures, and what is wrong with others."""
    for family in ("sd2", "sd3"):
        seeded(family).save_pretrained(folder / f"my-{family}", safe_serialization=True)
    # What the hub's cache holds of a pipeline that was fetched once.
    cached = folder / "cache" / "hub" / "models--nobody--tiny-sd"
    shutil.copytree(folder / "my-sd2", cached / "snapshots" / ("a" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    shutil.copytree(folder / "my-sd2", folder / "scenes")
    seeded("sd2").save_pretrained(folder / "pickled", safe_serialization=False)
    cut = folder / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copytree(folder / "my-sd2", folder / "cut")
    cut.write_bytes(cut.read_bytes()[:-100])
    (folder / "subset.json").write_text('{"captions": [["3", "1000"]], "digest": ""}')
    save_clip_scorer(folder / "scorer")
    save_coco(folder / "captions.json", 80)
    save_pictures(folder / "pictures", 40)


def arguments(place: Path, *options: str, target: str = "my-sd2") -> list[str]:
    """Return the command that measures a target of `place` with few steps and captions."""
    name = target if "/" in target or target == "scenes" else str(place / target)
    command = [sys.executable, "-m", "pytest", "benchmarks", f"--target={name}", "--steps=2", "--captions=8"]
    command += [f"--scorer={place / 'scorer'}", f"--coco-annotations={place / 'captions.json'}"]
    return [*command, f"--baselines={place / 'mine.json'}", f"--report={place / 'report'}", *options]


def gate(place: Path, *options: str, target: str = "my-sd2") -> subprocess.CompletedProcess[str]:
    """Run that command, outside CI. The hub cannot be reached."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(place / "cache")}
    command = arguments(place, *options, target=target)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
