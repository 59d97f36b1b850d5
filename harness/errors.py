"""The error that a user is meant to read: it says what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something cannot be done.

    The message starts with the option or the file, says what is wrong with it, and ends with what to do.
    """


def unknown(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """Return the error for a name that does not exist.

    Args:
        kind: The kind of name: an option such as "--executor", or a word such as "method".
        name: The name that was given.
        known: The names that exist.

    Returns:
        The error. Its message offers up to three similar names, or lists all names where none is similar.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else f"use one of: {', '.join(names)}"
    return HarnessError(f"{kind} {name!r} is unknown; {advice}")


def reason(error: Exception) -> str:
    """Return why a library failed, on one line: the first line of its error, or the error's kind where it says nothing.

    torch names tensors that do not fit on the lines after the first, so those lines are kept, and each is cut.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if not lines[0].startswith("Error(s) in loading state_dict"):
        return lines[0]
    cut = (line.strip() if len(line) <= 200 else f"{line.strip()[:200]} …" for line in lines[1:4])
    return " ".join([lines[0], *cut])


def install(extra: str) -> str:
    """Return the advice that installs optional dependencies of the project, such as those of the extra "vision"."""
    return f"run `pip install -e '.[{extra}]'` in the clone of PruneGate"
