"""The one place that turns a typed name into a target: what a name stands for, and every name that is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from harness.errors import HarnessError
from harness.targets import TARGETS, families
from harness.targets.families import Family, register
from harness.targets.layout import stored_dtype
from harness.targets.resolve import components, load, resolve
from harness.targets.spec import TargetSpec
from harness.targets.target import choose_device
from tests.pipelines import seeded

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resolve") / "my-pipeline"
    seeded("sd2").save_pretrained(folder, safe_serialization=True)
    return folder


def copied(pipeline: Path, folder: Path) -> Path:
    shutil.copytree(pipeline, folder)
    return folder


def test_a_name_stands_for_a_built_target_a_folder_or_a_hub_id(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("scenes") == TargetSpec("scenes", "built", "scenes")
    assert resolve(str(pipeline), dtype="float16", channels_last=True) == TargetSpec(
        "my_pipeline", "folder", str(pipeline), None, "float16", True
    )
    assert resolve("owner/some-model v2", revision="abc") == TargetSpec(
        "some_model_v2", "hub", "owner/some-model v2", "abc"
    )
    monkeypatch.chdir(pipeline.parent)
    assert resolve("my-pipeline/").place == resolve("./my-pipeline").place == str(pipeline)
    monkeypatch.chdir(pipeline)
    assert resolve(".").name == "my_pipeline"


@pytest.mark.parametrize(
    ("folder", "name"), [("模型", "模型"), ("ein modèle-2.1", "ein_modèle_2.1"), ("a--b", "a_b"), ("x_1", "x_1")]
)
def test_ids_keep_the_letters_of_every_script(tmp_path: Path, pipeline: Path, folder: str, name: str) -> None:
    assert resolve(str(copied(pipeline, tmp_path / folder))).name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "name is empty"),
        ("  ", "name is empty"),
        ("scnes", "did you mean scenes"),
        ("nowhere/right/here", "nowhere/right/here is not a folder"),
        ("./nowhere", "is not a folder"),
        ("/nowhere", "is not a folder"),
        ("~/nowhere", "is not a folder"),
        (__file__, "is not a folder"),
        (str(Path(__file__).parent), "has no model_index.json"),
    ],
)
def test_a_name_that_stands_for_nothing_is_one_message(name: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as refused:
        resolve(name)
    assert len(str(refused.value).splitlines()) == 1


def test_options_that_do_not_apply_are_refused(tmp_path: Path, pipeline: Path) -> None:
    with pytest.raises(HarnessError, match=r"--revision needs a Hub id, and .* is a local folder\. Leave it out"):
        resolve(str(pipeline), revision="main")
    with pytest.raises(HarnessError, match="--revision needs a Hub id, and scenes is built in"):
        resolve("scenes", revision="main")
    for name in (str(pipeline), "sd2_untrained", "owner/model"):
        with pytest.raises(HarnessError, match="--weights applies to scenes only"):
            resolve(name, weights=tmp_path)
    with pytest.raises(HarnessError, match=r"--weights .* holds no pipeline"):
        resolve("scenes", weights=tmp_path)
    assert resolve("scenes", dtype="float16").dtype == "float16"
    with pytest.raises(HarnessError, match="--channels-last applies to your own pipelines only"):
        resolve("scenes", channels_last=True)


def test_a_name_of_a_built_target_is_taken(tmp_path: Path, pipeline: Path) -> None:
    for name in (str(copied(pipeline, tmp_path / "scenes")), "owner/sd2-untrained"):
        with pytest.raises(HarnessError, match="in ids, which is a built-in target"):
            resolve(name)
    assert resolve(str(copied(pipeline, tmp_path / "scenes2"))).name == "scenes2"


def test_weights_that_are_not_safe_or_not_whole_are_refused_by_their_headers(tmp_path: Path, pipeline: Path) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-1], whole[:4], b"", b"x" * 100):
        weights.write_bytes(damaged)
        with pytest.raises(HarnessError, match=r"unet.*safetensors is cut short or no safetensors file"):
            resolve(str(folder))
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(HarnessError, match=r"unet has pickled weights \(diffusion_pytorch_model.bin\)"):
        resolve(str(folder))
    # A pickle beside safetensors is left alone.
    weights.write_bytes(whole)
    assert resolve(str(folder)).kind == "folder"
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "model_index.json").write_text("{}")
    with pytest.raises(HarnessError, match="has no safetensors files"):
        resolve(str(tmp_path / "bare"))


def test_components_are_known_before_anything_is_loaded(tmp_path: Path, pipeline: Path) -> None:
    assert components(resolve("scenes")) == components(resolve("sd2_untrained")) == ("text_encoder", "unet")
    assert components(resolve(str(pipeline))) == ("text_encoder", "unet")
    folder = copied(pipeline, tmp_path / "copy")
    index = json.loads((folder / "model_index.json").read_text())
    for changed, said in (
        ("[1]", "cannot be read"),
        ("{", "cannot be read"),
        (json.dumps({"vae": ["diffusers", "AutoencoderKL"], "unet": [None, None]}), "lists none of text_encoder"),
        (json.dumps(index | {"_class_name": ["pipeline", "Theirs"]}), "is not supported"),
        (json.dumps({k: v for k, v in index.items() if k != "_class_name"}), "None is not supported"),
    ):
        (folder / "model_index.json").write_text(changed)
        with pytest.raises(HarnessError, match=said):
            components(resolve(str(folder)))


@pytest.mark.parametrize("kind", ["FluxPipeline", "StableDiffusionImg2ImgPipeline"])
def test_a_pipeline_of_no_family_is_refused_by_name_with_the_families(
    tmp_path: Path, pipeline: Path, kind: str
) -> None:
    folder = copied(pipeline, tmp_path / "copy")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": kind}))
    spec = resolve(str(folder))
    for refuse in (components, lambda spec: load(spec, CPU)):
        with pytest.raises(HarnessError, match=f"model_index.json: the pipeline class '{kind}' is not supported") as no:
            refuse(spec)
        assert all(family.name in str(no.value) for family in families.FAMILIES.values())


def test_a_family_of_the_users_is_accepted_and_never_replaces_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "FAMILIES", dict(families.FAMILIES))
    ours = Family("Ours", ("OurPipeline", "OurOtherPipeline"), ("OurBlock",))
    register(ours)
    register(ours)
    assert families.family_of("OurOtherPipeline") is ours
    with pytest.raises(ValueError, match="OurPipeline belongs to the family Ours already"):
        register(Family("Another", ("OurPipeline",), ()))
    with pytest.raises(HarnessError, match=r"Ours \(OurPipeline, OurOtherPipeline\)"):
        families.family_of("TheirPipeline")


def test_dtype_and_layout_are_applied_to_folders_and_built_targets_alike(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TARGETS, "tiny", "tests.pipelines:tiny")
    for name in ("tiny", str(pipeline)):
        plain = load(resolve(name), CPU)
        assert plain.name == resolve(name).name and plain.dtype == torch.float32
        target = load(resolve(name, dtype="bfloat16", channels_last=True), CPU)
        for part in ("text_encoder", "unet", "vae"):
            assert next(getattr(target.pipeline, part).parameters()).dtype == torch.bfloat16
        for part, strides in ((target.pipeline.unet, True), (target.pipeline.vae, True), (plain.pipeline.unet, False)):
            weights = [m.weight for m in part.modules() if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (3, 3)]
            wide = [w for w in weights if w.shape[1] > 1]
            assert wide and all(w.is_contiguous(memory_format=torch.channels_last) == strides for w in wide)


def test_scenes_takes_the_pipeline_of_other_weights(tmp_path: Path) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    from harness.scenes.weights import PIPELINE, sign

    shutil.copytree(PIPELINE, tmp_path / "pipeline")
    sign(tmp_path, "pipeline")
    shipped, same = load(resolve("scenes"), CPU), load(resolve("scenes", weights=tmp_path), CPU)
    assert shipped.name == "scenes" and shipped.digest == same.digest and shipped.dtype == torch.float32
    assert shipped.protocol.num_inference_steps == 8 and shipped.family.name == "Stable Diffusion 1 and 2"
    assert all(isinstance(processor, AttnProcessor) for processor in shipped.denoiser.attn_processors.values())
    config = tmp_path / "pipeline" / "unet" / "config.json"
    config.write_text(config.read_text() + "\n")
    sign(tmp_path, "pipeline")
    assert load(resolve("scenes", weights=tmp_path), CPU).digest != shipped.digest
    (tmp_path / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    sign(tmp_path, "pipeline")
    with pytest.raises(HarnessError, match="is no pipeline of scenes"):
        load(resolve("scenes", weights=tmp_path), CPU)


def test_a_hub_that_cannot_be_reached_is_one_message_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    spec = resolve("nobody/nothing", revision="abc")
    for fetch in (components, lambda spec: load(spec, CPU)):
        start = time.monotonic()
        with pytest.raises(HarnessError, match="nobody/nothing cannot be fetched from the Hub") as refused:
            fetch(spec)
        assert time.monotonic() - start < 10 and len(str(refused.value).splitlines()) == 1
        assert "give a folder" in str(refused.value)


def test_a_pipeline_in_the_hubs_cache_needs_no_hub(
    tmp_path: Path, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "models--owner--model"
    (cache / "refs").mkdir(parents=True)
    (cache / "refs" / "main").write_text("a" * 40)
    shutil.copytree(pipeline, cache / "snapshots" / ("a" * 40))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_OFFLINE", True)
    spec = resolve("owner/model")
    assert components(spec) == ("text_encoder", "unet")
    monkeypatch.setattr("diffusers.DiffusionPipeline.download", lambda name, **_: cache / "snapshots" / ("a" * 40))
    target = load(spec, CPU)
    assert target.name == "model" and target.digest == load(resolve(str(pipeline)), CPU).digest


def test_a_device_that_cannot_be_used_is_one_message() -> None:
    for name in ("tpu9", "mps:7", "meta"):
        with pytest.raises(HarnessError, match=f"--device {name} cannot be used here"):
            choose_device(name)
    assert choose_device("cpu") == CPU


def test_the_plain_file_decides_the_dtype_beside_a_variant(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (tmp_path / "unet").mkdir()
    for name, dtype in (("model.fp16", torch.float16), ("model", torch.float32)):
        save_file({"weight": torch.zeros(2, dtype=dtype)}, tmp_path / "unet" / f"{name}.safetensors")
    assert stored_dtype(sorted(tmp_path.rglob("*.safetensors")), None) == torch.float32


def test_names_are_resolved_without_torch() -> None:
    program = (
        "import sys; from harness.targets.resolve import components, resolve; components(resolve('scenes')); "
        "print([m for m in ('torch', 'diffusers', 'transformers', 'huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
