"""A first look at the pictures of a pipeline is green, as the documentation says; finished work is not done again."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.plugin.real import ROOT, gate
from tests.plugin.test_store import measured

DENSE = "my_sd2-none-dense-none-0.00"
PRUNED = "my_sd2-unet-magnitude-all-0.20"


def documented() -> list[str]:
    """Return the words of the first command below the heading "A first look"."""
    text = (ROOT / "docs" / "stable-diffusion.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^## A first look\n.*?^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return shlex.split(block.replace("\\\n", " ").splitlines()[0].removeprefix("$ "))


def shell(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_first_command_of_the_documentation_is_green(place: Path, tmp_path: Path) -> None:
    words = documented()
    assert words[:2] == ["pytest", "benchmarks"] and {"$T", "$C", "$S"} <= set(words)
    given = {
        "$T": [f"--target={place / 'my-sd2'}", "--dtype=float32"],
        "$C": [f"--coco-annotations={place / 'captions.json'}"],
        "$S": [f"--scorer={place / 'scorer'}", f"--reference={place / 'pictures'}"],
        "pytest": [sys.executable, "-m", "pytest", "--steps=2"],
        "pictures": [str(tmp_path / "pictures")],
    }
    own = [f"--baselines={tmp_path / 'mine.json'}", f"--report={tmp_path / 'report'}"]
    done = shell([part for word in words for part in given.get(word, [word])] + own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{DENSE}  " in done.stdout and "NO BASELINE" not in done.stdout and "FAILED" not in done.stdout
    assert len([*(tmp_path / "pictures" / DENSE).glob("*.png")]) == 16


def test_without_a_baseline_the_advice_leads_to_green(place: Path, tmp_path: Path) -> None:
    options = (f"--baselines={tmp_path / 'new one.json'}", f"--report={tmp_path / 'report'}", "-k", "dense", "-q")
    done = gate(place, *options)
    assert done.returncode == 1
    red = next(line for line in done.stdout.splitlines() if line.startswith("NO BASELINE"))
    command = red.split("`")[1]
    pasted = shell(["sh", "-c", command])
    assert pasted.returncode == 0, command + pasted.stdout + pasted.stderr
    assert gate(place, *options).returncode == 0


@pytest.mark.parametrize("cases", ["dense", "dense or unet-magnitude-all-0.20"])
def test_with_store_and_images_finished_cases_are_not_generated_again(place: Path, tmp_path: Path, cases: str) -> None:
    own = (f"--store={tmp_path / 'store'}", f"--images={tmp_path / 'images'}", f"--report={tmp_path / 'report'}")
    options = ("--captions=4", "-k", f"test_quality and ({cases})", f"--baselines={tmp_path / 'mine.json'}", *own)
    first = gate(place, *options, "--update-baselines", "--baseline-reason=x")
    wanted = [DENSE, PRUNED][: 1 + ("unet" in cases)]
    assert first.returncode == 0 and measured(first) == wanted, first.stdout + first.stderr
    before = {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")}
    second = gate(place, *options)
    assert second.returncode == 0 and measured(second) == [], second.stdout + second.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "images").rglob("*.png")} == before != {}
    fewer = gate(place, *(option.replace("--captions=4", "--captions=3") for option in options))
    assert fewer.returncode == 1 and "NOT COMPARED" in fewer.stdout
    assert len([*(tmp_path / "images" / DENSE).iterdir()]) == 3
