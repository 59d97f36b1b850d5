"""Plant one wrong line at a time in the real path and require that the real gate turns red.

The first test is the control: without a defect the same case is green. Every defect names the gate that catches it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness import pipeline
from harness.case import Case
from harness.engine import Engine
from harness.errors import HarnessError
from harness.quality import generate, judging
from harness.surgery import layers, masks
from harness.targets.base import Target
from harness.verdict.baselines import load
from harness.verdict.judge import Verdict, judge
from pruners import magnitude, select
from pruners.types import Pruned

BASELINES = load(Path(__file__).parents[2] / "baselines.json")
UNET = Case("scenes", "unet", "magnitude", "all", (0.50,))
TEXT = Case("scenes", "text_encoder", "magnitude", "all", (0.80,))
Patch = pytest.MonkeyPatch


def verdict(engine: Engine, case: Case) -> Verdict:
    try:
        return judge(pipeline.run(case, engine).record, BASELINES)
    except HarnessError as error:
        return Verdict("REGRESSION", "surgery", str(error))


@pytest.fixture(autouse=True)
def dense_again(engine: Engine) -> Iterator[None]:
    """A defect may leave its damage in the model; the next test starts from the dense weights."""
    kept = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in engine.target.components.items()}
    yield
    for name, weights in kept.items():
        engine.target.components[name].load_state_dict(weights)


@pytest.mark.parametrize("case", [UNET, TEXT], ids=lambda case: case.id)
def test_control_without_a_defect_is_green(engine: Engine, case: Case) -> None:
    assert verdict(engine, case) == Verdict("PASS", "all")


def threshold_one_decile_off(patch: Patch) -> None:
    right = select.count
    patch.setattr(select, "count", lambda sparsity, size: right(min(1.0, sparsity + 0.1), size))


def one_weight_too_many(patch: Patch) -> None:
    right = select.count
    patch.setattr(select, "count", lambda sparsity, size: right(sparsity, size) + 1)


def threshold_not_sorted(patch: Patch) -> None:
    patch.setattr(torch.Tensor, "argsort", lambda self, dim, stable: torch.arange(self.shape[dim]).expand(self.shape))


def largest_pruned(patch: Patch) -> None:
    right = magnitude.smallest_pruned
    patch.setattr(magnitude, "smallest_pruned", lambda scores, levels: right(-scores, levels))


def mask_on_the_wrong_axis(patch: Patch) -> None:
    right = magnitude.prune

    def turned(weight: Tensor, stats: None, levels: list[float], seed: int) -> list[Pruned]:
        keeps = [p.keep.reshape(weight.shape) for p in right(weight.T.contiguous(), stats, levels, seed)]
        return [Pruned(keep, weight.where(keep, 0)) for keep in keeps]

    patch.setattr(magnitude, "prune", turned)


def groups_by_row(patch: Patch) -> None:
    right = magnitude.prune

    def by_row(weight: Tensor, stats: None, levels: list[float], seed: int) -> list[Pruned]:
        rows = [right(row[None], stats, levels, seed)[0] for row in weight]
        return [Pruned(torch.cat([r.keep for r in rows]), torch.cat([r.weight for r in rows]))]

    patch.setattr(magnitude, "prune", by_row)


def convolutions_left_out(patch: Patch) -> None:
    patch.setitem(layers.KINDS, "all", (nn.Linear,))


def mask_applied_to_a_copy(patch: Patch) -> None:
    right = masks.weight_of
    patch.setattr(masks, "weight_of", lambda layer: right(layer).detach().clone())


def one_layer_left_dense(patch: Patch) -> None:
    right = pipeline.prune

    def partly(target: Any, case: Case) -> dict[str, dict[str, Pruned]]:
        found = {component: dict(by_layer) for component, by_layer in right(target, case).items()}
        for by_layer in found.values():
            by_layer.pop(next(name for name in by_layer if "attn" in name))
        return found

    patch.setattr(pipeline, "prune", partly)


def captions_shifted_by_one(patch: Patch) -> None:
    right = judging.clip_scores
    patch.setattr(judging, "clip_scores", lambda scorer, pixels, said: right(scorer, pixels, said[1:] + said[:1]))


def features_truncated(patch: Patch) -> None:
    right = pipeline.fid
    patch.setattr(
        pipeline, "fid", lambda features, ref: right(torch.cat([features[:, :64], features[:, 64:] * 0], 1), ref)
    )


def guidance_left_out(patch: Patch) -> None:
    right = generate.generate

    def unguided(target: Target, *rest: Any) -> generate.Pictures:
        return right(replace(target, protocol=replace(target.protocol, guidance_scale=1.0)), *rest)

    patch.setattr(pipeline, "generate", unguided)


def one_generator_for_all(patch: Patch) -> None:
    right = generate.latents
    patch.setattr(
        generate, "latents", lambda target, captions: right(target, captions)[:1].expand(len(captions), -1, -1, -1)
    )


def pictures_darkened(patch: Patch) -> None:
    right = generate.quantised
    patch.setattr(generate, "quantised", lambda images: right(images * 127 / 255))


DEFECTS: dict[Callable[[Patch], None], tuple[Case, str]] = {
    threshold_one_decile_off: (UNET, "exact"),
    one_weight_too_many: (UNET, "exact"),
    threshold_not_sorted: (UNET, "exact"),
    largest_pruned: (UNET, "exact"),
    mask_on_the_wrong_axis: (UNET, "exact"),
    groups_by_row: (UNET, "exact"),
    convolutions_left_out: (UNET, "exact"),
    mask_applied_to_a_copy: (UNET, "surgery"),
    one_layer_left_dense: (TEXT, "exact"),
    captions_shifted_by_one: (UNET, "quality"),
    features_truncated: (UNET, "quality"),
    guidance_left_out: (UNET, "quality"),
    one_generator_for_all: (UNET, "quality"),
    pictures_darkened: (UNET, "quality"),
}


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_defect_turns_the_gate_red(
    engine: Engine, monkeypatch: Patch, defect: Callable[[Patch], None], record_property: Callable[[str, object], None]
) -> None:
    case, gate = DEFECTS[defect]
    defect(monkeypatch)
    start = time.perf_counter()
    found = verdict(engine, case)
    record_property("defect", f"{defect.__name__}: {found.gate}, {time.perf_counter() - start:.1f} s")
    assert not found.passed, "the defect survived"
    assert found.gate == gate, found.reason


def test_weights_not_restored_turn_the_next_case_red(engine: Engine, monkeypatch: Patch) -> None:
    @contextmanager
    def forgetful(components: Mapping[str, nn.Module], pruning: masks.Pruning) -> Iterator[None]:
        for component, by_layer in pruning.items():
            modules = dict(components[component].named_modules())
            for name, pruned in by_layer.items():
                layers.weight_of(modules[name]).data.copy_(pruned.weight.view_as(layers.weight_of(modules[name])))
        yield

    monkeypatch.setattr(pipeline, "masked", forgetful)
    first = Case("scenes", "unet", "magnitude", "all", (0.50,))
    then = Case("scenes", "unet", "magnitude", "all", (0.20,))
    assert verdict(engine, first).passed
    assert verdict(engine, then).gate == "exact"
