"""Pictures on disk: every picture on request, and contact sheets that show where a method drops off."""

from __future__ import annotations

import io
import re
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from harness import files
from harness.errors import HarnessError

ACROSS = 12
SCALE = 96
LABEL = 190


def _image(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _png(image: Image.Image, **texts: str) -> bytes:
    about = PngInfo()
    for key, text in texts.items():
        about.add_itxt(key, text)
    encoded = io.BytesIO()
    image.save(encoded, "PNG", pnginfo=about)
    return encoded.getvalue()


def save_all(images: Tensor, captions: list[str], folder: Path) -> None:
    """Write every picture, uint8 `[n, 3, h, w]`, as a PNG named by its place in the list and its caption.

    folder: named by the case. The PNG's texts `case` and `caption` hold both in full.
    """
    for i, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        files.write(
            folder / f"{i:04d}-{re.sub(r'[^a-z]+', '-', caption)[:60].strip('-')}.png",
            _png(_image(pixels), case=folder.name, caption=caption),
        )


def row_of(images: Tensor) -> bytes:
    """Return the first pictures of a case side by side as a PNG: one row of a contact sheet."""
    shown = images[:ACROSS]
    row = Image.new("RGB", (SCALE * len(shown), SCALE))
    for i, pixels in enumerate(shown):
        row.paste(_image(pixels).resize((SCALE, SCALE), Image.Resampling.BICUBIC), (i * SCALE, 0))
    return _png(row)


def contact_sheet(rows: list[tuple[str, Path]], captions: list[str], title: str, path: Path) -> None:
    """Stack rows with their labels; the captions of the columns stand below, numbered."""
    try:
        strips = [(label, Image.open(strip).convert("RGB")) for label, strip in rows]
    except OSError as error:
        raise HarnessError(f"a row of {path.name} is gone ({error}); did another run use the same --report?") from error
    shown = captions[:ACROSS]
    width = LABEL + max(strip.width for _, strip in strips)
    head, foot = 44, 18 * ((len(shown) + 1) // 2) + 12
    sheet = Image.new("RGB", (width, head + SCALE * len(strips) + foot), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((8, 4), title, fill="black", font=ImageFont.load_default(15))
    for i in range(len(shown)):
        draw.text((LABEL + SCALE * i + SCALE // 2 - 4, 26), str(i + 1), fill="black", font=font)
    for i, (label, strip) in enumerate(strips):
        sheet.paste(strip, (LABEL, head + i * SCALE))
        draw.multiline_text((8, head + i * SCALE + 28), label, fill="black", font=font)
    half = (len(shown) + 1) // 2
    for i, caption in enumerate(shown):
        place = (8 + (width // 2) * (i // half), head + SCALE * len(strips) + 6 + 18 * (i % half))
        draw.text(place, f"{i + 1}  {caption}", fill="black", font=font)
    files.write(path, _png(sheet))


def contact_grid(images: Tensor, captions: list[str], path: Path) -> None:
    """Write pictures in rows of eight with their captions below, wrapped."""
    side, foot, font = 144, 46, ImageFont.load_default(10)
    rows = (len(images) + 7) // 8
    sheet = Image.new("RGB", (8 * side, rows * (side + foot)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (pixels, caption) in enumerate(zip(images, captions, strict=True)):
        x, y = i % 8 * side, i // 8 * (side + foot)
        sheet.paste(_image(pixels).resize((side - 4, side - 4), Image.Resampling.BICUBIC), (x + 2, y + 2))
        draw.multiline_text((x + 4, y + side), textwrap.fill(caption, 26), fill="black", font=font, spacing=1)
    files.write(path, _png(sheet))
