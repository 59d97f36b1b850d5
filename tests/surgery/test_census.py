"""Counts of weights, zeros and bytes, against counting by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.errors import HarnessError
from harness.record import Counts
from harness.surgery.census import census
from harness.surgery.layers import prunable
from harness.surgery.masks import masked
from tests.surgery.toy import Toy, pruning


def test_a_pruned_model_is_counted_as_it_is() -> None:
    toy = Toy()
    with masked({"toy": toy}, pruning(toy)):
        counts = census({"toy": toy}, "all")["toy"]
        linear = census({"toy": toy}, "linear")["toy"]
    parameters = 6 * 2 * 9 + 6 + 6 * 5 + 5 + 5 + 5 + 5
    assert counts == Counts(
        parameters=parameters,
        targeted=138,
        zeros=69,
        sparsity_targeted=0.5,
        # The bias of the LayerNorm is zero too.
        sparsity_component=(69 + 5) / parameters,
        dense_bytes=4 * parameters,
        stored_bytes=4 * (parameters - 138) + 4 * 69 + 14 + 4,
    )
    assert (linear.targeted, linear.zeros, linear.parameters) == (30, 15, parameters)
    assert linear.stored_bytes == counts.stored_bytes


def test_a_dense_layer_is_stored_dense() -> None:
    toy = Toy()
    counts = census({"toy": toy}, "all")["toy"]
    assert counts.zeros == 0 and counts.dense_bytes == counts.stored_bytes


def test_half_precision_is_counted_in_its_own_bytes() -> None:
    toy = Toy().half()
    with masked({"toy": toy}, pruning(toy)):
        counts = census({"toy": toy}, "all")["toy"]
    assert counts.dense_bytes == 2 * counts.parameters
    assert counts.stored_bytes == 2 * (counts.parameters - 138) + 2 * 69 + 14 + 4


def test_float8_can_be_counted_though_not_pruned() -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4, bias=False)})
    model["a"].weight = nn.Parameter(torch.eye(4).to(torch.float8_e4m3fn), requires_grad=False)
    counts = census({"m": model}, "all")["m"]
    assert (counts.zeros, counts.targeted, counts.dense_bytes) == (12, 16, 16)


def test_every_parameter_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy()
    read: list[int] = []
    right = torch.Tensor.count_nonzero
    monkeypatch.setattr(torch.Tensor, "count_nonzero", lambda self: (read.append(id(self)), right(self))[1])
    census({"toy": toy}, "all")
    assert sorted(read) == sorted(id(p) for p in toy.parameters())


def test_a_component_without_such_layers_is_refused() -> None:
    with pytest.raises(HarnessError, match="no layer of the kind 'linear'"):
        census({"toy": nn.ModuleDict({"conv": Toy().conv})}, "linear")
    assert prunable(nn.ModuleDict({"conv": Toy().conv}), "all")
