"""Reference pictures: their statistics for FID and KID, and the one file that keeps them.

The file is safetensors. Tensors: `mean` float64 `[d]`, `covariance` float64 `[d, d]`, and for KID `features` float32
`[n, d]`. Metadata: `extractor` and `pictures` (digests of the network and of the pictures), and `n`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from harness import digests, files
from harness.clock import Clock
from harness.errors import HarnessError
from harness.metrics import frechet, kid
from harness.metrics.scorers.scorer import Extractor

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Number of pictures that are open at once.
BATCH = 64


@dataclass(frozen=True)
class Reference:
    """Statistics of the reference pictures."""

    frechet: frechet.Reference
    """Mean and covariance of the features, for FID."""
    kid: kid.KidReference | None
    """The features, for KID; None where the file has none."""
    digest: str
    """Digest of the pictures."""


def write(
    path: Path, features: Tensor, extractor_digest: str, pictures_digest: str, keep_features: bool = True
) -> None:
    """Write the statistics of reference pictures to a file, whole or not at all.

    Args:
        path: The file.
        features: Features of the pictures, float32 `[n, d]`.
        extractor_digest: Digest of the network that made them: `Extractor.digest`.
        pictures_digest: Digest of the pictures: see `measured`.
        keep_features: Whether the file keeps the features too. KID needs them; they take n·d·4 bytes.

    Raises:
        HarnessError: The file cannot be written.
    """
    from safetensors.torch import save

    mean, covariance = frechet.summarise(features)
    tensors = {"mean": mean, "covariance": covariance} | ({"features": features} if keep_features else {})
    about = {"extractor": extractor_digest, "pictures": pictures_digest, "n": str(len(features))}
    files.write(path, save(tensors, about))


def read(path: Path, extractor_digest: str) -> Reference:
    """Read a file that `write` wrote.

    Args:
        path: The file.
        extractor_digest: Digest of the network whose features are compared with the file's.

    Raises:
        HarnessError: The file is missing, is something else, or keeps features of another network.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as stream:
            about: dict[str, str] = stream.metadata() or {}
            made_with, shown, n = about["extractor"], about["pictures"], int(about["n"])
            mean, covariance = stream.get_tensor("mean"), stream.get_tensor("covariance")
            features = stream.get_tensor("features") if "features" in [*stream.keys()] else None
        _check_statistics(mean, covariance, features, n)
        distance = frechet.reference(mean, covariance, n)
        kernel = None if features is None else kid.reference(features)
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise HarnessError(
            f"--reference {path} is neither a folder of pictures nor a file that `prunegate reference` wrote "
            f"({error}); write one with `prunegate reference --images DIR --out FILE`"
        ) from error
    if made_with != extractor_digest:
        raise HarnessError(
            f"--reference {path} was measured with another --scorer or --features; measure the pictures again with "
            "`prunegate reference` and the scorer and features of this run"
        )
    return Reference(distance, kernel, shown)


def _check_statistics(mean: Tensor, covariance: Tensor, features: Tensor | None, n: int) -> None:
    """Raise ValueError where tensors of a file have other shapes than `write` gives them, or are not finite."""
    d = mean.numel()
    shapes = mean.shape == (d,) and covariance.shape == (d, d) and (features is None or features.shape == (n, d))
    if not shapes or n < 2:
        raise ValueError("its tensors do not fit each other")
    if not all(bool(part.isfinite().all()) for part in (mean, covariance, features) if part is not None):
        raise ValueError("its tensors hold NaN or Inf")


def measured(folder: Path, extractor: Extractor, progress: Callable[[str], None]) -> tuple[Tensor, str]:
    """Measure all pictures of a folder, a batch at a time.

    Args:
        folder: See `picture_files`.
        extractor: The network that makes the features.
        progress: Called with a short line about every batch.

    Returns:
        The features, float32 `[n, d]`, and the digest of the pictures, which depends on their content and order alone.

    Raises:
        HarnessError: The folder holds fewer than two pictures, or a file is no picture.
    """
    paths, parts = picture_files(folder), []
    clock = Clock(len(paths))
    for first in range(0, len(paths), BATCH):
        clock.begin(first)
        progress(f"features of reference pictures, {first}/{len(paths)}{clock.left(first)}")
        parts.append(extractor.features(open_pictures(paths[first : first + BATCH])))
    return torch.cat(parts), digests.of_value([digests.of_file(path) for path in paths])


def of_folder(folder: Path, extractor: Extractor, progress: Callable[[str], None]) -> Reference:
    """Return the reference that the pictures of a folder make: see `measured`."""
    features, shown = measured(folder, extractor, progress)
    return Reference(frechet.reference(*frechet.summarise(features), len(features)), kid.reference(features), shown)


def load(place: Path, extractor: Extractor, progress: Callable[[str], None]) -> Reference:
    """Return the reference that `--reference` names: a folder of pictures, or a file that `write` wrote."""
    return of_folder(place, extractor, progress) if place.is_dir() else read(place, extractor.digest)


def picture_files(folder: Path) -> list[Path]:
    """Return the picture files of a folder and its subfolders, in order of their paths.

    Raises:
        HarnessError: There are fewer than two.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(paths) < 2:
        raise HarnessError(
            f"{folder} holds {len(paths)} pictures ({', '.join(SUFFIXES)}); name a folder with two or more"
        )
    return paths


def open_pictures(paths: Iterable[Path]) -> list[Tensor]:
    """Return the pictures of files as uint8 `[3, h, w]` each.

    Raises:
        HarnessError: A file is no picture. The message names the file.
    """
    import numpy
    from PIL import Image

    images = []
    for path in paths:
        try:
            if not path.is_file():
                raise ValueError("it is no ordinary file")
            with warnings.catch_warnings():
                # Pillow warns of pictures with many pixels, and refuses those with twice as many.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                array = numpy.asarray(Image.open(path).convert("RGB")).copy()
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise HarnessError(f"{path} is no picture that can be read ({error}); remove the file") from error
        images.append(torch.from_numpy(array).permute(2, 0, 1))
    return images
