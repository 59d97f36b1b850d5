"""`--target FOLDER`: any diffusers pipeline with COCO captions, from the command line to a verdict and a green run."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.verdict.repository import Repository
from tests.pipelines import save_clip_scorer
from tests.plugin.reading import entries
from tests.plugin.real import ROOT, arguments, gate

UPDATE = ("--update-baselines", "--baseline-reason=x")


def test_from_annotations_to_a_green_run(place: Path) -> None:
    paper = ("--protocol=paper", "--captions=32", "--steps=4", f"--reference={place / 'pictures'}", "--tier=full")
    paper += ("-k", "linear and (magnitude-linear-0.50 or wanda-linear-0.30 or 0.475+0.35)")
    done = gate(place, *paper, *UPDATE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "my_sd2-both-magnitude-linear-0.475+0.35" in done.stdout
    stored = entries(place / "mine.json")
    assert {"my_sd2-text_encoder-magnitude-linear-0.50", "my_sd2-unet-wanda-linear-0.30"} <= stored.keys()
    quality = stored["my_sd2-unet-wanda-linear-0.30"].quality
    assert quality.keys() == {"fid", "fid_dense", "kid", "clip", "drift"} and quality["clip"].n == 32
    workloads = Repository.open(place / "mine.json").baselines.workloads.values()
    assert {facts.num_inference_steps for facts in workloads} == {4}
    again = gate(place, *paper)
    assert again.returncode == 0 and "PASS" in again.stdout, again.stdout + again.stderr
    assert re.search(r"sparsity +FID .*KID .*CLIP score", again.stdout)
    other = gate(place, *paper, "--steps=3")
    assert other.returncode == 1 and "NOT COMPARED" in other.stdout


def test_a_transformer_with_three_text_encoders(place: Path) -> None:
    only = ("--tier=full", "-rs", "-k", "magnitude-linear-0.50 or dense or study-c2")
    done = gate(place, *only, *UPDATE, target="my-sd3")
    assert done.returncode == 0, done.stdout + done.stderr
    names = ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer")
    assert all(f"my_sd3-{name}-magnitude-linear-0.50" in done.stdout for name in names)
    assert "the run lacks 13 of 15 cases, such as my_sd3-transformer-magnitude-linear-0.10 (--tier full)" in " ".join(
        done.stdout.split()
    )
    assert gate(place, *only, target="my-sd3").returncode == 0


def test_a_claim_about_pictures_needs_some(place: Path, tmp_path: Path) -> None:
    only = ("--tier=full", "-rs", "-k", "dense or both-magnitude-linear-0.475+0.35 or study-c3")
    done = gate(place, *only, *UPDATE, f"--baselines={tmp_path / 'none.json'}")
    said = " ".join(done.stdout.split())
    assert done.returncode == 0 and "is about clip and fid, and FID needs pictures: give --reference" in said
    assert "study-c3-is-38.5-of-parameters" in said and "REFUTED, no baselines of all its cases" in said


def test_a_pipeline_of_the_hub_is_named_by_its_id(place: Path) -> None:
    done = gate(place, "-k", "dense", *UPDATE, target="nobody/tiny-sd")
    assert done.returncode == 0 and "tiny_sd-none-dense-none-0.00" in done.stdout, done.stdout + done.stderr
    done = gate(place, "-k", "dense", "--revision=abc", target="nobody/tiny-sd")
    assert done.returncode == 4 and "cannot be fetched from the Hub" in done.stderr


def test_several_targets_in_one_run(place: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "mine.json", tmp_path / "out.json"
    both = ("-k", "dense", f"--target={place / 'my-sd3'}", f"--baselines={path}", f"--json={out}")
    done = gate(place, *both, *UPDATE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"my_sd2-none-dense-none-0.00", "my_sd3-none-dense-none-0.00"} == entries(path).keys()
    assert (place / "report" / "contact-my_sd3-none-dense-none.png").exists()
    done = gate(place, "-k", "unet-magnitude-all-0.50", "--target=scenes", "--collect-only", "-q")
    listed = [line for line in done.stdout.splitlines() if "::test_quality" in line]
    assert ["my_sd2-unet" in listed[0], "scenes-unet" in listed[1]] == [True, True] and len(listed) == 2
    done = gate(place, "-k", "dense", f"--target={place / 'my-sd2'}")
    assert done.returncode == 4 and "two targets would be called my_sd2" in done.stderr
    done = gate(place, "-k", "dense", target="scenes")
    assert done.returncode == 4 and "applies to your own pipelines only" in done.stderr


def test_each_target_has_baselines_of_its_own(place: Path, tmp_path: Path) -> None:
    mixed = ["--target=scenes", "-k", "dense", "--tier=smoke", f"--rootdir={tmp_path}", f"-c{tmp_path / 'pytest.ini'}"]
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [part for part in arguments(place, *mixed) if not part.startswith("--baselines")]
    done = subprocess.run([*command, *UPDATE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert entries(tmp_path / "baselines.json").keys() == {"scenes-none-dense-none-0.00"}
    assert entries(tmp_path / "baselines.my_sd2.json").keys() == {"my_sd2-none-dense-none-0.00"}
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} >= {"baselines", "baselines.my_sd2"}


def test_reference_statistics_are_those_of_the_pictures(place: Path, tmp_path: Path) -> None:
    from harness.cli import main

    kept = tmp_path / "reference.safetensors"
    measure = ["reference", "--images", str(place / "pictures"), "--out", str(kept)]
    assert main([*measure, "--scorer", str(place / "scorer")]) == 0
    figures = []
    for i, reference in enumerate((place / "pictures", kept)):
        path = tmp_path / f"{i}.json"
        assert gate(place, "-k", "dense", *UPDATE, f"--reference={reference}", f"--baselines={path}").returncode == 0
        (entry,) = entries(path).values()
        figures.append([entry.quality[name].value for name in ("fid", "kid")])
    assert figures[0] == pytest.approx(figures[1], rel=1e-9) and figures[0][0] > 0
    save_clip_scorer(tmp_path / "other", seed=2)
    others = tmp_path / "others.safetensors"
    assert main([*measure[:-1], str(others), "--scorer", str(tmp_path / "other")]) == 0
    done = gate(place, "-k", "dense", f"--reference={others}")
    assert done.returncode == 4 and "measure the pictures again" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--coco-annotations=nowhere.json"], "--coco-annotations nowhere.json does not exist"),
        (["--caption-file=README.md"], "give either --coco-annotations FILE or --caption-file FILE (both were given)"),
        (["--scorer=docs"], "holds no CLIP"),
        (["--scorer=open_clp:ViT-B-32:laion2b"], "there is no scorer 'open_clp'"),
        (["--scorer=open_clip:ViT-B-32:nowhere.safetensors"], "the weights nowhere.safetensors do not exist"),
        (["--features=inceptions"], "did you mean inception"),
        (["--reference=docs/ci.md"], "--reference docs/ci.md"),
        (["--reference=benchmarks"], "benchmarks"),
        (["--captions=161"], "--captions 161 asks for more than the 160 captions"),
        (["--captions=80", "-k", "wanda"], "has no caption left to calibrate on"),
        (["--reference="], "--reference: the name is empty"),
        (["--target={place}/scenes"], "would have the name scenes in ids"),
        (["--steps=0"], "--steps 0 is too small"),
        (["--protocol=papers"], "invalid choice: 'papers'"),
        (["--target=docs"], "has no model_index.json"),
        (["--target={place}/pickled"], "has pickled weights"),
        (["--target={place}/cut"], "is cut short or no safetensors file"),
        (["--caption-subset={place}/subset.json"], "lacks 1 of the 1 captions"),
        (["--target=scnes"], "did you mean scenes"),
        (["--target=./nowhere"], "is not a folder"),
        (["--target=nobody/nothing"], "nobody/nothing cannot be fetched from the Hub"),
        (["--revision=abc"], "--revision needs a Hub id"),
        (["--metrics=kid"], "--metrics kid needs reference features, which my_sd2 does not have"),
        (["--metrics=composition"], "--metrics composition needs composition, which my_sd2 does not have"),
    ],
)
def test_what_is_wrong_is_one_message(place: Path, options: list[str], message: str) -> None:
    done = gate(place, "-k", "dense", *(option.format(place=place) for option in options))
    assert done.returncode == 4 and message in done.stdout + done.stderr, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_scorer_that_is_the_text_encoder_under_test_is_refused(place: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    save_clip_scorer(tmp_path / "same")
    weights = load_file(tmp_path / "same" / "model.safetensors")
    encoder = load_file(place / "my-sd2" / "text_encoder" / "model.safetensors")
    name = "text_model.embeddings.token_embedding.weight"
    weights[name] = next(v for k, v in encoder.items() if k.endswith("token_embedding.weight")).to(torch.float32)
    save_file(weights, tmp_path / "same" / "model.safetensors", {"format": "pt"})
    done = gate(place, "-k", "dense", f"--scorer={tmp_path / 'same'}")
    assert done.returncode == 4 and "give a CLIP of another family" in done.stdout + done.stderr


def test_killed_at_any_moment_it_ends_as_if_it_had_not_been(place: Path, tmp_path: Path) -> None:
    options = ("-k", "dense or unet-magnitude-all-0.30 or unet-wanda-all", "--tier=full", "--batch-size=2", *UPDATE)

    def figures(path: Path) -> object:
        return {case: entry.quality for case, entry in entries(path).items()}

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
        # A batch that was kept before is unchanged, or was removed with its case: no batch is made twice.
        assert all(after[path] == made for path, made in before.items() if path in after)
        assert not (tmp_path / "killed.json").exists()
    done = gate(place, *killed)
    assert done.returncode == 0 and " kept  stored" in done.stdout, done.stdout
    assert figures(tmp_path / "killed.json") == figures(tmp_path / "whole.json")
    assert not list((tmp_path / "store").glob("*.batches"))


def test_layers_that_are_the_same_are_not_generated_twice(place: Path, tmp_path: Path) -> None:
    # A text encoder has linear layers alone.
    options = ("-k", "text_encoder-magnitude-linear-0.50 or text_encoder-magnitude-all-0.50", "--tier=full", *UPDATE)
    options += (f"--store={tmp_path / 'store'}", "--dtype=float16", "--channels-last", "--captions=90")
    done = gate(place, *options, f"--baselines={tmp_path / 'mine.json'}")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("my_sd2-text_encoder-magnitude")]
    assert " of dense, " in lines.pop(0)
    assert len(lines) == 2 and " kept " not in lines[0] and " kept " in lines[1], lines
    stored = Repository.open(tmp_path / "mine.json").baselines
    assert list(stored.latency) == ["my_sd2-text_encoder-magnitude-all-0.50"]
    (stack,) = stored.stacks.values()
    assert (stack.dtype, stack.memory_format) == ("float16", "channels_last") and stack.attention
    one, two = (entry for case, entry in entries(tmp_path / "mine.json").items() if "text_encoder" in case)
    assert one.quality == two.quality
    # Ninety captions of eighty pictures: eighty independent values.
    assert one.quality["clip"].n == one.quality["fid_dense"].n == 80


def test_a_full_disk_is_one_message_and_leaves_a_store_that_opens(place: Path, tmp_path: Path) -> None:
    options = ("-k", "dense", "--batch-size=2", *UPDATE)
    options += (f"--store={tmp_path / 'store'}", f"--baselines={tmp_path / 'mine.json'}")
    # No file may grow beyond 1 kB: a batch of pictures does not fit.
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "-", *arguments(place, *options, "-p", "no:cacheprovider")]
    done = subprocess.run(limited, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "cannot be written" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stdout and not (tmp_path / "mine.json").exists()
    assert gate(place, *options).returncode == 0
