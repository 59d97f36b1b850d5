"""The command line as a whole: help, exit codes, messages of one line, what is imported when."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import curves, main
from tests.cli.conftest import Command, run_file
from tests.report.made_up import ENDS, SHARPNESS, cases, registered, results

COMMANDS = ("prune", "captions", "compare", "curves", "view", "reference", "measure-scenes", "train-scenes")
HEAVY = ("torch", "diffusers", "transformers", "matplotlib", "jinja2", "PIL")


def fresh(code: str) -> str:
    """Run code in a fresh process and return what it prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_help_names_every_command_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert left.value.code == 0 and all(f" {name} " in shown for name in COMMANDS)
    assert "exit codes: 0 fine, 1 a regression (compare, merge), 2 an error, 130 interrupted" in shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0 and f"prunegate {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "the following arguments are required: COMMAND. Run `prunegate --help`."),
        (("prun",), "COMMAND: invalid choice: 'prun'"),
        (("captions", "a.txt"), "the following arguments are required: --captions, --out. Run `prunegate captions"),
        (("captions", "a.txt", "--captions", "x", "--out", "b"), "--captions: invalid int value: 'x'"),
        (("curves", "a.json", "--out", "b.svg", "--layers", "al"), "--layers: invalid choice: 'al'"),
        (("compare", "a.json", "b.json", "--nonsense"), "unrecognized arguments: --nonsense"),
        (("--plugin", "no_such_module", "compare", "a", "b"), "--plugin no_such_module cannot be imported"),
    ],
)
def test_a_wrong_command_line_is_one_line(command: Command, words: tuple[str, ...], message: str) -> None:
    assert command(*words).refused.startswith(message)


def test_ctrl_c_is_130(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(curves, "read", interrupted)
    done = command("curves", "a.json", "--out", tmp_path / "b.svg")
    assert (done.code, done.err) == (130, "interrupted\n")


def test_help_and_compare_import_nothing_heavy(tmp_path: Path) -> None:
    path = str(run_file(tmp_path / "a.json"))
    for words in (["--help"], ["prune", "--help"], ["compare", path, path]):
        code = f"import sys\nfrom harness.cli import main\ntry:\n    main({words!r})\nexcept SystemExit: pass\n"
        code += f"print('\\n', [name for name in {HEAVY!r} if name in sys.modules])"
        assert fresh(code).splitlines()[-1].strip() == "[]", words


def test_the_module_is_the_same_command(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "harness", "compare"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: the following arguments are required: BEFORE, AFTER")


def test_a_console_without_our_characters_is_no_regression(tmp_path: Path) -> None:
    path = str(run_file(tmp_path / "a.json"))
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "harness", "compare", path, path]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "\\xb1" in done.stdout, done.stderr


def test_a_plugin_of_the_user_s_is_imported_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_for_prunegate.py").write_text(
        "from pruners import Method, register\n"
        'register(Method("mine", "pruners.magnitude:prune", "layer", "as magnitude"))\n'
    )
    from pruners import Method

    with registered(None, Method("mine", "pruners.magnitude:prune", "layer", "as magnitude")):
        from harness.results import write

        write(tmp_path / "run.json", results(*cases("unet", "mine", [0.2, 0.4])))
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    start = [sys.executable, "-c", "import sys; from harness.cli import main; sys.exit(main(sys.argv[1:]))"]
    words = ["curves", "run.json", "--out", "curves.svg"]
    without = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert without.returncode == 2 and "--plugin MODULE" in without.stderr
    plugin = ["--plugin", "mine_for_prunegate"]
    done = subprocess.run([*start, *plugin, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert ">mine<" in (tmp_path / "curves.svg").read_text()


def test_a_metric_that_is_not_registered_is_named(command: Command, tmp_path: Path) -> None:
    from harness.results import write

    with registered(SHARPNESS):
        made = results(*cases("unet", "magnitude", [0.2]), ends=ENDS | {"sharpness": (9.0, 1.0)})
        write(tmp_path / "run.json", made)
        assert command("curves", tmp_path / "run.json", "--out", tmp_path / "a.svg").code == 0
    refused = command("curves", tmp_path / "run.json", "--out", tmp_path / "b.svg").refused
    assert "sharpness" in refused and "prunegate --plugin MODULE" in refused
