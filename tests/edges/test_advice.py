"""Advice repeats the command that the user typed, ready to paste: quoted, and without what does not belong."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.facts import WorkloadFacts
from harness.plugin import commands
from harness.record import Record
from harness.verdict.judge import judge, judge_latency
from harness.verdict.repository import Repository
from tests.verdict.made_up import CASE, FACTS, FEW, put, ratio, record

MAGNITUDE = "scenes-unet-magnitude-all-0.20"


@pytest.mark.parametrize("workers", [[], ["-n2"]], ids=["one process", "two workers"])
def test_a_red_line_holds_a_command_that_mends_the_case(project: pytest.Pytester, workers: list[str]) -> None:
    options = ("-x", *workers, "--tier=smoke", "--report", "my report", "--json=out.json", "-k", "magnitude and 0.20")
    done = project.runpytest_subprocess(*options)
    # With workers `-x` counts as an interruption.
    assert done.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    (red,) = [line for line in done.stdout.lines if line.startswith("NO BASELINE (baseline): ")]
    command = red.split("`")[1]
    words = shlex.split(command.partition("pytest ")[2])
    kept = ["--tier=smoke", "--report", "my report", "-k", MAGNITUDE]
    assert words[-8:] == [*kept, "--update-baselines", "--baseline-reason", "why"]
    assert not {"-x", "-n2", "--json=out.json"} & set(words)
    pasted = subprocess.run(command, shell=True, cwd=project.path, capture_output=True, text=True, check=False)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    assert project.runpytest_subprocess(*options).ret == pytest.ExitCode.OK


def test_a_case_that_is_not_compared_advises_the_user_s_command_too(
    stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_WORKLOAD", "other")
    options = ("--tier=smoke", "--report", "my report", "-k", "magnitude and 0.20")
    done = stored.runpytest_subprocess(*options)
    (red,) = [line for line in done.stdout.lines if line.startswith("NOT COMPARED (baseline): ")]
    assert "baselines.json has this case with other facts: the scorer, the network of FID; store the case " in red
    command = red.split("`")[1]
    storing = ["--update-baselines", "--baseline-reason", "why"]
    assert shlex.split(command)[-8:] == ["--tier=smoke", "--report", "my report", "-k", MAGNITUDE, *storing]
    pasted = subprocess.run(command, shell=True, cwd=stored.path, capture_output=True, text=True, check=False)
    assert pasted.returncode == 0, pasted.stdout + pasted.stderr
    # The case keeps both entries: each workload is green.
    assert stored.runpytest_subprocess(*options).ret == pytest.ExitCode.OK
    monkeypatch.delenv("TOY_WORKLOAD")
    assert stored.runpytest_subprocess(*options).ret == pytest.ExitCode.OK


def said(measured: Record, facts: WorkloadFacts = FACTS) -> str:
    """Return what is said of a record against a baseline, where the command to store it is a word of its own."""
    repository = replace(
        put(Repository(Path("x.json")), record(values={"ssim": 0.9})), command=lambda case: f"<{case}>"
    )
    verdict = judge(measured, repository)
    return verdict.reason or verdict.note


def lacking(name: str) -> Record:
    whole = record(values={"ssim": 0.9})
    return replace(whole, quality={k: v for k, v in whole.quality.items() if k != name})


@pytest.mark.parametrize(
    ("measured", "command"),
    [
        (record(replace(CASE, levels=(0.25,))), "<scenes-unet-magnitude-all-0.25>"),
        (record(facts=FEW), f"<{CASE.id}>"),
        (lacking("drift"), f"<{CASE.id}>"),
        (record(values={"clip": 90.0, "ssim": 0.9}), f"<{CASE.id}>"),
        (record(values={"psnr": 20.0, "ssim": 0.9}), "<>"),
    ],
    ids=["no baseline", "another workload", "a metric less", "improved", "a metric more"],
)
def test_every_piece_of_advice_uses_the_command_of_the_run(measured: Record, command: str) -> None:
    assert command in said(measured) and "pytest" not in said(measured)


def test_a_latency_without_baseline_and_a_lost_sidecar_use_it_too(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    put(Repository.open(path), record()).write()
    repository = Repository.open(path, lambda case: f"<{case}>")
    assert f"<{CASE.id}>" in judge_latency(ratio(), repository).reason
    for sidecar in (tmp_path / "x").iterdir():
        sidecar.unlink()
    assert f"store the case again: <{CASE.id}>" in judge(record(), repository).reason


@pytest.mark.parametrize(
    ("run", "command"),
    [
        (["pytest", "benchmarks", "-k", "a or b", "-n", "4", "-xq"], "pytest benchmarks -xq -k c --images p"),
        (["pytest", "-kfoo", "--maxfail=1", "--lf", "--sw", "a b"], "pytest 'a b' -k c --images p"),
        (["pytest", "--update-baselines", "--baseline-reason", "it's me"], "pytest -k c --images p"),
        (["pytest", "--scorer=$HOME/x y", "--images=q"], "pytest '--scorer=$HOME/x y' -k c --images p"),
    ],
)
def test_what_does_not_belong_is_left_out_and_the_rest_is_quoted(run: list[str], command: str) -> None:
    assert commands.again(run, "c", "--images", "p") == command


def test_without_a_case_the_user_s_choice_stays() -> None:
    assert commands.storing(["pytest", "-k", "dense", "-x"]) == (
        "pytest -k dense --update-baselines --baseline-reason why"
    )


def test_the_program_is_named_so_that_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "pytest"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(program.parent))
    assert commands.typed(["a"]) == ("pytest", "a")
    monkeypatch.setenv("PATH", "/nowhere")
    assert commands.typed(["a"]) == ("bin/pytest", "a")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "pytest" / "__main__.py")])
    assert commands.typed(["a"])[1:] == ("-m", "pytest", "a")
