"""Finished cases on disk, found again by everything that could change them: a killed run takes up where it was.

Only with `--store DIR`: a gate that looked up its answers unasked would be no gate.
"""

from __future__ import annotations

import io
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from PIL import Image

from harness import digests, files
from harness.case import Case
from harness.engine import Engine
from harness.record import Record

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
REUSED = "not measured: kept from an earlier run"


@cache
def code_digest() -> str:
    """Return the SHA-256 of our own code that a record depends on."""
    root = Path(__file__).parent
    sources = [p for p in root.rglob("*.py") if not p.relative_to(root).as_posix().startswith(AFTER)]
    sources += (root.parent / "pruners").glob("*.py")
    return digests.of_value({str(path.relative_to(root.parent)): digests.of_file(path) for path in sorted(sources)})


class Store:
    """A folder with one JSON file and one row of pictures per finished case."""

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
        """Keep a finished case. Raises HarnessError where the folder cannot be written, or the disk is full."""
        files.write(self.folder / f"{key}.png", row)
        files.write(self.folder / f"{key}.json", json.dumps(record.to_json(), allow_nan=False))
