"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.errors import HarnessError


def write(path: Path, content: str | bytes) -> None:
    """Replace a file in one step, and make its folder.

    Raises HarnessError where that fails: what was there stays as it is.
    """
    partial: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial).chmod(0o644)
        os.replace(partial, path)
        partial = None
    except OSError as error:
        raise HarnessError(
            f"{path} cannot be written ({error}): free some space, or name another place; what was there is unchanged"
        ) from error
    finally:
        if partial:
            Path(partial).unlink(missing_ok=True)
