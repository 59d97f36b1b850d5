"""The one kind of error that a user is meant to read: what is wrong, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HarnessError(Exception):
    """Something cannot be done; the message says what, what was found, what was wanted, and what to do next."""


def unknown(kind: str, name: str, known: Iterable[str]) -> HarnessError:
    """Return the error for a name that does not exist, with the nearest ones that do."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names)}"
    return HarnessError(f"unknown {kind} {name!r}; {hint}")
