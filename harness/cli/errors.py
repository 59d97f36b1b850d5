"""The end of commands and tools: an exit code, and one line on standard error for an error."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from harness.errors import HarnessError

ERROR, INTERRUPTED = 2, 130


def guarded(work: Callable[[], int]) -> int:
    """Run a command.

    Args:
        work: Does the work and returns the exit code.

    Returns:
        The exit code of the work. `ERROR` for an error, which prints one line on standard error, and for a fault of the
        program, which prints its traceback. `INTERRUPTED` for Ctrl-C, and where another process ends the command.
    """
    for stream in (sys.stdout, sys.stderr):
        # A console that cannot show "±" shows its code instead of failing.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _ended_as_by_ctrl_c():
            code = work()
            _flush()
            return code
    except BrokenPipeError:
        return _failed("nobody reads the output of this command any more; run the command without the pipe")
    except (HarnessError, OSError) as error:
        return _failed(str(error))
    except MemoryError:
        return _failed("there is not enough memory; run the command on a machine with more memory")
    except KeyboardInterrupt as error:
        _complain("; ".join(["interrupted", *map(str, error.args)]))
        return INTERRUPTED
    except Exception:
        # Python would end with 1, which means a regression here.
        _complain(traceback.format_exc() + "error: this is a fault of PruneGate; please report it with the lines above")
        return ERROR
    finally:
        _settle()


@contextmanager
def _ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM raise KeyboardInterrupt, so that partial files are removed. A handler of somebody else's stays."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def discard(stream: TextIO | None) -> None:
    """Discard everything that is still written to a stream, because its reader has ended or its disk is full."""
    with suppress(OSError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)


def unwritable(error: OSError) -> HarnessError:
    """Return the error for a standard output that takes nothing."""
    return HarnessError(
        f"the standard output cannot be written ({error.strerror}); free some space, or send the output elsewhere"
    )


def _flush() -> None:
    """Write buffered output now. At the end of the process, an error would get no message."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            # The work is done, and its exit code stands.
            discard(sys.stdout)
        except OSError as error:
            raise unwritable(error) from error


def _failed(message: str) -> int:
    _complain(f"error: {' '.join(message.split())}")
    return ERROR


def _complain(text: str) -> None:
    with suppress(OSError):
        print(text, file=sys.stderr)


def _settle() -> None:
    """Keep Python from failing over a broken stream when the process ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                discard(stream)
