"""What commands write: whole or not at all, where the user said, and over nothing that is not theirs."""

from __future__ import annotations

import json
import os
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from harness import files
from harness.errors import HarnessError
from harness.generation import generate
from harness.metrics import reference
from harness.pruning import export, export_record
from harness.report.pictures import contact_grid
from harness.workloads.captions import read
from pruners import METHODS
from tests.cli.conftest import Command, run_file
from tests.pipelines import save_clip_scorer, save_coco, save_pictures, seeded
from tests.pruning.files import files_up_to

PRUNE = ("prune", "scenes", "--method", "magnitude", "--text-encoder", "0.5", "--device", "cpu")
WANDA = ("prune", "scenes", "--method", "wanda", "--text-encoder", "0.5", "--device", "cpu")
MEASURE = ("measure-scenes", "--captions", "64", "--steps", "1", "--device", "cpu")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Return a folder with captions, a run, pictures and a CLIP."""
    save_coco(tmp_path / "coco.json", 10)
    run_file(tmp_path / "run.json")
    save_pictures(tmp_path / "pictures", 3)
    save_clip_scorer(tmp_path / "clip")
    return tmp_path


def writing(folder: Path, out: Path) -> list[tuple[str, tuple[str | Path, ...]]]:
    """Return every command that writes a file, with the option that names the file."""
    how = ("--images", folder / "pictures", "--scorer", folder / "clip", "--device", "cpu")
    return [
        ("--out", ("captions", folder / "coco.json", "--captions", "4", "--out", out)),
        ("--out", ("curves", folder / "run.json", "--out", out)),
        ("--out", ("reference", *how, "--out", out)),
        ("--sheet", (*MEASURE, "--sheet", out)),
        ("--save-calibration", (*WANDA, "--out", folder / "pruned", "--save-calibration", out)),
    ]


def tree(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ["pictures", "run.json/x", "n" * 300, "/dev/full", "/proc/x", "pipe"])
def test_a_place_that_cannot_be_written_is_named_before_any_work(command: Command, made: Path, name: str) -> None:
    os.mkfifo(made / "pipe")
    out = Path(name) if name.startswith("/") else made / name
    before = set(made.rglob("*"))
    for option, words in writing(made, out):
        for force in ((), ("--force",)):
            # Nothing was printed before the message, so nothing was measured.
            assert command(*words, *force).refused.startswith(f"{option} {out}")
    if name != "pictures":
        assert command(*PRUNE, "--out", out).refused.startswith(f"--out {out}")
    assert set(made.rglob("*")) == before and stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_file_of_another_kind_stays(command: Command, made: Path) -> None:
    for other in ("coco.json", "run.json", "pictures/000.png", "clip/model.safetensors"):
        before = tree(made)
        for option, words in writing(made, made / other):
            refused = command(*words).refused
            assert refused.startswith(f"{option} {made / other} ") and refused.endswith("or add --force")
        assert tree(made) == before


def test_a_sheet_replaces_a_sheet_and_no_photo(command: Command, made: Path) -> None:
    sheet, photo = made / "sheet.png", made / "pictures" / "000.png"
    contact_grid(torch.zeros(2, 3, 64, 64, dtype=torch.uint8), ["a", "b"], sheet)
    before = sheet.read_bytes()
    assert "is not a file of --sheet" in command(*MEASURE, "--sheet", photo).refused
    assert command(*MEASURE, "--sheet", sheet).code == 0 and sheet.read_bytes() != before


@pytest.mark.parametrize(("index", "name"), [(1, "curves.png"), (1, "curves"), (3, "sheet.jpg")])
def test_a_name_that_says_another_format_is_refused(command: Command, made: Path, index: int, name: str) -> None:
    _, words = writing(made, made / name)[index]
    assert "or add --force" in command(*words).refused and not (made / name).exists()


def test_two_outputs_in_one_place_and_an_output_in_the_input_are_refused(command: Command, tmp_path: Path) -> None:
    seeded("sd2").save_pretrained(tmp_path / "sd2", safe_serialization=True)
    out, before = tmp_path / "out", tree(tmp_path)
    for place in (out, out / "statistics"):
        refused = command(*WANDA, "--out", out, "--save-calibration", place).refused
        assert refused.startswith(f"--save-calibration {place} lies in --out")
    words = ("prune", tmp_path / "sd2", "--method", "magnitude", "--unet", "0.5", "--device", "cpu")
    refused = command(*words, "--out", tmp_path / "sd2" / "pruned").refused
    assert "lies in the folder of the pipeline that is pruned" in refused and tree(tmp_path) == before


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_modes_that_the_umask_gives(command: Command, made: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        for index, name in enumerate(("s.json", "c.svg", "r.safetensors")):
            assert command(*writing(made, made / name)[index][1]).code == 0
            assert (made / name).stat().st_mode & 0o777 == mode, name
    finally:
        os.umask(before)


def test_a_link_stays_a_link_and_a_device_a_device(command: Command, made: Path) -> None:
    (made / "link.json").symlink_to("subset.json")
    for _ in range(2):
        assert command(*writing(made, made / "link.json")[0][1]).code == 0
    assert (made / "link.json").is_symlink() and json.loads((made / "subset.json").read_text())["captions"]
    with pytest.raises(HarnessError, match="is no ordinary file"):
        files.write(Path("/dev/null"), "text")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_full_disk_is_one_message_and_leaves_nothing(command: Command, made: Path) -> None:
    names = ("s.json", "c.svg", "r.safetensors", "s.png", "statistics")
    before = set(made.rglob("*"))
    for index, name in enumerate(names):
        with files_up_to(16):
            done = command(*writing(made, made / name)[index][1])
        assert done.code == 2 and "File too large" in done.err and len(done.err.splitlines()) == 1, done
        assert set(made.rglob("*")) == before, name


def interrupting(work: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is interrupted by Ctrl-C at the end of its work."""

    def interrupted(*words: Any, **options: Any) -> Any:
        done = work(*words, **options)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)
        return done

    return interrupted


