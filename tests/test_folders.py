"""One contract for folders on this machine and at addresses: local, in memory, and on a server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from harness import folders
from harness.errors import HarnessError


@pytest.fixture(params=["path", "file", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path | str]:
    if request.param == "path":
        yield tmp_path / "store"
    elif request.param == "s3":
        yield from bucket(monkeypatch)
    else:
        yield f"{request.param}://{tmp_path}/store"


def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Start a server, and make a bucket on it. Skipped without moto and s3fs."""
    moto = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield "s3://bucket/deep/store"
    finally:
        server.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_files_come_back_and_folders_go(place: Path | str) -> None:
    folders.check("--store", place)
    folder = folders.of(place)
    assert folder.names("key.batches/pictures") == []
    with pytest.raises(OSError):
        folder.read("key.json")
    folder.write("key.json", b"first")
    folder.write("key.json", b"second")
    for name in ("0-2", "2-2"):
        folder.write(f"key.batches/pictures/{name}", name.encode())
    assert folder.read("key.json") == b"second" and folders.of(place).read("key.batches/pictures/2-2") == b"2-2"
    assert sorted(folder.names("key.batches/pictures")) == ["0-2", "2-2"]
    folder.remove("key.batches")
    folder.remove("key.batches")
    assert folder.names("key.batches/pictures") == [] and folder.read("key.json") == b"second"


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The storage fails when the finished file is moved to its name."""
    folder = folders.of(f"memory://{tmp_path}")
    folder.write("a", b"before")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "mv", full)
    with pytest.raises(HarnessError, match=r"/a cannot be written \(.*No space left.*\)\. An earlier file is"):
        folder.write("a", b"after")
    assert folder.read("a") == b"before"
    assert [name.rpartition("/")[2] for name in fsspec.filesystem("memory").ls(str(tmp_path), detail=False)] == ["a"]


def test_an_address_of_an_unknown_kind_is_one_message() -> None:
    with pytest.raises(HarnessError, match=r"--store nonsense://x: .*; install that package, or name a folder"):
        folders.of("nonsense://x")


def test_an_address_that_cannot_be_written_is_said_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=r"--store file://.* cannot be written"):
        folders.check("--store", f"file://{tmp_path}/file/store")
