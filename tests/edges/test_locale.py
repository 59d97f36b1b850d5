"""A console and file names in ASCII only: no UnicodeEncodeError, and no error has the exit code of a regression."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.results import write
from tests.report.made_up import cases, results
from tests.verdict.made_up import record
from tests.verdict.test_compare import run as run_of

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path(__file__).parents[2])}


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run Python where neither the console nor file names have other letters than ASCII's."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=cwd, env=ASCII, capture_output=True, text=True, check=False
    )
    assert "UnicodeEncodeError" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def test_compare_has_a_code_for_a_regression_and_another_for_an_error(tmp_path: Path) -> None:
    for name, values in (("main", {}), ("worse", {"clip": 50.0})):
        write(tmp_path / f"{name}.json", run_of(record(values=dict(values))))
    compare = ("-m", "harness", "compare", "main.json")
    assert command(*compare, "main.json", cwd=tmp_path).returncode == 0
    red = command(*compare, "worse.json", cwd=tmp_path)
    assert red.returncode == 1 and "\\xb1" in red.stdout and "\\u0394" in red.stdout
    assert command(*compare, "nowhere.json", cwd=tmp_path).returncode == 2


def test_a_fault_of_ours_is_no_regression(tmp_path: Path) -> None:
    code = "from harness.cli.errors import guarded\nimport sys\nsys.exit(guarded(lambda: 1 // 0))"
    assert command("-c", code, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("options", [[], ["-n2"], ["-v"], ["-p", "no:terminal"]], ids=" ".join)
def test_a_run_of_pytest(stored: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    for name, value in ASCII.items():
        monkeypatch.setenv(name, value)
    plain = command("-m", "pytest", "--json=out.json", *options, cwd=stored.path)
    assert plain.returncode == 0, plain.stdout + plain.stderr
    assert "no:terminal" in options or "\\xb1" in plain.stdout
    assert (stored.path / "prunegate-report" / "index.html").exists() and (stored.path / "out.json").exists()


def test_a_red_run_of_pytest(stored: pytest.Pytester) -> None:
    import os

    environment = {**os.environ, **ASCII, "TOY_SHIFT": '{"fid": 4}'}
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=stored.path, env=environment, capture_output=True, text=True, check=False
    )
    assert (
        done.returncode == 1 and "REGRESSION" in done.stdout and "UnicodeEncodeError" not in done.stdout + done.stderr
    )


def test_pictures_have_names_that_the_file_system_can_have(tmp_path: Path) -> None:
    code = (
        "import torch\nfrom pathlib import Path\nfrom harness.report.pictures import save_all\n"
        "captions = ['\\u043a\\u0440\\u0430\\u0441\\u043d\\u044b\\u0439', 'caf\\u00e9 au lait', 'a dog']\n"
        "save_all(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), captions, Path('case'))\n"
        "save_all(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), captions[:2], Path('case'))\n"
    )
    done = command("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "case").iterdir()) == ["0000.png", "0001-caf-au-lait.png"]


def test_a_name_that_cannot_be_is_one_message(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\nfrom harness import files\nfrom harness.errors import HarnessError\n"
        "try:\n    files.write(Path('\\u6a21\\u578b.json'), '')\n"
        "except HarnessError as error:\n    print(ascii(str(error)))\n"
    )
    assert "Set LC_ALL=C.UTF-8" in command("-c", code, cwd=tmp_path).stdout


def test_reports_of_a_target_with_other_letters(tmp_path: Path) -> None:
    write(tmp_path / "run.json", results(*cases("unet", "magnitude", [0.2, 0.4], target="\u6a21\u578b")))
    done = command("-m", "harness", "curves", "run.json", "--out", "a.svg", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "a.svg").stat().st_size
    done = command("-m", "harness", "compare", "run.json", "run.json", cwd=tmp_path)
    assert done.returncode == 0 and "\\u6a21\\u578b-unet-magnitude-all-0.20" in done.stdout
