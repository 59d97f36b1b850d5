"""What each command writes, what it refuses, and what it writes over only with `--force`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.cli import measure_scenes
from harness.errors import HarnessError
from harness.metrics import reference
from harness.scenes.weights import WEIGHTS
from harness.workloads.captions import read_subset
from tests.cli.conftest import Command, run_file
from tests.pipelines import save_clip_scorer, save_coco, save_pictures

SVG = "<svg xmlns='http://www.w3.org/2000/svg'/>"


def test_captions(command: Command, tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 10)
    done = command("captions", tmp_path / "captions.json", "--captions", "4", "--out", tmp_path / "subset.json")
    assert (done.code, done.out) == (0, f"4 captions of 4 pictures in {tmp_path / 'subset.json'}\n")
    chosen, _ = read_subset(tmp_path / "subset.json")
    assert len(chosen) == 4


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_captions_are_refused(command: Command, tmp_path: Path, count: str) -> None:
    save_coco(tmp_path / "captions.json", 10)
    refused = command("captions", tmp_path / "captions.json", "--captions", count, "--out", tmp_path / "s.json").refused
    assert refused.startswith(f"--captions {count} ") and not (tmp_path / "s.json").exists()


def test_curves(command: Command, tmp_path: Path) -> None:
    source, out = run_file(tmp_path / "a.json"), tmp_path / "curves.svg"
    assert command("curves", source, "--out", out).code == 0
    everything = out.read_text()
    assert "CLIP score" in everything and "n = 64" in everything
    assert command("curves", source, "--metrics", "fid,clip", "--out", out).code == 0
    assert "CLIP score" in out.read_text() and "composition" not in out.read_text()
    refused = command("curves", source, "--layers", "linear", "--out", out).refused
    assert refused.startswith("--layers linear: no case of the run prunes one component")
    assert command("curves", source, "--metrics", "clyp", "--out", out).refused.startswith(
        "--metrics 'clyp' is unknown"
    )
    assert "CLIP score" in out.read_text()


def test_curves_write_over_no_input_and_no_other_file(command: Command, tmp_path: Path) -> None:
    source, other = run_file(tmp_path / "a.json"), tmp_path / "notes.txt"
    before = source.read_bytes()
    assert command("curves", source, "--out", source).refused.endswith("name another one, or add --force")
    other.write_text("mine")
    assert command("curves", source, "--out", other).refused.endswith(
        "is not an SVG file; name another file, or add --force"
    )
    assert "is a folder; name a file" in command("curves", source, "--out", tmp_path, "--force").refused
    assert source.read_bytes() == before and other.read_text() == "mine"
    (tmp_path / "old.svg").write_text(SVG)
    assert command("curves", source, "--out", tmp_path / "old.svg").code == 0
    assert command("curves", source, "--out", other, "--force").code == 0 and "<svg" in other.read_text()


def test_captions_write_over_no_input_and_no_other_file(command: Command, tmp_path: Path) -> None:
    source = tmp_path / "captions.json"
    save_coco(source, 10)
    before, count = source.read_bytes(), ("--captions", "4")
    link = tmp_path / "link.json"
    link.symlink_to(source)
    for out in (source, link):
        assert "is the file that the command reads" in command("captions", source, *count, "--out", out).refused
    save_coco(tmp_path / "other.json", 3)
    assert "is not a subset" in command("captions", source, *count, "--out", tmp_path / "other.json").refused
    assert source.read_bytes() == before
    for _ in range(2):
        assert command("captions", source, *count, "--out", tmp_path / "subset.json").code == 0
    assert command("captions", source, *count, "--out", tmp_path / "other.json", "--force").code == 0
    assert len(read_subset(tmp_path / "other.json")[0]) == 4


def test_reference(command: Command, tmp_path: Path) -> None:
    save_clip_scorer(tmp_path / "scorer")
    save_pictures(tmp_path / "pictures", 5)
    out = tmp_path / "reference.safetensors"
    how = ("reference", "--images", tmp_path / "pictures", "--scorer", tmp_path / "scorer", "--device", "cpu")
    for _ in range(2):
        done = command(*how, "--out", out)
        assert (done.code, done.out) == (0, f"statistics of 5 pictures saved in {out}\n")
    import torch

    from harness.metrics.scorers import load_scorer

    scorer = load_scorer(str(tmp_path / "scorer"), torch.device("cpu"))
    read = reference.read(out, scorer.digest)
    assert read.digest == reference.of_folder(tmp_path / "pictures", scorer, lambda _: None).digest
    assert read.kid is not None and read.frechet.n == 5
    other = tmp_path / "scorer" / "model.safetensors"
    before = other.read_bytes()
    assert "is not a file of `prunegate reference`" in command(*how, "--out", other).refused
    assert other.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "no"), "one of the arguments --scorer --features is required"),
        (
            ("--images", "no", "--scorer", "a", "--features", "inception"),
            "--features: not allowed with argument --scorer",
        ),
        (("--images", "no", "--scorer", "no_such_folder"), "--scorer no_such_folder does not exist"),
        (("--images", "no", "--features", "scorer"), "--features scorer needs the scorer's name"),
        (("--images", "no", "--features", "nonsense"), "--features 'nonsense' is unknown"),
    ],
)
def test_a_wrong_reference_is_one_line(command: Command, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    assert command("reference", *words, "--out", tmp_path / "r.safetensors").refused.startswith(message)
    assert not (tmp_path / "r.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--captions", "10"), "--captions 10 is out of range; give 64 to 1000"),
        (("--captions", "1001"), "--captions 1001 is out of range; give 64 to 1000"),
        (("--steps", "0"), "--steps 0 is out of range; give 1 to 1000"),
        (("--device", "cudo"), "--device cudo cannot be used here"),
        (("--weights", "no_such_folder"), "no_such_folder/judges"),
    ],
)
def test_a_wrong_measure_scenes_is_one_line(command: Command, words: tuple[str, ...], message: str) -> None:
    assert command("measure-scenes", *words).refused.startswith(message)


def test_a_sheet_writes_over_no_other_file(command: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    refused = command("measure-scenes", "--sheet", tmp_path / "notes.txt").refused
    assert refused.endswith("notes.txt exists and is not a file of --sheet; name another file, or add --force")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_measure_scenes_prints_the_table(command: Command, tmp_path: Path) -> None:
    done = command(
        "measure-scenes", "--captions", "64", "--steps", "1", "--device", "cpu", "--sheet", tmp_path / "s.png"
    )
    assert done.code == 0 and not done.err
    assert "64 held-out captions, 1 steps, guidance 3.0, cpu" in done.out
    exact = dict(re.findall(r"^(\w[\w ]*?) +exact ([\d.]+)", done.out, re.MULTILINE))
    assert [*exact] == ["real pictures", "autoencoder round trip", "dense model", "unseen combinations"]
    # The scorer is right about drawn pictures, and one step makes hardly any that are right.
    assert float(exact["real pictures"]) == 1 and float(exact["dense model"]) < 0.4
    assert "scorer CLIP on real ones   right one of 64 captions 1.000" in done.out
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_the_autoencoder_s_round_trip_keeps_pictures() -> None:
    import torch

    from harness.scenes.captions import held_out
    from harness.targets.scenes import from_folder

    images = measure_scenes.real_pictures([scene for _, scene in held_out()[:4]], 1)
    assert images.shape == (4, 3, 64, 64) and images.dtype == torch.uint8
    vae = from_folder(WEIGHTS / "pipeline", torch.device("cpu"), "unchecked").pipeline.vae
    back = measure_scenes.round_trip(vae, images)
    assert back.shape == images.shape and float((back.float() - images.float()).abs().mean()) < 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--unet, --text-encoder, … are all missing, so nothing is pruned; give one, such as --unet 0.35"),
        (("--unet",), "--unet needs a sparsity; give one, such as --unet 0.35"),
        (("--unet", "half"), "--unet half is no number from 0 to 1; give one, such as --unet 0.35"),
        (("--unet", "1.5"), "--unet 1.5 is no number from 0 to 1; give one, such as --unet 0.35"),
        (("--unet", "--pattern", "4:2"), "--pattern 4:2 is no N:M with 0 < N < M; give one such as 2:4"),
        (("--unet", "--pattern", "2"), "--pattern 2 is no N:M with 0 < N < M; give one such as 2:4"),
        (("--unet", "0.3", "--pattern", "2:4"), "--unet 0.3 contradicts --pattern 2:4, which prunes 0.5"),
        (("--unet", "0.3", "--revision", "main"), "--revision needs a Hub id, and scenes is built in. Leave it out."),
    ],
)
def test_a_wrong_prune_is_one_line(command: Command, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    refused = command("prune", "scenes", "--method", "magnitude", *words, "--out", tmp_path / "out").refused
    assert refused.startswith(message) and not (tmp_path / "out").exists()


def test_prune_saves_a_pipeline(command: Command, tmp_path: Path) -> None:
    done = command(
        "prune",
        "scenes",
        "--method",
        "magnitude",
        "--text-encoder",
        "0.475",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    )
    lines = done.out.splitlines()
    assert done.code == 0 and lines[-1] == f"saved in {tmp_path / 'out'}" and not done.err
    assert lines[0].startswith("text_encoder: 47.50% of") and (tmp_path / "out" / "model_index.json").is_file()


def test_packed_and_unpacked_is_the_pipeline_that_prune_saves(command: Command, tmp_path: Path) -> None:
    how = ("prune", "scenes", "--method", "magnitude", "--text-encoder", "--pattern", "2:4", "--device", "cpu", "--out")
    assert command(*how, tmp_path / "dense").code == 0
    done = command(*how, tmp_path / "packed", "--packed")
    last, said = done.out.splitlines()[:0:-1]
    assert re.fullmatch(r"packed: text_encoder and unet take 25\.\d\d MB on disk, 27\.2\d MB dense", said)
    assert last.endswith(f"; to load it: prunegate unpack {tmp_path / 'packed'} --out DIR") and not done.err
    done = command("unpack", tmp_path / "packed", "--out", tmp_path / "again")
    assert (done.code, done.out, done.err) == (0, f"saved in {tmp_path / 'again'}\n", "")
    for path in (tmp_path / "dense").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "dense")).read_bytes(), path
    refused = command("unpack", tmp_path / "dense", "--out", tmp_path / "other").refused
    assert refused.startswith(f"{tmp_path / 'dense' / 'prunegate.json'} names no packed file")


def test_saved_statistics_write_over_no_other_file(command: Command, tmp_path: Path) -> None:
    captions = tmp_path / "captions.txt"
    captions.write_text("a red dog\n")
    how = ["prune", "scenes", "--method", "wanda", "--text-encoder", "0.5", "--device", "cpu"]
    how += ["--calibration-captions", str(captions), "--out", str(tmp_path / "out")]
    assert "is the file that the command reads" in command(*how, "--save-calibration", captions).refused
    weights = WEIGHTS / "judges" / "clip.safetensors"
    before = weights.read_bytes()
    assert "is not a file of --save-calibration" in command(*how, "--save-calibration", weights).refused
    assert captions.read_text() == "a red dog\n" and weights.read_bytes() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--stage", "u_net", "--minutes", "1"), "--stage: invalid choice: 'u_net'"),
        (("--stage", "unet", "--minutes", "1", "--threads", "0"), "--threads 0 is out of range; give 1 to "),
        (("--stage", "unet", "--minutes", "0"), "--minutes is 0.0; give a positive number"),
        (("--stage", "unet", "--minutes", "1", "--preset", "smal"), "--preset 'smal' is unknown; did you mean small"),
    ],
)
def test_a_wrong_training_is_one_line(command: Command, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    assert command("train-scenes", *words, "--out", tmp_path / "out").refused.startswith(message)


def test_the_stages_are_those_of_the_training() -> None:
    from harness.cli.train_scenes import STAGES
    from harness.scenes import stages

    assert STAGES == stages.STAGES


def test_progress_and_results_share_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.progress import progress, say

    with progress() as show:
        show("1/2")
        say("a result")
        show("2/2")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("a result\n", "")


def test_no_error_is_swallowed_and_none_has_the_code_of_a_regression(capsys: pytest.CaptureFixture[str]) -> None:
    from harness.cli.errors import guarded

    def broken() -> int:
        raise ZeroDivisionError

    assert guarded(broken) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "ZeroDivisionError" in shown and "error: this is a fault of PruneGate" in shown

    def refused() -> int:
        raise HarnessError("two\nlines")

    assert guarded(refused) == 2 and guarded(lambda: 1) == 1
