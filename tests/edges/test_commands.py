"""The commands under wrong input: one message, an exit code that says what happened, and nothing half-written."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import main, parser
from harness.scenes import weights
from harness.scenes.weights import WEIGHTS
from tests.cli.conftest import Command, run_file
from tests.pipelines import save_clip_scorer, save_coco, save_pictures

COMMANDS = ("prune", "captions", "compare", "curves", "view", "reference", "measure-scenes", "train-scenes")
PRUNE = ("prune", "scenes", "--method", "magnitude", "--text-encoder", "0.5", "--device", "cpu")
HARNESS = (sys.executable, "-m", "harness")


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which `prunegate` is this project's command. A pipe fails if one of its parts does."""
    start = f'set -o pipefail; prunegate() {{ {shlex.join(HARNESS)} "$@"; }}; '
    # As at a user's: what a process prints into a file or a pipe is buffered.
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "CI": "", "PYTHONUNBUFFERED": ""}
    command = ["bash", "-c", start + line]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Return a folder with two runs; the second is worse."""
    run_file(tmp_path / "main.json")
    run_file(tmp_path / "worse.json", shift=-1)
    return tmp_path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Return a folder with pictures and a CLIP."""
    save_clip_scorer(tmp_path / "clip")
    save_pictures(tmp_path / "pictures", 3)
    return tmp_path


def help_of(*words: str) -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), pytest.raises(SystemExit) as left:
        main([*words, "--help"])
    assert left.value.code == 0
    return shown.getvalue()


@pytest.mark.parametrize("name", [(), *((name,) for name in COMMANDS)], ids=lambda words: " ".join(words) or "top")
def test_help_has_one_example_that_works_and_no_line_that_wraps_it(name: tuple[str, ...]) -> None:
    shown = help_of(*name)
    example = shown.split("\nexample:\n")[1].splitlines()[0]
    assert example.startswith("  prunegate ") and shown.count("example:") == 1
    options = parser().parse_args(shlex.split(example)[1:])
    assert not name or options.command == name[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_argument_and_names_its_default(name: str) -> None:
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for action in commands.choices[name]._actions:
        assert action.help and len(action.help.split()) > 2, action
        if action.default not in (None, False, argparse.SUPPRESS):
            assert str(action.default) in action.help and "default" in action.help, action


@pytest.mark.parametrize(("file", "code"), [("main.json", 0), ("worse.json", 1)])
@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_reader_that_stops_early_does_not_change_the_verdict(runs: Path, file: str, code: int, reader: str) -> None:
    done = shell(f"prunegate compare main.json {file} | {reader}", runs)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize("file", ["main.json", "worse.json"])
def test_an_output_that_cannot_be_written_is_an_error_and_no_regression(runs: Path, file: str) -> None:
    done = shell(f"prunegate compare main.json {file} > /dev/full", runs)
    full = "error: the standard output cannot be written (No space left on device); "
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith(full)
    # A script prints without flushing.
    script = f"{sys.executable} {Path(__file__).parents[2] / 'tools' / 'curve.py'} {file} > /dev/full"
    buffered = shell(script, runs)
    assert buffered.returncode == 2 and len(buffered.stderr.splitlines()) == 1 and buffered.stderr.startswith(full)
    unread = shell(script.replace("> /dev/full", "| true"), runs)
    assert (unread.returncode, unread.stderr) == (0, "")
    assert shell("prunegate compare main.json gone.json 2> /dev/full", runs).returncode == 2
    assert shell("prunegate compare main.json gone.json 2>&1 | true", runs).returncode == 2


@pytest.mark.parametrize("content", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_deeply_nested_json_is_one_message(command: Command, runs: Path, content: str) -> None:
    deep = runs / "deep.json"
    deep.write_text(content)
    for words in (("compare", runs / "main.json", deep), ("compare", deep, deep), ("curves", deep, "--out", "c.svg")):
        assert "is no file that --json or --benchmark-json wrote" in command(*words).refused
    assert "is not a file of captions" in command("captions", deep, "--captions", "1", "--out", runs / "s").refused
    # A file that is in the way is read too.
    save_coco(runs / "coco.json", 3)
    assert "is not a subset" in command("captions", runs / "coco.json", "--captions", "1", "--out", deep).refused


def test_a_message_never_advises_to_write_over_the_file_that_it_is_about(command: Command, runs: Path) -> None:
    save_coco(runs / "coco.json", 3)
    for words in (
        ("compare", runs / "coco.json", runs / "coco.json"),
        ("curves", runs / "coco.json", "--out", "c.svg"),
    ):
        refused = command(*words).refused
        assert refused.count("coco.json") == 1 and "`pytest benchmarks --json FILE`" in refused


def damaged(place: Path, *changes: tuple[tuple[str | int, ...], object]) -> Path:
    """Change values of a run; None takes the value away."""
    content = json.loads(place.read_text())
    for path, value in changes:
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        if value is None:
            del inner[path[-1]]
        else:
            inner[path[-1]] = value
    place.with_name("damaged.json").write_text(json.dumps(content))
    return place.with_name("damaged.json")


RECORD = ("cases", 0, "record")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ((*RECORD, "components", "unet"), None, "has no counts of unet"),
        ((*RECORD, "quality", "fid", "se"), -1.0, "has fid 18"),
        ((*RECORD, "quality", "fid", "n"), 0, "n = 0"),
        ((*RECORD, "quality", "clip", "value"), 1e308, "has clip 1e+308"),
        ((*RECORD, "paired", "clip", 2), 1e308, "has a value of clip that is out of range"),
        (("dense", "scenes", "quality", "drift", "se"), 1e308, "has drift"),
        ((*RECORD, "components", "unet", "zeros"), -1, "has counts of unet that contradict each other"),
        ((*RECORD, "degenerate"), -5, "has -5 degenerate pictures"),
        ((*RECORD, "keep"), "zz", "has a keep mask that is not written in hexadecimal digits"),
    ],
)
def test_a_run_that_no_program_wrote_is_one_message(
    command: Command, runs: Path, path: tuple[str | int, ...], value: object, said: str
) -> None:
    broken = damaged(runs / "main.json", (path, value))
    for words in (("compare", runs / "main.json", broken), ("curves", broken, "--out", runs / "c.svg")):
        refused = command(*words).refused
        assert refused.startswith(f"{broken} is damaged: the case scenes-") and said in refused
    assert not (runs / "c.svg").exists()


