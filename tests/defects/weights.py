"""Wrong lines in calibration, the pruning core and surgery: which weights are zero, and what the others are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from harness.case import Case
from harness.execution import run as running
from harness.execution.levels import Levels
from harness.pruning.prune import Statistics
from harness.surgery import hooks, inputs, layers, masks
from pruners import allocate, magnitude, random, select, sparsegpt, wanda
from pruners.types import LayerStats, Pruned
from tests.defects.planting import Patch


def threshold_one_decile_off(patch: Patch) -> None:
    """The count to prune belongs to a sparsity that is 0.1 higher."""
    right = select.count
    patch.setattr(select, "count", lambda sparsity, size: right(min(1.0, sparsity + 0.1), size))


def threshold_a_fortieth_off(patch: Patch) -> None:
    """The count to prune belongs to a sparsity that is 0.025 higher."""
    right = select.count
    patch.setattr(select, "count", lambda sparsity, size: right(min(1.0, sparsity + 0.025), size))


def one_weight_too_many(patch: Patch) -> None:
    """Every group prunes one weight more than asked."""
    right = select.count
    patch.setattr(select, "count", lambda sparsity, size: right(sparsity, size) + 1)


def threshold_not_sorted(patch: Patch) -> None:
    """The threshold is taken from scores that nobody has sorted."""
    patch.setattr(select, "_largest_pruned", lambda scores, limits: [scores[:, k - 1 : k] for k in limits])
    patch.setattr(torch.Tensor, "argsort", lambda self, dim, stable: torch.arange(self.shape[dim]).expand(self.shape))


def largest_pruned(patch: Patch) -> None:
    """The largest weights are pruned in place of the smallest."""
    right = magnitude.by_layer
    patch.setattr(magnitude, "by_layer", lambda weight, scores, levels: right(weight, -scores, levels))


def mask_on_the_wrong_axis(patch: Patch) -> None:
    """The mask of the transposed weight is applied as if it had the shape of the weight."""
    right = magnitude.prune

    def turned(weight: Tensor, stats: None, levels: list[float], seed: int) -> list[Pruned]:
        keeps = [p.keep.reshape(weight.shape) for p in right(weight.T.contiguous(), stats, levels, seed)]
        return [Pruned(keep, weight.where(keep, 0)) for keep in keeps]

    patch.setattr(magnitude, "prune", turned)


def groups_by_row(patch: Patch) -> None:
    """Magnitude compares the weights of one output in place of the whole layer."""
    right = magnitude.prune

    def by_row(weight: Tensor, stats: None, levels: list[float], seed: int) -> list[Pruned]:
        rows = [right(row[None], stats, levels, seed)[0] for row in weight]
        return [Pruned(torch.cat([r.keep for r in rows]), torch.cat([r.weight for r in rows]))]

    patch.setattr(magnitude, "prune", by_row)


def convolutions_left_out(patch: Patch) -> None:
    """Convolutions are not pruned."""
    patch.setitem(layers.KINDS, "all", (nn.Linear,))


def mask_applied_to_a_copy(patch: Patch) -> None:
    """The pruned weights are written to a copy of the model's weights."""
    right = masks.weight_of
    patch.setattr(masks, "weight_of", lambda layer: right(layer).detach().clone())


def one_layer_left_dense(patch: Patch) -> None:
    """One layer of every component stays dense."""
    right = Levels.prune

    def partly(self: Levels, case: Case, statistics: Statistics | None) -> tuple[masks.Pruning, int]:
        pruning, levels = right(self, case, statistics)
        found = {component: dict(by_layer) for component, by_layer in pruning.items()}
        for by_layer in found.values():
            by_layer.pop(next(name for name in by_layer if "attn" in name))
        return found, levels

    patch.setattr(Levels, "prune", partly)


def text_encoder_left_dense(patch: Patch) -> None:
    """The text encoder stays dense although the case prunes it."""
    right = Levels.prune
    patch.setattr(Levels, "prune", lambda *arguments: ({"unet": right(*arguments)[0]["unet"]}, 1))


def norms_left_out(patch: Patch) -> None:
    """Wanda takes 1 for the norm of every input."""
    right = wanda.norms
    patch.setattr(wanda, "norms", lambda weight, stats: torch.ones_like(right(weight, stats)))


def norms_in_the_wrong_order(patch: Patch) -> None:
    """Wanda reads the norms of the inputs in reverse order."""
    right = wanda.norms
    patch.setattr(wanda, "norms", lambda weight, stats: right(weight, stats).flip(-1))


