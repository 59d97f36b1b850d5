"""How one sparsity is spread over the layers of a component: evenly, by one threshold for all, or by outliers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pruners.select import count

OWL_M = 7.0
OWL_LAMBDA = 0.08


def by_global_threshold(scores: Mapping[str, Tensor], sparsity: float) -> dict[str, float]:
    """Return each layer's sparsity when all weights of a component are compared with each other (group `global`).

    scores: any float tensor per layer; ties go to the earlier layer and the lower index. Exactly `round(s * n)` of all
    weights are then pruned. Raises ValueError for a score that is NaN or infinite and a sparsity outside [0, 1].
    """
    flat = {name: score.reshape(-1).float() for name, score in scores.items()}
    k = count(sparsity, sum(len(score) for score in flat.values()))
    whole = torch.cat(list(flat.values()))
    if not torch.isfinite(whole).all():
        raise ValueError("a score is NaN or infinite")
    if k == 0:
        return dict.fromkeys(scores, 0.0)
    limit = whole.kthvalue(k).values
    spare = k - int((whole < limit).sum())
    found = {}
    for name, score in flat.items():
        ties = min(spare, int((score == limit).sum()))
        spare -= ties
        found[name] = (int((score < limit).sum()) + ties) / len(score)
    return found


def outliers(scores: Sequence[Tensor], m: float = OWL_M) -> float:
    """Return the share of outliers in one block, in percent: `100 · mean(A > M · mean(A))` (arXiv 2310.05175, eq. 1).

    scores: the Wanda scores of the block's layers, whose norms are per row of calibration, so that layers with many
    rows and with few compare.
    """
    flat = torch.cat([score.reshape(-1).double() for score in scores])
    return 100 * float((flat > m * flat.mean()).double().mean())


def owl(
    shares: Mapping[str, float], sizes: Mapping[str, int], sparsity: float, spread: float = OWL_LAMBDA
) -> dict[str, float]:
    """Return each block's sparsity: blocks with more outliers keep more (OWL, arXiv 2310.05175, section 3.2).

    shares: percent of outliers per block. sizes: weights per block. spread: λ; sparsities differ by at most 2 λ.
    Raises ValueError for a sparsity outside [0, 1].
    Differs: the mean is weighted by size and what leaves [0, 1] is clamped and made up for elsewhere, so that the total
    is the sparsity asked for; equal shares give every block that sparsity, where the published code divides by zero.
    """
    count(sparsity, 1)
    low, high = min(shares.values()), max(shares.values())
    lift = {name: 2 * spread * (share - low) / (high - low) if high > low else 0.0 for name, share in shares.items()}
    total = sum(sizes[name] for name in lift)

    def shifted(shift: float) -> dict[str, float]:
        return {name: min(1.0, max(0.0, shift - up)) for name, up in lift.items()}

    # The clamped total rises with the shift; 100 halvings of an interval of length 1 + 2 λ leave no float between.
    below, above = 0.0, 1 + 2 * spread
    for _ in range(100):
        middle = (below + above) / 2
        if sum(s * sizes[name] for name, s in shifted(middle).items()) < sparsity * total:
            below = middle
        else:
            above = middle
    return shifted(above)
