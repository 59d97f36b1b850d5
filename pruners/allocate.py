"""Allocations: how the sparsity of a component is divided among its layers.

It is divided evenly, by one threshold for all weights, or by outliers. An allocation is a function of all layers at
once, and one entry of `ALLOCATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pruners.select import count
from pruners.stats import finite, usable
from pruners.types import LayerStats
from pruners.wanda import scores as wanda_scores

OWL_M = 7.0
OWL_LAMBDA = 0.08


@dataclass(frozen=True)
class LayerFacts:
    """The facts of one layer that an allocation may read."""

    weight: Tensor
    """The layer's weight, `[out, in]`."""
    stats: LayerStats | None
    """The statistics of the layer's inputs; None for methods that read none."""
    block: str
    """The name of the network block that holds the layer. A layer outside of all blocks is its own block."""


class LayerRefused(ValueError):
    """One layer makes the allocation impossible."""

    def __init__(self, layer: str, reason: str) -> None:
        """layer: the layer's name. reason: the reason, as pruners word it."""
        super().__init__(f"{layer}: {reason}")
        self.layer, self.reason = layer, reason


# (layer → facts, sparsity) → layer → sparsity.
Allocation = Callable[[Mapping[str, LayerFacts], float], dict[str, float]]


def uniform(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
    """Give every layer the requested sparsity."""
    return dict.fromkeys(layers, sparsity)


def one_threshold(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
    """Compare all weights of the component by `|W|`. Give every layer the sparsity that results for it.

    Raises:
        LayerRefused: A weight is NaN or infinite, or has a dtype that cannot be pruned.
        ValueError: The sparsity is outside [0, 1].
    """
    return by_global_threshold({name: _usable(name, facts).abs() for name, facts in layers.items()}, sparsity)


def by_outliers(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
    """Give blocks with more outliers a lower sparsity (OWL, arXiv 2310.05175). All layers of a block share it.

    Differs: input norms are divided by the root of the layer's own number of rows, so that layers with many and with
    few calibration rows are comparable. `owl` states the other differences.

    Raises:
        LayerRefused: A layer has no usable weight or no fitting statistics.
        ValueError: The sparsity is outside [0, 1].
    """
    members: dict[str, list[str]] = {}
    for name, facts in layers.items():
        members.setdefault(facts.block, []).append(name)
    shares = {block: outliers([_per_row(name, layers[name]) for name in names]) for block, names in members.items()}
    sizes = {block: sum(layers[name].weight.numel() for name in names) for block, names in members.items()}
    by_block = owl(shares, sizes, sparsity)
    return {name: by_block[facts.block] for name, facts in layers.items()}


def _per_row(name: str, facts: LayerFacts) -> Tensor:
    """Return a layer's Wanda scores `[out, in]`, with input norms divided by the root of the number of rows."""
    try:
        table = wanda_scores(facts.weight, facts.stats)
    except ValueError as error:
        raise LayerRefused(name, str(error)) from error
    return table / facts.stats.rows**0.5 if facts.stats else table


def by_global_threshold(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, float]:
    """Return each layer's sparsity when all weights of a component are compared with each other.

    Exactly `round(s * n)` of all weights are then pruned. Of equal scores, those of the earlier layer are pruned first.

    Args:
        scores: Layer → scores of its weights, any shape and float dtype.
        sparsity: Share of all weights to prune.

    Returns:
        Layer → sparsity.

    Raises:
        LayerRefused: A score is NaN or infinite.
        ValueError: The sparsity is outside [0, 1].
    """
    flat = {name: score.reshape(-1).float() for name, score in scores.items()}
    for name, score in flat.items():
        if not finite(score):
            raise LayerRefused(name, "a score is NaN or infinite; check the weights and the calibration")
    k = count(sparsity, sum(len(score) for score in flat.values()))
    if k == 0:
        return dict.fromkeys(scores, 0.0)
    limit = torch.cat(list(flat.values())).kthvalue(k).values
    spare = k - sum(int((score < limit).sum()) for score in flat.values())
    sparsities = {}
    for name, score in flat.items():
        ties = min(spare, int((score == limit).sum()))
        spare -= ties
        sparsities[name] = (int((score < limit).sum()) + ties) / len(score)
    return sparsities


def outliers(scores: Sequence[Tensor], m: float = OWL_M) -> float:
    """Return the share of outliers in one block, in percent: `100 · mean(A > M · mean(A))` (arXiv 2310.05175, eq. 1).

    Args:
        scores: The Wanda scores `A` of the block's layers, with norms per row of calibration.
        m: `M`: an outlier is larger than `M` times the mean.
    """
    flat = torch.cat([score.reshape(-1).double() for score in scores])
    return 100 * float((flat > m * flat.mean()).double().mean())


def owl(
    shares: Mapping[str, float], sizes: Mapping[str, int], sparsity: float, spread: float = OWL_LAMBDA
) -> dict[str, float]:
    """Return each block's sparsity: blocks with more outliers keep more (OWL, arXiv 2310.05175, section 3.2).

    Differs: the mean is weighted by size. A sparsity outside of [0, 1] is clamped, and the other blocks compensate, so
    that the total is the requested sparsity. Equal shares give every block that sparsity, where the published code
    divides by zero.

    Args:
        shares: Block → percent of outliers.
        sizes: Block → number of weights.
        sparsity: Share of all weights to prune.
        spread: λ; sparsities of blocks differ by at most 2 λ.

    Raises:
        ValueError: The sparsity is outside [0, 1].
    """
    count(sparsity, 1)
    low, high = min(shares.values()), max(shares.values())
    lift = {name: 2 * spread * (share - low) / (high - low) if high > low else 0.0 for name, share in shares.items()}
    total = sum(sizes[name] for name in lift)

    def shifted(shift: float) -> dict[str, float]:
        return {name: min(1.0, max(0.0, shift - up)) for name, up in lift.items()}

    # The clamped total rises with the shift. After 100 halvings no float lies between the two ends of the interval.
    below, above = 0.0, 1 + 2 * spread
    for _ in range(100):
        middle = (below + above) / 2
        if sum(s * sizes[name] for name, s in shifted(middle).items()) < sparsity * total:
            below = middle
        else:
            above = middle
    return shifted(above)


def _usable(name: str, facts: LayerFacts) -> Tensor:
    try:
        return usable(facts.weight)
    except ValueError as error:
        raise LayerRefused(name, str(error)) from error


ALLOCATIONS: dict[str, Allocation] = {"uniform": uniform, "global": one_threshold, "owl": by_outliers}
"""Name → allocation; `Method.allocation` is such a name."""
