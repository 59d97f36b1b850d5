"""Write files whole or not at all, and one process at a time."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from harness.errors import HarnessError

# Seconds that `locked` waits for another process.
LOCK_SECONDS = 60.0


def check_folder(option: str, folder: Path) -> None:
    """Check that files can be made in a folder, or that the folder can be made. The check leaves nothing behind.

    Args:
        option: The option that names the folder, for the message.
        folder: The folder, which need not exist.

    Raises:
        HarnessError: A file is in the way, or nothing can be written there.
    """
    _check_within(option, folder, folder)


def check_new_folder(option: str, folder: Path) -> None:
    """Check, as `check_folder` does, a folder that will be written whole: it must be missing or empty.

    Raises:
        HarnessError: As `check_folder`; or the folder holds something.
    """
    check_folder(option, folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise HarnessError(f"{option} {folder} is not empty; name another folder, or remove this one")


def check_file(option: str, file: Path, example: str) -> None:
    """Check that a file can be written or replaced. The check changes nothing.

    Args:
        option: The option that names the file, for the message.
        file: The file, which need not exist.
        example: A name for such a file, for the message.

    Raises:
        HarnessError: The file is a folder or a device, its name is too long, or it cannot be written.
    """
    try:
        if file.is_dir():
            raise HarnessError(f"{option} {file} is a folder; name a file, such as {file / example}")
        if file.exists() and not file.is_file():
            raise HarnessError(f"{option} {file} is no ordinary file and cannot be replaced; name another file")
        _check_within(option, file, file.parent)
        if file.exists():
            file.open("r+b").close()
    except OSError as error:
        raise HarnessError(f"{option} {file} cannot be written ({error.strerror}); name another file") from error


def _check_within(option: str, place: Path, folder: Path) -> None:
    """Try to make a file in a folder, or in its nearest parent that exists."""
    there = folder
    try:
        there = next(path for path in (folder, *folder.parents) if path.exists() or path.is_symlink())
        if not there.is_dir():
            raise HarnessError(f"{option} {place} cannot be made, because {there} is a file; name another place")
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise HarnessError(
            f"{option} {place}: nothing can be written to {there} ({error.strerror}); name another place"
        ) from error


def read(path: Path, pipes: bool = True) -> bytes:
    """Return the content of a file or a pipe. A device is not read, because its content may have no end.

    Args:
        path: The file.
        pipes: Whether a pipe is read. Without a writer, that waits for ever.

    Raises:
        OSError: The file cannot be read, or is a device or an unwanted pipe.
    """
    if path.is_char_device() or path.is_block_device():
        raise OSError(errno.EINVAL, "it is a device", str(path))
    if path.is_fifo() and not pipes:
        raise OSError(errno.EINVAL, "it is a pipe", str(path))
    return path.read_bytes()


def write(path: Path, content: str | bytes) -> None:
    """Replace a file in one step. Make its folder if there is none.

    The file gets the mode that the user's umask gives. Where the path is a link, the file behind the link is replaced.

    Args:
        path: The file.
        content: Bytes, or a text that is stored in UTF-8.

    Raises:
        HarnessError: The file cannot be written. An earlier file of the name is then unchanged.
    """
    partial: Path | None = None
    try:
        place = Path(os.path.realpath(path))
        if place.exists() and not place.is_file():
            raise HarnessError(f"{path} is no ordinary file, so it cannot be replaced; name another file")
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{uuid4().hex[:8]}")
        with partial.open("xb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(place)
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be written ({error.strerror or error}). An earlier file is unchanged. Free some space, or "
            "name another place"
        ) from error
    except UnicodeEncodeError as error:
        raise HarnessError(
            f"{path} cannot be written: this locale has no file names with such letters. Set LC_ALL=C.UTF-8"
        ) from error
    finally:
        if partial:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder whole or not at all. All files get the mode that the user's umask gives.

    Args:
        folder: The folder, missing or empty. Where the path is a link, the folder behind the link is made.

    Yields:
        A hidden folder beside it. It takes the folder's place after the body, and disappears after an exception.

    Raises:
        OSError: Something cannot be written.
    """
    out = Path(os.path.realpath(folder))
    partial = out.with_name(f".{out.name}.{uuid4().hex[:8]}")
    try:
        partial.mkdir(parents=True)
        plain = partial / f".{uuid4().hex[:8]}"
        plain.touch()
        mode = plain.stat().st_mode
        plain.unlink()
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                # safetensors makes files that only their owner may read.
                path.chmod(mode)
        if out.exists():
            out.rmdir()
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from updating a file while the body runs. A process that dies releases its lock.

    Args:
        path: The file. The lock is a hidden file beside it, which is removed when the body ends.

    Raises:
        HarnessError: Another process holds the lock for longer than `LOCK_SECONDS`, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    place = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place, timeout=LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise HarnessError(
            f"{path} is unchanged: another process has been updating it for more than {LOCK_SECONDS:g} s. Wait until "
            "that process ends, and run the command again"
        ) from error
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be updated, because {place} cannot be written ({error}). Make the folder writable, or name "
            "another place"
        ) from error
    try:
        yield
    finally:
        # Remove the file while it is locked. A process that waits for it notices this, and makes a new one.
        with suppress(OSError):
            place.unlink()
        lock.release()
