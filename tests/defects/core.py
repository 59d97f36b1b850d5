"""Wrong lines in selection, SparseGPT and calibration that the masks of the smoke tier cannot show, or only in part."""

from __future__ import annotations

import torch

from harness.execution.levels import Levels
from harness.surgery import hooks, layers, masks
from pruners import select, sparsegpt, stats
from pruners.types import LayerStats, Pruned
from tests.defects.planting import Patch, wrong_line


def pattern_read_as_pruned(patch: Patch) -> None:
    """N of a pattern N:M counts the weights that are pruned, which 2:4 cannot tell."""
    right = select.pattern_keep
    patch.setattr(select, "pattern_keep", lambda scores, kept: right(scores, len(scores) - kept))


def pattern_read_as_pruned_by_sparsegpt(patch: Patch) -> None:
    """N of a pattern N:M counts the weights that SparseGPT prunes."""
    right = sparsegpt.pattern_keep
    patch.setattr(sparsegpt, "pattern_keep", lambda scores, kept: right(scores, len(scores) - kept))


def ties_in_another_order(patch: Patch) -> None:
    """Equal scores are pruned from the last one on, as a sort that is not stable may order them."""
    right = select._later_equals
    patch.setattr(select, "_later_equals", lambda scores, last, limit: right(scores.flip(1), last, limit).flip(1))


def halves_to_even(patch: Patch) -> None:
    """Half a weight is rounded to the even count, as Python's `round` does."""
    patch.setattr(select, "count", lambda sparsity, size: round(round(sparsity * size, 6)))


def groups_chosen_before_errors_arrive(patch: Patch) -> None:
    """All groups of a strip are chosen at the strip's first column, from weights without the strip's own errors."""
    wrong_line(
        patch, sparsegpt, "_stacked",
        "if step > 1 and column % step == 0:\n                    choose(column, column + step)",
        "for group in range(begin, end, step) if step > 1 and column == begin else ():\n"
        "                    choose(group, group + step)",
    )  # fmt: skip


def first_column_behind_a_strip_left_out(patch: Patch) -> None:
    """The first column behind a strip gets no error of the strip."""
    wrong_line(
        patch, sparsegpt, "_stacked",
        "work[end:last].addmm_(upper[rows, end - start :].T,",
        "work[end + 1 : last].addmm_(upper[rows, end + 1 - start :].T,",
    )  # fmt: skip


def survivors_rounded_through_float16(patch: Patch) -> None:
    """Surviving weights lose the digits that float16 does not hold."""
    patch.setattr(
        select, "masked", lambda weight, keep: Pruned(keep, weight.half().to(weight.dtype).where(keep, 0))
    )  # fmt: skip


def shared_inputs_counted_once_per_layer(patch: Patch) -> None:
    """An input that two layers share is added to their common sums twice."""
    wrong_line(
        patch, hooks.Collector, "see",
        "known.layers.add(name)\n",
        "known.layers.add(name)\n        if self.measure:\n"
        "            self.sums[slot] = merge(self.sums[slot], statistics(layer, x.detach(), self.gram))\n",
    )  # fmt: skip


def merge_forgets_rows(patch: Patch) -> None:
    """Merged statistics count the rows of the first batch alone."""
    right = hooks.merge

    def forgetful(first: LayerStats, second: LayerStats) -> LayerStats:
        both = right(first, second)
        return LayerStats(first.rows, both.squares, both.gram)

    patch.setattr(hooks, "merge", forgetful)


def float32_inputs_summed_in_float16(patch: Patch) -> None:
    """The sums of a float32 model's inputs are taken in float16."""
    patch.setattr(stats, "working", lambda dtype: torch.float16)


def half_precision_inputs_summed_in_half_precision(patch: Patch) -> None:
    """The sums of half-precision inputs are taken in half precision."""
    patch.setattr(stats, "working", lambda dtype: dtype)


def tied_weights_listed_twice(patch: Patch) -> None:
    """A weight that two layers hold is pruned once per layer."""
    wrong_line(
        patch, layers, "_by_name",
        "known.setdefault(_place(weight), (name, weight))",
        "(name, weight)",
    )  # fmt: skip


def levels_pruned_ahead_mixed_up(patch: Patch) -> None:
    """Of the levels that are pruned together, the first case gets the last one's weights."""
    wrong_line(
        patch, Levels, "prune", "zip(levels, made, strict=True)", "zip(reversed(levels), made, strict=True)"
    )  # fmt: skip


def written_weights_not_verified(patch: Patch) -> None:
    """Nobody checks that the model holds the pruned weights after they were written."""
    patch.setattr(masks, "verify", lambda components, pruning: None)
