"""Captions from a file: COCO annotations, JSON lines or plain text. Fixed subsets depend on ids alone."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import digests, files
from harness.errors import HarnessError

SEED = 20241117


@dataclass(frozen=True)
class Caption:
    """One caption."""

    id: str
    """The caption's own id."""
    image: str
    """The id of the picture that the caption describes. Captions of one picture are not independent."""
    text: str
    """The text that a picture is generated from."""


def read(path: Path) -> list[Caption]:
    """Read a file of captions.

    Args:
        path: `.json`: COCO annotations (`annotations` with `id`, `image_id`, `caption`). `.jsonl`: one object per line
            with `caption`, and `id` and `image_id` where they are known. Any other file: one caption per line.

    Returns:
        At least one caption, in the file's order.

    Raises:
        HarnessError: The file cannot be read, has another format than its name says, or holds no caption.
    """
    try:
        # Editors of Windows put a mark in front of the text, which is part of no caption.
        text = files.read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} cannot be read ({error}); give another file of captions") from error
    try:
        if path.suffix.lower() == ".json":
            return _coco(path, json.loads(text))
        lines = [(i, line.strip()) for i, line in enumerate(text.splitlines()) if line.strip()]
        if path.suffix.lower() == ".jsonl":
            captions = [_entry(json.loads(line), i) for i, line in lines]
        else:
            captions = [Caption(str(i), str(i), line) for i, line in lines]
    except (ValueError, RecursionError) as error:
        raise HarnessError(f"{path} is not a file of captions ({error}); give another file") from error
    if not captions:
        raise HarnessError(f"{path} holds no caption; write one per line")
    return captions


def _coco(path: Path, content: Any) -> list[Caption]:
    entries = content.get("annotations", []) if isinstance(content, dict) else []
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError('"annotations" is no list of objects')
    captions = [_entry(entry, i) for i, entry in enumerate(entries) if "caption" in entry]
    if not captions:
        raise HarnessError(
            f"{path} has no captions; give COCO's captions_val2017.json or captions_train2017.json "
            "(instances_… and person_keypoints_… have none)"
        )
    return captions


def _entry(entry: Any, place: int) -> Caption:
    text = entry.get("caption") if isinstance(entry, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"entry {place} has the caption {text!r}")
    own = _id(entry, "id", place, str(place))
    caption = Caption(own, _id(entry, "image_id", place, own), " ".join(text.split()))
    # Half of a surrogate pair is valid in JSON and nowhere else.
    "".join((caption.id, caption.image, caption.text)).encode()
    return caption


def _id(entry: dict[str, Any], name: str, place: int, otherwise: str) -> str:
    value = entry.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value != value:
        raise ValueError(f"entry {place} has the {name} {value!r}, which is neither a number nor a text")
    return str(value)


def ordered(captions: Sequence[Caption]) -> list[Caption]:
    """Return captions in an order that depends on ids alone.

    One caption of every picture comes first, then a second one of every picture, and so on. The first n captions are
    the fixed subset of size n. A larger subset contains every smaller one, whatever the order of the file.
    """

    def place(caption: Caption) -> bytes:
        return hashlib.sha256(f"{SEED}:{caption.id}".encode()).digest()

    seen: Counter[str] = Counter()
    rounds: dict[Caption, int] = {}
    for caption in sorted(captions, key=place):
        rounds[caption] = seen[caption.image]
        seen[caption.image] += 1
    return sorted(rounds, key=lambda caption: rounds[caption])


def first(path: Path, n: int, subset: Path | None = None) -> tuple[list[Caption], list[Caption]]:
    """Choose captions of a file.

    Args:
        path: The file, see `read`.
        n: Number of captions, 1 or more.
        subset: A file that `write_subset` wrote. Its captions replace the fixed order.

    Returns:
        The first n captions, and all captions of the file that describe other pictures, in the fixed order.

    Raises:
        HarnessError: The file has fewer captions, two captions share an id, captions of the subset are missing, or
            their texts differ from the ones that the subset was made from.
    """
    if n < 1:
        raise HarnessError(f"--captions {n} asks for no caption; give 1 or more")
    captions = read(path)
    ids = Counter((caption.id, caption.image) for caption in captions)
    (pair, count), *_ = ids.most_common(1)
    if count > 1:
        raise HarnessError(f"{path} gives {count} captions the id {pair[0]}; give every caption an id of its own")
    everything = ordered(captions)
    wanted = everything if subset is None else _resolved(subset, everything, path)
    if len(wanted) < n:
        raise HarnessError(
            f"--captions {n} asks for more than the {len(wanted)} captions of {subset or path}; "
            "give a smaller number or another file"
        )
    described = {caption.image for caption in wanted[:n]}
    return wanted[:n], [caption for caption in everything if caption.image not in described]


def write_subset(path: Path, captions: Sequence[Caption]) -> None:
    """Write the choice of captions: their ids and a digest of their texts.

    The texts themselves are not written, because they belong to others.
    """
    entries = [[caption.id, caption.image] for caption in captions]
    files.write(path, json.dumps({"captions": entries, "digest": digest(captions)}, indent=1) + "\n")


def read_subset(path: Path) -> tuple[list[tuple[str, str]], str]:
    """Return (id, image) of every caption of a subset, and the digest of their texts.

    Raises:
        HarnessError: The file is missing or was not written by `write_subset`.
    """
    try:
        content = json.loads(files.read(path).decode())
        return [(str(own), str(image)) for own, image in content["captions"]], str(content["digest"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HarnessError(
            f"--caption-subset {path} is not a subset of captions; "
            "write one with `prunegate captions FILE --captions N --out SUBSET`"
        ) from error


def _resolved(subset: Path, captions: Sequence[Caption], path: Path) -> list[Caption]:
    wanted, texts = read_subset(subset)
    known = {(caption.id, caption.image): caption for caption in captions}
    missing = [pair[0] for pair in dict.fromkeys(wanted) if pair not in known]
    if missing:
        named = ", ".join(missing[:3]) + (", …" if missing[3:] else "")
        raise HarnessError(
            f"{path} lacks {len(missing)} of the {len(wanted)} captions of {subset} (ids {named}); give the annotation "
            "file that the subset was made from"
        )
    chosen = [known[pair] for pair in wanted]
    if digest(chosen) != texts:
        raise HarnessError(
            f"{path} has other texts than the file that {subset} was made from; give that version of the file"
        )
    return chosen


def pictures_of(captions: Sequence[Caption]) -> list[int] | None:
    """Return the number of the picture that every caption describes; None where each has a picture of its own."""
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(caption.image, len(numbers)) for caption in captions]
    return places if len(numbers) < len(places) else None


def digest(captions: Sequence[Caption]) -> str:
    """Return the digest of ids and texts, in order."""
    return digests.of_value([[caption.id, caption.image, caption.text] for caption in captions])
