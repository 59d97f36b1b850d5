"""Commands of pytest, derived from the current one: for child processes, and for a person to type."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

# Options that the repeated command leaves out: it sets its own, or they concern the whole run. First options with a
# value behind them or after "=", then options without one.
_VALUES = (
    "-n", "--numprocesses", "--dist", "--maxfail", "--images", "--json", "--benchmark-json", "--junitxml",
    "--baseline-reason",
)  # fmt: skip
_FLAGS = (
    "-x", "--exitfirst", "--lf", "--last-failed", "--ff", "--failed-first", "--sw", "--stepwise", "--update-baselines",
    "--accept-degenerate", "--ci", "--changed", "--compare-only",
)  # fmt: skip


def without(arguments: Sequence[str], values: Collection[str], flags: Collection[str] = ()) -> Iterator[str]:
    """Yield pytest's arguments without some options.

    Args:
        arguments: As typed.
        values: Options that have a value, as the next argument, after "=", or directly behind one letter (`-n2`).
        flags: Options without a value.
    """
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in values:
            skip = True
        elif argument in flags or argument.partition("=")[0] in values or _short(argument) in values:
            continue
        else:
            yield argument


def _short(argument: str) -> str:
    """Return "-n" for "-n2": an option of one letter with its value behind it."""
    return argument[:2] if len(argument) > 2 and argument[0] == "-" and argument[1] != "-" else ""


def typed(arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command that started this process, as a person in the current folder types it.

    Args:
        arguments: The arguments of pytest.
    """
    return *_program(), *arguments


def again(run: Sequence[str], case: str, *more: str) -> str:
    """Return the command that repeats a run for one case, quoted for a shell.

    Args:
        run: The command that started the run.
        case: The id of the case; "": the command repeats the cases that this run chose.
        more: Further arguments.
    """
    kept = without(run, ("-k", *_VALUES) if case else _VALUES, _FLAGS)
    return shlex.join([*kept, *(["-k", case] if case else []), *more])


def storing(run: Sequence[str], case: str = "") -> str:
    """Return the command that stores the figures of one case, or of the cases that a run chose. As `again`."""
    return again(run, case, "--update-baselines", "--baseline-reason", "why")


def listing(run: Sequence[str]) -> str:
    """Return the command that lists the ids of a run's cases, also of cases that `-k` left out."""
    return shlex.join([*without(run, ("-k", *_VALUES), _FLAGS), "--collect-only", "-q"])


def _program() -> list[str]:
    started = Path(sys.argv[0])
    if started.name not in ("pytest", "py.test"):
        known = shutil.which("python")
        same = known is not None and Path(known).absolute() == Path(sys.executable).absolute()
        return ["python" if same else _shown(Path(sys.executable)), "-m", "pytest"]
    known = shutil.which(started.name)
    same = known is not None and Path(known).absolute() == started.absolute()
    return [started.name if same else _shown(started)]


def _shown(program: Path) -> str:
    inside = program.absolute().is_relative_to(Path.cwd())
    return os.path.relpath(program) if inside else str(program.absolute())