@pytest.mark.parametrize("name", ["two", "pictures/000.png", "missing"])
def test_every_input_that_is_a_folder_a_picture_or_missing_is_one_message(
    command: Command, pictures: Path, name: str
) -> None:
    (pictures / "two").mkdir()
    place, out = pictures / name, pictures / "out"
    wanda = ("prune", "scenes", "--method", "wanda", "--unet", "0.5", "--device", "cpu", "--out", out)
    for words in (
        ("prune", place, "--method", "magnitude", "--unet", "0.5", "--out", out),
        (*wanda, "--calibration", place),
        (*wanda, "--calibration-captions", place),
        ("captions", place, "--captions", "1", "--out", out),
        ("compare", place, place),
        ("curves", place, "--out", pictures / "out.svg"),
        ("reference", "--images", place, "--scorer", pictures / "clip", "--out", out),
        ("reference", "--images", pictures / "pictures", "--scorer", place, "--out", out),
        ("reference", "--images", pictures / "pictures", "--features", f"inception:{place}", "--out", out),
        ("measure-scenes", "--weights", place),
        ("train-scenes", "--stage", "unet", "--minutes", "1", "--start", place, "--out", pictures / "trained"),
    ):
        refused = command(*words).refused
        assert str(place) in refused
        assert name == "two" or words[:2] != ("reference", "--images") or words[2] != place or "--images" in refused
    assert not out.exists() and not (pictures / "out.svg").exists()


