"""Baselines: names that cannot collide, a damaged case that is one case, and consent for pictures that show nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness import files
from harness.errors import HarnessError
from harness.plugin import places
from harness.plugin.session import of
from harness.report.groups import groups
from harness.report.page import page
from harness.report.terminal import case_line, tables
from harness.results import read
from harness.verdict.compare import compare, lines
from harness.verdict.repository import Repository
from tests.plugin.reading import entries
from tests.report.made_up import cases, results
from tests.verdict.made_up import OTHER, put, record
from tests.verdict.test_compare import run as run_of

MAGNITUDE = "scenes-unet-magnitude-all-0.20"
UPDATE = ("--update-baselines", "--baseline-reason", "x")


@pytest.mark.parametrize("name", ["mine", "mine.txt", ".json", "mine.json/"])
def test_a_name_that_is_no_json_file_is_refused_before_anything_is_measured(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("TOY_LOG", str(project.path / "log"))
    if name.endswith("/"):
        (project.path / name).mkdir()
    done = project.runpytest_subprocess(f"--baselines={name}", *UPDATE)
    assert done.ret == pytest.ExitCode.USAGE_ERROR and not (project.path / "log").exists()
    (line,) = [line for line in done.stderr.lines if line.startswith("ERROR")]
    assert line.startswith("ERROR: --baselines")


def test_a_folder_of_the_user_with_names_like_ours_loses_nothing(stored: pytest.Pytester) -> None:
    ours = next((stored.path / "baselines").glob(f"{MAGNITUDE}.*.json"))
    folder = stored.path / "mine"
    folder.mkdir()
    shutil.copy(ours, folder / f"{MAGNITUDE}.0123456789abcdef.json")
    (folder / "notes.json").write_text("mine")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for _ in range(2):
        stored.runpytest_subprocess("--baselines=mine.json", *UPDATE).assert_outcomes(passed=4)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before.items() <= after.items() and len(after) == len(before) + 5


def test_a_lost_sidecar_is_one_red_case_and_its_advice_mends_it(stored: pytest.Pytester) -> None:
    next((stored.path / "baselines").glob(f"{MAGNITUDE}.*.json")).unlink()
    done = stored.runpytest_subprocess()
    done.assert_outcomes(passed=3, failed=1)
    (red,) = [line for line in done.stdout.lines if line.startswith("NO BASELINE (baseline): ")]
    command = red.rpartition("store the case again: `")[2].rstrip("`")
    pasted = subprocess.run(command, shell=True, cwd=stored.path, capture_output=True, text=True, check=False)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    stored.runpytest_subprocess().assert_outcomes(passed=4)


def test_a_file_that_another_process_holds_is_a_message_and_the_results_are_written(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stored.path / "conftest.py"
    path.write_text(path.read_text() + "\nfiles.LOCK_SECONDS = 0.5\n")
    before = (stored.path / "baselines.json").read_bytes()
    monkeypatch.setenv("TOY_SHIFT", '{"fid": 4}')
    with files.locked(stored.path / "baselines.json"):
        done = stored.runpytest_subprocess("--json=out.json", *UPDATE)
    done.stdout.fnmatch_lines(
        ["ERROR: *baselines.json is unchanged: another process has been updating it*run the *again"]
    )
    assert done.ret == pytest.ExitCode.INTERNAL_ERROR and (stored.path / "baselines.json").read_bytes() == before
    assert len(read(stored.path / "out.json").cases) == 4


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        ("n", 0, "n is 0; a figure rests on 1 picture or more"),
        ("tolerance", 1e9, "tolerance 1000000000.0 is more than 10 times the"),
    ],
)
def test_a_baseline_that_would_hide_every_change_is_refused(
    stored: pytest.Pytester, part: str, wrong: float, message: str
) -> None:
    path = stored.path / "baselines.json"
    content = json.loads(path.read_text())
    (entry,) = content["cases"][MAGNITUDE].values()
    entry["quality"]["clip"][part] = wrong
    path.write_text(json.dumps(content))
    done = stored.runpytest_subprocess()
    (line,) = [line for line in done.stderr.lines if line.startswith("ERROR")]
    assert done.ret == pytest.ExitCode.USAGE_ERROR and message in line and MAGNITUDE in line and "clip" in line


@pytest.mark.parametrize("option", ["--json", "--benchmark-json"])
@pytest.mark.parametrize("name", ["baselines.json", "test_toy.py"])
def test_results_never_replace_a_file_of_another_kind(stored: pytest.Pytester, option: str, name: str) -> None:
    before = (stored.path / name).read_bytes()
    done = stored.runpytest_subprocess(f"{option}={name}")
    assert done.ret == pytest.ExitCode.USAGE_ERROR and (stored.path / name).read_bytes() == before
    assert f"{name} exists and holds no results of a run; name another file" in done.stderr.str()


@pytest.mark.parametrize("option", ["--json", "--benchmark-json"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("baselines.json", "is a place of the baselines of scenes"),
        ("link.json", "is a place of the baselines of scenes"),
        ("baselines", "is a place of the baselines of scenes"),
        ("baselines/run.json", "is a place of the baselines of scenes"),
        ("prunegate-report/index.html", "is a name for files of the report"),
        ("prunegate-report/rows/a.png", "is a name for files of the report"),
        ("prunegate-report/baselines.candidate.json", "is a name for files of the report"),
        ("prunegate-report/run.json", ""),
        ("run.txt", ""),
    ],
)
def test_results_have_no_place_where_the_run_writes_something_else(
    pytester: pytest.Pytester, option: str, name: str, said: str
) -> None:
    """The files do not exist yet: a run would write them one after the other."""
    (pytester.path / "link.json").symlink_to("baselines.json")
    common = ("-c", os.devnull, f"--rootdir={pytester.path}", "-p", "harness.plugin")
    settings = of(pytester.parseconfigure(*common, f"{option}={name}")).settings
    if not said:
        places.check(settings, ["scenes"])
        return
    with pytest.raises(HarnessError, match=f"{option} .*{name} {said}"):
        places.check(settings, ["scenes"])
    assert not (pytester.path / name).exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--json=a.json", "--junitxml=a.json"], "--json and --junitxml both name"),
        (["--benchmark-json=a.json", "--junitxml=./a.json"], "--benchmark-json and --junitxml both name"),
        (["--junitxml=baselines.json"], "--junitxml .* is a place of the baselines of scenes"),
        (["--images=baselines"], "--images .* is a place of the baselines of scenes"),
        (["--store=baselines/store"], "--store .* is a place of the baselines of scenes"),
        (["--report=baselines"], "--report .* is a place of the baselines of scenes"),
    ],
)
def test_two_options_that_would_write_in_one_place_are_refused(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    common = ("-c", os.devnull, f"--rootdir={pytester.path}", "-p", "harness.plugin")
    with pytest.raises(HarnessError, match=said):
        places.check(of(pytester.parseconfigure(*common, *options)).settings, ["scenes"])
    assert not [path for path in pytester.path.iterdir() if path.suffix]


def test_results_replace_older_results_and_empty_files(stored: pytest.Pytester) -> None:
    (stored.path / "empty.json").touch()
    for _ in range(2):
        options = ("--json=empty.json", "--benchmark-json=bench.json")
        stored.runpytest_subprocess("-k", "magnitude", *options).assert_outcomes(passed=2)
    done = stored.runpytest_subprocess("--json=a.json", "--benchmark-json=a.json")
    assert done.ret == pytest.ExitCode.USAGE_ERROR and "both name" in done.stderr.str()


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["one process", "two workers"])
def test_degenerate_pictures_are_stored_with_consent_only(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    project.runpytest_subprocess("-k", "random", *UPDATE).assert_outcomes(passed=2)
    monkeypatch.setenv("TOY_DEGENERATE", "2")
    done = project.runpytest_subprocess("-k", "magnitude", *UPDATE, *workers)
    done.assert_outcomes(failed=2)
    names = [MAGNITUDE, MAGNITUDE.replace("0.20", "0.50")]
    done.stdout.fnmatch_lines(
        [
            "NOT STORED (degenerate): 2 of 2 pictures show nothing. Look at them with *--accept-degenerate",
            "not stored, because pictures show nothing: *",
            f"to see the pictures of {MAGNITUDE[:-4]}*: *pytest * --images pictures",
            "to store it all the same: *pytest * --accept-degenerate",
        ]
    )
    told = next(line for line in done.stdout.lines if line.startswith("not stored, because"))
    assert sorted(told.partition(": ")[2].split(", ")) == names
    assert not set(names) & entries(project.path / "baselines.json").keys()
    project.runpytest_subprocess("-k", "magnitude", *UPDATE, *workers, "--accept-degenerate").assert_outcomes(passed=2)
    stored = entries(project.path / "baselines.json")
    assert [stored[name].degenerate for name in names] == [2, 2] and len(stored) == 5


def test_consent_alone_is_refused(project: pytest.Pytester) -> None:
    done = project.runpytest_subprocess("--accept-degenerate")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert "--accept-degenerate needs --update-baselines" in done.stderr.str()


def test_degenerate_pictures_are_a_column_wherever_figures_are() -> None:
    from dataclasses import replace

    made = results(*cases("unet", "magnitude", [0.5, 0.9]))
    blank = replace(made.cases[1], record=replace(made.cases[1].record, degenerate=7))
    some = replace(made, cases=(made.cases[0], blank))
    assert not any("degenerate" in line for line in tables(made)) and "degenerate" not in page(made)
    table = tables(some)
    row = next(line for line in table if line.lstrip().startswith("0.90"))
    assert table[2].split()[-6] == "degenerate" and row.split()[-6] == "7"
    assert any("degenerate  pictures that show nothing" in line for line in table)
    shown = page(some)
    assert 'title="pictures that show nothing">degenerate</th>' in shown
    assert '<td data-label="degenerate">7</td>' in shown
    assert "7 degenerate  " in case_line(blank) and "degenerate" not in case_line(made.cases[0])
    assert [column.name for column in groups(some)[0].columns].count("degenerate") == 1


@pytest.mark.parametrize("markdown", [False, True])
def test_compare_has_the_column_too(markdown: bool) -> None:
    some = run_of(record(degenerate=3), record(OTHER, values={"clip": 50.0}))
    rows = compare(run_of(record(), record(OTHER)), some)
    table = lines(rows, markdown)
    assert "degenerate" in table[0] and any("0 → 3" in line for line in table)
    same = lines(
        compare(run_of(record(), record(OTHER)), run_of(record(), record(OTHER, values={"clip": 50.0}))), markdown
    )
    assert "degenerate" not in same[0]


def test_an_update_says_how_many_pictures_show_nothing(tmp_path: Path) -> None:
    repository = put(Repository(tmp_path / "x.json"), record())
    (line,) = repository.described([record(degenerate=3)], [])
    assert line.endswith(", degenerate 0 → 3")
    (line,) = Repository(tmp_path / "x.json").described([record(degenerate=3)], [])
    assert line.endswith(", degenerate 3")


def test_a_name_without_suffix_is_refused_by_the_file_itself(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"--baselines .*mine does not end in \.json"):
        put(Repository(tmp_path / "mine"), record()).write()
    assert [*tmp_path.iterdir()] == [] and sys.version_info >= (3, 11)


def test_a_claim_sees_a_damaged_case_as_one_without_baseline(stored: pytest.Pytester) -> None:
    body = """
        from harness.case import Case

        def test_claim(gate):
            cases = [Case("scenes", "unet", "magnitude", "all", (level,)) for level in (0.2, 0.5)]
            gate.note("stored" if gate.stored(cases) else "not all are stored")
    """
    stored.makepyfile(test_toy=body)
    assert "stored" in stored.runpytest_subprocess().stdout.lines
    next((stored.path / "baselines").glob(f"{MAGNITUDE}.*.json")).unlink()
    done = stored.runpytest_subprocess()
    done.assert_outcomes(passed=1)
    assert "not all are stored" in done.stdout.lines


def test_two_pipelines_of_one_name_keep_their_entries_and_the_message_says_so(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_MODEL", "another")
    only = ("-k", MAGNITUDE)
    done = stored.runpytest_subprocess(*only)
    (red,) = [line for line in done.stdout.lines if line.startswith("NOT COMPARED (baseline): ")]
    assert "with other facts: the weights or configurations of the model; if this is another pipeline called" in red
    assert "scenes, give it a file of its own with --baselines; else store the case beside the old one with" in red
    done = stored.runpytest_subprocess(*only, *UPDATE)
    done.stdout.fnmatch_lines(
        ["  the file also has baselines of other weights called scenes. They stay. To keep two *"]
    )
    for model in ("another", "model"):
        monkeypatch.setenv("TOY_MODEL", model)
        assert stored.runpytest_subprocess(*only).ret == pytest.ExitCode.OK
