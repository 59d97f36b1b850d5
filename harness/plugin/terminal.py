"""Prints our lines between pytest's: progress in place, and a whole line per case."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

# Where the output is no terminal, progress is a line of its own, and at most one in so many seconds.
EVERY = 20.0


class Terminal:
    """pytest's terminal. Without one (`-p no:terminal`, a worker of xdist) nothing is shown."""

    def __init__(self, config: pytest.Config) -> None:
        """Use the terminal of a configuration."""
        self._plugins = config.pluginmanager
        # Whether the line of the cursor shows progress, or text that pytest has not ended with a line break.
        self._progress = False
        self._unfinished = False
        self._spoke = time.monotonic()

    @property
    def _reporter(self) -> pytest.TerminalReporter | None:
        reporter: pytest.TerminalReporter | None = self._plugins.get_plugin("terminalreporter")
        return reporter

    def progress(self, text: str) -> None:
        """Show the current work, in place of the line before. Where the output is no terminal, add a line at times."""
        reporter = self._reporter
        if reporter is None or not (reporter.isatty or time.monotonic() - self._spoke >= EVERY):
            return
        capture = self._plugins.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            if not reporter.isatty:
                self.line(text)
                reporter.flush()
                return
            reporter.rewrite(text[: shutil.get_terminal_size().columns - 1], erase=True)
            reporter.flush()
        self._progress = True

    def clear(self) -> None:
        """Remove progress from the screen. The cursor then stands at the start of the line."""
        reporter = self._reporter
        if self._progress and reporter is not None:
            reporter.rewrite("", erase=True)
            reporter.rewrite("")
            self._progress = self._unfinished = False

    def line(self, text: str) -> None:
        """Print a line."""
        reporter = self._reporter
        if reporter is None:
            return
        self.clear()
        if self._unfinished:
            reporter.line("")
        reporter.line(text)
        self._unfinished, self._spoke = False, time.monotonic()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Notice whether the body makes pytest write the name of a test file, which leaves a line unfinished."""
        reporter = self._reporter
        before = None if reporter is None else reporter.currentfspath
        yield
        if reporter is not None and reporter.currentfspath != before:
            self._unfinished = True

    def will_write(self, letter: str, word: object) -> None:
        """Make room for what pytest writes next for a test: a letter, or with `-v` a word."""
        self.clear()
        reporter = self._reporter
        if reporter is not None and (word if reporter.verbosity > 0 else letter):
            self._unfinished = True
