"""Calibration of a real pipeline: equal to a plain recording of every input, shared, saved, merged, and refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from harness import calibration as calibrating
from harness.calibration import Calibration, calibrate, fit, load, save
from harness.engine import Engine, calibration_captions
from harness.errors import HarnessError
from harness.surgery.calibrate import collecting
from harness.surgery.inputs import rows
from harness.surgery.layers import prunable
from harness.targets.base import Target

CAPTIONS = calibration_captions()[:3]


@pytest.fixture(scope="module")
def target(engine: Engine) -> Target:
    return replace(engine.target, protocol=replace(engine.target.protocol, num_inference_steps=2))


@pytest.fixture(scope="module")
def taken(target: Target) -> Calibration:
    return calibrate(target, ["text_encoder", "unet"], "all", CAPTIONS, gram=True)


def recorded(target: Target, component: str) -> dict[str, Tensor]:
    """Return every row that every layer saw, by hooks of its own."""
    seen: dict[str, list[Tensor]] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda module, args, name=name: seen.setdefault(name, []).append(rows(module, args[0].detach()))
        )
        for name, layer in prunable(target.components[component], "all").items()
    ]
    calibrating._run(target, ["text_encoder", "unet"], CAPTIONS, 2)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts, dim=-2) for name, parts in seen.items()}


@pytest.mark.parametrize("component", ["text_encoder", "unet"])
def test_statistics_are_those_of_every_row(target: Target, taken: Calibration, component: str) -> None:
    plain = recorded(target, component)
    assert plain.keys() == taken.components[component].keys()
    for name, x in plain.items():
        stats, x = taken.components[component][name], x.view(1, -1, x.shape[-1]).double()
        assert stats.rows == x.shape[1], name
        torch.testing.assert_close(stats.squares, x.square().sum(1), rtol=1e-4, atol=1e-5)
        gram = x.mT @ x
        torch.testing.assert_close(stats.gram.double(), gram, rtol=1e-3, atol=1e-4 * float(gram.abs().max()))


def test_layers_with_one_input_share_its_statistics(taken: Calibration) -> None:
    text = taken.components["text_encoder"]
    layer = "encoder.layers.2.self_attn"
    assert text[f"{layer}.q_proj"] is text[f"{layer}.k_proj"] is text[f"{layer}.v_proj"]
    assert text[f"{layer}.q_proj"] is not text[f"{layer}.out_proj"]
    unet = taken.components["unet"]
    cross = [unet[name] for name in unet if name.endswith(("attn2.to_k", "attn2.to_v"))]
    assert len(cross) > 2 and all(stats is cross[0] for stats in cross)
    times = [unet[name] for name in unet if name.endswith("time_emb_proj")]
    assert len(times) > 2 and all(stats is times[0] for stats in times)


def test_hooks_are_gone_after_an_exception(target: Target) -> None:
    module = target.components["text_encoder"]
    with pytest.raises(KeyError), collecting(module, "all", gram=False):
        raise KeyError
    assert not module._forward_pre_hooks
    assert not any(layer._forward_pre_hooks for layer in prunable(module, "all").values())


def test_padding_is_dropped_on_request(target: Target) -> None:
    found = {
        padding: calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False, padding=padding)
        for padding in ("counted", "dropped")
    }
    ids = target.pipeline.tokenizer(CAPTIONS).input_ids
    first = {padding: next(iter(c.components["text_encoder"].values())).rows for padding, c in found.items()}
    assert first["counted"] == 2 * 24 * len(CAPTIONS)
    assert first["dropped"] == sum(len(row) for row in ids) + 2 * len(CAPTIONS)
    assert found["dropped"].about["padding"] == "dropped"


def test_saved_and_loaded(target: Target, taken: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "statistics.safetensors"
    save(taken, path)
    found = load(path)
    assert found.about == taken.about
    for component, by_layer in taken.components.items():
        for name, stats in by_layer.items():
            other = found.components[component][name]
            assert other.rows == stats.rows and torch.equal(other.squares, stats.squares)
            assert torch.equal(other.gram, stats.gram)
    fit(found, target, ["text_encoder", "unet"], "all", gram=True)
    assert not list(tmp_path.glob(".*"))


def test_statistics_of_something_else_are_refused(target: Target, taken: Calibration, tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="taken from another model"):
        fit(replace(taken, about={**taken.about, "model": "0" * 64}), target, ["unet"], "all", gram=True)
    with pytest.raises(HarnessError, match=r"has no layer unet\.conv_in"):
        fit(replace(taken, components={"unet": {}}), target, ["unet"], "all", gram=True)
    plain = {n: replace(s, gram=None) for n, s in taken.components["unet"].items()}
    with pytest.raises(HarnessError, match="no Gram matrices"):
        fit(replace(taken, components={"unet": plain}), target, ["unet"], "all", gram=True)
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\x10\x00\x00\x00")
    with pytest.raises(HarnessError, match="is not a calibration file"):
        load(path)
    with pytest.raises(HarnessError, match="is not a calibration file"):
        load(tmp_path / "missing.safetensors")


def test_too_little_memory_is_said_before_anything_is_allocated(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "available", lambda device: 1000)
    with pytest.raises(HarnessError, match=r"need 0\.\d+ GB, 0\.0 GB are free"):
        calibrate(target, ["unet"], "all", CAPTIONS, gram=True)


def test_an_input_that_is_no_longer_shared_is_an_error() -> None:
    class Toy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(400, 2), nn.Linear(400, 2)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.first(x) + self.second(y)

    toy, x, y = Toy(), torch.randn(300, 400), torch.randn(300, 400)
    with collecting(toy, "all", gram=False) as found:
        toy(x, x)
        assert found.slots["first"] == found.slots["second"]
        with pytest.raises(HarnessError, match="no longer has the input"):
            toy(x, y)
