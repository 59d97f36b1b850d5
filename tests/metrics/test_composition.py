"""Composition: what counts as right, by hand."""

from __future__ import annotations

import pytest
import torch

from harness.measurement import share
from harness.metrics import composition
from harness.metrics.evidence import Composition


def test_what_a_scene_does_not_have_is_ignored() -> None:
    right = torch.ones(3, 9, dtype=torch.bool)
    right[1, 4] = False
    wanted = torch.zeros(3, 9, dtype=torch.int64)
    wanted[:, 6:] = -100
    seen = Composition(right, wanted)
    assert composition.exact(seen).tolist() == [True, False, True]
    by_attribute = composition.by_attribute(seen)
    assert by_attribute["colour"].value == pytest.approx(2 / 3) and "colour 2" not in by_attribute
    assert by_attribute["shape"] == share(torch.tensor([True] * 3))


def test_an_attribute_counts_over_the_scenes_that_have_it() -> None:
    right, wanted = torch.ones(4, 9, dtype=torch.bool), torch.zeros(4, 9, dtype=torch.int64)
    wanted[2:, 7], right[0, 7] = -100, False
    assert composition.by_attribute(Composition(right, wanted))["colour 2"] == share(torch.tensor([False, True]))
