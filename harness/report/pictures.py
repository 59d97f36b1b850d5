"""Pictures on disk: every picture on request, and contact sheets that show where a method drops off."""

from __future__ import annotations

import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from harness import files, png
from harness.errors import HarnessError
from harness.report.groups import Group, groups

if TYPE_CHECKING:
    from torch import Tensor

    from harness.record import Record
    from harness.results import Results

_LABEL = 190
_HEAD = 44
_LINE = 18
# A file name may have 255 bytes; the number, the suffix and a temporary file's ending need some of them.
_NAME_CHARACTERS, _NAME_BYTES = 60, 180
_OURS = re.compile(r"\d{4,}(-.*)?\.png")


def save_all(images: Tensor, captions: Sequence[str], folder: Path) -> None:
    """Write every picture of a case as a PNG file, and remove the pictures of an earlier run of the case.

    A file's name has the picture's number and words of its caption. Its PNG texts hold the case and the whole caption.

    Args:
        images: uint8 `[n, 3, h, w]`.
        captions: One per picture.
        folder: The folder for the files. Its name is the id of the case. Files that another program wrote stay.

    Raises:
        HarnessError: A file cannot be written.
    """
    written = set()
    for i, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        path = folder / f"{'-'.join(filter(None, (f'{i:04d}', _words(caption))))}.png"
        files.write(path, png.encode(png.image(pixels), {"case": folder.name, "caption": caption}))
        written.add(path)
    for path in set(folder.glob("*.png")) - written:
        if _OURS.fullmatch(path.name) and _case_of(path) == folder.name:
            path.unlink(missing_ok=True)


def _words(caption: str) -> str:
    """Return a caption as part of a file name: words of any script that the file system can name, joined by "-"."""
    # Marks belong to the words of many scripts, and `isalnum` does not count them.
    kept = (c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in caption)
    # Under LC_ALL=C the names of files have ASCII letters only.
    coding = sys.getfilesystemencoding()
    possible = "".join(kept).encode(coding, "ignore").decode(coding)
    name = "-".join(possible.split())[:_NAME_CHARACTERS]
    return name.encode()[:_NAME_BYTES].decode(errors="ignore").strip("-")


def _case_of(path: Path) -> str | None:
    """Return the case that a picture of `save_all` belongs to, or None for any other file."""
    try:
        with Image.open(path) as picture:
            return getattr(picture, "text", {}).get("case")
    except (OSError, SyntaxError, ValueError):
        return None


def contact_sheets(results: Results, folder: Path) -> list[Path]:
    """Write one contact sheet per group of cases that made pictures, the dense model's row on top.

    Args:
        results: The results of a run.
        folder: The report's folder. It has the row of every case as `rows/ID.png`; the sheets go there too.

    Returns:
        The paths of the sheets.

    Raises:
        HarnessError: A row is missing, or a sheet cannot be written.
    """
    shown = [group for group in groups(results) if not all(record.spared for record in group.records)]
    return [_sheet_of(group, results, folder) for group in shown]


def _sheet_of(group: Group, results: Results, folder: Path) -> Path:
    records = [record for record in group.records if not record.spared]
    if group.dense is not None and not group.case.is_dense:
        records = [group.dense, *records]
    rows = [(_label(record), folder / "rows" / f"{record.case.id}.png") for record in records]
    path = folder / f"contact-{group.case.group}.png"
    contact_sheet(rows, results.captions.get(group.case.target, ()), group.case.group, path)
    return path


def _label(record: Record) -> str:
    """Return the label of a row: the level, and the first two headline metrics."""
    from harness.metrics import METRICS

    shown = [metric for metric in METRICS.values() if metric.headline and metric.name in record.quality][:2]
    values = (f"{m.label} {record.quality[m.name].value:.{m.decimals}f}" for m in shown)
    return "\n".join(["dense" if record.case.is_dense else record.case.level, *values])


def contact_sheet(rows: Sequence[tuple[str, Path]], captions: Sequence[str], title: str, path: Path) -> None:
    """Stack rows of pictures with their labels. The numbered captions of the columns follow below.

    Args:
        rows: The label of every row, and the PNG file with its pictures.
        captions: The caption of every column.
        title: The heading.
        path: The PNG file to write.

    Raises:
        HarnessError: A row is missing, or the sheet cannot be written.
    """
    strips = []
    for label, place in rows:
        try:
            with Image.open(place) as row:
                strips.append((label, row.convert("RGB")))
        except OSError as error:
            raise HarnessError(
                f"--report: {place} is missing or damaged ({error}); runs at the same time need a --report folder each"
            ) from error
    shown = captions[: png.ACROSS]
    half = (len(shown) + 1) // 2
    width = _LABEL + max(strip.width for _, strip in strips)
    below = _HEAD + png.SIDE * len(strips)
    sheet = Image.new("RGB", (width, below + _LINE * half + 12), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((8, 4), title, fill="black", font=ImageFont.load_default(15))
    for i, caption in enumerate(shown):
        draw.text((_LABEL + png.SIDE * i + png.SIDE // 2 - 4, 26), str(i + 1), fill="black", font=font)
        place_below = (8 + (width // 2) * (i // half), below + 6 + _LINE * (i % half))
        draw.text(place_below, f"{i + 1}  {caption}", fill="black", font=font)
    for i, (label, strip) in enumerate(strips):
        sheet.paste(strip, (_LABEL, _HEAD + i * png.SIDE))
        draw.multiline_text((8, _HEAD + i * png.SIDE + 20), label, fill="black", font=font)
    files.write(path, png.encode(sheet))


GRID = "PruneGate, contact_grid"
"""What a PNG file of `contact_grid` says of itself, so that no other picture is written over."""


def contact_grid(images: Tensor, captions: Sequence[str], path: Path) -> None:
    """Write pictures in rows of eight, each with its caption below.

    Args:
        images: uint8 `[n, 3, h, w]`.
        captions: One per picture.
        path: The PNG file to write.

    Raises:
        HarnessError: The file cannot be written.
    """
    side, foot, font = 144, 46, ImageFont.load_default(10)
    rows = (len(images) + 7) // 8
    sheet = Image.new("RGB", (8 * side, rows * (side + foot)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = i % 8 * side, i // 8 * (side + foot)
        sheet.paste(png.resized(pixels, side - 4), (x + 2, y + 2))
        draw.multiline_text((x + 4, y + side), textwrap.fill(caption, 26), fill="black", font=font, spacing=1)
    files.write(path, png.encode(sheet, {"Software": GRID}))
