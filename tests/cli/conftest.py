"""Runs of the commands, and files that they read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.cli import main
from harness.results import write
from tests.report.made_up import cases, results


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def refused(self) -> str:
        """Return the message of a command that must have refused: one line on stderr, code 2, nothing else."""
        assert self.code == 2 and not self.out, self
        assert self.err.startswith("error: ") and len(self.err.splitlines()) == 1, self.err
        return self.err.removeprefix("error: ").rstrip("\n")


Command = Callable[..., Done]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return a function that runs `prunegate WORDS`, outside of CI."""
    monkeypatch.delenv("CI", raising=False)

    def run(*words: str | Path) -> Done:
        capsys.readouterr()
        code = main([str(word) for word in words])
        shown = capsys.readouterr()
        return Done(code, shown.out, shown.err)

    return run


def run_file(path: Path, shift: float = 0.0) -> Path:
    """Write the results of a dense case and four pruned ones, as `--json` does."""
    made = results(*cases("unet", "magnitude", [0.2, 0.4, 0.6, 0.8]), shift=shift)
    write(path, made)
    return path
