"""`--target FOLDER`: any diffusers pipeline with COCO captions, from the command line to a verdict and a green run."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipelines import save_clip_judge, save_coco, save_pictures, seeded

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def not_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines are written here, which is refused in CI."""
    monkeypatch.delenv("CI", raising=False)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two pipelines, a scorer, annotations and reference pictures."""
    found = tmp_path_factory.mktemp("external")
    for family in ("sd2", "sd3"):
        seeded(family).save_pretrained(found / f"my-{family}", safe_serialization=True)
    # What the hub's cache holds of a pipeline that was fetched once.
    cached = found / "cache" / "hub" / "models--nobody--tiny-sd"
    seeded("sd2").save_pretrained(cached / "snapshots" / ("a" * 40), safe_serialization=True)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    shutil.copytree(found / "my-sd2", found / "scenes")
    seeded("sd2").save_pretrained(found / "pickled", safe_serialization=False)
    cut = found / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copytree(found / "my-sd2", found / "cut")
    cut.write_bytes(cut.read_bytes()[:-100])
    (found / "subset.json").write_text('{"captions": [["3", "1000"]], "digest": ""}')
    save_clip_judge(found / "scorer")
    save_coco(found / "captions.json", 80)
    save_pictures(found / "pictures", 40)
    return found


def arguments(place: Path, *options: str, target: str = "my-sd2") -> list[str]:
    name = target if "/" in target or target == "scenes" else str(place / target)
    found = [sys.executable, "-m", "pytest", "benchmarks", f"--target={name}", "--steps=2", "--captions=8"]
    found += [f"--scorer={place / 'scorer'}", f"--coco-annotations={place / 'captions.json'}"]
    return [*found, f"--baselines={place / 'mine.json'}", f"--report={place / 'report'}", *options]


def gate(place: Path, *options: str, target: str = "my-sd2") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(place / "cache")}
    command = arguments(place, *options, target=target)
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_from_annotations_to_a_green_run(place: Path) -> None:
    paper = ("--protocol=paper", "--captions=32", "--steps=4", f"--reference={place / 'pictures'}")
    paper += ("--tier=full", "-k", "linear and (magnitude-linear-0.50 or wanda-linear-0.30 or 0.475+0.35)")
    found = gate(place, *paper, "--update-baselines", "--baseline-reason=first")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "my_sd2-both-magnitude-linear-0.475+0.35" in found.stdout
    stored = json.loads((place / "mine.json").read_text())
    cases = stored["cases"]
    assert {"my_sd2-text_encoder-magnitude-linear-0.50", "my_sd2-unet-wanda-linear-0.30"} <= cases.keys()
    (entry,) = cases["my_sd2-unet-wanda-linear-0.30"].values()
    assert (
        entry["quality"].keys() == {"fid", "fid_dense", "kid", "clip", "drift"} and entry["quality"]["clip"]["n"] == 32
    )
    assert {w["protocol"]["num_inference_steps"] for w in stored["workloads"].values()} == {4}
    again = gate(place, *paper)
    assert again.returncode == 0 and "PASS" in again.stdout, again.stdout + again.stderr
    assert "FID            KID     CLIP score" in again.stdout
    other = gate(place, *paper, "--steps=3")
    assert other.returncode == 1 and "NOT COMPARED" in other.stdout


def test_a_transformer_with_three_text_encoders(place: Path) -> None:
    only = ("--tier=full", "-rs", "-k", "magnitude-linear-0.50 or dense or study-c2")
    update = ("--update-baselines", "--baseline-reason=first")
    found = gate(place, *only, *update, target="my-sd3")
    assert found.returncode == 0, found.stdout + found.stderr
    names = ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer")
    assert all(f"my_sd3-{name}-magnitude-linear-0.50" in found.stdout for name in names)
    assert "the run lacks 13 of 15 cases, such as my_sd3-transformer-magnitude-linear-0.10 (--tier full)" in " ".join(
        found.stdout.split()
    )
    assert gate(place, *only, target="my-sd3").returncode == 0


def test_a_claim_about_pictures_wants_some(place: Path) -> None:
    only = ("--tier=full", "-rs", "-k", "dense or both-magnitude-linear-0.475+0.35 or study-c3")
    found = gate(place, *only, "--update-baselines", "--baseline-reason=x", f"--baselines={place / 'none.json'}")
    said = " ".join(found.stdout.split())
    assert found.returncode == 0 and "it is about clip and fid, and FID is to pictures: give --reference" in said
    assert "study-c3-is-38.5-of-parameters" in said and "REFUTED, no baselines of all its cases" in said


def test_a_pipeline_of_the_hub_is_named_by_its_id(place: Path) -> None:
    found = gate(place, "-k", "dense", "--update-baselines", "--baseline-reason=x", target="nobody/tiny-sd")
    assert found.returncode == 0 and "tiny_sd-none-dense-none-0.00" in found.stdout, found.stdout + found.stderr
    found = gate(place, "-k", "dense", "--revision=abc", target="nobody/tiny-sd")
    assert found.returncode == 4 and "cannot be fetched from the hub" in found.stderr


def test_several_targets_in_one_run(place: Path, tmp_path: Path) -> None:
    path = f"--baselines={tmp_path / 'mine.json'}"
    both = ("-k", "dense", f"--target={place / 'my-sd3'}", path)
    found = gate(place, *both, "--update-baselines", "--baseline-reason=x")
    assert found.returncode == 0, found.stdout + found.stderr
    assert {"my_sd2-none-dense-none-0.00", "my_sd3-none-dense-none-0.00"} == json.loads(
        (tmp_path / "mine.json").read_text()
    )["cases"].keys()
    assert (place / "report" / "contact-my_sd3-none-dense-none.png").exists()
    found = gate(place, "-k", "unet-magnitude-all-0.50", "--target=scenes", "--collect-only", "-q")
    listed = [line for line in found.stdout.splitlines() if "::test_quality" in line]
    assert ["my_sd2-unet" in listed[0], "scenes-unet" in listed[1]] == [True, True] and len(listed) == 2
    found = gate(place, "-k", "dense", f"--target={place / 'my-sd2'}")
    assert found.returncode == 4 and "two targets would be called my_sd2" in found.stdout + found.stderr
    found = gate(place, "-k", "dense", target="scenes")
    assert found.returncode == 4 and "is of a folder, scenes has its own" in found.stdout + found.stderr


def test_reference_statistics_are_those_of_the_pictures(place: Path, tmp_path: Path) -> None:
    from harness.__main__ import main

    kept = tmp_path / "reference.safetensors"
    measure = ["reference", "--images", str(place / "pictures"), "--out", str(kept)]
    assert main([*measure, "--scorer", str(place / "scorer")]) == 0
    only = ("-k", "dense", "--update-baselines", "--baseline-reason=x")
    figures = []
    for i, reference in enumerate((place / "pictures", kept)):
        path = tmp_path / f"{i}.json"
        assert gate(place, *only, f"--reference={reference}", f"--baselines={path}").returncode == 0
        (entry,) = json.loads(path.read_text())["cases"]["my_sd2-none-dense-none-0.00"].values()
        figures.append([entry["quality"][name]["value"] for name in ("fid", "kid")])
    assert figures[0] == pytest.approx(figures[1], rel=1e-9) and figures[0][0] > 0
    save_clip_judge(tmp_path / "other", seed=2)
    found = gate(place, "-k", "dense", f"--reference={kept}", f"--scorer={tmp_path / 'other'}")
    assert found.returncode != 0 and "was measured with another scorer" in found.stdout + found.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coco-annotations=nowhere.json"], "--coco-annotations nowhere.json does not exist"),
        (["--caption-file=README.md"], "give --coco-annotations FILE or --caption-file FILE"),
        (["--scorer=docs"], "holds no CLIP"),
        (["--scorer=open_clp:ViT-B-32:laion2b"], "there is no scorer 'open_clp', wanted a folder or open_clip:ARCH"),
        (["--scorer=open_clip:ViT-B-32:nowhere.safetensors"], "the weights nowhere.safetensors do not exist"),
        (["--features=inceptions"], "did you mean inception"),
        (["--reference=docs/ci.md"], "is neither a folder of pictures nor a file"),
        (["--reference=benchmarks"], "holds 0 pictures"),
        (["--captions=161"], "has 160 captions, --captions asks for 161"),
        (["--captions=80", "-k", "wanda"], "has no caption left to calibrate on"),
        (["--reference="], "--reference: is empty, wanted a file or folder"),
        (["--target={place}/scenes"], "would be called scenes in the results, like the target that is built here"),
        (["--steps=0"], "--steps is 0"),
        (["--protocol=papers"], "invalid choice: 'papers'"),
        (["--target=docs"], "has no model_index.json"),
        (["--target={place}/pickled"], "has its weights as a pickle"),
        (["--target={place}/cut"], "is cut short or no safetensors file"),
        (["--caption-subset={place}/subset.json"], "lacks 1 of the 1 captions"),
        (["--target=scnes"], "did you mean scenes"),
        (["--target=./nowhere"], "is not a folder"),
        (["--target=nobody/nothing"], "nobody/nothing cannot be fetched from the hub"),
        (["--revision=abc"], "--revision is of a pipeline on the hub"),
    ],
)
def test_what_is_wrong_is_one_message(place: Path, options: list[str], message: str) -> None:
    found = gate(place, "-k", "dense", *(option.format(place=place) for option in options))
    assert found.returncode == 4 and message in found.stdout + found.stderr
    assert "Traceback" not in found.stdout + found.stderr


def test_a_scorer_that_is_the_text_encoder_under_test_is_refused(place: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    save_clip_judge(tmp_path / "same")
    weights = load_file(tmp_path / "same" / "model.safetensors")
    encoder = load_file(place / "my-sd2" / "text_encoder" / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    weights[name] = next(v for k, v in encoder.items() if k.endswith("token_embedding.weight")).to(torch.float32)
    save_file(weights, tmp_path / "same" / "model.safetensors", {"format": "pt"})
    found = gate(place, "-k", "dense", f"--scorer={tmp_path / 'same'}")
    assert found.returncode == 4 and "give a CLIP of another family" in found.stdout + found.stderr


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(place: Path, tmp_path: Path) -> None:
    options = ("-k", "dense or unet-magnitude-all-0.30 or unet-wanda-all", "--tier=full", "--batch-size=2")
    options += ("--update-baselines", "--baseline-reason=x")

    def figures(path: Path) -> object:
        cases = json.loads(path.read_text())["cases"]
        return {case: {key: e["quality"] for key, e in by.items()} for case, by in cases.items()}

    def batches() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "store").glob("*.batches/*/*.safetensors")}

    assert gate(place, *options, f"--baselines={tmp_path / 'whole.json'}").returncode == 0
    killed = (*options, f"--store={tmp_path / 'store'}", f"--baselines={tmp_path / 'killed.json'}")
    rng = random.Random(0)
    for _ in range(int(os.environ.get("PRUNEGATE_KILLS", "3"))):
        before = batches()
        running = subprocess.Popen(arguments(place, *killed), cwd=ROOT, stdout=subprocess.DEVNULL)
        # At some moment in the first, second or third batch after one that is kept.
        wanted = rng.randint(1, 3)
        while len(batches().keys() - before.keys()) < wanted and running.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.random() / 10)
        running.kill()
        assert running.wait() == -signal.SIGKILL
        after = batches()
        # What was kept before is either as it was, or was let go of with its case: no batch is made twice.
        assert all(after[path] == made for path, made in before.items() if path in after)
        assert not (tmp_path / "killed.json").exists()
    found = gate(place, *killed)
    assert found.returncode == 0 and " kept  stored" in found.stdout, found.stdout
    assert figures(tmp_path / "killed.json") == figures(tmp_path / "whole.json")
    assert not list((tmp_path / "store").glob("*.batches"))


def test_layers_that_are_the_same_are_not_generated_twice(place: Path, tmp_path: Path) -> None:
    # A text encoder has linear layers alone.
    options = ("-k", "text_encoder-magnitude-linear-0.50 or text_encoder-magnitude-all-0.50", "--tier=full")
    options += (f"--store={tmp_path / 'store'}", "--update-baselines", "--baseline-reason=x", "--dtype=float16")
    options += ("--channels-last", f"--baselines={tmp_path / 'mine.json'}", "--captions=90")
    found = gate(place, *options)
    assert found.returncode == 0, found.stdout + found.stderr
    lines = [line for line in found.stdout.splitlines() if line.startswith("my_sd2-text_encoder-magnitude")]
    assert " of dense, " in lines.pop(0)
    assert len(lines) == 2 and " kept " not in lines[0] and " kept " in lines[1], lines
    stored = json.loads((tmp_path / "mine.json").read_text())
    assert list(stored["latency"]) == ["my_sd2-text_encoder-magnitude-all-0.50"]
    (profile,) = stored["profiles"].values()
    assert profile["memory_format"] == "channels_last" and profile["attention"]
    (one,), (two,) = (by.values() for case, by in stored["cases"].items() if "text_encoder" in case)
    assert one["quality"] == two["quality"]
    # Ninety captions of eighty pictures: eighty independent values.
    assert one["quality"]["clip"]["n"] == one["quality"]["fid_dense"]["n"] == 80
    conditions = one["provenance"]["conditions"]
    assert (conditions["dtype"], conditions["memory_format"]) == ("float16", "channels_last")


def test_a_full_disk_is_one_message_and_leaves_a_store_that_opens(place: Path, tmp_path: Path) -> None:
    options = ("-k", "dense", "--batch-size=2", "--update-baselines", "--baseline-reason=x")
    options += (f"--store={tmp_path / 'store'}", f"--baselines={tmp_path / 'mine.json'}")
    # No file may grow beyond 1 kB: a batch of pictures does not fit.
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *arguments(place, *options, "-p", "no:cacheprovider")]
    found = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode != 0 and "cannot be written" in found.stdout, found.stdout + found.stderr
    assert "Traceback" not in found.stdout and not (tmp_path / "mine.json").exists()
    assert gate(place, *options).returncode == 0