def norms_on_the_wrong_axis(patch: Patch) -> None:
    """Wanda multiplies outputs by the norms of the inputs where the weight is square."""
    right = wanda.norms

    def by_output(weight: Tensor, stats: LayerStats) -> Tensor:
        found = right(weight, stats)
        square = weight.shape[0] == weight.shape[1]
        return found.reshape(1, -1, 1) if square else found

    patch.setattr(wanda, "norms", by_output)


def wanda_compared_over_the_layer(patch: Patch) -> None:
    """Wanda compares the scores of the whole layer in place of one output."""
    right = wanda.smallest_pruned
    patch.setattr(
        wanda,
        "smallest_pruned",
        lambda scores, levels: [k.view_as(scores) for k in right(scores.reshape(1, -1), levels)],
    )


def statistics_not_summed_up(patch: Patch) -> None:
    """Only the last batch of calibration counts."""
    patch.setattr(hooks, "merge", lambda first, second: second)


def convolution_not_unfolded(patch: Patch) -> None:
    """Calibration sees the centre of a 3×3 patch nine times."""
    right = inputs._patches

    def centre(layer: nn.Conv2d, x: Tensor) -> Tensor:
        found = right(layer, x)
        if layer.kernel_size != (3, 3):
            return found
        return found.unflatten(1, (-1, 9))[:, :, 4:5].expand(-1, -1, 9, -1).flatten(1, 2)

    patch.setattr(inputs, "_patches", centre)


def errors_not_spread(patch: Patch) -> None:
    """SparseGPT adds the error of a strip to no later column."""
    patch.setattr(torch.Tensor, "addmm_", lambda self, *arguments, **options: self)


def damping_left_out(patch: Patch) -> None:
    """SparseGPT adds nothing to the diagonal of the Gram matrix."""
    patch.setattr(sparsegpt, "DAMPING", 0.0)


def masks_from_dense_weights_only(patch: Patch) -> None:
    """The survivors of SparseGPT keep their dense values."""
    right = sparsegpt._stacked

    def uncompensated(weight: Tensor, *rest: Any) -> list[Pruned]:
        return [Pruned(p.keep, weight.where(p.keep, 0)) for p in right(weight, *rest)]

    patch.setattr(sparsegpt, "_stacked", uncompensated)


def owl_upside_down(patch: Patch) -> None:
    """OWL prunes more where there are more outliers."""
    right = allocate.owl
    patch.setattr(
        allocate, "owl", lambda shares, sizes, level: right({b: -share for b, share in shares.items()}, sizes, level)
    )


def owl_left_out(patch: Patch) -> None:
    """OWL gives every block the same sparsity."""
    patch.setattr(allocate, "owl", lambda shares, sizes, level: dict.fromkeys(shares, level))


def same_draw_for_every_layer(patch: Patch) -> None:
    """Random pruning uses one seed for all layers."""
    right = random.prune
    patch.setattr(random, "prune", lambda weight, stats, levels, seed: right(weight, stats, levels, 0))


def global_threshold_by_layer(patch: Patch) -> None:
    """Global pruning gives every layer the same sparsity."""
    patch.setattr(allocate, "by_global_threshold", lambda scores, level: dict.fromkeys(scores, level))


def pattern_upside_down(patch: Patch) -> None:
    """A pattern keeps the smallest scores."""
    right = wanda.smallest_pruned
    patch.setattr(wanda, "smallest_pruned", lambda scores, levels: right(-scores, levels))


def weights_not_restored(patch: Patch) -> None:
    """The dense weights are not restored after a case."""

    @contextmanager
    def forgetful(components: Mapping[str, nn.Module], pruned: masks.Pruning) -> Iterator[masks.Switch]:
        for component, by_layer in pruned.items():
            modules = dict(components[component].named_modules())
            for name, one in by_layer.items():
                weight = layers.weight_of(modules[name])
                weight.data.copy_(one.weight.view_as(weight))
        yield masks.Switch(pruned, ())

    patch.setattr(running, "masked", forgetful)


def pruned_weights_not_zeroed(patch: Patch) -> None:
    """The pruned weights keep their dense values."""
    right = Levels.prune

    def dense(self: Levels, case: Case, statistics: Statistics | None) -> tuple[masks.Pruning, int]:
        parts = self._bench.target.components
        weights = {c: {n: layers.matrix(m) for n, m in layers.prunable(parts[c], "all").items()} for c in parts}
        pruning, levels = right(self, case, statistics)
        return {c: {n: Pruned(p.keep, weights[c][n]) for n, p in by.items()} for c, by in pruning.items()}, levels

    patch.setattr(Levels, "prune", dense)
