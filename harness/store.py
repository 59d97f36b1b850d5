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

from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load, save

from harness import digests, files
from harness.case import Case
from harness.engine import Engine
from harness.errors import HarnessError
from harness.quality.composition import Composition
from harness.quality.generate import Pictures
from harness.quality.judging import Opinion
from harness.record import REUSED, Record

# What happens after a record is made cannot change it.
AFTER = (
    "verdict",
    "report/terminal.py",
    "report/curves.py",
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


@cache
def code_digest() -> str:
    """Return the SHA-256 of our own code that a record depends on."""
    root = Path(__file__).parent
    sources = [p for p in root.rglob("*.py") if not p.relative_to(root).as_posix().startswith(AFTER)]
    sources += (root.parent / "pruners").glob("*.py")
    return digests.of_value({str(path.relative_to(root.parent)): digests.of_file(path) for path in sorted(sources)})


class Store:
    """A folder with one JSON file and one row of pictures per finished case, and the batches of those that are not."""

    def __init__(self, folder: Path) -> None:
        """folder: is made when the first case is finished."""
        self.folder = folder

    def key(self, case: Case, engine: Engine) -> str:
        """Return the digest of case, workload, code, device and versions."""
        conditions = {name: value for name, value in engine.conditions().items() if name not in ROUNDING}
        return digests.of_value([case.id, engine.workload(case), conditions, code_digest()])

    def get(self, key: str) -> tuple[Record, bytes] | None:
        """Return a finished case's record and its row of pictures (PNG), or None: an entry that is damaged is none.

        Times and the process's peak memory are left out: they are of another run.
        """
        try:
            record = Record.from_json(json.loads((self.folder / f"{key}.json").read_text()))
            row = (self.folder / f"{key}.png").read_bytes()
            Image.open(io.BytesIO(row)).load()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return replace(record, seconds={}, peak_megabytes=None, peak_of=REUSED), row

    def put(self, key: str, record: Record, row: bytes) -> None:
        """Keep a finished case, and let go of its batches. Raises HarnessError where that fails, as on a full disk."""
        files.write(self.folder / f"{key}.png", row)
        files.write(self.folder / f"{key}.json", json.dumps(record.to_json(), allow_nan=False))
        shutil.rmtree(self.folder / f"{key}.batches", ignore_errors=True)

    def put_opinion(self, key: str, opinion: Opinion) -> None:
        """Keep what the judges say of the dense pictures, which every other case is compared with."""
        composition = opinion.composition
        tensors = {name: getattr(opinion, name).contiguous() for name in ("features", "embeddings", "clip")}
        if composition is not None:
            tensors |= {"right": composition.right.contiguous(), "wanted": composition.wanted.contiguous()}
        files.write(self.folder / f"{key}.safetensors", save(tensors))

    def opinion(self, key: str) -> Opinion | None:
        """Return what `put_opinion` kept, or None: a file that is damaged is none."""
        try:
            found = load((self.folder / f"{key}.safetensors").read_bytes())
            composition = Composition(found["right"], found["wanted"]) if "right" in found else None
            return Opinion(found["features"], found["embeddings"], found["clip"], composition)
        except (OSError, KeyError, SafetensorError):
            return None


class Batches:
    """The batches of a case that is not finished: a killed run loses the one in flight. used: whether any was there."""

    def __init__(self, folder: Path, key: str, arm: str) -> None:
        """folder: the store's. arm: which of the case's generations."""
        self.folder, self.used = folder / f"{key}.batches" / arm, False

    def get(self, first: int, count: int) -> Pictures | None:
        """Return a batch, or None where it is not there or damaged."""
        try:
            found = load((self.folder / f"{first}-{count}.safetensors").read_bytes())
            made = Pictures(found["images"], found["degenerate"])
        except (OSError, KeyError, SafetensorError):
            return None
        self.used = True
        return made

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
