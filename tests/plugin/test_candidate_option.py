"""`--candidate [NAME=]DIR`: a pipeline of another tool, from the command line to a verdict."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.results import read
from tests.plugin.reading import entries
from tests.plugin.real import gate
from tests.plugin.test_wrong_options import configured

CASE = "my_sd2-both-candidate:mine-all-given"


def pruned_by_torch(place: Path, folder: Path, amount: float) -> Path:
    """Save a copy of the pipeline whose U-Net torch's own pruning has pruned: no code of this project."""
    from torch.nn.utils import prune

    shutil.copytree(place / "my-sd2", folder, dirs_exist_ok=True)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if tensor.dim() > 1:
            layer = torch.nn.Linear(1, 1)
            layer.weight = torch.nn.Parameter(tensor)
            prune.l1_unstructured(layer, "weight", amount)
            tensors[name] = layer.weight.detach().clone()
    save_file(tensors, weights, {"format": "pt"})
    return folder


def test_from_another_tool_to_a_verdict(place: Path, tmp_path: Path) -> None:
    mine = pruned_by_torch(place, tmp_path / "other", 0.5)
    options = ("-k", CASE, f"--candidate=mine={mine}", f"--baselines={tmp_path / 'b.json'}", "--tier=smoke")
    done = gate(place, *options, f"--json={tmp_path / 'a.json'}", "--update-baselines", "--baseline-reason=x")
    assert done.returncode == 0, done.stdout + done.stderr
    # The dense model is stored too.
    stored = entries(tmp_path / "b.json")[CASE]
    (result,) = read(tmp_path / "a.json").cases
    unet = result.record.components["unet"]
    assert unet.zeros / unet.targeted == pytest.approx(0.5, abs=1e-3) and stored.components["unet"] == unet
    assert result.record.changed["text_encoder"] == 0 < result.record.changed["unet"]
    line = (
        f"  mine: .*unet {unet.parameters:,} parameters \\(.*% zeros, .* MB\\), {result.record.changed['unet']} layers"
    )
    assert re.search(line, done.stdout) and "my_sd2: the candidate mine in the target's place" in done.stdout
    pruned_by_torch(place, mine, 0.6)
    done = gate(place, *options)
    assert done.returncode == 1 and "REGRESSION (exact): unet has zeros " in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "--candidate nowhere is no folder; give a folder that save_pretrained of diffusers wrote"),
        (["mine="], "--candidate mine= is no folder"),
        ([""], "--candidate  is no folder"),
        (["tests"], "tests has no model_index.json"),
        (["{place}/cut"], "is cut short or no safetensors file"),
        (["{place}/pickled"], "has pickled weights"),
        (["a-b={place}/my-sd2"], "'a-b' cannot be part of an id; give --candidate NAME="),
        (["={place}/my-sd2", "{place}/my-sd2"], "two candidates would be called my_sd2 in ids; give NAME=DIR to one"),
    ],
)
def test_what_is_wrong_is_one_message(place: Path, pytester: pytest.Pytester, options: list[str], message: str) -> None:
    pytester.makeconftest("")
    (pytester.path / "tests").mkdir()
    with pytest.raises(pytest.UsageError) as refused:
        configured(pytester, *(f"--candidate={option.format(place=place)}" for option in options))
    assert message in str(refused.value) and len(str(refused.value).splitlines()) == 1


def test_a_candidate_belongs_to_one_target(place: Path, pytester: pytest.Pytester) -> None:
    (pytester.path / "captions.txt").write_text("one\ntwo\nthree\n")
    pytester.makeconftest("")
    own = [
        "--target=scenes",
        f"--target={place / 'my-sd3'}",
        "--caption-file=captions.txt",
        f"--scorer={place / 'scorer'}",
    ]
    with pytest.raises(pytest.UsageError, match=r"--candidate .* needs one --target, and 2 are given; run them one by"):
        configured(pytester, *own, f"--candidate={place / 'my-sd2'}")
    (spec,) = configured(pytester, f"--candidate={place / 'my-sd2'}").settings.candidates
    assert (spec.name, spec.dtype) == ("my_sd2", "float32")


def test_a_pipeline_of_another_class_is_refused_before_anything_runs(place: Path, tmp_path: Path) -> None:
    done = gate(place, "-k", "dense or candidate", f"--candidate=other={place / 'my-sd3'}", "--tier=smoke")
    said = done.stdout + done.stderr
    assert (
        done.returncode == 4
        and "--candidate other: " in said
        and "is a StableDiffusion3Pipeline, and my_sd2 is" in said
    )
    assert "Traceback" not in said and "my_sd2-none-dense" not in done.stdout
