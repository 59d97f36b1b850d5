"""`prunegate view`: the page of a run file, of two, and what it refuses."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from harness.results import write
from tests.cli.conftest import Command, run_file
from tests.report.made_up import cases, pictured, results
from tests.report.test_page import Seen


def test_the_page_of_a_run_with_its_pictures(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "run.json", pictured(results(*cases("unet", "magnitude", [0.2, 0.4])), Path("prunegate-report")))
    done = command("view", "run.json")
    assert (done.code, done.out, done.err) == (0, "page: run.html\n", "")
    seen = Seen((tmp_path / "run.html").read_text(encoding="utf-8"))
    assert len(seen.bodies) == 3 and all(body["data-own"] for body in seen.bodies)
    # The output of this test is no terminal, so that no person waits for a browser.
    assert opened == []
    assert command("view", "run.json").code == 0, "a page is written over a page"


def test_two_runs_with_the_pictures_of_both(command: Command, tmp_path: Path) -> None:
    for name, shift in (("main", 0.0), ("branch", -2.0)):
        made = results(*cases("unet", "magnitude", [0.2, 0.4]), shift=shift)
        write(tmp_path / f"{name}.json", pictured(made, tmp_path / name, green=False))
    folders = ("--pictures", tmp_path / "main", "--pictures", tmp_path / "branch")
    out = tmp_path / "page.html"
    assert command("view", tmp_path / "branch.json", tmp_path / "main.json", *folders, "--out", out).code == 0
    seen = Seen(out.read_text(encoding="utf-8"))
    assert "Compared with main." in seen.words and any(word.startswith("REGRESSION") for word in seen.words)
    assert all(body["data-own"] and body["data-behind"] for body in seen.bodies)


def test_a_page_without_pictures_says_why(command: Command, tmp_path: Path) -> None:
    source = run_file(tmp_path / "run.json")
    assert "the file does not say which pictures belong to the run" in command("view", source).out
    write(source, pictured(results(*cases("unet", "magnitude", [0.2])), tmp_path / "gone"))
    assert "Name one with --pictures DIR" in command("view", source, "--pictures", tmp_path).out


def test_what_view_refuses(command: Command, tmp_path: Path) -> None:
    source, other = run_file(tmp_path / "run.json"), tmp_path / "mine.html"
    other.write_text("<p>a page of somebody else's</p>")
    refused = command("view", source, "--out", other).refused
    assert refused.endswith("exists and is not a page of PruneGate; name another file, or add --force")
    assert "is the file that the command reads" in command("view", source, "--out", source).refused
    assert "does not end in .html" in command("view", source, "--out", tmp_path / "page.txt").refused
    assert f"--pictures {other} is no folder" in command("view", source, "--pictures", other).refused
    assert "cannot be read" in command("view", tmp_path / "none.json").refused
    assert command("view", source, "--out", other, "--force").code == 0 and "generator" in other.read_text()
