"""Files that are no files: devices, pipes and nonsense. Each is one message, and nothing waits for ever."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import torch

from harness.errors import HarnessError
from harness.loaded import unpickled
from harness.metrics.reference import open_pictures
from harness.targets.resolve import resolve
from harness.verdict.judge import judge
from harness.verdict.repository import Repository
from harness.workloads.captions import first
from tests.cli.conftest import Command, run_file
from tests.pipelines import save_coco
from tests.pruning.files import files_up_to
from tests.verdict.made_up import FIRST, OTHER, put, record


def test_a_device_is_not_read_because_it_may_have_no_end(command: Command, tmp_path: Path) -> None:
    """Here the device is empty; /dev/zero would fill the memory."""
    device, run = tmp_path / "device.json", run_file(tmp_path / "run.json")
    device.symlink_to("/dev/null")
    save_coco(tmp_path / "coco.json", 3)
    for words in (
        ("captions", device, "--captions", "1", "--out", tmp_path / "s.json"),
        ("compare", run, device),
        ("curves", device, "--out", tmp_path / "c.svg"),
    ):
        refused = command(*words).refused
        assert refused.startswith(f"{device} cannot be read (") and "it is a device" in refused
    with pytest.raises(HarnessError, match=r"device\.json cannot be read \(it is a device\)"):
        Repository.open(device)
    with pytest.raises(HarnessError, match=r"--caption-subset .*device\.json is not a subset"):
        first(tmp_path / "coco.json", 1, device)


def test_a_pipe_is_read(command: Command, tmp_path: Path) -> None:
    """As bash makes one of `<(zcat run.json.gz)`."""
    run, pipe = run_file(tmp_path / "run.json"), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=lambda: pipe.write_bytes(run.read_bytes()))
    writer.start()
    assert command("compare", run, pipe).code == 0
    writer.join()


def test_a_pipe_in_place_of_baselines_or_of_a_picture_is_named_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("baselines.json", "a.png"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(HarnessError, match=r"baselines\.json cannot be read \(it is a pipe\)"):
        Repository.open(tmp_path / "baselines.json")
    with pytest.raises(HarnessError, match=r"a\.png is no picture that can be read \(it is no ordinary file\)"):
        open_pictures([tmp_path / "a.png"])
    path = tmp_path / "mine.json"
    put(Repository.open(path), record()).write()
    (sidecar,) = (tmp_path / "mine").iterdir()
    sidecar.unlink()
    os.mkfifo(sidecar)
    verdict = judge(record(), Repository.open(path))
    assert verdict.kind == "NO BASELINE" and "cannot be read (it is a pipe)" in verdict.reason


@pytest.mark.parametrize("content", [b"junk", b"", b"PK\x03\x04", bytes(range(256)), b"\x80\x02."])
def test_a_checkpoint_of_nonsense_is_a_value_error_of_any_kind(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"\S"):
        unpickled(tmp_path / "x.pt")
    with pytest.raises(OSError, match="No such file"):
        unpickled(tmp_path / "gone.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "x.pt")
    assert torch.equal(unpickled(tmp_path / "x.pt")["a"], torch.ones(2))


def test_a_checkpoint_of_nonsense_is_one_message(command: Command, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "reader.pt").write_bytes(b"junk")
    train = ("train-scenes", "--stage", "reader", "--minutes", "1", "--device", "cpu", "--out", tmp_path)
    assert command(*train).refused.startswith(f"{tmp_path / 'checkpoints' / 'reader.pt'} is damaged, or is of another")


@pytest.mark.parametrize("name", ["x" * 5000, "owner/" + "x" * 5000, "a\0b"])
def test_a_target_that_no_file_system_can_name_is_one_message(name: str) -> None:
    with pytest.raises(HarnessError, match=r"^the target .* cannot be used \(.*\); give another name$") as error:
        resolve(name)
    assert len(str(error.value)) < 250


def test_an_option_with_a_name_that_is_too_long_is_a_usage_error(pytester: pytest.Pytester) -> None:
    common = ("-c", os.devnull, f"--rootdir={pytester.path}", "-p", "harness.plugin", "--target=sd2_untrained")
    with pytest.raises(pytest.UsageError, match=r"File name too long; give another name"):
        pytester.parseconfigure(*common, f"--caption-file={'x' * 5000}", "--scorer=scenes")


def test_force_without_the_option_that_it_concerns_is_refused(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prune = ("prune", "scenes", "--method", "magnitude", "--unet", "0.5", "--out", out, "--force")
    assert command(*prune).refused.startswith("--force concerns --save-calibration only") and not out.exists()
    assert command("measure-scenes", "--force").refused.startswith("--force concerns --sheet only")


def test_an_id_that_would_move_the_cursor_is_refused(command: Command, tmp_path: Path) -> None:
    run = run_file(tmp_path / "run.json")
    run.write_text(run.read_text().replace('"scenes"', '"sc\\u001b[31menes"'))
    for words in (("compare", run, run), ("curves", run, "--out", tmp_path / "c.svg")):
        refused = command(*words).refused
        assert "is no id of a case" in refused and "\x1b" not in refused and not (tmp_path / "c.svg").exists()


def test_a_full_disk_leaves_no_sidecar_that_no_file_names(tmp_path: Path) -> None:
    path, long = tmp_path / "mine.json", replace(FIRST, reason="x" * 20_000)
    put(Repository.open(path), record(), by=long).write()
    before = {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()}
    # A sidecar fits, and the baselines do not.
    with files_up_to(20_000), pytest.raises(HarnessError, match=r"mine\.json cannot be written \(File too large\)"):
        put(Repository.open(path), record(OTHER), by=long).write()
    assert {place: place.read_bytes() for place in tmp_path.rglob("*") if place.is_file()} == before
