"""The options of `pytest benchmarks`, of the commands and of the tools, for tests of texts that name them."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from pathlib import Path

from harness.cli import main
from harness.plugin.options import declare

ROOT = Path(__file__).parents[1]
# Options of pytest, of its plugins and of pip that our texts name.
FOREIGN = frozenset({"--collect-only", "--benchmark-json", "--help", "--junitxml", "--no-deps"})


class _Parser:
    """Stands in for pytest's parser and its groups: takes the names of options."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def getgroup(self, *_: object) -> _Parser:
        return self

    def addoption(self, *names: str, **_: object) -> None:
        self.names.update(names)


@functools.cache
def of_pytest() -> frozenset[str]:
    """Return the long options of `pytest benchmarks`."""
    parser = _Parser()
    declare(parser)  # type: ignore[arg-type]
    return frozenset(parser.names) | FOREIGN


@functools.cache
def of_command(*words: str) -> frozenset[str]:
    """Return the long options of `prunegate WORDS`. Fails where there is no such command."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        code = main([*words, "--help"])
        raise AssertionError(f"`prunegate {' '.join(words)} --help` ended with {code}: is there such a command?")
    return named_in(shown.getvalue())


@functools.cache
def of_tool(path: str) -> frozenset[str]:
    """Return the long options that a script of tools/ names. Fails where there is no such script."""
    return named_in((ROOT / path).read_text(encoding="utf-8"))


@functools.cache
def of_anything() -> frozenset[str]:
    """Return the options of `pytest benchmarks` and of all commands."""
    commands = re.findall(r"^ {4}([a-z-]+) ", _help(), re.MULTILINE)
    assert {"prune", "compare"} <= set(commands), "the list of commands could not be read"
    return of_pytest() | of_command() | frozenset().union(*map(of_command, commands))


def named_in(text: str) -> frozenset[str]:
    """Return the long options that a text names."""
    return frozenset(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text))


def _help() -> str:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main(["--help"])
    return shown.getvalue()
