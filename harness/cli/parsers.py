"""The parsers of commands and tools, and the types of their arguments."""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from harness.errors import HarnessError

DEVICES = "auto (default): a GPU if there is one, else the CPU; or cpu, cuda, cuda:1, …"
"""The help text of `--device`."""
_WIDTH = 78


class _Once(argparse.Action):
    """Stores a value. A second one is an error: the first would be ignored without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if option and getattr(namespace, self.dest, self.default) is not self.default:
            parser.error(f"{option} is given twice; give it once")
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are messages like all others. No option can be given twice, unless it collects."""

    def __init__(self, *words: Any, **options: Any) -> None:
        """See `argparse.ArgumentParser`."""
        super().__init__(*words, **options)
        self.register("action", None, _Once)
        self.register("action", "store", _Once)

    def error(self, message: str) -> NoReturn:
        """Raise HarnessError in place of printing the usage and leaving."""
        raise HarnessError(f"{message.removeprefix('argument ')}. Run `{self.prog} --help`.")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def declare(commands: Commands, name: str, summary: str, text: str, example: str, usage: str | None = None) -> Parser:
    """Declare a command.

    Args:
        commands: The commands to add this one to.
        name: The command's name.
        summary: One line for `prunegate --help`, in lower case.
        text: A description of the command, in sentences.
        example: A command line that works.
        usage: The line above the text; None: made from the arguments.

    Returns:
        The command's parser, without arguments.
    """
    return commands.add_parser(
        name,
        help=summary,
        usage=usage,
        description=textwrap.fill(text, _WIDTH),
        epilog=shown(example),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def of_tool(file: str, text: str) -> Parser:
    """Return the parser of a script, whose help is the script's docstring.

    Args:
        file: The script's `__file__`.
        text: The docstring.
    """
    name = f"python tools/{Path(file).name}"
    return Parser(prog=name, description=text, formatter_class=argparse.RawDescriptionHelpFormatter)


def shown(example: str) -> str:
    """Return an example as help shows it, on a line of its own."""
    return f"example:\n  {example}"


def path(text: str) -> Path:
    """Return the path that a person typed.

    Raises:
        argparse.ArgumentTypeError: The text is empty, which would be the working folder, or cannot be a path.
    """
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} names no file or folder; give a name")
    return Path(text)


def count(text: str) -> int:
    """Return the number that a person typed.

    Raises:
        argparse.ArgumentTypeError: The text is no whole number, or less than 1.
    """
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 1; give one, such as 16")
    return number
