"""Inputs are collected once where layers share them, and never where they only seem to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.surgery.hooks import SMALL, Collector, collecting
from harness.surgery.layers import prunable
from pruners.stats import collect

# More than `SMALL` numbers: such tensors are compared by identity.
LARGE, FEW = (300, 400), (3, 400)
assert LARGE[0] * LARGE[1] > SMALL >= FEW[0] * FEW[1]

Body = Callable[["Toy", Tensor, Tensor], None]


class Toy(nn.Module):
    """Two layers and a body that says what they read."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.first, self.second, self.body = nn.Linear(400, 2), nn.Linear(400, 2), body

    def forward(self, x: Tensor, y: Tensor) -> None:
        self.body(self, x, y)


def noise(shape: tuple[int, int], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def collected(toy: Toy, shape: tuple[int, int] = LARGE, passes: int = 1, known: Collector | None = None) -> Collector:
    with torch.no_grad(), collecting(toy, "all", gram=True, alone=known.alone if known else ()) as collector:
        for i in range(passes):
            toy(noise(shape, 2 * i), noise(shape, 2 * i + 1))
    return collector


def check(collector: Collector, name: str, *inputs: Tensor) -> None:
    """Check a layer's statistics against those of all the rows that it read."""
    wanted, found = collect(torch.cat(inputs), gram=True), collector.sums[collector.slots[name]]
    assert found.rows == wanted.rows
    torch.testing.assert_close(found.squares, wanted.squares, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.gram, wanted.gram, rtol=1e-4, atol=1e-2)


def both(toy: Toy, x: Tensor, y: Tensor) -> None:
    toy.first(x)
    toy.second(x)


@pytest.mark.parametrize("shape", [LARGE, FEW])
def test_layers_that_read_one_tensor_share_its_statistics(shape: tuple[int, int]) -> None:
    collector = collected(Toy(both), shape, passes=2)
    assert collector.slots["first"] == collector.slots["second"] and len(collector.sums) == 1
    check(collector, "first", noise(shape, 0), noise(shape, 2))


def test_small_inputs_that_are_computed_again_are_shared_by_value() -> None:
    def again(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x * 2)
        toy.second(x * 2)

    assert len(collected(Toy(again), FEW).sums) == 1
    assert len(collected(Toy(again), LARGE).sums) == 2


@pytest.mark.parametrize("shape", [LARGE, FEW])
def test_a_tensor_that_is_changed_in_place_is_another_input(shape: tuple[int, int]) -> None:
    def changing(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        x[0].mul_(3)
        toy.second(x)

    collector = collected(Toy(changing), shape)
    changed = noise(shape)
    changed[0] *= 3
    check(collector, "first", noise(shape))
    check(collector, "second", changed)


def test_inference_tensors_are_not_shared_by_identity() -> None:
    """Nothing tells whether they were changed."""
    toy = Toy(both)
    with torch.inference_mode(), collecting(toy, "all", gram=False) as collector:
        toy(noise(LARGE), noise(LARGE))
    assert len(collector.sums) == 2


@pytest.mark.parametrize("shape", [LARGE, FEW])
def test_a_weight_that_two_layers_hold_gets_the_inputs_of_both(shape: tuple[int, int]) -> None:
    def each(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        toy.second(y)

    toy = Toy(each)
    toy.second.weight = toy.first.weight
    assert list(prunable(toy, "all")) == ["first"]
    check(collected(toy, shape, passes=2), "first", *(noise(shape, seed) for seed in range(4)))


def test_a_weight_that_reads_one_input_twice_counts_it_twice() -> None:
    toy = Toy(both)
    toy.second.weight = toy.first.weight
    check(collected(toy), "first", noise(LARGE), noise(LARGE))

    def twice(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        toy.first(x)
        toy.second(x)
        toy.second(x)

    collector = collected(Toy(twice), passes=2)
    assert len(collector.sums) == 1
    check(collector, "first", *(noise(LARGE, seed) for seed in (0, 0, 2, 2)))


def test_layers_that_only_partly_read_the_same_are_kept_apart_by_a_first_pass() -> None:
    def partly(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        toy.second(x)
        toy.first(y)

    toy = Toy(partly)
    with torch.no_grad(), collecting(toy, "all", gram=True, measure=False) as seen:
        toy(noise(LARGE), noise(LARGE, 1))
    assert seen.alone == {"first", "second"} and len(seen.widths) == 2 and not seen.sums
    collector = collected(toy, known=seen)
    check(collector, "first", noise(LARGE), noise(LARGE, 1))
    check(collector, "second", noise(LARGE))


def test_an_input_that_is_no_longer_shared_is_an_error() -> None:
    def each(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        toy.second(y)

    toy, x = Toy(each), noise(LARGE)
    with collecting(toy, "all", gram=False) as collector:
        toy(x, x)
        assert collector.slots["first"] == collector.slots["second"]
        with pytest.raises(HarnessError, match="first and second no longer have the same input"):
            toy(x, noise(LARGE, 1))


def test_a_layer_that_comes_later_does_not_share_what_was_summed_before() -> None:
    def later(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(x)
        if toy.late:
            toy.second(x)

    toy = Toy(later)
    with torch.no_grad(), collecting(toy, "all", gram=True) as collector:
        for toy.late in (False, True):
            toy(noise(LARGE), noise(LARGE))
    check(collector, "first", noise(LARGE), noise(LARGE))
    check(collector, "second", noise(LARGE))


def test_an_input_by_keyword_is_seen() -> None:
    def named(toy: Toy, x: Tensor, y: Tensor) -> None:
        toy.first(input=x)
        toy.second(x)

    collector = collected(Toy(named))
    assert len(collector.sums) == 1
    check(collector, "first", noise(LARGE))


def test_a_call_without_an_input_names_the_layer() -> None:
    toy = Toy(lambda toy, x, y: toy.second())
    with collecting(toy, "all", gram=False), pytest.raises(HarnessError, match="second was called without a tensor"):
        toy(noise(FEW), noise(FEW))


def test_an_input_that_cannot_be_squared_names_the_layer() -> None:
    toy = Toy(both).double()
    with (
        collecting(toy, "all", gram=False),
        pytest.raises(HarnessError, match="first cannot be calibrated: a calibration input is too small or too large"),
    ):
        toy(noise(FEW).double() * 1e200, noise(FEW).double())


def test_only_tokens_of_the_mask_count() -> None:
    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.embed(ids))

    reader, ids = Reader(), torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0]])
    for call in ({"args": (ids,), "kwargs": {}}, {"args": (), "kwargs": {"ids": ids}}):
        with torch.no_grad(), collecting(reader, "all", gram=True, mask=lambda ids: ids > 0) as collector:
            reader(*call["args"], **call["kwargs"])
        check(collector, "out", reader.embed(torch.tensor([1, 2, 3])).detach())


def test_hooks_are_gone_after_an_exception() -> None:
    toy = Toy(both)
    with pytest.raises(KeyError), collecting(toy, "all", gram=False):
        raise KeyError
    assert not toy._forward_pre_hooks and not toy._forward_hooks
    assert not any(layer._forward_pre_hooks for layer in prunable(toy, "all").values())
