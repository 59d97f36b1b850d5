"""Finished cases on disk, found again by everything that could change them: a killed run takes up where it was.

Only with `--store DIR`: a gate that looked up its answers unasked would be no gate.
"""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from harness import digests, files
from harness.case import Case
from harness.engine import Engine
from harness.errors import HarnessError
from harness.quality.composition import Composition
from harness.quality.generate import Pictures
from harness.quality.judging import Opinion, Seen
from harness.record import REUSED, Record
from harness.surgery.masks import weights_digest

# What happens after a record is made cannot change it.
AFTER = (
    "verdict",
    "report/terminal.py",
    "report/curves.py",
    "report/page.py",
    "plugin.py",
    "options.py",
    "gate.py",
    "closing.py",
    "noise.py",
    "store.py",
    "export.py",
    "model_card.py",
    "__main__.py",
)
# Recorded with a result; what they change is rounding, which the measured noise covers.
ROUNDING = ("threads", "cores", "batch_size")


# Makes masks and weights, whose digest says all that pictures depend on.
PRUNES = ("calibration.py", "pruning.py", "surgery")


@cache
def code_digest(without: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of our own code that a record depends on, less the files that are named.

    What is left without `PRUNES` leaves `pruners` out as well.
    """
    root = Path(__file__).parent
    sources = [p for p in root.rglob("*.py") if not p.relative_to(root).as_posix().startswith((*AFTER, *without))]
    if not without:
        sources += (root.parent / "pruners").glob("*.py")
    return digests.of_value({str(path.relative_to(root.parent)): digests.of_file(path) for path in sorted(sources)})


class Shelf:
    """One case's place in the store, a folder.

    Holds a JSON file and a row of pictures per finished case, what was seen of every model's pictures by the digest of
    its weights, and the batches of cases that are not finished. row: that of the pictures that were seen, PNG.
    """

    def __init__(self, folder: Path, case: Case, engine: Engine) -> None:
        """folder: is made when the first case is finished."""
        self.folder, self.engine, self.dense, self.row = folder, engine, case == engine.dense_case(), b""
        self.key = self._key([case.id, engine.workload(case)])

    def _key(self, about: list[Any], without: tuple[str, ...] = ()) -> str:
        conditions = {name: value for name, value in self.engine.conditions().items() if name not in ROUNDING}
        return digests.of_value([*about, conditions, code_digest(without)])

    def finished(self) -> tuple[Record, bytes] | None:
        """Return the finished case's record and its row of pictures, or None: an entry that is damaged is none.

        Times and the process's peak memory are left out: they are of another run. The dense case gives the engine what
        was seen of its pictures, which others are compared with.
        """
        try:
            record = Record.from_json(json.loads((self.folder / f"{self.key}.json").read_text()))
            row = self._picture(self.key)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        if self.dense:
            seen = self.seen(weights_digest({}))
            if seen is None:
                return None
            self.engine.dense = seen.opinion
        return replace(record, seconds={}, peak_megabytes=None, peak_of=REUSED), row

    def finish(self, record: Record, seen: Seen, weights: str, row: bytes) -> None:
        """Keep a finished case, and let go of its batches. Raises HarnessError where that fails, as on a full disk."""
        opinion, composition = seen.opinion, seen.opinion.composition
        tensors = {name: getattr(opinion, name).contiguous() for name in ("features", "embeddings", "clip")}
        if composition is not None:
            tensors |= {"right": composition.right.contiguous(), "wanted": composition.wanted.contiguous()}
        if weights:
            key = self._seen_key(weights)
            files.write(self.folder / f"{key}.png", row)
            files.write(self.folder / f"{key}.safetensors", save(tensors, {"degenerate": str(seen.degenerate)}))
        files.write(self.folder / f"{self.key}.png", row)
        files.write(self.folder / f"{self.key}.json", json.dumps(record.to_json(), allow_nan=False))
        shutil.rmtree(self.folder / f"{self.key}.batches", ignore_errors=True)

    def _seen_key(self, weights: str) -> str:
        """Return the digest of all that makes and judges pictures: not of what pruned, which the weights tell."""
        return self._key([weights, self.engine.workload(self.engine.dense_case())], PRUNES)

    def seen(self, weights: str) -> Seen | None:
        """Return what was seen of the pictures of a model with such weights, or None: a damaged file is none."""
        key = self._seen_key(weights)
        try:
            with safe_open(self.folder / f"{key}.safetensors", "pt") as stream:
                found = {name: stream.get_tensor(name) for name in stream.keys()}
                degenerate = int(stream.metadata()["degenerate"])
            composition = Composition(found["right"], found["wanted"]) if "right" in found else None
            opinion = Opinion(found["features"], found["embeddings"], found["clip"], composition)
            self.row = self._picture(key)
        except (OSError, KeyError, ValueError, TypeError, SafetensorError):
            return None
        return Seen(opinion, degenerate)

    def _picture(self, key: str) -> bytes:
        content = (self.folder / f"{key}.png").read_bytes()
        Image.open(io.BytesIO(content)).load()
        return content

    def batches(self, arm: str) -> Batches:
        """Return where batches of the case are kept. arm: which of its generations."""
        return Batches(self.folder / f"{self.key}.batches" / arm)


class Batches:
    """The batches of a case that is not finished: a killed run loses the one in flight. used: whether any was there."""

    def __init__(self, folder: Path) -> None:
        """folder: of one generation."""
        self.folder, self.used = folder, False

    def get(self, first: int, count: int) -> Pictures | None:
        """Return the largest batch of up to `count` pictures, or None where there is none that is not damaged."""
        sizes = [int(path.stem.partition("-")[2]) for path in self.folder.glob(f"{first}-*.safetensors")]
        for size in sorted((size for size in sizes if size <= count), reverse=True):
            try:
                found = load((self.folder / f"{first}-{size}.safetensors").read_bytes())
                made = Pictures(found["images"], found["degenerate"], size)
            except (OSError, KeyError, SafetensorError):
                continue
            self.used = True
            return made
        return None

    def put(self, first: int, made: Pictures) -> None:
        """Keep a batch. Raises HarnessError where it cannot be written."""
        content = save({"images": made.images.contiguous(), "degenerate": made.degenerate.contiguous()})
        path = self.folder / f"{first}-{len(made.images)}.safetensors"
        try:
            files.write(path, content)
        except HarnessError as error:
            # Another worker has finished the same case just now, and let go of its batches.
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            files.write(path, content)
