"""Calibration of a real pipeline: equal to a plain recording of every input, shared, and refused where it cannot be."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.pruning import calibration as calibrating
from harness.pruning import room
from harness.pruning.calibration import Calibration, calibrate
from harness.pruning.calibration_file import fit
from harness.pruning.room import NoRoom
from harness.surgery.inputs import rows
from harness.surgery.layers import prunable
from harness.targets.target import Target
from tests.pruning.conftest import CAPTIONS

BOTH = ["text_encoder", "unet"]


def recorded(target: Target, component: str) -> dict[str, Tensor]:
    """Return every row that every layer saw, by hooks of its own."""
    seen: dict[str, list[Tensor]] = {}
    handles = [
        layer.register_forward_pre_hook(
            lambda module, args, name=name: seen.setdefault(name, []).append(rows(module, args[0].detach()))
        )
        for name, layer in prunable(target.components[component], "all").items()
    ]
    calibrating._run(target, BOTH, CAPTIONS, 2)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts, dim=-2) for name, parts in seen.items()}


@pytest.mark.parametrize("component", BOTH)
def test_statistics_are_those_of_every_row(target: Target, calibration: Calibration, component: str) -> None:
    plain = recorded(target, component)
    assert plain.keys() == calibration.components[component].keys()
    for name, x in plain.items():
        stats, x = calibration.components[component][name], x.view(1, -1, x.shape[-1]).double()
        assert stats.rows == x.shape[1], name
        torch.testing.assert_close(stats.squares, x.square().sum(1), rtol=1e-4, atol=1e-5)
        gram = x.mT @ x
        torch.testing.assert_close(stats.gram.double(), gram, rtol=1e-3, atol=1e-4 * float(gram.abs().max()))


def test_a_component_alone_has_the_statistics_that_it_has_with_others(target: Target, calibration: Calibration) -> None:
    alone = calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False)
    for name, stats in alone.components["text_encoder"].items():
        together = calibration.components["text_encoder"][name]
        assert stats.rows == together.rows and stats.gram is None
        torch.testing.assert_close(stats.squares, together.squares)


def test_layers_with_one_input_share_its_statistics(calibration: Calibration) -> None:
    text = calibration.components["text_encoder"]
    layer = "encoder.layers.2.self_attn"
    assert text[f"{layer}.q_proj"] is text[f"{layer}.k_proj"] is text[f"{layer}.v_proj"]
    assert text[f"{layer}.q_proj"] is not text[f"{layer}.out_proj"]
    unet = calibration.components["unet"]
    cross = [unet[name] for name in unet if name.endswith(("attn2.to_k", "attn2.to_v"))]
    assert len(cross) > 2 and all(stats is cross[0] for stats in cross)
    times = [unet[name] for name in unet if name.endswith("time_emb_proj")]
    assert len(times) > 2 and all(stats is times[0] for stats in times)


def test_batches_add_up(target: Target, calibration: Calibration) -> None:
    one_by_one = calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=True, batch_size=1, sums=True)
    assert one_by_one.about == calibration.about
    for name, stats in one_by_one.components["text_encoder"].items():
        together = calibration.components["text_encoder"][name]
        # Guidance's empty text is read once per caption in either case.
        assert stats.rows == together.rows
        torch.testing.assert_close(stats.squares, together.squares, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(stats.sums, together.sums, rtol=1e-4, atol=1e-3)


def test_padding_is_dropped_on_request(target: Target) -> None:
    found = {
        padding: calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False, padding=padding)
        for padding in ("counted", "dropped")
    }
    ids = target.pipeline.tokenizer(list(CAPTIONS)).input_ids
    first = {padding: next(iter(c.components["text_encoder"].values())).rows for padding, c in found.items()}
    assert first["counted"] == 2 * 24 * len(CAPTIONS)
    assert first["dropped"] == sum(len(row) for row in ids) + 2 * len(CAPTIONS)
    assert found["dropped"].about.padding == "dropped"


def test_what_statistics_were_taken_from_is_kept(target: Target, calibration: Calibration) -> None:
    about = calibration.about
    assert (about.target, about.model, about.n) == ("scenes", target.digest, 3)
    assert (about.protocol, about.padding, about.layers, about.gram) == (target.protocol, "counted", "all", True)
    other = calibrate(target, ["text_encoder"], "linear", CAPTIONS[:2], gram=False).about
    assert other.captions != about.captions and (other.layers, other.gram) == ("linear", False)


def test_hooks_are_gone_afterwards(target: Target, calibration: Calibration) -> None:
    for component in BOTH:
        module = target.components[component]
        assert not any(m._forward_pre_hooks or m._forward_hooks for m in module.modules())


def test_wrong_arguments_are_refused(target: Target) -> None:
    with pytest.raises(HarnessError, match="--padding half is unknown; use counted or dropped"):
        calibrate(target, ["unet"], "all", CAPTIONS, gram=False, padding="half")
    with pytest.raises(HarnessError, match="--calibration-captions holds no caption"):
        calibrate(target, ["unet"], "all", [], gram=False)


def test_statistics_of_something_else_are_refused(target: Target, calibration: Calibration) -> None:
    fit(calibration, target, BOTH, "all", gram=True)
    with pytest.raises(HarnessError, match="taken from another model"):
        fit(replace(calibration, about=replace(calibration.about, model="0" * 64)), target, ["unet"], "all", gram=True)
    with pytest.raises(
        HarnessError, match=r"^--calibration: .* have no layer unet\.conv_in; .* --unet and --layers all"
    ):
        fit(replace(calibration, components={"unet": {}}), target, ["unet"], "all", gram=True)
    unet = calibration.components["unet"]
    plain = {n: replace(s, gram=None) for n, s in unet.items()}
    with pytest.raises(HarnessError, match=r"^--calibration: .* no Gram matrices; make a file .* --method sparsegpt"):
        fit(replace(calibration, components={"unet": plain}), target, ["unet"], "all", gram=True)
    silent = {n: replace(s, sums=None) for n, s in unet.items()}
    with pytest.raises(HarnessError, match=r"^--calibration: .* no sums of inputs; make a file .* --method dsnot"):
        fit(replace(calibration, components={"unet": silent}), target, ["unet"], "all", gram=True, sums=True)
    with pytest.raises(
        HarnessError, match=r"^--calibration: the statistics weigh all steps equally, unlike the method"
    ):
        fit(calibration, target, ["unet"], "all", gram=True, by_steps=True)
    short = unet | {"conv_in": replace(unet["conv_in"], squares=unet["conv_in"].squares[:, 1:])}
    with pytest.raises(HarnessError, match=r"unet\.conv_in have another number of inputs"):
        fit(replace(calibration, components={"unet": short}), target, ["unet"], "all", gram=True)


def test_too_little_memory_is_said_before_anything_is_allocated(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "available", lambda device: 1000)
    with pytest.raises(NoRoom, match=r"need 0\.\d+ GB, 0\.0 GB are free"):
        calibrate(target, ["unet"], "all", CAPTIONS, gram=True)


def test_the_memory_that_was_checked_is_the_memory_that_is_taken(
    target: Target, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(calibrating, "check_room", lambda needed, *rest: asked.append(needed))
    calibrate(target, ["text_encoder"], "all", CAPTIONS[:1], gram=True)
    grams = {id(s): s.gram.nbytes for s in calibration.components["text_encoder"].values()}
    assert asked == [sum(grams.values()) + calibrating.COPIES * max(grams.values())]


def test_batches_that_do_not_fit_are_halved(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    right, sizes = calibrating._run, []

    def run(target: Target, components: object, captions: tuple[str, ...], steps: int, at_step: object) -> None:
        sizes.append(len(captions))
        if len(captions) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        right(target, components, captions, steps, None)

    monkeypatch.setattr(calibrating, "_run", run)
    said: list[str] = []
    found = calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False, batch_size=2, progress=said.append)
    assert sizes == [1, 2, 1, 1, 1] and "out of memory: calibrating on batches of 1" in said
    assert next(iter(found.components["text_encoder"].values())).rows == 2 * 24 * len(CAPTIONS)

    def never(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(calibrating, "_run", never)
    with pytest.raises(NoRoom, match="even with one caption at a time"):
        calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False)


def test_a_pipeline_that_does_not_run_is_one_message(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object) -> None:
        raise TypeError("unexpected keyword argument")

    monkeypatch.setattr(calibrating, "_run", broken)
    with pytest.raises(HarnessError, match=r"cannot be calibrated \(unexpected keyword argument\); choose a method"):
        calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=False)


def test_a_weight_that_two_layers_hold_gets_the_rows_of_both(target: Target, calibration: Calibration) -> None:
    """Only the first layer's inputs were counted."""
    names = [f"encoder.layers.{i}.mlp.fc1" for i in (0, 2)]
    layers = [target.components["text_encoder"].get_submodule(name) for name in names]
    kept = layers[1].weight
    layers[1].weight = layers[0].weight
    try:
        tied = calibrate(target, ["text_encoder"], "all", CAPTIONS, gram=True).components["text_encoder"]
    finally:
        layers[1].weight = kept
    apart = calibration.components["text_encoder"]
    assert names[1] not in tied and tied[names[0]].rows == 2 * apart[names[0]].rows
    # The layers before the first one are unchanged, so its own inputs are too.
    rest = tied[names[0]].squares - apart[names[0]].squares
    assert (rest > 0).all() and isinstance(layers[1].weight, nn.Parameter)


def test_statistics_are_moved_to_the_cpu_once_where_they_are_shared(calibration: Calibration) -> None:
    moved = calibration.on_cpu()
    for component in BOTH:
        before, after = calibration.components[component], moved.components[component]
        assert len({id(s) for s in before.values()}) == len({id(s) for s in after.values()})
        assert all(torch.equal(before[name].squares, after[name].squares) for name in before)
