"""Wrong lines: where each is planted, and what must see it: a gate on which case, or which contract.

The docstring of a defect says what is wrong. A defect that no gate can see, because it changes no figure of `scenes` or
too little, has a contract: a check that holds whatever the model is.

Gates: "exact" sees counts and masks, "surgery" that the model does not hold what it should; neither needs a picture.
"quality" and "memory" do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.case import Case
from pruners.levels import Pattern
from tests.defects import core as c
from tests.defects import core_contracts as cc
from tests.defects import decision_contracts as dc
from tests.defects import decisions as d
from tests.defects import picture_contracts as pc
from tests.defects import pictures as p
from tests.defects import weights as w
from tests.defects.planting import Plant


@dataclass(frozen=True)
class Run:
    """A case of the smoke tier, with 16 captions and the baselines of that tier, and how it is run."""

    case: Case
    """The case."""
    batch_size: int = 32
    """Pictures at once; 8 makes two batches."""
    planned: tuple[Case, ...] = ()
    """Cases that come later in the same run."""
    recalibrated: bool = False
    """Whether the run takes statistics of its own, because the defect is in calibration."""
    dense_too: bool = True
    """Whether the dense pictures are made with the defect too. False: the defect touches pruned cases alone."""


BOTH = Run(Case("scenes", "both", "magnitude", "all", (0.475, 0.35)))
BOTH_PRUNED_ALONE = Run(BOTH.case, dense_too=False)
TWO_BATCHES = Run(BOTH.case, batch_size=8)
RANDOM = Run(Case("scenes", "unet", "random", "all", (0.10,)))
WANDA = Run(Case("scenes", "text_encoder", "wanda", "all", (0.70,)))
WANDA_ANEW = Run(WANDA.case, recalibrated=True)
PATTERN = Run(Case("scenes", "unet", "wanda", "all", (Pattern(2, 4),)))
PATTERN_ANEW = Run(PATTERN.case, recalibrated=True)
ONE_OF_FOUR = Run(Case("scenes", "text_encoder", "wanda", "all", (Pattern(1, 4),)))
SPARSEGPT = Run(Case("scenes", "unet", "sparsegpt", "all", (0.60,)), dense_too=False)
TWO_LEVELS = Run(SPARSEGPT.case, planned=(SPARSEGPT.case, Case("scenes", "unet", "sparsegpt", "all", (0.40,))))
OWL = Run(Case("scenes", "unet", "owl_wanda", "all", (0.50,)))
GLOBAL = Run(Case("scenes", "text_encoder", "global_magnitude", "all", (0.70,)))
DENSE = Run(Case("scenes"))
# Each is green without a defect. The other runs differ from these only by work that is not shared.
CONTROLS = (DENSE, BOTH, TWO_BATCHES, RANDOM, WANDA, PATTERN, ONE_OF_FOUR, SPARSEGPT, OWL, GLOBAL)

GATED: dict[Plant, tuple[Run, str]] = {
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
    w.statistics_not_summed_up: (WANDA_ANEW, "exact"),
    w.convolution_not_unfolded: (PATTERN_ANEW, "exact"),
    w.pattern_upside_down: (PATTERN, "exact"),
    c.pattern_read_as_pruned: (ONE_OF_FOUR, "exact"),
    w.errors_not_spread: (SPARSEGPT, "exact"),
    w.damping_left_out: (SPARSEGPT, "surgery"),
    c.levels_pruned_ahead_mixed_up: (TWO_LEVELS, "exact"),
    w.owl_upside_down: (OWL, "exact"),
    w.owl_left_out: (OWL, "exact"),
    w.masks_from_dense_weights_only: (SPARSEGPT, "quality"),
    p.mask_off_while_generating: (BOTH_PRUNED_ALONE, "quality"),
    p.biases_pruned: (BOTH_PRUNED_ALONE, "exact"),
    p.captions_shifted_by_one: (BOTH, "quality"),
    p.features_truncated: (BOTH, "quality"),
    p.guidance_left_out: (BOTH, "quality"),
    p.guidance_five_percent_off: (BOTH, "quality"),
    p.scheduler_one_step_short: (BOTH, "quality"),
    p.one_generator_for_all: (BOTH, "quality"),
    p.generator_used_on: (BOTH, "quality"),
    p.second_batch_from_the_first: (TWO_BATCHES, "quality"),
    p.pictures_darkened: (BOTH, "quality"),
    p.gradients_kept: (BOTH, "memory"),
}

# On a small pipeline with a user's captions and CLIP.
USERS: dict[Plant, str] = {
    p.prompts_of_the_dense_text_encoder: "quality",
    p.clip_in_training_mode: "quality",
    p.captions_of_the_first_block: "quality",
}

# Each check takes an empty folder. It needs no picture of a model.
CONTRACTS: dict[Plant, Callable[[Path], None]] = {
    c.ties_in_another_order: cc.ties_go_in_the_order_of_the_index,
    c.halves_to_even: cc.halves_round_up,
    c.pattern_read_as_pruned_by_sparsegpt: cc.sparsegpt_patterns_are_the_reference,
    c.groups_chosen_before_errors_arrive: cc.sparsegpt_patterns_are_the_reference,
    # On `scenes` single pictures change and their mean does not: UNDERPOWERED, which is red in CI alone.
    c.first_column_behind_a_strip_left_out: cc.sparsegpt_is_the_reference,
    c.survivors_rounded_through_float16: cc.survivors_keep_their_bits,
    c.shared_inputs_counted_once_per_layer: cc.every_row_counts_once,
    c.merge_forgets_rows: cc.every_row_counts_once,
    c.float32_inputs_summed_in_float16: cc.sums_hold_float32,
    c.half_precision_inputs_summed_in_half_precision: cc.sums_of_half_precision_hold_float32,
    c.tied_weights_listed_twice: cc.a_weight_of_two_layers_is_one,
    c.written_weights_not_verified: cc.a_writer_that_fails_is_noticed,
    p.degenerate_flags_in_the_first_batch: pc.flags_belong_to_their_pictures,
    p.degenerate_threshold_sixfold: pc.three_steps_are_a_picture,
    p.null_arm_at_the_same_batch_size: pc.the_row_dense_compares_two_batch_sizes,
    p.fid_error_divided_again: pc.fid_errs_as_it_says,
    p.reference_divided_by_n: pc.references_are_the_covariance_of_a_sample,
    p.pictures_cut: pc.pictures_are_rounded,
    p.captions_of_the_first_block_of_scenes: pc.blocks_of_scenes_keep_their_captions,
    d.zeros_not_compared: dc.one_zero_more_is_red,
    d.sparsity_may_miss_by_a_tenth: dc.a_missed_sparsity_is_red,
    d.alpha_not_shared: dc.more_comparisons_ask_for_more_certainty,
    d.degrees_of_freedom_are_n: dc.p_values_are_those_of_the_table,
    d.fewer_stored_bytes_not_reported: dc.fewer_bytes_are_said,
    d.store_key_without_the_workload: dc.every_fact_of_the_workload_is_in_the_keys,
    d.code_digest_without_pruners: dc.code_of_pruners_is_in_the_digest,
    d.update_drops_other_sidecars: dc.an_update_keeps_other_cases,
    d.noise_handed_to_another_case: dc.measured_noise_stays_with_its_case,
}
# Gates that need no picture.
WITHOUT_PICTURES = ("exact", "surgery")
