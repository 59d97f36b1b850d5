"""Folders of files that appear whole or not at all: on this machine, or at an address that every machine sees."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from harness import files
from harness.errors import HarnessError, reason


class Folder(Protocol):
    """A folder. Names of files may have parts, joined by "/"."""

    def read(self, name: str) -> bytes:
        """Return the content of a file. Raises OSError where it cannot be read."""

    def write(self, name: str, content: bytes) -> None:
        """Replace a file in one step. Raises HarnessError where it cannot be written."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder within this one; none where it does not exist."""

    def remove(self, folder: str) -> None:
        """Remove a folder within this one, if it exists and can be removed."""


class LocalFolder:
    """A folder of a file system of this machine."""

    def __init__(self, folder: Path) -> None:
        """Use a folder. It is made when something is written."""
        self.folder = folder

    def read(self, name: str) -> bytes:
        """As in `Folder`."""
        return (self.folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """As in `Folder`."""
        try:
            files.write(self.folder / name, content)
        except HarnessError as error:
            # Another worker has just removed the folder, because it has finished the same case.
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            files.write(self.folder / name, content)

    def names(self, folder: str) -> list[str]:
        """As in `Folder`. Files that are being written do not count."""
        place = self.folder / folder
        return [path.name for path in place.iterdir() if path.name[0] != "."] if place.is_dir() else []

    def remove(self, folder: str) -> None:
        """As in `Folder`."""
        shutil.rmtree(self.folder / folder, ignore_errors=True)


class RemoteFolder:
    """A folder at an address of fsspec, such as s3://bucket/folder.

    A file is written under a hidden name and then moved. Readers never see a part of it.
    """

    def __init__(self, address: str) -> None:
        """Use an address. Nothing is written.

        Raises:
            HarnessError: The kind of address is unknown, or its package is missing.
        """
        import fsspec

        self.address = address
        try:
            self._files: Any
            self._files, self._root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as error:
            raise HarnessError(f"--store {address}: {reason(error)}; install that package, or name a folder") from error

    def read(self, name: str) -> bytes:
        """As in `Folder`."""
        # A listing that was kept could hide what another machine has written.
        self._files.invalidate_cache()
        content: bytes = self._files.cat_file(self._at(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """As in `Folder`."""
        folder, _, last = self._at(name).rpartition("/")
        partial = f"{folder}/.{last}.{uuid4().hex[:8]}"
        try:
            self._files.makedirs(folder, exist_ok=True)
            try:
                self._files.pipe_file(partial, content)
                self._files.mv(partial, f"{folder}/{last}")
            except BaseException:
                if self._files.exists(partial):
                    self._files.rm_file(partial)
                raise
        except Exception as error:
            # Every kind of storage has errors of its own.
            raise HarnessError(
                f"{self.address}/{name} cannot be written ({reason(error)}). An earlier file is unchanged. Free some "
                "space, or name another place"
            ) from error

    def names(self, folder: str) -> list[str]:
        """As in `Folder`. Files that are being written do not count."""
        self._files.invalidate_cache()
        try:
            there = self._files.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        names = [str(place).rstrip("/").rpartition("/")[2] for place in there]
        return [name for name in names if not name.startswith(".")]

    def remove(self, folder: str) -> None:
        """As in `Folder`."""
        self._files.invalidate_cache()
        try:
            self._files.rm(self._at(folder), recursive=True)
        except OSError:
            # It does not exist, or another worker is removing it.
            return

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def of(place: Path | str) -> Folder:
    """Return a folder. place: its path, or its address, which has "://".

    Raises:
        HarnessError: The kind of address is unknown, or its package is missing.
    """
    return RemoteFolder(place) if isinstance(place, str) else LocalFolder(place)


def check(option: str, place: Path | str) -> None:
    """Check that files can be made in a folder. The check leaves nothing behind.

    Args:
        option: The option that names the folder, for the message.
        place: As for `of`.

    Raises:
        HarnessError: A file is in the way, or nothing can be written there.
    """
    if isinstance(place, Path):
        files.check_folder(option, place)
        return
    folder, name = of(place), f"prunegate-{uuid4().hex[:8]}"
    try:
        folder.write(f"{name}/probe", b"")
    except HarnessError as error:
        raise HarnessError(f"{option} {error}") from error
    folder.remove(name)
