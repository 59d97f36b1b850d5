"""Evidence of batches merges to the evidence of all pictures."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch

from harness.generation.stages import WATCHED
from harness.metrics.evidence import Composition, Evidence, merged
from tests.metrics.samples import evidence

NESTED = ("composition", "stages", "further")


def part(whole: Evidence, where: slice) -> Evidence:
    assert whole.composition is not None and whole.pictures is not None
    composition = Composition(whole.composition.right[where], whole.composition.wanted[where])
    tensors = {f.name: getattr(whole, f.name)[where] for f in fields(whole) if f.name not in NESTED}
    stages = {"picture": torch.arange(6.0)[where][:WATCHED]}
    return Evidence(**tensors, composition=composition, stages=stages, further={"own": torch.arange(6.0)[where]})


@pytest.mark.parametrize("cut", range(1, 6))
def test_two_parts_merge_to_the_whole(cut: int) -> None:
    whole = evidence(6, 0, torch.arange(6 * 12, dtype=torch.uint8).view(6, 3, 2, 2))
    both = merged([part(whole, slice(0, cut)), part(whole, slice(cut, 6))])
    assert len(both) == 6 and both.composition is not None and whole.composition is not None
    for field in fields(whole):
        if field.name not in NESTED:
            assert torch.equal(getattr(both, field.name), getattr(whole, field.name)), field.name
    assert both.further["own"].tolist() == list(range(6))
    # Stages follow the first captions of all.
    assert both.stages["picture"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert torch.equal(both.composition.right, whole.composition.right)
    assert torch.equal(both.composition.wanted, whole.composition.wanted)


def test_what_no_part_holds_stays_out() -> None:
    bare = replace(evidence(3, 0), composition=None)
    both = merged([bare, bare])
    assert both.composition is None and both.pictures is None and len(both) == 6
