"""Captions of every format; the same subset whatever the order of the file; what is wrong is one message."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from harness.captions import Caption, digest, first, ordered, read
from harness.errors import HarnessError
from tests.pipelines import save_coco


def test_coco_annotations(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 10)
    found = read(tmp_path / "captions.json")
    assert len(found) == 20 and found[0] == Caption("0", "1000", "A red dog number 0.")


def test_lines_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a cat\n\n  a dog \n")
    assert [c.text for c in read(tmp_path / "a.txt")] == ["a cat", "a dog"]
    (tmp_path / "a.jsonl").write_text('{"caption": "a cat", "id": 5, "image_id": 9}\n{"caption": "a dog"}\n')
    assert read(tmp_path / "a.jsonl") == [Caption("5", "9", "a cat"), Caption("1", "1", "a dog")]


def test_subsets_nest_hold_one_caption_per_picture_and_know_no_order(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 30)
    captions = read(tmp_path / "captions.json")
    found = ordered(captions)
    assert len(found) == 30 == len({c.image for c in found})
    assert ordered(random.Random(0).sample(captions, len(captions))) == found != sorted(found, key=lambda c: c.id)
    few, rest = first(tmp_path / "captions.json", 8)
    assert few == found[:8] and rest == found[8:]
    assert digest(few) != digest(first(tmp_path / "captions.json", 9)[0])
    assert digest(few) != digest([Caption(c.id, c.image, c.text + "!") for c in few])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "instances.json",
            json.dumps({"annotations": [{"id": 1, "image_id": 2, "bbox": []}]}),
            "has no captions; wanted",
        ),
        ("list.json", "[]", "has no captions; wanted"),
        ("cut.json", '{"annotations": [{"capt', "is not a file of captions"),
        ("wrong.jsonl", '{"text": "a cat"}', "is not a file of captions"),
        ("empty.txt", "\n", "holds no caption"),
        ("gone.txt", None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(HarnessError, match=message):
        read(tmp_path / name)


def test_too_few_pictures(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 5)
    with pytest.raises(HarnessError, match="describes 5 pictures, --captions asks for 6"):
        first(tmp_path / "captions.json", 6)
