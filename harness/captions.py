"""Captions from the user's file: COCO annotations, JSON lines or plain text; a fixed subset, one per picture."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import digests
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
    """Return one caption of every picture in an order that depends on ids alone.

    The first n of it are the fixed subset of that size: subsets nest, and the order of the file does not matter.
    """

    def place(caption: Caption) -> bytes:
        return hashlib.sha256(f"{SEED}:{caption.id}".encode()).digest()

    by_image: dict[str, Caption] = {}
    for caption in sorted(captions, key=place):
        by_image.setdefault(caption.image, caption)
    return list(by_image.values())


def first(path: Path, n: int) -> tuple[list[Caption], list[Caption]]:
    """Return the first n captions of a file in the fixed order, and those behind them.

    Raises HarnessError where the file describes fewer pictures.
    """
    found = ordered(read(path))
    if len(found) < n:
        raise HarnessError(
            f"{path} describes {len(found)} pictures, --captions asks for {n}: give fewer or another file"
        )
    return found[:n], found[n:]


def digest(captions: Sequence[Caption]) -> str:
    """Return the digest of ids and texts, in their order."""
    return digests.of_value([[caption.id, caption.image, caption.text] for caption in captions])
