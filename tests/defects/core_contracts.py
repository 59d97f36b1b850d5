"""What holds for selection, calibration and surgery whatever the model is. Each check is green without a defect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.surgery import layers, masks
from pruners import METHODS, select, stats
from pruners.levels import Pattern
from tests.pruners.test_calibrated import inputs, weights
from tests.reference import sparsegpt as slow_sparsegpt
from tests.reference import wanda as slow
from tests.surgery import test_hooks as hooks
from tests.surgery.toy import Toy, pruning


def ties_go_in_the_order_of_the_index(_: Path) -> None:
    """Scores of seven values tie everywhere: masks are those of the slow reference."""
    table = torch.randint(-3, 4, (3, 40), generator=torch.Generator().manual_seed(0)).tolist()
    (keep,) = select.smallest_pruned(torch.tensor(table, dtype=torch.float32), [0.35])
    assert keep.tolist() == slow.keep(table, "0.35")


def halves_round_up(_: Path) -> None:
    """Half of five weights are three, half of seven are four, a fourth of six are two."""
    counts = [(0.5, 5, 3), (0.5, 7, 4), (0.25, 6, 2), (0.25, 10, 3)]
    for sparsity, size, pruned in counts:
        (keep,) = select.smallest_pruned(torch.arange(size).float()[None], [sparsity])
        assert int((~keep).sum()) == pruned


def sparsegpt_is_the_reference(_: Path) -> None:
    """Masks and weights of a layer of two blocks and ten strips are those of the slow reference."""
    weight, statistics = weights(6, 150, 3), stats.collect(inputs(300, 150, 3), gram=True)
    assert statistics.gram is not None
    (pruned,) = METHODS["sparsegpt"].pruner()(weight, statistics, [0.5], 0)
    keep, changed = slow_sparsegpt.prune(weight.numpy(), statistics.gram[0].numpy(), "0.5")
    assert np.array_equal(pruned.keep.numpy(), keep)
    np.testing.assert_allclose(pruned.weight.numpy(), changed, atol=1e-10, rtol=0)


def sparsegpt_patterns_are_the_reference(_: Path) -> None:
    """Groups of a pattern are chosen from weights that compensate all earlier errors; N of every M survive."""
    weight, statistics = weights(5, 64, 4), stats.collect(inputs(200, 64, 4), gram=True)
    assert statistics.gram is not None
    (pruned,) = METHODS["sparsegpt"].pruner()(weight, statistics, [Pattern(1, 4)], 0)
    keep, changed = slow_sparsegpt.prune(weight.numpy(), statistics.gram[0].numpy(), None, (1, 4))
    assert np.array_equal(pruned.keep.numpy(), keep)
    np.testing.assert_allclose(pruned.weight.numpy(), changed, atol=1e-10, rtol=0)


def survivors_keep_their_bits(_: Path) -> None:
    """Methods that do not move weights return the survivors bit for bit."""
    weight = torch.randn(8, 12, generator=torch.Generator().manual_seed(1))
    for method in (METHODS["magnitude"], METHODS["random"]):
        (pruned,) = method.pruner()(weight, None, [0.5], 0)
        assert torch.equal(pruned.weight[pruned.keep], weight[pruned.keep])


def every_row_counts_once(_: Path) -> None:
    """Statistics of two layers that share an input are those of all rows of all passes: rows, squares and Gram."""
    collector = hooks.collected(hooks.Toy(hooks.both), passes=2)
    hooks.check(collector, "first", hooks.noise(hooks.LARGE, 0), hooks.noise(hooks.LARGE, 2))


def sums_hold_float32(_: Path) -> None:
    """Sums of float32 inputs are as precise as float32 allows."""
    _sums_are_precise(torch.float32)


def sums_of_half_precision_hold_float32(_: Path) -> None:
    """Sums of half-precision inputs are as precise as float32 allows."""
    for dtype in (torch.float16, torch.bfloat16):
        _sums_are_precise(dtype)


def _sums_are_precise(dtype: torch.dtype) -> None:
    x: Tensor = (3 * torch.randn(500, 8, generator=torch.Generator().manual_seed(2))).to(dtype)
    taken, precise = stats.collect(x, gram=True), x.double()
    torch.testing.assert_close(taken.squares[0], precise.square().sum(0), rtol=1e-5, atol=0)
    assert taken.gram is not None
    torch.testing.assert_close(taken.gram[0].double(), precise.T @ precise, rtol=1e-5, atol=1e-2)


def a_weight_of_two_layers_is_one(_: Path) -> None:
    """A weight that two layers hold is listed once, under the name of the first."""
    assert [*layers.prunable(Toy(), "all")] == ["conv", "first"]


def a_writer_that_fails_is_noticed(_: Path) -> None:
    """Where the pruned weights do not reach the model, `masked` raises before its body runs."""
    toy, right = Toy(), masks.weight_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "weight_of", lambda layer: right(layer).detach().clone())
        with pytest.raises(HarnessError, match="does not hold its pruned weight"):
            with masks.masked({"toy": toy}, pruning(toy)):
                pass
