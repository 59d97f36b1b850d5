"""A scorer that is a program with an interpreter and packages of its own. docs/scorers.md has the protocol."""

from __future__ import annotations

import json
import math
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from harness import digests, files, png
from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

KIND = "cmd"
# Pictures of one question.
BATCH = 16
# Seconds for one answer. The first one includes loading a network.
TIMEOUT = 600.0
# A longer line is no answer.
_LONGEST = 2**20
_ADVICE = 'it must answer every question with one line {"scores": [a number per picture]}'


def check_command(option: str, place: str) -> None:
    """Check a program without starting it.

    Args:
        option: The option as it was typed, for the message.
        place: "cmd:PROGRAM ARGUMENTS", quoted as for a shell.

    Raises:
        HarnessError: The quotes do not match, or the program does not exist.
    """
    words = _words(option, place)
    if shutil.which(words[0]) is None:
        raise HarnessError(f"{option}: the program {words[0]} does not exist or cannot be run; give its path")


def _words(option: str, place: str) -> list[str]:
    try:
        words = shlex.split(place.partition(":")[2])
    except ValueError as error:
        raise HarnessError(f"{option}: {error}; quote the command as for a shell") from error
    if not words:
        raise HarnessError(f"{option} names no program; write cmd:PROGRAM, such as cmd:'/env/bin/python reward.py'")
    return words


class Program:
    """A running scorer. It starts at its first question, and ends with this process."""

    def __init__(self, option: str, place: str, timeout: float = TIMEOUT) -> None:
        """Start nothing yet.

        Args:
            option: The option, for messages.
            place: See `check_command`.
            timeout: Seconds for one answer.

        Raises:
            HarnessError: See `check_command`.
        """
        check_command(option, place)
        self._option, self._words, self._timeout = option, _words(option, place), timeout
        self._child: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def digest(self) -> str:
        """Return the digest of the command, and of the files and folders among its arguments."""
        paths = (path for word in self._words[1:] for path in _inside(Path(word)))
        return digests.of_value([self._words, [[str(path), digests.of_file(path)] for path in paths]])

    def score(self, images: Tensor, captions: Sequence[str]) -> Tensor:
        """Return a score per picture.

        Args:
            images: uint8 `[n, 3, h, w]` on the CPU. The program gets them as PNG files.
            captions: One per picture.

        Returns:
            float32 `[n]`.

        Raises:
            HarnessError: The program cannot be started, ends, needs too long, or answers something else. The message
                names it, and has its last words on standard error.
        """
        import torch

        scores: list[float] = []
        with tempfile.TemporaryDirectory(prefix="prunegate-") as folder:
            for start in range(0, len(images), BATCH):
                paths = []
                for i, pixels in enumerate(images[start : start + BATCH], start):
                    paths.append(Path(folder) / f"{i:04d}.png")
                    files.write(paths[-1], png.encode(png.image(pixels)))
                scores += self._ask([str(path) for path in paths], list(captions[start : start + BATCH]))
        return torch.tensor(scores, dtype=torch.float32)

    def close(self) -> None:
        """End the program."""
        if self._child is not None:
            _end(self._child)
        self._child = None

    def _ask(self, paths: list[str], captions: list[str]) -> list[float]:
        child = self._started()
        assert child.stdin is not None
        try:
            child.stdin.write(json.dumps({"pictures": paths, "captions": captions}).encode() + b"\n")
            child.stdin.flush()
            line = self._line(child)
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise self._failed(f"ended with exit code {child.wait()} before it answered")
        try:
            answer = json.loads(line)
            scores = answer["scores"] if isinstance(answer, dict) else None
        except (ValueError, KeyError, RecursionError):
            scores = None
        if not isinstance(scores, list) or len(scores) != len(paths) or not all(map(_is_score, scores)):
            raise self._failed(f"answered {_short(line)} to a question about {len(paths)} pictures")
        return [float(score) for score in scores]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            # Another interpreter must not import this one's packages.
            own = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
            self._said = tempfile.TemporaryFile()
            try:
                self._child = subprocess.Popen(
                    self._words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=own
                )
            except OSError as error:
                raise HarnessError(f"{self._option} cannot be started ({error.strerror}); give another path") from error
            weakref.finalize(self, _end, self._child)
        return self._child

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        """Return the next line of the program, or what it wrote before it ended."""
        assert child.stdout is not None
        line, until = b"", time.monotonic() + self._timeout
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([child.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise self._failed(f"did not answer within {self._timeout:g} seconds")
            part = os.read(child.stdout.fileno(), _LONGEST)
            line += part
            if not part or len(line) > _LONGEST:
                break
        return line if len(line) <= _LONGEST else line[:80] + b"\n"

    def _failed(self, what: str) -> HarnessError:
        self.close()
        words = ""
        if self._said is not None:
            self._said.seek(0)
            words = " ".join(self._said.read()[-2000:].decode(errors="replace").split("\n")[-3:]).strip()
        return HarnessError(f"{self._option} {what}{f' ({words})' if words else ''}; {_ADVICE}")


def _is_score(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _short(line: bytes) -> str:
    return repr(line.decode(errors="replace").strip()[:80])


def _inside(path: Path) -> list[Path]:
    """Return a file, or all files of a folder, in order; nothing where there is neither."""
    return [path] if path.is_file() else sorted(part for part in path.rglob("*") if part.is_file())


def _end(child: subprocess.Popen[bytes]) -> None:
    """End a program: close its input, and kill it where it goes on."""
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            try:
                stream.close()
            except OSError:
                # The program is gone, and with it the reader of our last words.
                continue
    try:
        child.wait(2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
