"""A damaged sidecar takes the baseline of its own case alone, and the advice in its message works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness import digests
from harness.verdict import sidecar
from harness.verdict.judge import judge
from harness.verdict.repository import Damaged, Repository
from tests.verdict.made_up import CASE, FACTS, OTHER, SECOND, STACK, put, record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file with baselines of two cases."""
    path = tmp_path / "baselines.json"
    put(Repository.open(path), record(), record(OTHER)).write()
    return path


def sidecar_of(path: Path) -> Path:
    (entry,) = Repository.open(path).entries(CASE)
    return path.with_suffix("") / sidecar.name_of(CASE.id, entry.sidecar)


def _gone(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> object:
    return file.write_bytes(file.read_bytes()[:100])


def _changed(file: Path) -> object:
    return file.write_text(file.read_text().replace("10", "11", 1))


def _foreign(file: Path) -> object:
    return file.write_bytes(next(p for p in file.parent.iterdir() if p != file).read_bytes())


def _a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_gone, "cannot be read"),
        (_a_folder, "cannot be read"),
        (_cut, "is not the file that was stored"),
        (_changed, "is not the file that was stored"),
        (_foreign, "is not the file that was stored"),
    ],
)
def test_a_damaged_sidecar_is_the_case_s_alone_and_its_advice_works(
    path: Path, damage: Callable[[Path], object], message: str
) -> None:
    measured = record()
    place = sidecar_of(path)
    damage(place)
    now = Repository.open(path)
    assert now.find(OTHER, FACTS.key, STACK) is not None
    with pytest.raises(Damaged, match=message) as caught:
        now.find(CASE, FACTS.key, STACK)
    assert f"git checkout -- {place}`" in str(caught.value) and f"-k '{CASE.id}'" in str(caught.value)
    verdict = judge(measured, now)
    assert (verdict.kind, verdict.gate, verdict.red(False, False)) == ("NO BASELINE", "baseline", True)
    assert message in verdict.reason and judge(record(OTHER), now).passed
    # Other cases can be stored without it, and storing the case itself mends it, even with the same values.
    put(now, record(OTHER, {"fid": 12.0}), by=SECOND).write()
    if damage is not _a_folder:
        put(Repository.open(path), measured, by=SECOND).write()
        assert judge(measured, Repository.open(path)).passed


def test_a_sidecar_with_the_right_digest_and_the_wrong_content_is_refused(path: Path) -> None:
    """The digest in the file was changed by hand, too."""
    content = json.loads(sidecar_of(path).read_text())
    right = json.loads(sidecar_of(path).read_text())
    for name, change, message in (
        ("case", "somebody", "belongs to another case"),
        ("keep", "xyz", "not hexadecimal"),
        ("keep", "", "not hexadecimal"),
        ("paired", {"fid": [1.0]}, "lacks a metric"),
        ("paired", {"fid": ["1"]}, "is no sidecar"),
        ("paired", None, "is no sidecar"),
    ):
        content = right | {name: change}
        data = json.dumps(content).encode()
        digest, old = digests.of_bytes(data), sidecar_of(path)
        text = path.read_text().replace(Repository.open(path).entries(CASE)[0].sidecar, digest)
        path.write_text(text)
        old.unlink(missing_ok=True)
        (old.parent / sidecar.name_of(CASE.id, digest)).write_bytes(data)
        with pytest.raises(Damaged, match=message):
            Repository.open(path).find(CASE, FACTS.key, STACK)


def test_a_copy_of_a_damaged_sidecar_is_as_damaged(path: Path, tmp_path: Path) -> None:
    sidecar_of(path).write_text("{}")
    copy = tmp_path / "copy.json"
    put(Repository.open(path), record(OTHER, {"fid": 12.0})).write(copy)
    assert Repository.open(copy).find(OTHER, FACTS.key, STACK) is not None
    with pytest.raises(Damaged):
        Repository.open(copy).find(CASE, FACTS.key, STACK)
