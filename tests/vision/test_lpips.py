"""LPIPS against torchmetrics and against its formula, with a random AlexNet where torchvision looks for its own."""

from __future__ import annotations

import inspect
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

pytest.importorskip("torchvision", reason="needs the extra `vision`: make test-vision")

from harness.errors import HarnessError
from harness.metrics import METRICS
from harness.metrics.lpips import LEAST, network
from tests.metrics.samples import noisy, pair
from tests.pretend_gpu import pretend_gpu
from tests.vision.networks import save_alexnet

NAME = "alexnet-owt-7be5be79.pth"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for TORCH_HOME that holds a random AlexNet."""
    folder = tmp_path_factory.mktemp("home")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_alexnet(folder / "hub" / "checkpoints" / NAME)
    return folder


@pytest.fixture(autouse=True)
def torch_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(home))


def plain(own: Tensor, dense: Tensor, file: Path) -> list[float]:
    """Return equation 1 of the paper: weighted squared differences of unit features, averaged over places, summed."""
    import torchmetrics.functional.image.lpips as theirs
    import torchvision

    layers = torchvision.models.alexnet()
    layers.load_state_dict(torch.load(file, weights_only=True))
    heads = torch.load(Path(inspect.getfile(theirs)).parent / "lpips_models" / "alex.pth", "cpu", weights_only=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)))
    a, b = ((images.float() / 127.5 - 1 - mean) / std for images in (own, dense))
    total = torch.zeros(len(own))
    heads_used = 0
    for i, layer in enumerate(layers.features):
        a, b = layer(a), layer(b)
        if i in (1, 4, 7, 9, 11):
            weights = heads[f"lin{heads_used}.model.1.weight"]
            total += ((normalize(a) - normalize(b)).square() * weights).sum(1).mean((1, 2))
            heads_used += 1
    return total.tolist()


def test_lpips_equals_torchmetrics_and_the_formula(home: Path) -> None:
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

    dense, own = noisy(5, 64, 80)
    with torch.inference_mode():
        ours = network("cpu")(own, dense)
        theirs = learned_perceptual_image_patch_similarity(
            own / 255, dense / 255, net_type="alex", reduction="none", normalize=True
        )
        formula = plain(own, dense, home / "hub" / "checkpoints" / NAME)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert ours.tolist() == pytest.approx(formula, rel=1e-3, abs=1e-6)
    assert ours[0] == 0 and ours[1] > 0 and ours[4] > ours[1]


def test_on_a_gpu() -> None:
    dense, own = noisy(3, 40, 80)
    with pretend_gpu():
        there = network("cuda:0")(own, dense)
    with torch.inference_mode():
        assert torch.allclose(there, network("cpu")(own, dense), rtol=1e-4, atol=1e-6)


def test_the_metric_is_the_mean_over_captions_however_many_are_compared_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dense, own = noisy(5, 40, 80)
    whole = METRICS["lpips"].compute(pair(own, dense))
    assert whole.figure.value == pytest.approx(whole.paired.mean().item()) and whole.figure.n == 5
    monkeypatch.setattr("harness.metrics.pairs.AT_ONCE", 2 * own[0].numel())
    parts = METRICS["lpips"].compute(pair(own, dense))
    assert parts.paired.tolist() == pytest.approx(whole.paired.tolist(), rel=1e-4, abs=1e-6)


def test_pictures_that_are_too_small_for_alexnet_are_refused() -> None:
    assert METRICS["lpips"].compute(pair(*noisy(2, LEAST, 9))).figure.n == 2
    with pytest.raises(HarnessError, match="--metrics lpips needs pictures of 31 × 31 or more, and these are 30 × 33"):
        METRICS["lpips"].compute(pair(*noisy(2, LEAST - 1, 9)))


def test_weights_that_cannot_be_downloaded_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refused)
    place = tmp_path / "hub" / "checkpoints" / NAME
    with pytest.raises(HarnessError) as error:
        network("cpu")
    assert str(error.value).startswith("--metrics lpips: the weights of AlexNet cannot be downloaded (no route); fetch")
    assert str(error.value).endswith(f"{NAME} on another machine and place the file at {place}")


class Harm:
    """What a pickle may do: run code when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("harmed",)


def test_files_that_are_no_weights_are_refused_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    place = tmp_path / "hub" / "checkpoints" / NAME
    place.parent.mkdir(parents=True)
    for content in (pickle.dumps(Harm()), b"no weights"):
        place.write_bytes(content)
        with pytest.raises(HarnessError, match=f"{NAME} does not hold AlexNet's weights .*; remove the file") as error:
            network("cpu")
        assert "\n" not in str(error.value)
    for content in ({"harm": Harm()}, {"features.0.bias": torch.zeros(3)}, [torch.zeros(3)]):
        torch.save(content, place)
        with pytest.raises(HarnessError, match="does not hold AlexNet's weights"):
            network("cpu")
    assert not (tmp_path / "harmed").exists()


def test_weights_that_are_not_finite_are_named(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.load(home / "hub" / "checkpoints" / NAME, weights_only=True)
    state["features.0.bias"][3] = torch.nan
    place = tmp_path / "hub" / "checkpoints" / NAME
    place.parent.mkdir(parents=True)
    torch.save(state, place)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(HarnessError, match=f"{NAME}: NaN or Inf in 1 of .*; remove the file, and the next run"):
        network("cpu")
