"""Wrong folders: a tensor that is missing, foreign or misshapen, values that are not finite, absurd numbers."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from harness.cli import main
from harness.errors import HarnessError
from harness.targets.resolve import load, resolve
from tests.pipelines import FAMILIES, seeded
from tests.plugin.real import ROOT, arguments

CPU = torch.device("cpu")
UNET = Path("unet") / "diffusion_pytorch_model.safetensors"
VAE = Path("vae") / "diffusion_pytorch_model.safetensors"
TEXT = Path("text_encoder") / "model.safetensors"
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "pipeline"
    seeded("sd1").save_pretrained(folder, safe_serialization=True)
    return folder


@pytest.fixture
def pipeline(tmp_path: Path, whole: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "pipeline"))


def change(path: Path, how: Callable[[State], State]) -> None:
    state = load_file(path)
    save_file(how(state), path, {"format": "pt"})


def refused(folder: Path) -> str:
    """Return the message with which a folder is refused."""
    with pytest.raises(HarnessError) as error:
        load(resolve(str(folder)), CPU)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("file", "tensor"),
    [(UNET, "conv_in.weight"), (VAE, "decoder.conv_in.weight"), (TEXT, "encoder.layers.0.mlp.fc1.weight")],
)
def test_a_tensor_that_is_missing_foreign_or_misshapen_is_named(pipeline: Path, file: Path, tensor: str) -> None:
    content = (pipeline / file).read_bytes()
    for how, said in (
        (without(tensor), f"1 missing ({tensor})"),
        (lambda state: state | {"foreign": torch.zeros(2)}, "1 not part of the network (foreign)"),
        (lambda state: state | {tensor: torch.zeros(3)}, f"1 of another shape ({tensor}: [3] instead of ["),
    ):
        change(pipeline / file, how)
        assert said in (message := refused(pipeline)) and str(pipeline / file.parent) in message
        (pipeline / file).write_bytes(content)


def test_a_pipeline_that_lacks_a_tensor_is_not_pruned(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(pipeline / UNET, without("conv_in.weight"))
    wanted = ["prune", str(pipeline), "--method", "magnitude", "--unet", "0.3", "--device", "cpu"]
    assert main([*wanted, "--out", str(tmp_path / "out")]) == 2
    assert "1 missing (conv_in.weight)" in capsys.readouterr().err and not (tmp_path / "out").exists()


def nan_in(name: str) -> Callable[[State], State]:
    return lambda state: state | {name: torch.full_like(state[name], torch.nan)}


def test_pytest_refuses_a_damaged_target_before_it_generates(place: Path, tmp_path: Path) -> None:
    sessions = {}
    for name, how, said in (
        ("lacking", without("conv_in.weight"), "1 missing (conv_in.weight)"),
        ("spoilt", nan_in("conv_in.bias"), "unet has NaN or Inf in 1 of"),
    ):
        folder = Path(shutil.copytree(place / "my-sd2", tmp_path / name))
        change(folder / UNET, how)
        command = arguments(place, "-k", "dense", f"--report={tmp_path / 'report'}", target=str(folder))
        running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        sessions[str(folder)] = running, said
    for folder, (running, said) in sessions.items():
        shown, _ = running.communicate()
        told = [line for line in shown.splitlines() if said in line]
        assert running.returncode == pytest.ExitCode.USAGE_ERROR and "Traceback" not in shown, shown
        assert len(told) == 1 and folder in told[0] and not (tmp_path / "report").exists(), shown


def test_the_weights_of_the_vae_in_place_of_the_unet_are_refused(pipeline: Path) -> None:
    shutil.copy(pipeline / VAE, pipeline / UNET)
    assert "missing (conv_in.bias" in (message := refused(pipeline)) and "not part of the network (decoder" in message


def test_a_shard_that_lacks_a_tensor_of_its_list_is_refused(pipeline: Path, whole: Path) -> None:
    from diffusers import UNet2DConditionModel

    network = UNet2DConditionModel.from_pretrained(whole / "unet", low_cpu_mem_usage=False)
    shutil.rmtree(pipeline / "unet")
    network.save_pretrained(pipeline / "unet", max_shard_size="1MB")
    state = load(resolve(str(pipeline)), CPU).denoiser.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    shard = sorted((pipeline / "unet").glob("*.safetensors"))[1]
    content, first = shard.read_bytes(), next(iter(load_file(shard)))
    change(shard, without(first))
    assert f"lacks 1 tensors that diffusion_pytorch_model.safetensors.index.json names ({first})" in refused(pipeline)
    shard.write_bytes(content)
    change(shard, lambda state: state | {"foreign": torch.zeros(2)})
    assert "does not name (foreign)" in refused(pipeline)
    shard.unlink()
    assert "which is not beside it" in refused(pipeline)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", [None, "fp16"])
def test_what_every_family_saves_is_loaded(tmp_path: Path, family: str, variant: str | None) -> None:
    pipeline = seeded(family) if variant is None else seeded(family).to(torch.float16)
    pipeline.save_pretrained(tmp_path / "saved", safe_serialization=True, variant=variant)
    assert load(resolve(str(tmp_path / "saved")), CPU).components


def test_names_of_older_files_are_accepted(pipeline: Path) -> None:
    """Position ids and a prefix in a CLIP's file; the attention of an old autoencoder."""
    olds = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name: str) -> str:
        for new, old in olds.items():
            name = name.replace(f".{new}.", f".{old}.")
        return name

    before = load(resolve(str(pipeline)), CPU)
    ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    change(pipeline / TEXT, lambda state: {f"text_model.{name}": value for name, value in state.items()} | ids)
    change(pipeline / VAE, lambda state: {renamed(name): value for name, value in state.items()})
    after = load(resolve(str(pipeline)), CPU)
    for part in ("text_encoder", "vae"):
        state = getattr(after.pipeline, part).state_dict()
        assert all(torch.equal(v, state[k]) for k, v in getattr(before.pipeline, part).state_dict().items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("file", "part"), [(UNET, "unet"), (VAE, "vae"), (TEXT, "text_encoder")])
