"""The gate with a scorer of open_clip and Inception's features, from the command line to a green run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines import save_coco, save_pictures, seeded
from tests.vision.networks import ARCHITECTURE

pytest.importorskip("open_clip", reason="needs the extra `vision`: make test-vision")
pytest.importorskip("torch_fidelity", reason="needs the extra `vision`: make test-vision")

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import tests.vision.operators, runpy, sys; sys.argv = {list(arguments)!r}; "]
    command[-1] += f"runpy.run_module({arguments[0]!r}, run_name='__main__', alter_sys=True)"
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_from_pictures_to_a_green_run(place: Path, tmp_path: Path) -> None:
    seeded("sd2").save_pretrained(tmp_path / "my-sd2", safe_serialization=True)
    save_coco(tmp_path / "captions.json", 30)
    save_pictures(tmp_path / "pictures", 12)
    features = f"--features=inception:{place / 'inception.pth'}"
    kept = tmp_path / "kept.safetensors"
    made = run("harness", "reference", "--images", str(tmp_path / "pictures"), "--out", str(kept), features)
    assert made.returncode == 0, made.stdout + made.stderr

    options = ["pytest", "benchmarks", f"--target={tmp_path / 'my-sd2'}", "--steps=1", "--captions=4"]
    options += [f"--coco-annotations={tmp_path / 'captions.json'}", f"--reference={kept}", "-k=unet-magnitude-all-0.30"]
    options += [f"--baselines={tmp_path / 'mine.json'}", f"--report={tmp_path / 'report'}", "--tier=full"]
    scorer = f"--scorer=open_clip:{ARCHITECTURE}:{place / 'clip.safetensors'}"
    stored_run = run(*options, scorer, features, "--update-baselines", "--baseline-reason=first")
    assert stored_run.returncode == 0, stored_run.stdout + stored_run.stderr
    stored = json.loads((tmp_path / "mine.json").read_text())
    (entry,) = stored["cases"]["my_sd2-unet-magnitude-all-0.30"].values()
    assert entry["quality"].keys() == {"fid", "fid_dense", "kid", "clip", "drift"}
    (workload,) = stored["workloads"].values()
    assert workload["features"] != workload["scorer"]
    again = run(*options, scorer, features, "--batch-size=3")
    assert again.returncode == 0 and "PASS" in again.stdout, again.stdout + again.stderr
