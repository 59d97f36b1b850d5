"""What `prunegate prune` saves is what was asked for and loads anywhere; a wrong request is one message."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from harness import digests
from harness.errors import HarnessError
from harness.pruning import export_record
from harness.pruning.export import Request, export
from harness.surgery.layers import prunable
from harness.targets.resolve import resolve
from pruners import METHODS, Method, magnitude
from pruners.levels import Level, Pattern
from pruners.types import LayerStats, Pruned
from tests.pruning.files import files_up_to


def request(place: Path, method: str = "magnitude", target: str = "scenes", **changes: object) -> Request:
    """Return a request for half of the text encoder, changed as said."""
    whole = Request(resolve(target), method, {"text_encoder": 0.5}, "all", place, device="cpu")
    return replace(whole, **changes)  # type: ignore[arg-type]


def run(wanted: Request) -> tuple[list[str], dict[str, object]]:
    """Export; return what was said and the record."""
    said: list[str] = []
    assert export(wanted, said.append) == wanted.out
    return said, json.loads((wanted.out / "prunegate.json").read_text())


def test_the_saved_pipeline_is_pruned_and_loads(tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline

    out = tmp_path / "pruned"
    said, record = run(request(out, levels={"unet": 0.35, "text_encoder": 0.475}, layers="linear"))
    assert said[0].startswith("text_encoder: 47.50% of") and said[1].startswith("unet: 35.00% of")
    pipeline = DiffusionPipeline.from_pretrained(out, dtype=torch.float32)
    assert (record["target"], record["method"], record["layers"]) == ("scenes", "magnitude", "linear")
    assert record["calibration"] is None and record["dtype"] == "float32"
    for component, wanted in (("unet", 0.35), ("text_encoder", 0.475)):
        module = getattr(pipeline, component)
        layers = prunable(module, "linear")
        zeros = sum(int((layer.weight == 0).sum()) for layer in layers.values())
        total = sum(layer.weight.numel() for layer in layers.values())
        facts = record["components"][component]
        assert zeros / total == pytest.approx(wanted, abs=1e-3) and facts["requested"] == wanted
        assert (facts["zeros"], facts["targeted"]) == (zeros, total) and facts["layers"].keys() == layers.keys()
        assert facts["dense_bytes"] > facts["stored_bytes"] > 0 < facts["rounding"] < 1e-4
        name, layer = next(iter(layers.items()))
        one = facts["layers"][name]
        assert one["shape"] == [*layer.weight.shape] and one["calibration_rows"] is None
        assert one["sparsity"] == pytest.approx(wanted, abs=1e-3)
        convolutions = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d)]
        assert all(int((m.weight == 0).sum()) == 0 for m in convolutions)
    files = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert record["files"].keys() == files - {"prunegate.json"}
    assert all(digests.of_file(out / name) == digest for name, digest in record["files"].items())
    assert [p.name for p in tmp_path.iterdir()] == ["pruned"]


def test_a_saved_folder_is_a_target_and_calibration_is_saved_and_used(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    statistics = tmp_path / "statistics.safetensors"
    run(request(first, "random", levels={"text_encoder": 0.02}))
    pattern: dict[str, Level] = {"text_encoder": Pattern(2, 4)}
    wanted = request(second, "sparsegpt", str(first), levels=pattern)
    said, record = run(replace(wanted, save_calibration=statistics))
    assert f"statistics saved in {statistics}" in said
    facts = record["components"]["text_encoder"]
    assert facts["requested"] == "2:4" and facts["sparsity_targeted"] >= 0.5
    assert record["target"] == str(first.resolve()) and record["calibration"]["target"] == "first"
    assert min(layer["calibration_rows"] for layer in facts["layers"].values()) > 0
    _, again = run(replace(wanted, out=third, calibration=statistics))
    weights = "text_encoder/model.safetensors"
    assert again["files"][weights] == digests.of_file(second / weights)
    with pytest.raises(HarnessError, match="taken from another model"):
        export(request(tmp_path / "other", "sparsegpt", levels=pattern, calibration=statistics), print)
    assert not (tmp_path / "other").exists()


def test_calibration_captions_are_read_like_every_caption_file(tmp_path: Path) -> None:
    from harness.workloads.captions import read

    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"caption": "a red circle"}\n{"caption": "two blue squares"}\n')
    _, record = run(request(tmp_path / "out", "wanda", captions=captions, padding="dropped"))
    about = record["calibration"]
    assert about["n"] == 2 and about["padding"] == "dropped"
    assert about["captions"] == digests.of_value([caption.text for caption in read(captions)])


@pytest.mark.parametrize(
    ("method", "changes", "said"),
    [
        ("wandaa", {}, "did you mean wanda"),
        ("wanda", {"levels": {"unet": 1.5}}, "is not a number from 0 to 1"),
        ("wanda", {"levels": {}}, "component"),
        (
            "wanda",
            {"levels": {"transformer": 0.5}},
            "--transformer: scenes has no transformer, it has text_encoder, unet",
        ),
        ("owl_wanda", {"levels": {"unet": Pattern(2, 4)}}, "gives each layer a sparsity of its own"),
        ("magnitude", {"layers": "conv"}, "use one of: all, attention, convolution, .* linear"),
        (
            "magnitude",
            {"calibration": Path("x")},
            "--calibration would change nothing: magnitude uses no calibration. Leave it out.",
        ),
        ("magnitude", {"padding": "dropped"}, "--padding would change nothing: magnitude uses no calibration"),
        ("wanda", {"calibration": Path("nowhere")}, "--calibration nowhere does not exist; make one with"),
        (
            "obsdiff",
            {"calibration": Path(__file__)},
            "--calibration FILE cannot be used with obsdiff, which calibrates",
        ),
        (
            "wanda+sparsegpt_steps",
            {"levels": {"text_encoder": 0.5, "unet": 0.5}},
            "one method weighs denoising steps, and another does not; prune the components one after the other",
        ),
        ("magnitude", {"layers": "resnet", "levels": {"text_encoder": 0.5}}, "has no layer of the kind 'resnet'"),
        ("wanda", {"padding": "half"}, "--padding half is unknown; use counted or dropped"),
        ("wanda", {"captions": Path("nowhere")}, "nowhere cannot be read"),
        (
            "wanda",
            {"save_calibration": Path(__file__) / "x"},
            "--save-calibration .* cannot be made, because .* is a file",
        ),
        ("wanda", {"out": Path(__file__) / "x"}, "--out .* cannot be made, because .* is a file"),
        ("wanda", {"levels": {"unet": Pattern(2, 5)}}, r"the pattern 2:5 does not divide unet\."),
    ],
)
def test_wrong_requests_are_one_message_and_save_nothing(
    tmp_path: Path, method: str, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(HarnessError, match=said) as error:
        export(request(tmp_path / "out", method, **changes), print)
    assert len(str(error.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_calibration_file_brings_its_own_captions(tmp_path: Path) -> None:
    wanted = request(tmp_path / "out", "wanda", calibration=Path(__file__), captions=Path(__file__), padding="dropped")
    with pytest.raises(HarnessError, match="Leave --calibration-captions and --padding out"):
        export(wanted, print)


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(HarnessError, match="is not empty; name another folder, or remove this one"):
        export(request(tmp_path), print)
    assert (tmp_path / "kept.txt").read_text() == "mine"


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    run(request(tmp_path))
    assert (tmp_path / "model_index.json").is_file()


def too_few(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return magnitude.prune(weight, stats, [level * 0.9 for level in levels if isinstance(level, float)], seed)


def test_another_sparsity_than_was_asked_for_is_an_error_and_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "too_few", Method("too_few", too_few, "layer", "for this test"))
    with pytest.raises(
        HarnessError,
        match=r"^--text-encoder 0\.5: too_few pruned 45\.\d+% of the targeted weights instead of 50\.0000%",
    ):
        export(request(tmp_path / "out", "too_few"), print)
    assert not list(tmp_path.iterdir())


def test_a_model_that_has_more_zeros_already_is_refused_and_saves_nothing(tmp_path: Path) -> None:
    """The folder would have another sparsity than its user asked for. The control asks for more."""
    run(request(tmp_path / "half"))
    wanted = request(tmp_path / "third", target=str(tmp_path / "half"), levels={"text_encoder": 0.3})
    with pytest.raises(
        HarnessError, match=r"^--text-encoder 0\.3: 50\.00% of the targeted weights are zero, not 30\.00%"
    ):
        export(wanted, print)
    assert [path.name for path in tmp_path.iterdir()] == ["half"]
    _, record = run(replace(wanted, levels={"text_encoder": 0.6}))
    assert record["components"]["text_encoder"]["sparsity_targeted"] == pytest.approx(0.6, abs=1e-3)


def emptied(weight: Tensor, stats: LayerStats | None, levels: Sequence[Level], seed: int) -> list[Pruned]:
    return [replace(one, weight=torch.zeros_like(weight)) for one in magnitude.prune(weight, stats, levels, seed)]


def test_a_method_that_empties_what_survives_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks are right here; the weights are not."""
    monkeypatch.setitem(METHODS, "emptied", Method("emptied", emptied, "layer", "for this test"))
    with pytest.raises(
        HarnessError, match=r"^--text-encoder 0\.5: 100\.00% of the targeted weights are zero, not 50\.00%"
    ):
        export(request(tmp_path / "out", "emptied"), print)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_files_have_the_modes_that_the_user_s_umask_gives(tmp_path: Path, mask: int, file: int, folder: int) -> None:
    before = os.umask(mask)
    try:
        run(request(tmp_path / "out"))
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == folder
    for path in (tmp_path / "out").rglob("*"):
        assert path.stat().st_mode & 0o777 == (folder if path.is_dir() else file), path


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_record.msgspec.json, "encode", full)
    with pytest.raises(HarnessError, match=r"No space left on device.*no pipeline was saved"):
        export(request(tmp_path / "out"), print)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_message(tmp_path: Path) -> None:
    with files_up_to(2**20), pytest.raises(HarnessError, match=r"cannot be written .*no pipeline was saved"):
        export(request(tmp_path / "out"), print)
    assert not list(tmp_path.iterdir())
    wanted = request(tmp_path / "out", "wanda", save_calibration=tmp_path / "statistics")
    with files_up_to(2**12), pytest.raises(HarnessError, match="statistics cannot be written"):
        export(wanted, print)
    assert not list(tmp_path.iterdir())
