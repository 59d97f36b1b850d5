"""Statistics written and read again: the same bits, whole files, ordinary modes, and one message for anything else."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from harness.errors import HarnessError
from harness.pruning.calibration import Calibration
from harness.pruning.calibration_file import load, save
from tests.pruning.files import files_up_to


def test_what_is_read_is_what_was_written(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "new" / "statistics.safetensors"
    save(calibration, path)
    found = load(path)
    assert found.about == calibration.about
    for component, by_layer in calibration.components.items():
        assert [*found.components[component]] == [*by_layer]
        for name, stats in by_layer.items():
            other = found.components[component][name]
            assert other.rows == stats.rows and torch.equal(other.squares, stats.squares)
            assert torch.equal(other.gram, stats.gram)
        shared = len({id(stats) for stats in by_layer.values()})
        assert len({id(stats) for stats in found.components[component].values()}) == shared
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_file_has_the_mode_that_the_user_s_umask_gives(calibration: Calibration, tmp_path: Path) -> None:
    small = Calibration(calibration.about, {"unet": dict([*calibration.components["unet"].items()][:1])})
    for mask, mode in ((0o022, 0o644), (0o077, 0o600)):
        before = os.umask(mask)
        try:
            save(small, tmp_path / "statistics")
        finally:
            os.umask(before)
        assert (tmp_path / "statistics").stat().st_mode & 0o777 == mode


def test_a_full_disk_leaves_what_was_there(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "statistics"
    path.write_text("before")
    with files_up_to(2**12), pytest.raises(HarnessError, match=r"statistics cannot be written .*free some space"):
        save(calibration, path)
    assert path.read_text() == "before" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"about": "{}", "layers": "{}"},
        {"about": "[", "layers": "{}"},
        {"layers": "{}"},
        {"about": None, "layers": json.dumps({"unet": {"a": [7, 1]}})},
    ],
    ids=["none", "empty", "broken", "partly", "tensors"],
)
def test_a_file_of_another_kind_is_refused(
    calibration: Calibration, tmp_path: Path, metadata: dict[str, str | None]
) -> None:
    path = tmp_path / "other.safetensors"
    if metadata.get("about", "") is None:
        save(calibration, path)
        from safetensors import safe_open

        with safe_open(path, "pt") as stream:
            metadata["about"] = stream.metadata()["about"]
    save_file({"weight": torch.zeros(2)}, path, {k: v for k, v in metadata.items() if v is not None})
    with pytest.raises(HarnessError, match=r"is not a calibration file .*make one with --save-calibration"):
        load(path)


def test_a_damaged_or_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00")
    for place in (path, tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(HarnessError, match="is not a calibration file"):
            load(place)