def test_values_that_are_not_finite_are_named(pipeline: Path, file: Path, part: str, value: float) -> None:
    name = next(iter(load_file(pipeline / file)))

    def spoilt(state: State) -> State:
        state[name].view(-1)[0] = value
        return state

    change(pipeline / file, spoilt)
    assert f"{part} has NaN or Inf in 1 of" in (message := refused(pipeline)) and f"({name})" in message


def test_values_that_a_dtype_cannot_hold_are_named(pipeline: Path) -> None:
    change(pipeline / UNET, lambda state: state | {"conv_in.bias": torch.full_like(state["conv_in.bias"], 1e30)})
    assert load(resolve(str(pipeline)), CPU).components
    with pytest.raises(HarnessError, match=r"as float16 \(conv_in.bias\); leave --dtype float16 out"):
        load(resolve(str(pipeline), dtype="float16"), CPU)


def test_folders_of_components_may_be_symbolic_links(pipeline: Path, whole: Path, tmp_path: Path) -> None:
    for name in ("unet", "vae", "text_encoder"):
        shutil.move(pipeline / name, tmp_path / name)
        (pipeline / name).symlink_to(tmp_path / name)
    assert load(resolve(str(pipeline)), CPU).digest == load(resolve(str(whole)), CPU).digest


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1]", "holds no names with values"),
        (b"\xff\xfe", "cannot be read"),
        (b'{"a": ' + b"[" * 100_000, "cannot be read"),
        (b'{"_class_name": "StableDiffusionPipeline", "unet": []}', "gives unet []"),
        (b'{"_class_name": "StableDiffusionPipeline", "unet": "x"}', "gives unet 'x'"),
        (b'{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", null]}', "gives unet ['diffusers', None]"),
        (b'{"_class_name": "StableDiffusionPipeline", "gone": ["diffusers", "UNet2DConditionModel"]}', "lists gone"),
    ],
)
def test_an_index_that_is_no_index_is_one_message(pipeline: Path, content: bytes, said: str) -> None:
    (pipeline / "model_index.json").write_bytes(content)
    assert said in refused(pipeline)


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("unet/config.json", {"sample_size": 100_000_000}, "latents of shape (4, 100000000, 100000000)"),
        ("unet/config.json", {"sample_size": 0}, "latents of shape (4, 0, 0)"),
        ("unet/config.json", {"layers_per_block": 10**9}, "describes 1000000000 layers"),
        ("unet/config.json", {"block_out_channels": [320_000, 640_000]}, "parameters, and the files hold"),
        ("text_encoder/config.json", {"vocab_size": 10**12}, "parameters, and the files hold"),
        ("text_encoder/config.json", {"num_hidden_layers": 10**9}, "describes 1000000000 layers"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}, "num_train_timesteps 1000000000000"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 10**9}, "model_max_length 1e+09"),
    ],
)
def test_absurd_numbers_are_refused_before_they_fill_the_memory(
    pipeline: Path, file: str, changes: dict[str, object], said: str
) -> None:
    path = pipeline / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert said in refused(pipeline)


def test_a_configuration_that_is_nested_too_deeply_is_one_message(pipeline: Path) -> None:
    (pipeline / "unet" / "config.json").write_text('{"a": ' + "[" * 100_000)
    assert "cannot be read" in refused(pipeline)
