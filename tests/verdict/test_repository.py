"""The baselines file and its sidecars: what is stored, what stays, and what a damaged file leads to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.case import Case
from harness.errors import HarnessError
from harness.facts import Stack
from harness.record import Record
from harness.verdict import sidecar
from harness.verdict.baseline import Provenance
from harness.verdict.repository import Repository
from tests.verdict.made_up import (
    CASE,
    FACTS,
    FEW,
    FIRST,
    GPU,
    KNOWN,
    OTHER,
    SECOND,
    SOLVED,
    STACK,
    put,
    ratio,
    record,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file with baselines of two cases and one latency."""
    path = tmp_path / "baselines.json"
    Repository.open(path).updated([record(), record(OTHER)], KNOWN, [ratio()], FIRST).write()
    return path


def files_of(path: Path) -> dict[str, bytes]:
    """Return the baselines file and its sidecars: name → content."""
    return {str(p.relative_to(path.parent)): p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}


def sidecar_of(path: Path, case: Case = CASE, stack: Stack = STACK, workload: str = FACTS.key) -> Path:
    entry = Repository.open(path).entry(case, workload, stack)
    assert entry is not None
    return path.with_suffix("") / sidecar.name_of(case.id, entry.sidecar)


def test_a_missing_file_holds_no_case(tmp_path: Path) -> None:
    empty = Repository.open(tmp_path / "none.json")
    assert not empty.baselines.cases and empty.find(CASE, FACTS.key, STACK) is None and empty.comparisons == 2
    assert list(tmp_path.iterdir()) == []


def test_what_was_measured_comes_back(path: Path) -> None:
    measured, stored = record(), Repository.open(path).find(CASE, FACTS.key, STACK)
    assert stored is not None and stored.case == CASE
    assert (stored.keep, stored.paired, stored.degenerate) == (measured.keep, measured.paired, 0)
    assert stored.components == measured.components
    for name, figure in stored.quality.items():
        one = measured.quality[name]
        assert (figure.value, figure.se, figure.n) == (one.value, one.se, one.n)
    assert stored.entry.provenance == replace(FIRST, threads=2)
    latency = Repository.open(path).latency(CASE, STACK)
    assert latency is not None and latency.figure.value == 1.0 and Repository.open(path).latency(CASE, GPU) is None


def test_tolerance_and_noise_are_those_of_the_rule(tmp_path: Path) -> None:
    repository = put(Repository.open(tmp_path / "b.json"), record(), record(SOLVED))
    plain, solved = (repository.find(case, FACTS.key, STACK) for case in (CASE, SOLVED))
    assert plain is not None and solved is not None
    assert (plain.quality["fid"].tolerance, plain.quality["fid"].noise) == (0.02, 0.0)
    assert (solved.quality["fid"].tolerance, solved.quality["fid"].noise) == (0.025, 0.0025)
    assert (solved.quality["composition"].tolerance, solved.quality["composition"].noise) == (0.0312, 0.005625)
    assert (plain.entry.memory.tolerance if plain.entry.memory else None) == 1.0


@pytest.mark.parametrize("name", ["baselines", "baselines.txt", "baselines.json.bak", ".json", "x.JSON"])
def test_only_json_files_are_baselines(tmp_path: Path, name: str) -> None:
    """Else the folder of the sidecars would be the file itself, or that of another file."""
    with pytest.raises(HarnessError, match=r"--baselines .* does not end in \.json"):
        Repository.open(tmp_path / name)
    with pytest.raises(HarnessError, match="does not end in"):
        Repository.open(tmp_path / "a.json").write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("content", "message"), [(b"{", "is no JSON"), (b"\x00\xff", "is no text in UTF-8")])
def test_a_broken_file_is_one_message_and_stays(path: Path, content: bytes, message: str) -> None:
    opened = put(Repository.open(path), record(values={"fid": 20.0}))
    path.write_bytes(content)
    for read in (lambda: Repository.open(path), opened.write):
        with pytest.raises(HarnessError, match=message) as caught:
            read()
        assert str(path) in str(caught.value) and f"git checkout -- {path}`" in str(caught.value)
        assert "--update-baselines" in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(HarnessError, match="is a folder; name a file"):
        Repository.open(tmp_path / "a.json")


