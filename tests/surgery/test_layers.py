"""Which layers can be pruned, and which blocks hold them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from harness.errors import HarnessError
from harness.surgery.layers import blocks, held, matrix, prunable, weight_of
from tests.surgery.toy import Toy


def test_layers_and_matrices() -> None:
    toy = Toy()
    assert list(prunable(toy, "all")) == ["conv", "first"]
    assert list(prunable(toy, "linear")) == ["first"]
    assert matrix(toy.conv).shape == (6, 2 * 9)
    assert matrix(toy.conv).data_ptr() == toy.conv.weight.data_ptr()
    with pytest.raises(HarnessError, match="LayerNorm has no layer of the kind 'all' to prune"):
        prunable(toy.norm, "all")


def test_a_layer_with_an_empty_weight_has_nothing_to_prune() -> None:
    assert "nothing" not in prunable(Toy(), "all")


def test_two_parameters_in_one_place_are_one_weight() -> None:
    toy = Toy()
    toy.second.weight = nn.Parameter(toy.first.weight.data)
    assert toy.second.weight is not toy.first.weight
    assert held(toy, "all") == {"conv": [toy.conv], "first": [toy.first, toy.second]}
    toy.second.weight = nn.Parameter(toy.first.weight.data.clone())
    assert list(prunable(toy, "all")) == ["conv", "first", "second"]


def test_layers_without_memory_are_told_apart() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    assert list(prunable(model, "all")) == ["0", "1"]


def test_a_weight_that_is_computed_is_refused_by_name() -> None:
    model = nn.ModuleDict({"normed": parametrizations.weight_norm(nn.Linear(3, 3))})
    with pytest.raises(HarnessError, match="normed computes its weight from other parameters"):
        prunable(model, "all")


def test_a_layer_without_a_weight_is_an_error() -> None:
    with pytest.raises(HarnessError, match="ReLU has no weight to prune"):
        weight_of(nn.ReLU())


def test_blocks_hold_every_layer_once() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.own = Inner(), nn.Linear(2, 2)

    model = nn.ModuleDict({"first": Inner(), "second": Outer(), "out": nn.Linear(2, 2)})
    layers = prunable(model, "all")
    inner = {"first": ["first.conv1", "first.conv2"], "second.inner": ["second.inner.conv1", "second.inner.conv2"]}
    assert blocks(model, layers, ("Inner", "Outer")) == inner | {"second": ["second.own"], "out": ["out"]}
    assert blocks(model, layers, ("Inner",)) == inner | {"second.own": ["second.own"], "out": ["out"]}
    assert blocks(model, layers, ()) == {name: [name] for name in layers}