EMPTY = (
    (*PRUNE, "--out", "{}"), ("prune", "{}", "--method", "magnitude", "--unet", "0.5", "--out", "o"),
    (*PRUNE, "--out", "o", "--calibration", "{}"), (*PRUNE, "--out", "o", "--save-calibration", "{}"),
    (*PRUNE, "--out", "o", "--calibration-captions", "{}"), ("captions", "{}", "--captions", "1", "--out", "o"),
    ("captions", "coco.json", "--captions", "1", "--out", "{}"), ("compare", "{}", "main.json"),
    ("compare", "main.json", "{}"), ("curves", "{}", "--out", "o.svg"), ("curves", "main.json", "--out", "{}"),
    ("reference", "--images", "{}", "--scorer", "clip", "--out", "o"),
    ("reference", "--images", "pictures", "--scorer", "{}", "--out", "o"),
    ("reference", "--images", "pictures", "--features", "{}", "--out", "o"),
    ("reference", "--images", "pictures", "--scorer", "clip", "--out", "{}"), ("measure-scenes", "--weights", "{}"),
    ("measure-scenes", "--sheet", "{}"), ("train-scenes", "--stage", "reader", "--minutes", "1", "--out", "{}"),
    ("train-scenes", "--stage", "unet", "--minutes", "1", "--out", "o", "--start", "{}"),
)  # fmt: skip


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_name_is_not_the_working_folder(
    command: Command, pictures: Path, runs: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], text: str
) -> None:
    save_coco(runs / "coco.json", 3)
    save_pictures(runs / "more", 2)
    monkeypatch.chdir(runs)
    before = sorted(runs.rglob("*"))
    refused = command(*(word.format(text) for word in words)).refused
    assert re.search(r"names no file or folder|name is empty|' *' is unknown", refused), refused
    assert sorted(runs.rglob("*")) == before


def test_an_option_that_is_given_twice_is_refused(command: Command, tmp_path: Path) -> None:
    words = (*PRUNE[:-2], "--text-encoder", "0.3", "--out", tmp_path / "out")
    assert command(*words).refused.startswith("--text-encoder is given twice; give it once")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("boom", "import math\nraise RuntimeError('boom')", "(RuntimeError: boom, line 2 of "),
        ("wrong", "def f(:", "(SyntaxError: invalid syntax"),
        ("left", "import sys\nsys.exit(1)", "(SystemExit: 1, line 2 of "),
        (".", "", "(TypeError: "),
    ],
)
def test_a_module_that_cannot_be_imported_is_an_error_and_no_regression(
    command: Command, runs: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, said: str
) -> None:
    monkeypatch.syspath_prepend(runs)
    name = f"{name}_of_a_user" if content else name
    (runs / f"{name}.py").write_text(content)
    refused = command("--plugin", name, "compare", runs / "main.json", runs / "main.json").refused
    assert refused.startswith(f"--plugin {name} cannot be imported {said}")


def test_neither_reference_nor_measuring_signs_or_uses_a_damaged_model(
    command: Command, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(WEIGHTS, pictures / "weights"))
    monkeypatch.setattr(weights, "WEIGHTS", copy)
    unet = copy / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    content = bytearray(unet.read_bytes())
    content[len(content) // 2] ^= 1
    unet.write_bytes(content)
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    assert command("reference").refused.startswith("the following arguments are required: --images, --out")
    how = ("--images", pictures / "pictures", "--scorer", pictures / "clip", "--device", "cpu")
    assert command("reference", *how, "--out", pictures / "reference").code == 0
    assert f"{unet} has changed" in command("measure-scenes", "--captions", "64", "--device", "cpu").refused
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before


def test_a_weights_folder_is_compared_with_its_digests_where_it_has_some(command: Command, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))
    config = folder / "pipeline" / "unet" / "config.json"
    config.write_text(config.read_text() + " ")
    measure = ("measure-scenes", "--weights", folder, "--captions", "64", "--steps", "1", "--device", "cpu")
    assert command(*measure).refused.startswith(f"{config} has changed: its SHA-256")
    start = ("train-scenes", "--stage", "unet", "--minutes", "0.001", "--device", "cpu", "--start", folder)
    assert command(*start, "--out", tmp_path / "out").refused.startswith(f"{config} has changed: its SHA-256")
    (folder / "digests.json").unlink()
    assert command(*measure).code == 0


def test_training_does_not_write_into_the_shipped_weights(command: Command) -> None:
    words = ("train-scenes", "--stage", "unet", "--minutes", "0.001", "--out", WEIGHTS.parent / "weights")
    assert "holds the shipped weights; train into another folder" in command(*words).refused
    assert not (WEIGHTS / "checkpoints").exists()


def test_more_threads_than_cores_and_more_steps_than_the_model_has_are_refused(command: Command) -> None:
    for n in ("0", "100000", "9" * 30):
        refused = command("train-scenes", "--stage", "unet", "--minutes", "1", "--threads", n).refused
        assert refused == f"--threads {n} is out of range; give 1 to {os.cpu_count()}, or leave it out"
    for n in ("0", "1001", "-1"):
        assert command("measure-scenes", "--steps", n).refused == f"--steps {n} is out of range; give 1 to 1000"
