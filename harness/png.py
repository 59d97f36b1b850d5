"""Pictures as PNG files, and the row of pictures that stands for a case."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

ACROSS = 12
"""Number of pictures in a row."""
SIDE = 96
"""Width and height of a picture in a row, in pixels."""


def image(pixels: Tensor) -> Image:
    """Return one picture, uint8 `[3, h, w]`, as a Pillow image."""
    from PIL import Image

    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def resized(pixels: Tensor, side: int) -> Image:
    """Return one picture, uint8 `[3, h, w]`, as a square image with `side` pixels on each side."""
    from PIL.Image import Resampling

    return image(pixels).resize((side, side), Resampling.BICUBIC)


def encode(picture: Image, texts: Mapping[str, str] | None = None) -> bytes:
    """Return an image as a PNG file.

    Args:
        picture: The image.
        texts: Name → text to store in the file.
    """
    from PIL.PngImagePlugin import PngInfo

    about = PngInfo()
    for key, text in (texts or {}).items():
        about.add_itxt(key, text)
    encoded = io.BytesIO()
    picture.save(encoded, "PNG", pnginfo=about)
    return encoded.getvalue()


def row_of(images: Tensor) -> bytes:
    """Return the first pictures of a case side by side: one row of a contact sheet.

    Args:
        images: uint8 `[n, 3, h, w]`; the first `ACROSS` are shown.

    Returns:
        A PNG file, `SIDE` pixels high.
    """
    from PIL import Image

    shown = images[:ACROSS]
    row = Image.new("RGB", (SIDE * len(shown), SIDE))
    for i, pixels in enumerate(shown):
        row.paste(resized(pixels, SIDE), (i * SIDE, 0))
    return encode(row)
