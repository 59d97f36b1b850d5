"""Allocations: how the sparsity of a component is divided among its layers.

It is divided evenly, by one threshold for all weights, by outliers, or by the tails of spectra. An allocation is a
function of all layers at once, and one entry of `ALLOCATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from pruners import ria, wanda
from pruners.alpha import by_tails
from pruners.select import count
from pruners.spread import to_total
from pruners.stats import finite, usable
from pruners.types import Allocation, LayerFacts, LayerRefused, LayerStats

Scores = Callable[[Tensor, LayerStats | None], Tensor]

OWL_M = 7.0
OWL_LAMBDA = 0.08


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


def one_threshold_of(scores: Scores, power: float) -> Allocation:
    """Return the allocation that compares all weights of the component by a calibrated score.

    Args:
        scores: Takes a weight and its statistics, and returns the scores `[out, in]`.
        power: The score grows with this power of the number of calibration rows. It is divided out, so that layers with
            many and with few rows are comparable.
    """

    def allocation(layers: Mapping[str, LayerFacts], sparsity: float) -> dict[str, float]:
        tables = {name: _per_row(name, facts, scores, power) for name, facts in layers.items()}
        return by_global_threshold(tables, sparsity)

    return allocation


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
    tables = {name: _per_row(name, facts, wanda.scores, 0.5) for name, facts in layers.items()}
    shares = {block: outliers([tables[name] for name in names]) for block, names in members.items()}
    sizes = {block: sum(layers[name].weight.numel() for name in names) for block, names in members.items()}
    by_block = owl(shares, sizes, sparsity)
    return {name: by_block[facts.block] for name, facts in layers.items()}


def _per_row(name: str, facts: LayerFacts, scores: Scores, power: float) -> Tensor:
    """Return a layer's scores `[out, in]`, divided by a power of the number of rows."""
    try:
        table = scores(facts.weight, facts.stats)
    except ValueError as error:
        raise LayerRefused(name, str(error)) from error
    return table / facts.stats.rows**power if facts.stats else table


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
    return to_total(lambda shift: {name: shift - up for name, up in lift.items()}, sizes, sparsity, 1 + 2 * spread)


def _usable(name: str, facts: LayerFacts) -> Tensor:
    try:
        return usable(facts.weight)
    except ValueError as error:
        raise LayerRefused(name, str(error)) from error


ALLOCATIONS: dict[str, Allocation] = {
    "uniform": uniform, "global": one_threshold, "owl": by_outliers, "alpha": by_tails,
    "global_wanda": one_threshold_of(wanda.scores, 0.5), "global_ria": one_threshold_of(ria.scores, 0.25),
}  # fmt: skip
"""Name → allocation; `Method.allocation` is such a name."""
