"""One file for reference pictures: what is written is read, and everything else is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from harness import digests
from harness.errors import HarnessError
from harness.metrics import frechet, kid
from harness.metrics.reference import load, measured, of_folder, open_pictures, picture_files, read, write
from tests.metrics.features import drawn
from tests.pipelines import save_pictures


class Means:
    """The mean of each colour, as features."""

    digest = "means"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def features(self, images: Sequence[Tensor] | Tensor) -> Tensor:
        self.sizes.append(len(images))
        return torch.stack([image.float().mean((1, 2)) for image in images])


def quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_written_is_read(tmp_path: Path, keep: bool) -> None:
    features = drawn(40, 0.3, 1).float()
    write(tmp_path / "kept", features, "network", "pictures", keep)
    stored = read(tmp_path / "kept", "network")
    expected = frechet.reference(*frechet.summarise(features), 40)
    assert torch.equal(stored.frechet.mean, expected.mean) and torch.equal(stored.frechet.root, expected.root)
    assert (stored.frechet.n, stored.digest) == (40, "pictures")
    if keep:
        assert stored.kid is not None and stored.kid.own == kid.reference(features).own
        assert torch.equal(stored.kid.features, features.double())
    else:
        assert stored.kid is None


def test_the_file_says_what_measured_what(tmp_path: Path) -> None:
    write(tmp_path / "kept", drawn(5, 0.0, 1).float(), "network", "pictures")
    with safe_open(tmp_path / "kept", "pt") as stream:
        assert stream.metadata() == {"extractor": "network", "pictures": "pictures", "n": "5"}
        assert sorted(stream.keys()) == ["covariance", "features", "mean"]
        assert stream.get_tensor("mean").dtype == torch.float64 and stream.get_tensor("features").dtype == torch.float32


def test_a_folder_and_its_file_are_one_reference(tmp_path: Path) -> None:
    folder, kept, lines = tmp_path / "pictures", tmp_path / "kept.safetensors", list[str]()
    save_pictures(folder, 70)
    extractor = Means()
    features, shown = measured(folder, extractor, lines.append)
    assert features.shape == (70, 3) and extractor.sizes == [64, 6]
    assert [line.partition(",")[2] for line in lines] == [" 0/70", " 64/70"]
    assert shown == digests.of_value([digests.of_file(path) for path in sorted(folder.iterdir())])
    write(kept, features, extractor.digest, shown)
    for place in (folder, kept):
        reference = load(place, extractor, quiet)
        assert torch.equal(reference.frechet.root, of_folder(folder, extractor, quiet).frechet.root)
        assert reference.kid is not None and reference.kid.features.shape == (70, 3)
        assert (reference.frechet.n, reference.digest) == (70, shown)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "kept", drawn(5, 0.0, 1).float(), "network", "pictures")
    with pytest.raises(HarnessError, match="was measured with another --scorer or --features; measure the pictures ag"):
        load(tmp_path / "kept", Means(), quiet)


def test_anything_else_is_refused_with_the_command_that_writes_one(tmp_path: Path) -> None:
    about = {"extractor": "means", "pictures": "shown", "n": "5"}
    mean, covariance = torch.zeros(3), torch.eye(3)
    (tmp_path / "text").write_text("no tensors")
    save_file({"mean": mean, "covariance": covariance}, tmp_path / "bare")
    save_file({"mean": mean, "covariance": covariance}, tmp_path / "number", about | {"n": "five"})
    save_file({"mean": mean}, tmp_path / "part", about)
    for name in ("text", "bare", "number", "part", "nowhere"):
        with pytest.raises(
            HarnessError, match=f"--reference .*{name} is neither .* write one with `prunegate reference"
        ):
            load(tmp_path / name, Means(), quiet)


def test_pictures_are_read_from_subfolders_in_order_and_named_where_they_are_none(tmp_path: Path) -> None:
    save_pictures(tmp_path / "b", 2)
    save_pictures(tmp_path / "a", 1)
    (tmp_path / "notes.txt").write_text("no picture")
    paths = picture_files(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["a/000.png", "b/000.png", "b/001.png"]
    assert [tuple(image.shape) for image in open_pictures(paths)] == [(3, 20, 24), (3, 20, 24), (3, 21, 24)]
    (tmp_path / "c.png").write_text("no picture")
    with pytest.raises(HarnessError, match=r"c\.png is no picture that can be read"):
        measured(tmp_path, Means(), quiet)
    with pytest.raises(HarnessError, match=r"a holds 1 pictures .*; name a folder with two or more"):
        load(tmp_path / "a", Means(), quiet)
