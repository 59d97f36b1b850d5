"""The results of a run come back from their file as they were, and other files are one message."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness import results
from harness.case import Case
from harness.errors import HarnessError
from harness.measurement import Measurement
from harness.results import LatencyResult, Result, Results, plain, read, write
from pruners.levels import Pattern
from tests.verdict.made_up import CASE, SOLVED, STACK, record

PAIR = Case("scenes", "both", "owl_magnitude+magnitude", "all", (0.475, 0.35))
BOTH = dict.fromkeys(("text_encoder", "unet"), record().components["unet"])
WHOLE = Results(
    (
        Result(record(), "PASS"),
        Result(replace(record(PAIR), components=BOTH), "PASS"),
        Result(record(SOLVED, {"ssim": 0.9}), "REGRESSION (quality)", "fid 3 → 7", True, "not compared"),
        Result(record(Case("scenes", "unet", "wanda", "all", (Pattern(2, 4),)), megabytes=None), "stored"),
    ),
    (LatencyResult(CASE, Measurement(1.0, 0.01, 12), STACK, "PASS"),),
    {"scenes": record(Case("scenes"))},
    {"scenes": ("a red dog", "zwei blaue Tassen, 漢字")},
)


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write(path, WHOLE)
    assert read(path) == WHOLE


def test_records_come_back_from_what_pytest_benchmark_writes(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    records = [record(), record(Case("scenes"))]
    entries: list[dict[str, object]] = [{"extra_info": {"record": plain(one)}} for one in records]
    entries.append({"extra_info": {"latency": {}}})
    path.write_text(json.dumps({"benchmarks": entries}))
    content = read(path)
    assert [result.record for result in content.cases] == records
    assert content.dense == {"scenes": records[1]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot be read \(No such file"),
        ("{", "is no file that"),
        ("[]", "is no file that"),
        ("3", "is no file that"),
        ('{"benchmarks": 3}', "is no file that"),
        ('{"benchmarks": [{}]}', "is no file that"),
        ('{"cases": [{"record": {}, "verdict": "PASS"}]}', "is no file that"),
        ('{"benchmarks": []}', "holds no quality case"),
        ('{"cases": []}', "holds no quality case"),
        ('{"schema": 99}', f"has schema 99, this version reads {results.SCHEMA}"),
    ],
)
def test_another_file_is_one_message(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HarnessError, match=message) as caught:
        read(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and "make one with `pytest benchmarks --json FILE`" in said


def test_a_method_that_nobody_registered_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write(path, WHOLE)
    path.write_text(path.read_text().replace('"sparsegpt"', '"mine"'))
    with pytest.raises(HarnessError, match=r"'mine' is unknown.*prunegate --plugin MODULE"):
        read(path)


def test_a_disk_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be written"):
        write(tmp_path / "file" / "run.json", WHOLE)
