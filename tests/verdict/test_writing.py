"""Two processes that update one file, and a kill in the middle of an update."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import files
from harness.case import Case
from harness.errors import HarnessError
from harness.verdict.repository import Repository
from tests.verdict.made_up import CASE, FACTS, KNOWN, OTHER, SECOND, STACK, put, ratio, record

ROOT = Path(__file__).parents[2]
CASES = [Case("scenes", "unet", "magnitude", "all", (i / 20,)) for i in range(1, 20)]


def python(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


UPDATE = """
import sys
from pathlib import Path
from harness.verdict.repository import Repository
from tests.verdict.made_up import put, record
from tests.verdict.test_writing import CASES
path, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for case in CASES[first::step]:
    put(Repository.open(path), record(case)).write()
"""


def test_updates_of_several_processes_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "baselines.json"
    processes = [python(UPDATE, path, first, 4) for first in range(4)]
    said = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    now = Repository.open(path)
    assert now.baselines.cases.keys() == {case.id for case in CASES}
    assert all(now.find(case, FACTS.key, STACK) is not None for case in CASES)
    # Neither locks nor half-written files stay behind.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["baselines", "baselines.json"]
    assert len(list((tmp_path / "baselines").iterdir())) == len(CASES)


def test_what_another_process_stored_in_the_meantime_stays(tmp_path: Path) -> None:
    path = tmp_path / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    ours, theirs = Repository.open(path), Repository.open(path)
    theirs.updated([record(OTHER, {"fid": 12.0})], KNOWN, [ratio()], SECOND).write()
    put(ours, record(values={"fid": 13.0})).write()
    now = Repository.open(path)
    assert [now.entries(case)[0].quality["fid"].value for case in (CASE, OTHER)] == [13.0, 12.0]
    assert now.latency(CASE, STACK) is not None
    assert all(now.find(case, FACTS.key, STACK) is not None for case in (CASE, OTHER))


HOLD = """
import sys, time
from pathlib import Path
from harness import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[bytes]:
    """Return a process that holds the lock of baselines.json."""
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.3)
    process = python(HOLD, tmp_path / "baselines.json")
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    return process


def test_a_file_that_another_process_updates_is_a_message(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    path = tmp_path / "baselines.json"
    with pytest.raises(HarnessError, match=r"baselines.json is unchanged: another process .* for more than 0.3 s"):
        put(Repository.open(path), record()).write()
    assert not path.exists()
    # A killed process takes its lock with it: the file that it leaves stops nobody.
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / ".baselines.json.lock").exists()
    put(Repository.open(path), record()).write()
    assert Repository.open(path).find(CASE, FACTS.key, STACK) is not None
    assert not (tmp_path / ".baselines.json.lock").exists()


def test_other_files_are_not_held(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    put(Repository.open(tmp_path / "baselines.mine.json"), record()).write()
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()


KILLED = """
import os, signal, sys
from pathlib import Path
from harness import files
from harness.verdict.repository import Repository
from tests.verdict.made_up import OTHER, SECOND, put, record
path, at, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
replace, unlink, calls = os.replace, Path.unlink, 0

def counted(right):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = right(*arguments, **options)
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return call

os.replace, Path.unlink = counted(replace), counted(unlink)
values = {"fid": 12.0}
put(Repository.open(path), record(values=values), record(OTHER, values), by=SECOND).write()
print(calls)
"""


def writes(path: Path) -> int:
    """Return how many replacements and removals of files the update of `KILLED` takes."""
    process = python(KILLED, path, -1, "before")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    return int(out)


def test_a_kill_at_any_write_leaves_the_old_baselines_or_the_new_ones(tmp_path: Path) -> None:
    def stored(name: str) -> Path:
        path = tmp_path / name / "baselines.json"
        put(Repository.open(path), record(), record(OTHER)).write()
        return path

    count = writes(stored("whole"))
    # Two sidecars and the file, each with its partial file, then two old sidecars and the lock.
    assert count == 9
    seen = set()
    for at in range(1, count + 1):
        for when in ("before", "after"):
            path = stored(f"{at}{when}")
            process = python(KILLED, path, at, when)
            process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL
            now = Repository.open(path)
            both = [now.find(case, FACTS.key, STACK) for case in (CASE, OTHER)]
            values = {baseline.quality["fid"].value for baseline in both if baseline is not None}
            assert len(both) == 2 and len(values) == 1
            seen |= values
            # The next update ends the same as one that was never interrupted.
            again = [record(case, {"fid": 12.0}) for case in (CASE, OTHER)]
            put(now, *again, by=SECOND).write()
            assert path.read_bytes() == (tmp_path / "whole" / "baselines.json").read_bytes()
    assert seen == {10.0, 12.0}


@pytest.mark.parametrize("at", range(1, 4))
def test_a_disk_that_is_full_leaves_the_old_baselines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    path = tmp_path / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    before, calls = path.read_bytes(), 0
    right: Callable[..., None] = os.fsync

    def full(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise OSError(28, "No space left on device")
        right(handle)

    monkeypatch.setattr(os, "fsync", full)
    update = put(Repository.open(path), record(values={"fid": 12.0}), record(OTHER, {"fid": 12.0}), by=SECOND)
    with pytest.raises(HarnessError, match=r"cannot be written .*No space left"):
        update.write()
    assert path.read_bytes() == before
    assert all(Repository.open(path).find(case, FACTS.key, STACK) is not None for case in (CASE, OTHER))
    assert not list(tmp_path.rglob(".*"))
    update.write()
    assert Repository.open(path).entries(CASE)[0].quality["fid"].value == 12.0