def test_an_update_of_nothing_new_leaves_every_byte(path: Path) -> None:
    before = files_of(path)
    Repository.open(path).updated([record(OTHER), record()], KNOWN, [ratio()], FIRST).write()
    assert files_of(path) == before


def test_an_update_of_a_case_leaves_the_rest(path: Path) -> None:
    before, old = files_of(path), sidecar_of(path)
    put(Repository.open(path), record(values={"fid": 12.0}), by=SECOND).write()
    after = files_of(path)
    gone, new = before.keys() - after.keys(), after.keys() - before.keys()
    assert gone == {f"baselines/{old.name}"} and len(new) == 1
    lines = [(path.parent / "x", text.decode().splitlines()) for text in (before[path.name], after[path.name])]
    changed = set(lines[1][1]) - set(lines[0][1])
    assert len(changed) == 3  # the figure, the sidecar and the provenance
    stored = Repository.open(path).find(CASE, FACTS.key, STACK)
    assert stored is not None and stored.quality["fid"].value == 12.0 and stored.entry.provenance.reason == "second"


def test_another_stack_and_another_workload_have_entries_of_their_own(path: Path) -> None:
    on_gpu = record(values={"fid": 11.0}, stack=GPU, megabytes=70.0)
    few = record(values={"fid": 13.0}, facts=FEW)
    Repository.open(path).updated([on_gpu, few], KNOWN, [ratio(1.2, GPU)], SECOND).write()
    now = Repository.open(path)
    assert len(now.entries(CASE)) == 3 and len(now.entries(OTHER)) == 1

    def fid(workload: str, stack: Stack) -> float:
        stored = now.find(CASE, workload, stack)
        assert stored is not None
        return stored.quality["fid"].value

    assert (fid(FACTS.key, STACK), fid(FACTS.key, GPU), fid(FEW.key, STACK)) == (10.0, 11.0, 13.0)
    # Another stack has no entry: the newest one counts.
    elsewhere = replace(STACK, torch="3.0.0")
    assert (fid(FACTS.key, elsewhere), fid(FEW.key, elsewhere)) == (11.0, 13.0)
    assert now.find(CASE, "0" * 16, STACK) is None
    ratios = [now.latency(CASE, stack) for stack in (STACK, GPU)]
    assert [r.figure.value for r in ratios if r] == [1.0, 1.2]
    # Memory and latency of the other stack survive an update on this one.
    Repository.open(path).updated([record()], KNOWN, [ratio(1.1)], SECOND).write()
    entry = Repository.open(path).entry(CASE, FACTS.key, GPU)
    assert entry is not None and entry.memory is not None and entry.memory.value == 70.0
    latency = Repository.open(path).latency(CASE, GPU)
    assert latency is not None and latency.figure.value == 1.2


def test_facts_that_no_entry_has_go(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    put(Repository.open(path), record()).write()
    assert Repository.open(path).baselines.workloads == {FACTS.key: FACTS}
    assert Repository.open(path).baselines.stacks == {STACK.key: STACK}


def test_memory_that_was_not_measured_again_stays(path: Path) -> None:
    put(Repository.open(path), record(megabytes=None), by=SECOND).write()
    entry = Repository.open(path).entry(CASE, FACTS.key, STACK)
    assert entry is not None and entry.memory is not None and entry.memory.value == 50.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace(record(), workload="0" * 16), "facts of its workload 0+ are not given"),
        (record(values={"fud": 1.0}), "fud.* unknown"),
    ],
)
def test_what_cannot_be_stored_is_said_and_nothing_is_written(path: Path, wrong: Record, message: str) -> None:
    before = files_of(path)
    with pytest.raises(HarnessError, match=message):
        put(Repository.open(path), wrong)
    assert files_of(path) == before


def test_what_could_not_be_read_back_is_not_written(path: Path) -> None:
    before = files_of(path)
    odd = replace(record(), degenerate=-1)
    with pytest.raises(HarnessError, match=r"stays as it was: what was measured cannot be stored .*degenerate is -1"):
        put(Repository.open(path), odd).write()
    assert files_of(path) == before


