"""Masks go in, are checked in the model itself, and come out bit for bit."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.surgery.masks import keep_digest, masked, sketch, verify, weights_digest
from pruners.types import Pruned
from tests.surgery.toy import Toy, pruning, state, unchanged


def test_applied_inside_and_restored_outside() -> None:
    toy = Toy()
    before, plan = state(toy), pruning(toy)
    with masked({"toy": toy}, plan):
        assert (toy.conv.weight == 0).sum() == 54 and (toy.second.weight == 0).sum() == 15
    assert unchanged(toy, before)


def test_released_weights_stay_in_the_model_until_the_end_and_cannot_be_put_in_again() -> None:
    toy = Toy()
    before = state(toy)
    plan = pruning(toy)
    held = [weakref.ref(pruned) for by_layer in plan.values() for pruned in by_layer.values()]
    with masked({"toy": toy}, plan) as switch:
        switch.release()
        del plan
        assert [one() for one in held] == [None] * len(held) and (toy.conv.weight == 0).sum() == 54
        switch.pruned(False)
        assert unchanged(toy, before)
        with pytest.raises(ValueError, match="longer"):
            switch.pruned(True)
    assert unchanged(toy, before)


def test_restored_after_an_exception() -> None:
    toy = Toy()
    before = state(toy)
    with pytest.raises(KeyError), masked({"toy": toy}, pruning(toy)):
        raise KeyError
    assert unchanged(toy, before)


def test_two_parameters_in_one_place_are_pruned_together_and_restored() -> None:
    toy = Toy()
    toy.second.weight = nn.Parameter(toy.first.weight.data)
    before = state(toy)
    with masked({"toy": toy}, pruning(toy)):
        assert (toy.first.weight == 0).sum() == (toy.second.weight == 0).sum() == 15
    assert unchanged(toy, before)


def test_weights_that_overlap_in_memory_are_refused_and_restored() -> None:
    """What was kept of the second weight was what the first one's mask had left."""
    toy = Toy()
    whole = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    toy.first.weight, toy.second.weight = nn.Parameter(whole[:5]), nn.Parameter(whole[3:])
    before = state(toy)
    with (
        pytest.raises(HarnessError, match="another layer uses a part of the same memory"),
        masked({"toy": toy}, pruning(toy)),
    ):
        raise AssertionError
    assert unchanged(toy, before)


def test_a_mask_that_is_not_in_the_model_is_noticed() -> None:
    toy = Toy()
    with pytest.raises(HarnessError, match=r"toy\.conv does not hold its pruned weight"):
        verify({"toy": toy}, pruning(toy))


def flipped(plan: dict[str, dict[str, Pruned]]) -> dict[str, dict[str, Pruned]]:
    other = {n: Pruned(p.keep.clone(), p.weight) for n, p in plan["toy"].items()}
    other["first"].keep[2, 3] ^= True
    return {"toy": other}


def test_the_digest_depends_on_every_bit_and_on_the_layer() -> None:
    plan = pruning(Toy())
    assert keep_digest(plan) == keep_digest(pruning(Toy()))
    assert keep_digest(plan) != keep_digest(flipped(plan))
    assert keep_digest({"toy": {"a": plan["toy"]["first"]}}) != keep_digest({"toy": {"b": plan["toy"]["first"]}})
    assert weights_digest(plan) == weights_digest(flipped(plan)) != weights_digest(pruning(Toy(), 0.4))


def test_the_sketch_differs_by_about_the_share_of_bits_that_differ() -> None:
    module = nn.ModuleDict({"a": nn.Linear(100, 100), "b": nn.Linear(100, 50)})
    one, other = (pruning(module, s) for s in (0.3, 0.4))
    first, second = sketch(one), sketch(other)
    assert len(first) == 1024 and sketch(pruning(module, 0.3)) == first
    assert (int(first, 16) ^ int(second, 16)).bit_count() / 4096 == pytest.approx(0.1, abs=0.02)
    assert len(sketch({"toy": one["toy"], "more": one["toy"]})) == 2048
