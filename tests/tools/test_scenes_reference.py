"""Drawing the reference again signs the reference alone, and nothing where another file has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.cli import measure_scenes
from harness.metrics import reference
from harness.scenes.weights import REFERENCE, WEIGHTS, verified
from tests.tools.loading import load

PLACE = Path("reference") / "reference.safetensors"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(shutil.copytree(WEIGHTS, tmp_path / "weights"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_writes_and_signs_the_reference_alone(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(weights)
    assert load("scenes_reference").main(["--weights", str(weights), "--pictures", "1000"]) == 0
    assert "1000 pictures, 128 features" in capsys.readouterr().out
    after = contents(weights)
    assert {name for name in after if after[name] != before.get(name)} == {"digests.json", str(PLACE)}
    old, new = (json.loads(part["digests.json"]) for part in (before, after))
    assert {name for name in new if new[name] != old[name]} == {str(PLACE)} and old.keys() == new.keys()
    digests = verified(weights)
    read = reference.read(weights / PLACE, digests["judges"])
    assert read.frechet.n == 1000 and read.kid is None


@pytest.mark.parametrize("name", ["pipeline/unet/config.json", "judges/clip.safetensors"])
def test_a_changed_file_is_named_and_nothing_is_signed(
    weights: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = weights / name
    place.write_bytes(place.read_bytes() + b" ")
    before = contents(weights)
    assert load("scenes_reference").main(["--weights", str(weights)]) == 2
    assert f"error: {place} has changed" in capsys.readouterr().err
    assert contents(weights) == before


def test_a_number_that_shows_captions_unequally_is_refused(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(weights)
    assert load("scenes_reference").main(["--weights", str(weights), "--pictures", "1500"]) == 2
    assert capsys.readouterr().err.startswith("error: --pictures 1500 does not show each of the 1000 captions equally")
    assert contents(weights) == before


def test_the_shipped_reference_is_of_the_pictures_that_the_script_draws() -> None:
    from harness.metrics.frechet import fid
    from harness.metrics.scorers.scenes import ScenesScorer
    from harness.scenes.captions import held_out

    scorer = ScenesScorer(WEIGHTS / "judges", torch.device("cpu"))
    shipped = reference.read(REFERENCE, scorer.digest)
    assert shipped.frechet.n == 10_000
    scenes = [scene for _, scene in held_out()]
    tool: Any = load("scenes_reference")
    drawn = measure_scenes.real_pictures(scenes, tool.SEED)
    # A tenth of the ten thousand. The control: the same pictures with red and blue exchanged.
    assert fid(scorer.features(drawn), shipped.frechet).value < 0.5
    assert fid(scorer.features(drawn.flip(1)), shipped.frechet).value > 5
