"""Scorers with tensors that are missing, foreign or misshapen, or with values that are not finite."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.errors import HarnessError
from harness.metrics.scorers import load_scorer
from harness.metrics.scorers.scenes import ScenesScorer
from harness.scenes.weights import JUDGES
from tests.pipelines import save_clip_scorer

CPU = torch.device("cpu")
State = dict[str, torch.Tensor]
NAME = "text_projection.weight"
CHANGES: list[tuple[Callable[[State, str], State], str]] = [
    (lambda state, name: {key: value for key, value in state.items() if key != name}, "issing"),
    (lambda state, name: state | {"foreign": torch.zeros(2)}, "foreign"),
    (lambda state, name: state | {name: torch.zeros(3)}, "shape"),
    (lambda state, name: state | {name: torch.full_like(state[name], torch.nan)}, "NaN or Inf in 1 of"),
]


@pytest.mark.parametrize(("how", "said"), CHANGES)
def test_a_clip_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, how: Callable[[State, str], State], said: str
) -> None:
    save_clip_scorer(tmp_path / "clip")
    path = tmp_path / "clip" / "model.safetensors"
    save_file(how(load_file(path), NAME), path, {"format": "pt"})
    with pytest.raises(HarnessError, match=said) as error:
        load_scorer(str(tmp_path / "clip"), CPU)
    assert str(error.value).startswith(f"--scorer {tmp_path / 'clip'}") and "\n" not in str(error.value)
    assert NAME in str(error.value) or "foreign" in str(error.value)


@pytest.mark.parametrize(("side", "rows"), [("text", 90), ("vision", 26)])
def test_positions_that_do_not_fit_are_refused_and_not_resized(tmp_path: Path, side: str, rows: int) -> None:
    save_clip_scorer(tmp_path)
    path, name = tmp_path / "model.safetensors", f"{side}_model.embeddings.position_embedding.weight"
    state = load_file(path)
    save_file(state | {name: torch.zeros(rows, state[name].shape[1])}, path, {"format": "pt"})
    with pytest.raises(HarnessError, match=rf"1 of another shape \({name}: \[{rows}, 32\] instead of"):
        load_scorer(str(tmp_path), CPU)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("preprocessor_config.json", {"crop_size": {"height": 20, "width": 20}}, "makes pictures of 20 × 20, and the"),
        (
            "preprocessor_config.json",
            {"do_center_crop": False},
            "makes pictures of 16 × 21, and the CLIP reads 16 × 16",
        ),
        ("preprocessor_config.json", {"do_resize": False, "do_center_crop": False}, "makes pictures of 24 × 32, and"),
        ("preprocessor_config.json", {"image_mean": [0.5, 0.5]}, "preprocessor_config.json cannot prepare a picture"),
        (
            "config.json",
            {"text_config": {"vocab_size": 49407}},
            "has token 49407, and the CLIP knows 49407 tokens only",
        ),
    ],
)
def test_what_prepares_the_inputs_of_another_clip_is_refused_at_load(
    tmp_path: Path, file: str, changes: dict[str, Any], said: str
) -> None:
    save_clip_scorer(tmp_path)
    content = json.loads((tmp_path / file).read_text())
    for name, value in changes.items():
        content[name] = content[name] | value if name == "text_config" else value
    (tmp_path / file).write_text(json.dumps(content))
    if file == "config.json":
        path, name = tmp_path / "model.safetensors", "text_model.embeddings.token_embedding.weight"
        save_file(load_file(path) | {name: torch.zeros(49407, 32)}, path, {"format": "pt"})
    with pytest.raises(HarnessError) as error:
        load_scorer(str(tmp_path), CPU)
    assert str(error.value).startswith(f"--scorer {tmp_path}") and said in str(error.value)


def test_a_clip_may_carry_position_ids(tmp_path: Path) -> None:
    save_clip_scorer(tmp_path)
    path = tmp_path / "model.safetensors"
    ids = {f"{side}_model.embeddings.position_ids": torch.arange(n)[None] for side, n in (("text", 77), ("vision", 17))}
    save_file(load_file(path) | ids, path, {"format": "pt"})
    assert load_scorer(str(tmp_path), CPU).digest


@pytest.mark.parametrize(("how", "said"), CHANGES)
@pytest.mark.parametrize(
    ("file", "name"), [("reader.safetensors", "heads.bias"), ("clip.safetensors", "text_head.0.bias")]
)
def test_an_embedded_scorer_that_does_not_fit_is_refused_by_name(
    tmp_path: Path, file: str, name: str, how: Callable[[State, str], State], said: str
) -> None:
    shutil.copytree(JUDGES, tmp_path / "judges")
    path = tmp_path / "judges" / file
    save_file(how(load_file(path), name), path)
    with pytest.raises(HarnessError, match=said) as error:
        ScenesScorer(tmp_path / "judges", CPU)
    assert str(path) in str(error.value) and (name in str(error.value) or "foreign" in str(error.value))


def test_an_empty_name_of_a_scorer_is_not_the_working_folder() -> None:
    with pytest.raises(HarnessError, match="--scorer: the name is empty"):
        load_scorer("", CPU)