@pytest.mark.parametrize(
    ("index", "module", "name"),
    [
        (2, reference, "open_pictures"),
        (3, generate, "quantised"),
        (4, export, "calibrate"),
        (4, export, "prune"),
        (4, export_record.digests, "of_file"),
    ],
    ids=["reference", "measure-scenes", "calibrating", "pruning", "saving"],
)
def test_ctrl_c_in_the_middle_leaves_nothing_half_written(
    command: Command, made: Path, monkeypatch: pytest.MonkeyPatch, index: int, module: Any, name: str
) -> None:
    before = set(made.rglob("*"))
    monkeypatch.setattr(module, name, interrupting(getattr(module, name)))
    out = made / ("out.png" if index == 3 else "out")
    done = command(*writing(made, out)[index][1])
    assert (done.code, done.err) == (130, "interrupted\n")
    # The statistics are whole, and of use whatever comes after them.
    assert set(made.rglob("*")) - before <= ({out} if name != "calibrate" and index == 4 else set())
    if out.exists():
        with safe_open(out, "pt") as stream:
            assert "about" in stream.metadata() and [*stream.keys()]


def test_an_interrupted_training_is_one_message(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.scenes import train

    monkeypatch.setattr(train, "build", interrupting(train.build))
    done = command("train-scenes", "--stage", "reader", "--minutes", "1", "--device", "cpu", "--out", tmp_path / "w")
    assert (done.code, done.err) == (130, "interrupted; the same command resumes from the last checkpoint\n")


def test_a_sparsity_that_was_not_asked_for_is_an_error_before_anything_is_saved(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "too_few_of_a_user.py").write_text(
        "from pruners import Method, magnitude, register\n"
        "def prune(weight, stats, levels, seed):\n"
        "    return magnitude.prune(weight, stats, [0.9 * level for level in levels], seed)\n"
        "register(Method('too_few', prune, 'layer', 'for this test'))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    words = [*PRUNE, "--out", tmp_path / "out"]
    words[3] = "too_few"
    try:
        refused = command("--plugin", "too_few_of_a_user", *words).refused
    finally:
        METHODS.pop("too_few", None)
    assert refused.startswith("--text-encoder 0.5: too_few pruned 45.") and "no pipeline was saved" in refused
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-0.1", "1.5", "1e400", "0,35", "35%", "0x1", "half", ""])
def test_a_sparsity_that_is_no_share_is_refused(command: Command, tmp_path: Path, text: str) -> None:
    refused = command(*PRUNE[:4], f"--unet={text}", "--out", tmp_path / "out").refused
    said = "needs a sparsity" if text == "" else f"{text} is no number from 0 to 1"
    assert refused == f"--unet {said}; give one, such as --unet 0.35" and not (tmp_path / "out").exists()


def test_a_pattern_and_a_sparsity_that_contradict_each_other_are_refused(command: Command, tmp_path: Path) -> None:
    words = (*PRUNE[:4], "--pattern", "2:4", "--out", tmp_path / "out")
    assert command(*words, "--unet", "0.3").refused.startswith("--unet 0.3 contradicts --pattern 2:4")
    refused = command(*words[:5], "2:7", "--unet", "--out", tmp_path / "out").refused
    assert refused.endswith("inputs per output; choose another pattern")
    assert "or --layers linear" in command(*words[:5], "2:7", "--unet", *words[6:], "--layers", "all").refused


def test_statistics_of_another_model_cut_short_or_nonsense_are_refused(command: Command, tmp_path: Path) -> None:
    seeded("sd2").save_pretrained(tmp_path / "sd2", safe_serialization=True)
    whole, broken, out = tmp_path / "whole", tmp_path / "broken", tmp_path / "out"
    other = ("prune", tmp_path / "sd2", *WANDA[2:], "--out", tmp_path / "sd2-pruned", "--save-calibration", whole)
    assert command(*other).code == 0
    refused = command(*WANDA, "--out", out, "--calibration", whole).refused
    assert refused.startswith("--calibration: the statistics were taken from another model (sd2,")
    assert command(*WANDA, "--out", tmp_path / "scenes-pruned", "--save-calibration", whole).code == 0
    with safe_open(whole, "pt") as stream:
        about, tensors = stream.metadata(), {name: stream.get_tensor(name) for name in stream.keys()}
    name = next(iter(tensors))
    contents: list[bytes | torch.Tensor] = [b"", b"a red dog\n", whole.read_bytes()[: whole.stat().st_size // 2]]
    contents += [tensors[name][0], tensors[name].float(), -tensors[name], tensors[name] * torch.nan]
    for content in contents:
        if isinstance(content, bytes):
            broken.write_bytes(content)
        else:
            save_file(tensors | {name: content}, broken, about)
        assert command(*WANDA, "--out", out, "--calibration", broken).refused.startswith(f"{broken} is ")
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("c.json", '{"annotations": [{"id": NaN, "caption": "a"}]}', "entry 0 has the id nan"),
        ("c.json", '{"annotations": [{"id": [1], "caption": "a"}]}', "entry 0 has the id [1]"),
        ("c.json", '{"annotations": ["a caption"]}', '"annotations" is no list of objects'),
        ("c.jsonl", '{"caption": "half a pair \\ud800"}', "surrogates not allowed"),
        ("c.jsonl", '["caption"]', "entry 0 has the caption None"),
    ],
)
def test_captions_that_are_none_are_refused(
    command: Command, tmp_path: Path, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    assert said in command("captions", tmp_path / name, "--captions", "1", "--out", tmp_path / "s").refused


def test_a_mark_of_windows_a_suffix_in_capitals_and_a_null_id_change_no_caption(tmp_path: Path) -> None:
    entries = [{"id": i, "image_id": None, "caption": f"cat {i}"} for i in range(3)]
    (tmp_path / "c.JSON").write_text(json.dumps({"annotations": entries}))
    (tmp_path / "c.txt").write_bytes(b"\xef\xbb\xbfa red dog\n")
    assert [(one.image, one.text) for one in read(tmp_path / "c.JSON")] == [(str(i), f"cat {i}") for i in range(3)]
    assert [one.text for one in read(tmp_path / "c.txt")] == ["a red dog"]
