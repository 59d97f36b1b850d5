"""FID and KID on Inception features: ours, torchmetrics' and torch-fidelity's own, on the same PNG files."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("torch_fidelity", reason="needs the extra `vision`: make test-vision")

from harness.errors import HarnessError
from harness.metrics import kid
from harness.metrics.frechet import between, fid, reference, summarise
from harness.metrics.reference import measured, open_pictures, picture_files
from harness.metrics.scorers.inception import Inception
from tests.pretend_gpu import pretend_gpu

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def extractor(place: Path) -> Inception:
    return Inception(place / "inception.pth", CPU)


def test_on_a_gpu(place: Path, pictures: tuple[Path, Path], extractor: Inception) -> None:
    images = open_pictures(picture_files(pictures[0])[:2])
    with pretend_gpu():
        features = Inception(place / "inception.pth", torch.device("cuda", 0)).features(images)
    assert torch.allclose(features, extractor.features(images), rtol=1e-4, atol=1e-5)


def test_fid_and_kid_equal_torchmetrics_and_torch_fidelity(
    place: Path, pictures: tuple[Path, Path], extractor: Inception
) -> None:
    from torch_fidelity import calculate_metrics
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    weights = str(place / "inception.pth")
    files = [picture_files(folder) for folder in pictures]
    real, made = (measured(folder, extractor, lambda _: None)[0] for folder in pictures)
    n = len(made)
    assert real.shape == made.shape == (24, 2048) and float(made.std(0).mean()) > 1e-3
    ours = fid(made, reference(*summarise(real), n)).value, kid.kid(made, kid.reference(real))[0]
    assert ours[0] == pytest.approx(between(made, real)[0], rel=1e-6)

    # By default torchmetrics resizes pictures otherwise than torch-fidelity and the first FID code did.
    distance = FrechetInceptionDistance(feature=2048, antialias=False, feature_extractor_weights_path=weights)
    kernel = KernelInceptionDistance(feature=distance.inception, subsets=1, subset_size=n)
    for of, is_real in zip(files, (True, False), strict=True):
        images = torch.stack(open_pictures(of))
        distance.update(images, real=is_real)
        kernel.update(images, real=is_real)
    assert torch.equal(kernel.real_features[0], real) and torch.equal(kernel.fake_features[0], made)
    with mock.patch.object(torch.linalg, "eigvals", side_effect=torch.linalg.eigvals) as eigvals:
        theirs = float(distance.compute())
    single = 1000 * float(kernel.compute()[0])
    # In single precision the kernel's large sums cancel to few digits.
    kernel._computed = None
    double = 1000 * float(kernel.set_dtype(torch.float64).compute()[0])
    assert ours[1] == pytest.approx(double, rel=1e-9) and ours[1] == pytest.approx(single, rel=1e-3)

    fidelity = calculate_metrics(
        input1=str(pictures[1]), input2=str(pictures[0]), cuda=False, fid=True, kid=True, kid_subsets=1,
        kid_subset_size=n, feature_extractor_weights_path=weights, cache=False, verbose=False, batch_size=n,
    )  # fmt: skip
    print("KID: ours", ours[1], "torchmetrics", single, double, "torch-fidelity", fidelity)
    assert ours[1] == pytest.approx(1000 * fidelity["kernel_inception_distance_mean"], rel=1e-3)

    # Both take the roots of all 2048 eigenvalues of a matrix of rank 23: those that are nothing but rounding make the
    # distance too small. Without them theirs is ours.
    (product,) = eigvals.call_args.args
    roots = torch.linalg.eigvals(product).sqrt().real.sort(descending=True).values
    exact = theirs + 2 * float(roots[n - 1 :].sum())
    print("FID: ours", ours[0], "torchmetrics", theirs, "without rounding", exact, "torch-fidelity", fidelity)
    assert ours[0] == pytest.approx(exact, rel=1e-5)
    assert ours[0] == pytest.approx(theirs, rel=1e-3) and ours[0] == pytest.approx(
        fidelity["frechet_inception_distance"], rel=1e-3
    )


def test_fid_equals_torch_fidelity_where_covariances_have_full_rank() -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    rng = torch.Generator().manual_seed(0)
    mixing = torch.randn(256, 256, generator=rng, dtype=torch.float64)
    real, made = (torch.randn(1000, 256, generator=rng, dtype=torch.float64) @ mixing + shift for shift in (0.0, 0.3))
    theirs = fid_statistics_to_metric(*map(fid_features_to_statistics, (made, real)), False)
    ours = fid(made, reference(*summarise(real), 1000)).value
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-9)


def test_features_do_not_depend_on_the_batch_and_any_size_is_read(
    pictures: tuple[Path, Path], extractor: Inception
) -> None:
    images = open_pictures(picture_files(pictures[0])[:4])
    images[1], images[3] = images[1][:, :50], images[3][:, :, :31]
    whole = extractor.features(images)
    assert torch.equal(whole, extractor.features(images))
    alone = torch.cat([extractor.features([image]) for image in images])
    torch.testing.assert_close(alone, whole, rtol=1e-4, atol=1e-4)


def test_the_digest_is_that_of_the_weights_in_either_format(place: Path, extractor: Inception, tmp_path: Path) -> None:
    state = torch.load(place / "inception.pth", weights_only=True)
    save_file(state, tmp_path / "same.safetensors")
    assert Inception(tmp_path / "same.safetensors", CPU).digest == extractor.digest
    save_file(state | {"fc.bias": state["fc.bias"] + 1}, tmp_path / "other.safetensors")
    assert Inception(tmp_path / "other.safetensors", CPU).digest != extractor.digest


class Harm:
    """What a pickle may do: run code when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_files_that_are_no_weights_are_refused_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harm.pth").write_bytes(pickle.dumps(Harm()))
    torch.save({"harm": Harm()}, tmp_path / "harm2.pth")
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "few.pth")
    (tmp_path / "garbage.safetensors").write_bytes(b"no weights")
    for name in ("harm.pth", "harm2.pth", "few.pth", "garbage.safetensors", "nowhere.pth"):
        with pytest.raises(HarnessError, match=r"--features inception: the weights .* cannot be loaded") as error:
            Inception(tmp_path / name, CPU)
        assert "\n" not in str(error.value)
    assert not (tmp_path / "harmed").exists()


def test_weights_that_cannot_be_downloaded_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    with pytest.raises(
        HarnessError, match=r"downloaded \(no route\); fetch https://.*pth on another machine and give --features"
    ):
        Inception(None, CPU)
