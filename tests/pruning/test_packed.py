"""Packed weights come back bit for bit, take the bytes that `stored` says, and are refused by name where damaged.

The reference is the dense folder that `prunegate prune` writes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from harness import digests
from harness.errors import HarnessError
from harness.pruning import export_record, packed_file
from harness.pruning.export import Request, export
from harness.pruning.packed import load_packed, pack, unpack, weight_bytes
from harness.targets.resolve import resolve
from pruners.levels import Level, Pattern
from tests.pipelines import COMPONENTS, FAMILIES, seeded
from tests.pruning.files import files_up_to

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def contents(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): digests.of_file(p) for p in folder.rglob("*") if p.is_file()}


def scenes(out: Path, level: Level, packed: bool = False) -> Request:
    return Request(resolve("scenes"), "magnitude", {"unet": level}, "all", out, device="cpu", packed=packed)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded pipeline with half of its U-Net pruned, packed."""
    return export(scenes(tmp_path_factory.mktemp("packed") / "half", 0.5, packed=True), print)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_bit_of_a_tensor_comes_back(tmp_path: Path, dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    odd = torch.randn(5, 3, 3, 3, generator=rng).where(torch.rand(5, 3, 3, 3, generator=rng) < 0.4, 0)
    odd[0, 0, 0] = torch.tensor([-0.0, torch.nan, torch.inf])
    odd[0, 0, 1, 0] = torch.finfo(dtype).smallest_normal / 4
    tensors = {
        "odd": odd.to(dtype), "nothing": torch.zeros(9, 7, dtype=dtype), "full": torch.ones(8, 8, dtype=dtype),
        "bias": torch.zeros(50, dtype=dtype), "ids": torch.zeros(4, 4, dtype=torch.int64),
        "empty": torch.zeros(0, 3, dtype=dtype),
    }  # fmt: skip
    source, place, again = (tmp_path / name for name in ("source", "place", "again"))
    save_file(tensors, source, {"format": "pt"})
    assert packed_file.pack(source, place) == packed_file.unpack(place, again)
    assert again.read_bytes() == source.read_bytes()
    with safe_open(place, "pt") as stream:
        kinds = json.loads(stream.metadata()["prunegate"])
        sizes = {name: stream.get_tensor(name).nbytes for name in kinds}
    # The property of `stored`: a bit per value, in whole bytes, and the survivors. A negative zero survives.
    survivors = int((tensors["odd"] != 0).sum()) + 1
    assert sizes["odd"] == 17 + survivors * dtype.itemsize and sizes["nothing"] == 8
    assert sizes.keys().isdisjoint({"full", "bias", "ids", "empty"})


@pytest.mark.parametrize(("family", "dtype"), [*zip(FAMILIES, DTYPES * 3, strict=False)], ids=str)
def test_a_pipeline_of_every_family_comes_back(tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    seeded(family).to(dtype).save_pretrained(tmp_path / family, safe_serialization=True)
    levels: dict[str, Level] = dict.fromkeys(COMPONENTS[family], 0.5)
    spec = resolve(str(tmp_path / family))
    dense = export(Request(spec, "magnitude", levels, "all", tmp_path / "dense", device="cpu"), print)
    copy = shutil.copytree(dense, tmp_path / "copy")
    done = pack(copy)
    assert [Path(name).parts[0] for name in done] == sorted(COMPONENTS[family])
    record = export_record.read(dense)
    (copy / "prunegate.json").unlink()
    export_record.write(copy, replace(record, packed=done))
    assert contents(unpack(copy, tmp_path / "again")) == contents(dense)


def test_the_written_folder_is_the_dense_one_s_and_loads(tmp_path: Path, packed: Path) -> None:
    dense = export(scenes(tmp_path / "dense", 0.5), print)
    before, now = contents(dense), contents(packed)
    changed = {"unet/diffusion_pytorch_model.safetensors", "prunegate.json"}
    assert {name for name in before if before[name] != now.get(name)} == changed
    assert contents(unpack(packed, tmp_path / "again")) == before
    pipeline = load_packed(packed)
    weights = load_file(dense / "unet" / "diffusion_pytorch_model.safetensors")
    assert pipeline.unet.state_dict().keys() == weights.keys()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in pipeline.unet.state_dict().items())


@pytest.mark.parametrize("level", [0.35, 0.5, 0.7, Pattern(2, 4)], ids=str)
def test_the_files_have_the_size_that_the_table_reports(tmp_path: Path, packed: Path, level: Level) -> None:
    request = scenes(tmp_path / "out", level, packed=True)
    levels: dict[str, Level] = {"unet": level, "text_encoder": level}
    out = packed if level == 0.5 else export(replace(request, levels=levels, layers="linear"), print)
    facts = json.loads((out / "prunegate.json").read_text())["components"]
    stored = sum(part["stored_bytes"] for part in facts.values())
    if level == 0.5:
        stored += (out / "text_encoder" / "model.safetensors").stat().st_size
    assert weight_bytes(out) == pytest.approx(stored, rel=0.01)


def flipped(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]


WEIGHTS = "unet/diffusion_pytorch_model.safetensors.packed"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (WEIGHTS, lambda content: content[:-100], "is damaged: prunegate.json has another digest of it"),
        (WEIGHTS, flipped, "is damaged: prunegate.json has another digest of it"),
        (WEIGHTS, None, "cannot be read (No such file or directory)"),
        ("vae/config.json", flipped, "is damaged: prunegate.json has another digest of it"),
        ("prunegate.json", lambda content: content[:-100], "is damaged (Input data was truncated)"),
        ("prunegate.json", lambda _: b'{"schema": 1}', "is damaged (Object missing required field `target`)"),
        ("prunegate.json", None, "give a folder that `prunegate prune` wrote"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_nothing_is_written(
    tmp_path: Path, packed: Path, name: str, change: Callable[[bytes], bytes] | None, said: str
) -> None:
    copy = shutil.copytree(packed, tmp_path / "copy")
    if change is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(change((packed / name).read_bytes()))
    with pytest.raises(HarnessError) as refused:
        unpack(copy, tmp_path / "out")
    assert str(refused.value).startswith(str(copy / name)) and said in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_file_that_was_cut_and_signed_again_is_refused_too(tmp_path: Path, packed: Path) -> None:
    copy = shutil.copytree(packed, tmp_path / "copy")
    tensors = load_file(copy / WEIGHTS)
    with safe_open(copy / WEIGHTS, "pt") as stream:
        about = stream.metadata()
    name = next(iter(json.loads(about["prunegate"])))
    for changed, said in (
        (tensors[name][:-4], "values survive, and"),
        (tensors[name][:3], "3 bytes cannot hold the bits"),
        (tensors[name][:-3], "cut short or no packed file"),
        (torch.cat([tensors[name][:-1], 255 - tensors[name][-1:]]), "does not hold the tensors that were packed"),
    ):
        save_file({**tensors, name: changed}, copy / WEIGHTS, about)
        record = export_record.read(copy)
        (copy / "prunegate.json").unlink()
        export_record.write(copy, record)
        with pytest.raises(HarnessError, match=said) as refused:
            unpack(copy, tmp_path / "out")
        assert str(refused.value).startswith(str(copy / WEIGHTS))
    record = export_record.read(packed)
    written = replace(record, files={"../outside": "0" * 64})
    (copy / "prunegate.json").write_bytes(export_record.msgspec.json.encode(written))
    with pytest.raises(HarnessError, match=r"names the file \.\./outside, which lies outside"):
        unpack(copy, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_places_that_cannot_be_used_are_one_message(tmp_path: Path, packed: Path) -> None:
    for out, said in (
        (packed, "is not empty; name another folder"),
        (packed / "unet" / "new", "lies in the folder that is unpacked"),
        (Path(__file__) / "x", "is a file; name another place"),
    ):
        with pytest.raises(HarnessError, match=said) as refused:
            unpack(packed, out)
        assert str(refused.value).startswith("--out ")
    before = contents(packed)
    with files_up_to(2**20), pytest.raises(HarnessError, match=r"^--out .* cannot be written .*nothing was unpacked"):
        unpack(packed, tmp_path / "out")
    assert not list(tmp_path.iterdir()) and contents(packed) == before


def test_a_packed_folder_is_no_target_until_it_is_unpacked(packed: Path) -> None:
    with pytest.raises(HarnessError, match=r"unet holds packed weights; run `prunegate unpack .*half --out DIR`"):
        resolve(str(packed))


def test_what_gets_no_smaller_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"^--packed would change nothing: .*Leave --packed out"):
        export(scenes(tmp_path / "out", 0.01, packed=True), print)
    assert not list(tmp_path.iterdir())
    dense = export(scenes(tmp_path / "dense", 0.01), print)
    with pytest.raises(HarnessError, match=r"prunegate\.json names no packed file, so there is nothing to unpack"):
        unpack(dense, tmp_path / "out")