def test_ids_that_differ_by_a_colon_alone_share_no_file(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    twins = [Case(name, "unet", "magnitude", "all", (0.5,)) for name in ("a:b", "a_b")]
    put(Repository.open(path), *(record(case) for case in twins)).write()
    assert len(list((tmp_path / "b").iterdir())) == 2
    put(Repository.open(path), record(twins[0], {"fid": 20.0}), by=SECOND).write()
    assert all(Repository.open(path).find(case, FACTS.key, STACK) is not None for case in twins)


def test_files_that_are_not_named_are_never_removed(path: Path) -> None:
    """A user's notes, the sidecars of a file with a similar name, what a killed update left."""
    folder = path.with_suffix("")
    strangers = [
        folder / "notes.json", folder / f"{CASE.id}.{'0' * 16}.json", folder / f"somebody.{'1' * 16}.json",
        path.parent / "baselines.mine" / f"{CASE.id}.{'2' * 16}.json",
    ]  # fmt: skip
    for stranger in strangers:
        stranger.parent.mkdir(exist_ok=True)
        stranger.write_text("{}")
    put(Repository.open(path), record(values={"fid": 12.0}), by=SECOND).write()
    put(Repository.open(path.parent / "baselines.mine.json"), record()).write()
    assert all(stranger.is_file() for stranger in strangers)


def test_a_copy_is_whole_and_leaves_the_file(path: Path, tmp_path: Path) -> None:
    before = files_of(path)
    copy = tmp_path / "report" / "baselines.candidate.json"
    changed = record(values={"fid": 12.0})
    put(Repository.open(path), changed).write(copy)
    assert {name: content for name, content in files_of(path).items() if not name.startswith("report")} == before
    for case, fid in ((CASE, 12.0), (OTHER, 10.0)):
        stored = Repository.open(copy).find(case, FACTS.key, STACK)
        assert stored is not None and stored.quality["fid"].value == fid
    # The next run's copy takes the place of this one, whatever became of it.
    copy.write_text("{")
    put(Repository.open(path), record(values={"fid": 13.0})).write(copy)
    put(Repository.open(path), record(values={"fid": 14.0})).write(copy)
    stored = Repository.open(copy).find(CASE, FACTS.key, STACK)
    assert stored is not None and stored.quality["fid"].value == 14.0
    # Of the first copy, which nobody could read any more, a sidecar stays; that of the second is gone.
    assert len(list(copy.with_suffix("").iterdir())) == 3


def test_comparisons_are_two_per_figure_of_the_largest_set_of_captions(path: Path) -> None:
    assert Repository.open(path).comparisons == 2 * 2 * 5
    more = [record(stack=GPU), record(facts=FEW), record(SOLVED, {"ssim": 0.9})]
    # The same figures on another stack or over fewer captions add none; a new case adds its own.
    assert put(Repository.open(path), *more).comparisons == 2 * (2 * 5 + 6)


def test_lines_say_what_an_update_changes(path: Path) -> None:
    before = Repository.open(path)
    moved = replace(
        record(values={"clip": 61.0}), quality=dict(list(record(values={"clip": 61.0}).quality.items())[:3])
    )
    lines = list(before.described([moved, record(SOLVED)], [ratio(1.5), ratio(1.5, GPU)]))
    moves = "fid 10 → 10, fid_dense 5 → 5, clip 60 → 61, composition no longer stored, drift no longer stored"
    assert lines[0] == f"{CASE.id:<46} {moves}"
    assert lines[1] == f"{SOLVED.id:<46} new: fid 10, fid_dense 5, clip 60, composition 0.5, drift 1"
    assert lines[2:] == [f"{CASE.id:<46} latency 1.000 → 1.500 of dense", f"{CASE.id:<46} new: latency 1.500 of dense"]


def test_reasons_of_any_kind_are_kept(path: Path) -> None:
    for reason in ("±2 €, 漢字", 'a "quoted"\nline', "torn\u2028line", "half \udc80 a character", ""):
        put(Repository.open(path), record(), by=Provenance("c", "2026-11-03", reason)).write()
        assert Repository.open(path).entries(CASE)[0].provenance.reason == reason
        assert len(path.read_text().splitlines()) == len(path.read_text().split("\n")) - 1
