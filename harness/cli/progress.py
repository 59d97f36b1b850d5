"""Progress of commands: one line on standard error, which disappears. Without a terminal nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.cli.errors import discard, unwritable


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows a line in place of the line before."""
    from tqdm import tqdm

    with tqdm(bar_format="{desc}", leave=False, file=sys.stderr, disable=None) as bar:
        yield bar.set_description_str


def say(text: str) -> None:
    """Print one line of a result, above a line of progress. A reader that has gone, such as `head`, is no error."""
    from tqdm import tqdm

    if sys.stdout is None:
        return
    try:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError as error:
        raise unwritable(error) from error
