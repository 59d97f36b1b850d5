"""Wrong lines: where each is planted, on which case, and which gate must see it.

Cases and baselines are those of the smoke tier. Gates: "exact" sees counts and masks, "surgery" that the model does not
hold what it should; neither needs a picture. "quality" and "memory" do.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.case import Case
from pruners.levels import Pattern
from tests.defects import pictures as p
from tests.defects import weights as w

BOTH = Case("scenes", "both", "magnitude", "all", (0.475, 0.35))
RANDOM = Case("scenes", "unet", "random", "all", (0.10,))
WANDA = Case("scenes", "text_encoder", "wanda", "all", (0.70,))
PATTERN = Case("scenes", "unet", "wanda", "all", (Pattern(2, 4),))
SPARSEGPT = Case("scenes", "unet", "sparsegpt", "all", (0.60,))
OWL = Case("scenes", "unet", "owl_wanda", "all", (0.50,))
GLOBAL = Case("scenes", "text_encoder", "global_magnitude", "all", (0.70,))
CONTROLS = (Case("scenes"), BOTH, RANDOM, WANDA, PATTERN, SPARSEGPT, OWL, GLOBAL)

DEFECTS: dict[Callable[[w.Patch], None], tuple[Case, str]] = {
    w.threshold_one_decile_off: (BOTH, "exact"),
    w.threshold_a_fortieth_off: (BOTH, "exact"),
    w.one_weight_too_many: (BOTH, "exact"),
    w.threshold_not_sorted: (BOTH, "exact"),
    w.largest_pruned: (BOTH, "exact"),
    w.mask_on_the_wrong_axis: (BOTH, "exact"),
    w.groups_by_row: (BOTH, "exact"),
    w.convolutions_left_out: (BOTH, "exact"),
    w.mask_applied_to_a_copy: (BOTH, "surgery"),
    w.pruned_weights_not_zeroed: (BOTH, "surgery"),
    w.one_layer_left_dense: (BOTH, "exact"),
    w.text_encoder_left_dense: (BOTH, "exact"),
    w.same_draw_for_every_layer: (RANDOM, "exact"),
    w.global_threshold_by_layer: (GLOBAL, "exact"),
    w.norms_left_out: (WANDA, "exact"),
    w.norms_in_the_wrong_order: (WANDA, "exact"),
    w.norms_on_the_wrong_axis: (WANDA, "exact"),
    w.wanda_compared_over_the_layer: (WANDA, "exact"),
    w.statistics_not_summed_up: (WANDA, "exact"),
    w.convolution_not_unfolded: (PATTERN, "exact"),
    w.pattern_upside_down: (PATTERN, "exact"),
    w.errors_not_spread: (SPARSEGPT, "exact"),
    w.damping_left_out: (SPARSEGPT, "surgery"),
    w.owl_upside_down: (OWL, "exact"),
    w.owl_left_out: (OWL, "exact"),
    w.masks_from_dense_weights_only: (SPARSEGPT, "quality"),
    p.captions_shifted_by_one: (BOTH, "quality"),
    p.features_truncated: (BOTH, "quality"),
    p.guidance_left_out: (BOTH, "quality"),
    p.guidance_five_percent_off: (BOTH, "quality"),
    p.scheduler_one_step_short: (BOTH, "quality"),
    p.one_generator_for_all: (BOTH, "quality"),
    p.generator_used_on: (BOTH, "quality"),
    p.pictures_darkened: (BOTH, "quality"),
    p.gradients_kept: (BOTH, "memory"),
}
# Defects of the calibration itself: they need one of their own, and must not leave it to the next test.
RECALIBRATED = (w.statistics_not_summed_up, w.convolution_not_unfolded)
WITHOUT_PICTURES = ("exact", "surgery")
