"""Captions from the user's file: COCO annotations, JSON lines or plain text; fixed subsets, by ids alone."""

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
    """One caption. id: its own. image: that of the picture it describes; captions of one are not independent."""

    id: str
    image: str
    text: str


def read(path: Path) -> list[Caption]:
    """Read a file of captions.

    `.json`: COCO annotations (`annotations` with `id`, `image_id`, `caption`). `.jsonl`: an object per line with
    `caption`, and `id` and `image_id` where they are known. Anything else: one caption per line. Raises HarnessError
    where the file cannot be read, is not of its kind, or holds no caption.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise HarnessError(f"the captions {path} cannot be read ({error})") from error
    try:
        if path.suffix == ".json":
            content = json.loads(text)
            entries = content.get("annotations", []) if isinstance(content, dict) else []
            found = [_entry(entry, i) for i, entry in enumerate(entries) if "caption" in entry]
            if not found:
                raise HarnessError(
                    f"{path} has no captions; wanted COCO's captions_val2017.json or captions_train2017.json "
                    "(instances_… and person_keypoints_… have none)"
                )
            return found
        lines = [(i, line.strip()) for i, line in enumerate(text.splitlines()) if line.strip()]
        if path.suffix == ".jsonl":
            found = [_entry(json.loads(line), i) for i, line in lines]
        else:
            found = [Caption(str(i), str(i), line) for i, line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise HarnessError(f"{path} is not a file of captions ({error!r})") from error
    if not found:
        raise HarnessError(f"{path} holds no caption; write one per line")
    return found


def _entry(entry: dict[str, Any], place: int) -> Caption:
    own = str(entry.get("id", place))
    return Caption(own, str(entry.get("image_id", own)), " ".join(str(entry["caption"]).split()))


def ordered(captions: Sequence[Caption]) -> list[Caption]:
    """Return captions in an order that depends on ids alone: one of every picture, then a second of every one, ….

    The first n of it are the fixed subset of that size: subsets nest, and the order of the file does not matter.
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
    """Return the first n captions of a file in the fixed order, and those behind them that describe other pictures.

    subset: a file that `write_subset` wrote, whose captions are taken instead. Raises HarnessError where the file has
    fewer, lacks captions of the subset, or has other texts for them.
    """
    found = ordered(read(path))
    wanted = found if subset is None else _resolved(subset, found, path)
    if len(wanted) < n:
        raise HarnessError(
            f"{subset or path} has {len(wanted)} captions, --captions asks for {n}: give fewer or another file"
        )
    described = {caption.image for caption in wanted[:n]}
    return wanted[:n], [caption for caption in found if caption.image not in described]


def write_subset(path: Path, captions: Sequence[Caption]) -> None:
    """Keep which captions were taken, by id, with a digest of their texts: never the texts, which are not ours."""
    entries = [[caption.id, caption.image] for caption in captions]
    files.write(path, json.dumps({"captions": entries, "digest": digest(captions)}, indent=1) + "\n")


def read_subset(path: Path) -> tuple[list[tuple[str, str]], str]:
    """Return (id, image) of the captions of a subset, and the digest of their texts. Raises HarnessError otherwise."""
    try:
        content = json.loads(path.read_text())
        return [(str(own), str(image)) for own, image in content["captions"]], str(content["digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HarnessError(
            f"{path} is not a subset of captions; write one with `python -m harness captions FILE --out {path}`"
        ) from error


def _resolved(subset: Path, captions: Sequence[Caption], path: Path) -> list[Caption]:
    wanted, texts = read_subset(subset)
    known = {(caption.id, caption.image): caption for caption in captions}
    missing = [pair[0] for pair in dict.fromkeys(wanted) if pair not in known]
    if missing:
        named = ", ".join(missing[:3]) + (", …" if missing[3:] else "")
        raise HarnessError(
            f"{path} lacks {len(missing)} of the {len(wanted)} captions of {subset} (ids {named}): give the annotation "
            "file that the subset was made from"
        )
    found = [known[pair] for pair in wanted]
    if digest(found) != texts:
        raise HarnessError(f"{path} has other texts than {subset} was made from: give that version of the file")
    return found


def pictures_of(captions: Sequence[Caption]) -> list[int] | None:
    """Return for every caption which picture it describes, as a number from 0; None where no two share one."""
    numbers: dict[str, int] = {}
    found = [numbers.setdefault(caption.image, len(numbers)) for caption in captions]
    return found if len(numbers) < len(found) else None


def digest(captions: Sequence[Caption]) -> str:
    """Return the digest of ids and texts, in their order."""
    return digests.of_value([[caption.id, caption.image, caption.text] for caption in captions])
