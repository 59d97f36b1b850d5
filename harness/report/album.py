"""The pictures of a run on disk, and their copies inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness import digests, files, png
from harness.errors import HarnessError

if TYPE_CHECKING:
    from PIL.Image import Image

    from harness.record import Record

# JPEG, because every browser shows it and it is quick: a tenth of a PNG's size.
_QUALITY = 85
# The side of a picture in a page where every picture was kept.
_LARGE = 192
GREEN = "green"
"""The folder in the report's folder with the rows of the last green run of every case."""


class Album:
    """Finds the pictures of cases in folders: rows of a report's folder, and single pictures of `--images`."""

    def __init__(self, folders: Sequence[Path], rows: Mapping[str, str]) -> None:
        """Look into folders later.

        Args:
            folders: Folders of `--report` and of `--images`.
            rows: Id of a case → SHA-256 of its row, see `Results.rows`. Pictures of another run are not taken.
        """
        self._folders, self._rows = folders, rows

    def strip(self, case: str) -> Image | None:
        """Return the first pictures of a case side by side, None where no folder has them."""
        from PIL import Image

        row = self._row(case)
        kept = None if row is None else self._kept(case, row)
        if row is None or kept is None:
            return row
        count = row.width // png.SIDE
        strip = Image.new("RGB", (_LARGE * count, _LARGE))
        for i, path in enumerate(_numbered(kept)[:count]):
            strip.paste(_large(path), (_LARGE * i, 0))
        return strip

    def picture(self, case: str, index: int) -> Image | None:
        """Return a picture that `--images` kept, None where no folder has it."""
        # Most runs keep no pictures, so look for them before a row is decoded.
        if not any((folder / case).is_dir() for folder in self._folders):
            return None
        row = self._row(case)
        kept = None if row is None else self._kept(case, row)
        paths = [] if kept is None else _numbered(kept)
        return _large(paths[index]) if index < len(paths) else None

    def _row(self, case: str) -> Image | None:
        wanted = self._rows.get(case)
        for path in (folder / "rows" / f"{case}.png" for folder in self._folders):
            if wanted and path.is_file():
                content = files.read(path, pipes=False)
                if digests.of_bytes(content) == wanted:
                    return _opened(path, content)
        return None

    def _kept(self, case: str, row: Image) -> Path | None:
        """Return the folder with all pictures of a case. Its first picture must be the first one of the row."""
        from PIL.Image import Resampling

        for folder in (folder / case for folder in self._folders):
            for path in _numbered(folder)[:1]:
                first = _opened(path, files.read(path, pipes=False)).resize((png.SIDE, png.SIDE), Resampling.BICUBIC)
                if first.tobytes() == row.crop((0, 0, png.SIDE, png.SIDE)).tobytes():
                    return folder
        return None


def _numbered(folder: Path) -> list[Path]:
    """Return the pictures of `save_all` in the order of their captions."""
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]*.png"), key=lambda path: int(path.stem.partition("-")[0]))


def _large(path: Path) -> Image:
    return _opened(path, files.read(path, pipes=False)).resize((_LARGE, _LARGE))


def _opened(path: Path, content: bytes) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.convert("RGB")
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise HarnessError(f"{path} is no picture ({error}); remove it, or run the cases again") from error


def keep_green(records: Sequence[Record], report: Path) -> None:
    """Keep the rows of green cases for the pages of later runs, which show them beside their own.

    Args:
        records: The records of green cases that made pictures.
        report: The report's folder.

    Raises:
        HarnessError: A row cannot be copied.
    """
    for record in records:
        row, place = report / "rows" / f"{record.case.id}.png", green_row(record, report)
        if row.is_file():
            files.write(place, files.read(row, pipes=False))


def green_row(record: Record, report: Path) -> Path:
    """Return the place of the row of the last green run of a case, in its workload."""
    return report / GREEN / record.workload / f"{record.case.id}.png"


class Sheets:
    """Pictures inside a page. A picture that is there twice is stored once."""

    def __init__(self) -> None:
        """Start empty."""
        self._names: dict[str, str] = {}
        self._rules: dict[str, str] = {}

    def add(self, picture: Image | None) -> str:
        """Store pictures side by side, and return the CSS class that shows them; "" for None."""
        if picture is None:
            return ""
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=_QUALITY)
        text = base64.b64encode(encoded.getvalue()).decode()
        name = self._names.setdefault(text, f"s{len(self._names)}")
        count = max(1, round(picture.width / picture.height))
        self._rules[name] = f"background-image:url(data:image/jpeg;base64,{text});--n:{count}"
        return name

    @property
    def rules(self) -> Mapping[str, str]:
        """Return CSS class → its declarations."""
        return self._rules
