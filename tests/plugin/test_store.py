"""`--store`: finished cases are found again, by their content; nothing else is. Real sessions on a small pipeline."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.plugin.real import gate

CASES = ("my_sd2-none-dense-none-0.00", "my_sd2-unet-magnitude-all-0.20", "my_sd2-unet-magnitude-all-0.30")
ONLY = ("-k", "test_quality and (dense or unet-magnitude-all-0.20 or unet-magnitude-all-0.30)")
UPDATE = ("--update-baselines", "--baseline-reason=x")


@pytest.fixture(scope="module")
def kept(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of three finished cases, and their baselines."""
    folder = tmp_path_factory.mktemp("kept")
    done = run(place, folder, *UPDATE)
    assert done.returncode == 0 and measured(done) == list(CASES), done.stdout + done.stderr
    return folder


@pytest.fixture
def copy(kept: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    return Path(shutil.copytree(kept, tmp_path / "copy"))


def run(place: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    own = (f"--store={folder / 'store'}", f"--baselines={folder / 'mine.json'}", f"--report={folder / 'report'}")
    return gate(place, *ONLY, "--captions=4", *own, *options)


def measured(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the ids of the cases that were generated, and not found in the store."""
    lines = [line for line in done.stdout.splitlines() if line.startswith("my_sd2-")]
    return [line.split()[0] for line in lines if " kept " not in line]


def test_finished_cases_are_not_measured_again(place: Path, copy: Path) -> None:
    shutil.rmtree(copy / "report")
    done = run(place, copy)
    assert done.returncode == 0 and not measured(done), done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("my_sd2-")]
    assert sum(" kept " in line and line.endswith(" PASS") for line in lines) == 3
    assert (copy / "report" / "contact-my_sd2-unet-magnitude-all.png").exists()


def test_without_the_option_nothing_is_kept(place: Path, copy: Path) -> None:
    before = sorted((copy / "store").iterdir())
    done = gate(place, *ONLY, "--captions=4", f"--baselines={copy / 'mine.json'}", f"--report={copy / 'report'}")
    assert done.returncode == 0 and measured(done) == list(CASES)
    assert sorted((copy / "store").iterdir()) == before


def test_a_damaged_entry_is_measured_again(place: Path, copy: Path) -> None:
    for path in (copy / "store").glob("*.json"):
        if "magnitude" in path.read_text():
            path.write_text(path.read_text()[:100])
    for path in (copy / "store").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:60])
    done = run(place, copy)
    assert done.returncode == 0 and set(measured(done)) >= set(CASES[1:]), done.stdout + done.stderr


def test_pictures_that_are_wanted_are_made_and_kept_from_then_on(place: Path, copy: Path) -> None:
    images = f"--images={copy / 'images'}"
    done = run(place, copy, images)
    assert done.returncode == 0 and measured(done) == list(CASES), done.stdout + done.stderr
    pictures = {path.relative_to(copy): path.read_bytes() for path in (copy / "images").rglob("*.png")}
    assert len(pictures) == 12
    shutil.rmtree(copy / "images")
    done = run(place, copy, images)
    assert done.returncode == 0 and not measured(done), done.stdout + done.stderr
    assert {path.relative_to(copy): path.read_bytes() for path in (copy / "images").rglob("*.png")} == pictures


def test_another_workload_is_another_entry(place: Path, copy: Path) -> None:
    done = run(place, copy, "--steps=3")
    assert done.returncode == 1 and measured(done) == list(CASES) and "NOT COMPARED" in done.stdout


def test_a_store_that_cannot_be_written_is_said_before_anything_runs(place: Path, tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    done = run(place, tmp_path)
    assert done.returncode == 4 and "--store " in done.stderr and "is a file; name another place" in done.stderr
    assert not measured(done)
