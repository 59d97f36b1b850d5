"""Captions that are none: too few are asked for, all have one id, or a caption is null."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "coco.json"
    entries = [{"id": i, "image_id": i, "caption": f"a cat number {i}"} for i in range(4)]
    path.write_text(json.dumps({"annotations": entries}))
    return path


@pytest.mark.parametrize("n", ["0", "-1"])
def test_no_captions_are_refused(coco: Path, capsys: pytest.CaptureFixture[str], n: str) -> None:
    out = coco.with_name("subset.json")
    assert main(["captions", str(coco), "--captions", n, "--out", str(out)]) == 2
    assert f"--captions {n} asks for no caption; give 1 or more" in capsys.readouterr().err and not out.exists()


def test_one_id_for_all_captions_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "captions.jsonl", tmp_path / "subset.json"
    path.write_text("".join(json.dumps({"id": 7, "caption": f"cat {i}"}) + "\n" for i in range(4)))
    assert main(["captions", str(path), "--captions", "2", "--out", str(out)]) == 2
    assert "gives 4 captions the id 7; give every caption an id of its own" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("name", ["null.jsonl", "null.json"])
def test_a_caption_that_is_null_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    entry = {"id": 1, "image_id": 1, "caption": None}
    path, out = tmp_path / name, tmp_path / "subset.json"
    path.write_text(json.dumps(entry if name.endswith("l") else {"annotations": [entry]}))
    assert main(["captions", str(path), "--captions", "1", "--out", str(out)]) == 2
    assert "has the caption None" in capsys.readouterr().err and not out.exists()
