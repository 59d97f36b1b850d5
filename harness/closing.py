"""What a run leaves behind: contact sheets, and baselines when they are to be updated."""

from __future__ import annotations

import dataclasses
import datetime
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.record import Record
from harness.report.pictures import contact_sheet
from harness.verdict import baselines


def contact_sheets(
    records: list[Record], dense: Mapping[str, Record], captions: Mapping[str, list[str]], report: Path
) -> list[Path]:
    """Write one sheet per target, component, method and layer choice, the dense row on top; return their paths.

    dense, captions: by target. Raises HarnessError where a row is gone or the sheet cannot be written.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.case.rpartition("-")[0], []).append(record)
    written = []
    for group, members in sorted(groups.items()):
        rows = sorted(members, key=lambda r: tuple(r.requested.values()))
        target = group.partition("-")[0]
        if target in dense and rows[0].requested:
            rows = [dense[target], *rows]
        labels = ["\n".join(["dense" if not r.requested else r.case.rpartition("-")[2], *_labels(r)]) for r in rows]
        strips = [report / "rows" / f"{r.case}.png" for r in rows]
        path = report / f"contact-{group}.png"
        contact_sheet(list(zip(labels, strips, strict=True)), captions[target], group, path)
        written.append(path)
    return written


def _labels(record: Record) -> list[str]:
    shown = (("composition", "composition {:.2f}"), ("fid", "FID {:.1f}"), ("clip", "CLIP score {:.1f}"))
    return [text.format(record.quality[name].value) for name, text in shown if name in record.quality][:2]


def update(
    path: Path, records: list[Record], workloads: dict[str, Any], latencies: list[dict[str, Any]], reason: str
) -> Iterator[str]:
    """Store records and ratios of latencies in the baselines file and yield the lines that say what changed.

    latencies: case, ratio (value, se, n) and conditions of each. Raises HarnessError where the file cannot be read or
    written; it is then as it was.
    """
    old = baselines.load(path)
    provenance = provenance_of(reason)
    new = baselines.merged(old, records, workloads, provenance)
    baselines.write(baselines.with_latencies(new, latencies, provenance))
    yield f"\nbaselines stored in {os.path.relpath(path)}:"
    for record in records:
        before = old.cases.get(record.case, {}).get(record.workload)
        changes = [
            f"{name} {before['quality'][name]['value']:.4g} → {m.value:.4g}"
            if before and name in before["quality"]
            else f"{name} {m.value:.4g}"
            for name, m in record.quality.items()
        ]
        yield f"  {record.case:<46} {'' if before else 'new: '}{', '.join(changes)}"
    for facts in latencies:
        figure = old.latency.get(facts["case"], {}).get(baselines.key_of(baselines.profile_of(facts["conditions"])))
        moved = f"{figure['value']:.3f} → {facts['ratio']['value']:.3f}" if figure else f"{facts['ratio']['value']:.3f}"
        yield f"  {facts['case']:<46} {'' if figure else 'new: '}latency {moved} of dense"


def candidate(path: Path, red: list[Record], workloads: dict[str, Any], report: Path) -> Path:
    """Write the baselines at `path` with the figures of the red cases put in to `report`; return the new file's path.

    Whoever finds that the change is meant looks here at what would be stored. Raises HarnessError as `update` does.
    """
    provenance = provenance_of("candidate of a run with red cases, accepted by nobody")
    proposed = baselines.merged(baselines.load(path), red, workloads, provenance)
    target = report / "baselines.candidate.json"
    baselines.write(dataclasses.replace(proposed, path=target))
    return target


def provenance_of(reason: str) -> dict[str, str]:
    """Return what is kept of where a baseline comes from: commit, date and the reason given."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"commit": _commit(Path(__file__).parent), "date": today, "reason": reason.strip()}


def _commit(folder: Path) -> str:
    """Return the commit of the code, with "-dirty" where a file of it was changed or added since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("-dirty" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
