"""Write text files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from harness.errors import HarnessError


def write(path: Path, text: str) -> None:
    """Replace a text file in one step. Raises HarnessError where that fails: the old one then stays as it is."""
    partial: str | None = None
    try:
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial).chmod(0o644)
        os.replace(partial, path)
        partial = None
    except OSError as error:
        raise HarnessError(f"{path} cannot be written ({error}); the old one is unchanged") from error
    finally:
        if partial:
            Path(partial).unlink(missing_ok=True)
