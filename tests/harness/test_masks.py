"""Masks go in, are checked in the model itself, and come out bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.surgery.layers import matrix, prunable
from harness.surgery.masks import census, keep_digest, masked, verify
from pruners.magnitude import prune
from pruners.types import Pruned


class Toy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(4, 6, 3, groups=2)
        self.first = nn.Linear(6, 5)
        self.second = nn.Linear(6, 5)
        self.second.weight = self.first.weight
        self.norm = nn.LayerNorm(5)


def pruning(toy: Toy, sparsity: float = 0.5) -> dict[str, dict[str, Pruned]]:
    return {"toy": {n: prune(matrix(layer), None, [sparsity], 0)[0] for n, layer in prunable(toy, "all").items()}}


def state(toy: Toy) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in toy.state_dict().items()}


def test_layers_and_matrices() -> None:
    toy = Toy()
    assert list(prunable(toy, "all")) == ["conv", "first"]
    assert list(prunable(toy, "linear")) == ["first"]
    assert matrix(toy.conv).shape == (6, 2 * 9)
    with pytest.raises(HarnessError, match="no layer"):
        prunable(toy.norm, "all")


def test_applied_inside_restored_outside() -> None:
    toy = Toy()
    before, plan = state(toy), pruning(toy)
    with masked({"toy": toy}, plan):
        assert (toy.conv.weight == 0).sum() == 54 and (toy.second.weight == 0).sum() == 15
        counts = census({"toy": toy}, "all")["toy"]
        assert counts["zeros"] == 69 and counts["targeted"] == 138 and counts["sparsity_targeted"] == 0.5
        assert counts["parameters"] == sum(p.numel() for p in toy.parameters())
    assert all(torch.equal(v, before[k]) for k, v in toy.state_dict().items())


def test_restored_after_an_exception() -> None:
    toy = Toy()
    before = state(toy)
    with pytest.raises(KeyError), masked({"toy": toy}, pruning(toy)):
        raise KeyError
    assert all(torch.equal(v, before[k]) for k, v in toy.state_dict().items())


def test_a_mask_that_is_not_in_the_model_is_noticed() -> None:
    toy = Toy()
    with pytest.raises(HarnessError, match=r"toy\.conv does not hold its pruned weight"):
        verify({"toy": toy}, pruning(toy))


def test_digest_depends_on_every_bit_and_on_the_layer() -> None:
    toy = Toy()
    plan = pruning(toy)
    flipped = {n: Pruned(p.keep.clone(), p.weight) for n, p in plan["toy"].items()}
    flipped["first"].keep[2, 3] ^= True
    assert keep_digest(plan) == keep_digest(pruning(toy))
    assert keep_digest(plan) != keep_digest({"toy": flipped})
    assert keep_digest({"toy": {"a": plan["toy"]["first"]}}) != keep_digest({"toy": {"b": plan["toy"]["first"]}})
