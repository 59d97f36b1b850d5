"""Every script says what it measures and has help; those that read a run print its figures as Markdown."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.metrics import METRICS
from harness.results import Results, read, write
from pruners.levels import Pattern
from tests.report.made_up import ENDS, SHARPNESS, cases, registered, results
from tests.tools.loading import NAMES, load

LEVELS = [0.1, 0.3, 0.5, 0.7]


def printed(capsys: pytest.CaptureFixture[str], name: str, *words: str | Path) -> list[str]:
    """Run a script, which must be fine; return its lines."""
    capsys.readouterr()
    assert load(name).main([str(word) for word in words]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    return shown.out.splitlines()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    made = results(*cases("unet", "magnitude", LEVELS), *cases("unet", "wanda", [*LEVELS, Pattern(2, 4)]),
                   *cases("text_encoder", "random", LEVELS, "linear"))  # fmt: skip
    write(tmp_path / "run.json", made)
    return tmp_path / "run.json"


def test_there_are_scripts() -> None:
    assert {"table", "scenes_reference", "noise"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_says_what_it_measures_and_how_it_is_called(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load(name)
    with pytest.raises(SystemExit) as left:
        tool.main(["--help"])
    shown = capsys.readouterr().out
    assert tool.__doc__ is not None
    assert left.value.code == 0 and tool.__doc__.strip() in shown
    assert f"    python tools/{name}.py" in tool.__doc__ and len(tool.__doc__.strip().splitlines()[0]) > 30


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_command_line_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert load(name).main(["--nonsense"]) == 2
    shown = capsys.readouterr()
    assert not shown.out and len(shown.err.splitlines()) == 1
    assert shown.err.startswith("error: ") and shown.err.endswith(f"Run `python tools/{name}.py --help`.\n")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("table", ["", "--levels", "0.5"], "RUN: '' names no file or folder; give a name. "),
        ("table", ["{run}", "--levels", "0.5,x"], "--levels 'x' is no sparsity from 0 to 1 and no pattern; "),
        ("table", ["{run}", "--levels", "0.5,4:2"], "--levels '4:2' is no sparsity from 0 to 1 and no pattern; "),
        ("generation", ["--pictures", "0"], "--pictures: 0 is no whole number from 1; give one, such as 16. "),
        ("generation", ["--steps", "2", "x"], "--steps: x is no whole number from 1; give one, such as 16. "),
        ("clean_runs", ["0"], "RUNS: 0 is no whole number from 1; give one, such as 16. "),
        ("reconstruction", ["--sparsity", "nan"], "--sparsity nan is not between 0 and 1; give one, such as 0.5"),
    ],
)
def test_wrong_values_are_one_line(
    run: Path, name: str, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load(name).main([word.format(run=run) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {said}") and len(shown.err.splitlines()) == 1 and not shown.out


def test_a_level_is_written_as_ids_write_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = printed(capsys, "table", run, "--levels", "0.5,2:4")
    assert short == printed(capsys, "table", run, "--levels", "0.50,2:4") and "| method | 0.50 | 2:4 |" in short


@pytest.mark.parametrize("name", ["table", "curve", "dropoff"])
def test_a_file_that_is_no_run_is_one_line(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert load(name).main([str(tmp_path / "gone.json")]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {tmp_path / 'gone.json'}") and len(shown.err.splitlines()) == 1


def test_table_has_a_table_per_component_and_metric_and_a_row_per_method(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dense = read(run).dense["scenes"]
    lines = printed(capsys, "table", run, "--levels", "0.30,0.50,0.60,2:4", "--metrics", "clip,fid")
    assert [line for line in lines if line.startswith("**")] == [
        f"**scenes, {part}, {METRICS[name].label}** (dense {METRICS[name].text(dense.quality[name])}, n = 64)"
        for part in ("text_encoder", "unet")
        for name in ("clip", "fid")
    ]
    rows = {line.split(" | ")[0]: line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["| method"] == ["| method", "0.30", "0.50", "0.60", "2:4 |"]
    # Nothing was measured at 0.60, and magnitude has no pattern.
    assert rows["| magnitude"][3:] == ["", " |"] and rows["| wanda"][3] == "" and "±" in rows["| wanda"][4]
    assert "| random" not in rows
    linear = printed(capsys, "table", run, "--layers", "linear")
    assert any(line.startswith("| random ") for line in linear) and not any("magnitude" in line for line in linear)


def test_table_shows_a_metric_of_the_user_s(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with registered(SHARPNESS):
        made = results(*cases("unet", "magnitude", LEVELS), ends=ENDS | {"sharpness": (9.0, 1.0)})
        write(tmp_path / "run.json", made)
        assert any("unet, sharpness**" in line for line in printed(capsys, "table", tmp_path / "run.json"))
        assert any("| sharpness |" in line for line in printed(capsys, "curve", tmp_path / "run.json"))


def test_table_wants_the_dense_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "run.json", Results(results(*cases("unet", "magnitude", LEVELS)).cases))
    for name in ("table", "dropoff"):
        assert load(name).main([str(tmp_path / "run.json")]) == 2
        assert "the run lacks the dense case of scenes; run it without -k" in capsys.readouterr().err


def test_curve_has_every_level_below_the_dense_model(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "curve", run)
    assert "**scenes: unet pruned by wanda, all layers** (n = 64)" in lines and not any(
        "random" in line for line in lines
    )
    of_wanda = lines[lines.index("**scenes: unet pruned by wanda, all layers** (n = 64)") :]
    cells = [line.split(" | ") for line in of_wanda if line.startswith("| ")]
    assert [row[0] for row in cells] == ["| sparsity", "| dense", "| 0.10", "| 0.30", "| 0.50", "| 2:4", "| 0.70"]
    assert cells[0][1:] == [*(METRICS[name].label for name in list(ENDS)[:-1]), "drift |"]


def test_dropoff_has_a_row_per_curve(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "dropoff", run)
    rows = [line for line in lines if line.startswith("| scenes")]
    assert [row.split(" | ")[2] for row in rows] == ["magnitude", "wanda"]
    assert lines[0].startswith("n = 64, margins: ")
    # FID is 2 worse than dense between 0.10 and 0.30.
    assert rows[0].split(" | ")[3] == "0.1"


def test_packed_sizes_has_a_row_per_level(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load("packed_sizes")
    # An archive that is as large as the file: the control of the shares.
    monkeypatch.setattr(tool, "ARCHIVES", {"cat": ("cat",)})
    assert tool.main(["--levels", "2:4"]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head.startswith("| level | dense, MB | `stored`, MB | packed, MB |")
    level, dense, stored, packed, archive = (cell.strip() for cell in row.strip("|").split("|"))
    assert (level, dense) == ("2:4", "27.29") and float(stored) < float(dense)
    assert abs(float(packed.split("(")[1].rstrip("%)"))) < 1 and archive.startswith("27.29 (+")
    monkeypatch.setattr(tool, "ARCHIVES", {"no_such_program": ()})
    assert tool.main([]) == 2 and "no_such_program is not installed" in capsys.readouterr().err
