"""Captions of every format; the same subset whatever the order of the file; what is wrong is one message."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.workloads.captions import Caption, digest, first, ordered, pictures_of, read, read_subset, write_subset
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


def test_subsets_nest_take_every_picture_once_before_any_twice_and_know_no_order(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 30)
    captions = read(tmp_path / "captions.json")
    found = ordered(captions)
    assert len(found) == 60 and len({c.image for c in found[:30]}) == len({c.image for c in found[30:]}) == 30
    assert ordered(random.Random(0).sample(captions, len(captions))) == found != sorted(found, key=lambda c: c.id)
    few, rest = first(tmp_path / "captions.json", 8)
    # What is calibrated on describes no picture that is evaluated.
    assert few == found[:8] and not {c.image for c in few} & {c.image for c in rest} and len(rest) == 44
    assert digest(few) != digest(first(tmp_path / "captions.json", 9)[0])
    assert digest(few) != digest([Caption(c.id, c.image, c.text + "!") for c in few])
    assert pictures_of(found[:30]) is None
    both = pictures_of(found[:33])
    assert both is not None and both[:30] == list(range(30)) and max(both) == 29


def test_a_subset_is_ids_and_a_digest(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 10)
    chosen, _ = first(tmp_path / "captions.json", 6)
    write_subset(tmp_path / "subset.json", chosen[::-1])
    assert "number" not in (tmp_path / "subset.json").read_text()
    assert first(tmp_path / "captions.json", 4, tmp_path / "subset.json")[0] == chosen[:1:-1]
    with pytest.raises(HarnessError, match="--captions 7 asks for more than the 6 captions of"):
        first(tmp_path / "captions.json", 7, tmp_path / "subset.json")
    content = json.loads((tmp_path / "captions.json").read_text())
    (tmp_path / "fewer.json").write_text(json.dumps(content | {"annotations": content["annotations"][:5]}))
    with pytest.raises(HarnessError, match=r"lacks \d of the 6 captions of .* \(ids \d+, "):
        first(tmp_path / "fewer.json", 4, tmp_path / "subset.json")
    for entry in content["annotations"]:
        entry["caption"] += " now"
    (tmp_path / "other.json").write_text(json.dumps(content))
    with pytest.raises(HarnessError, match="has other texts than the file that"):
        first(tmp_path / "other.json", 4, tmp_path / "subset.json")
    with pytest.raises(HarnessError, match="is not a subset of captions; write one with `prunegate captions FILE"):
        first(tmp_path / "captions.json", 4, tmp_path / "captions.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "instances.json",
            json.dumps({"annotations": [{"id": 1, "image_id": 2, "bbox": []}]}),
            "has no captions; give COCO's",
        ),
        ("list.json", "[]", "has no captions; give COCO's"),
        ("cut.json", '{"annotations": [{"capt', "is not a file of captions"),
        ("wrong.jsonl", '{"text": "a cat"}', "is not a file of captions"),
        ("null.jsonl", '{"caption": null}', "is not a file of captions .*entry 0 has the caption None"),
        ("empty.jsonl", '{"caption": " "}', "is not a file of captions"),
        ("numbers.json", '{"annotations": [3]}', "is not a file of captions"),
        ("deep.json", "[" * 100_000, "is not a file of captions"),
        ("latin.txt", b"caf\xe9", "cannot be read"),
        ("empty.txt", "\n", "holds no caption"),
        ("gone.txt", None, "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HarnessError, match=message):
        read(tmp_path / name)


def test_too_few_captions(tmp_path: Path) -> None:
    save_coco(tmp_path / "captions.json", 5)
    with pytest.raises(HarnessError, match="--captions 11 asks for more than the 10 captions of"):
        first(tmp_path / "captions.json", 11)


@pytest.mark.parametrize("count", [0, -1])
def test_no_captions(tmp_path: Path, count: int) -> None:
    save_coco(tmp_path / "captions.json", 5)
    with pytest.raises(HarnessError, match=f"--captions {count} asks for no caption; give 1 or more"):
        first(tmp_path / "captions.json", count)


def test_captions_that_share_an_id_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"caption": "a cat", "id": 1}\n{"caption": "a dog", "id": 1}\n')
    with pytest.raises(HarnessError, match="gives 2 captions the id 1; give every caption an id of its own"):
        first(tmp_path / "a.jsonl", 1)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"captions": 3, "digest": ""}', '{"captions": [[1, 2]]}', "[" * 100_000]
)
def test_a_file_that_is_no_subset_is_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "subset.json").write_text(content)
    with pytest.raises(HarnessError, match=r"--caption-subset .* is not a subset of captions"):
        read_subset(tmp_path / "subset.json")
