"""The sweeps on the landscape of an initialisation: factorials between two parents, widths, and learning rates.

Chosen parents come from the sweep `screening`: init seeds by mean log time over three data streams, the budget in place
of the times that are longer. Chosen pair p is the p-th fastest and the p-th slowest. The parents of ordinary pairs are
init seeds in order, which nothing was known about. All factorials have data streams that the screening did not have, so
that what made a parent slow under the first three alone does not count.
"""

from __future__ import annotations

from sweeps.landscape.adam.study import EPSILON_SWEEP
from sweeps.landscape.fates.study import FATE_SWEEPS
from sweeps.landscape.parent_pair import ParentPair
from sweeps.landscape.settings.study import SETTING_SWEEPS
from sweeps.landscape.sizes.study import SIZE_SWEEPS
from sweeps.papers import Paper, PaperSweep

# Matrices that are exchanged together in the factorials of groups; that of matrices exchanges every one by itself.
GROUPS = {
    "embedding": ("embedding",),
    "position": ("position",),
    "QK, layer 1": ("layer0.query", "layer0.key"),
    "VO, layer 1": ("layer0.value", "layer0.output"),
    "QK, layer 2": ("layer1.query", "layer1.key"),
    "VO, layer 2": ("layer1.value", "layer1.output"),
    "unembedding": ("unembedding",),
}
MATRICES = tuple(name for names in GROUPS.values() for name in names)
# Matrices of which the model uses the product alone: that of queries and keys, and that of values and outputs.
PRODUCTS = tuple(names for names in GROUPS.values() if len(names) == 2)


CHOSEN = (ParentPair("pair_1", 17, 27), ParentPair("pair_2", 7, 2), ParentPair("pair_3", 12, 14))
ORDINARY = tuple(ParentPair(f"pair_{4 + p}", 40 + 2 * p, 41 + 2 * p) for p in range(5))
# As the ordinary ones, and registered after those were looked at: what was found of them is put to the test.
LATER = tuple(ParentPair(f"pair_{9 + p}", 50 + 2 * p, 51 + 2 * p) for p in range(8))
PAIRS = CHOSEN + ORDINARY + LATER
# Every matrix by itself, between the parents of the first pair, but for one, which is the fast parent's in all runs.
BY_MATRIX = ParentPair("matrices", CHOSEN[0].first, CHOSEN[0].second)
FIXED_MATRIX = "layer1.output"
SINGLE_MATRICES = tuple(name for name in MATRICES if name != FIXED_MATRIX)

_FACTORIAL = "landscape/factorial.yaml"
# The shorter sweeps stand first. The full profile is the fast one and more, so both have one results folder.
STUDY = Paper(
    name="landscape",
    title="The landscape of an initialisation",
    sweeps=(
        PaperSweep("screening", "landscape/screening.yaml"),
        *(
            PaperSweep(pair.name, _FACTORIAL, None if pair in LATER else overrides, overrides)
            for pair in PAIRS
            for overrides in [pair.overrides(tuple(GROUPS.values()))]
        ),
        PaperSweep(
            BY_MATRIX.name,
            _FACTORIAL,
            fast=None,
            full=(
                *BY_MATRIX.overrides(tuple((matrix,) for matrix in SINGLE_MATRICES)),
                f"streams={{init/{FIXED_MATRIX}: {BY_MATRIX.first}}}",
                "seeds.crossed.data_seed=[104, 105]",
            ),
        ),
        *SIZE_SWEEPS,
        *FATE_SWEEPS,
        *SETTING_SWEEPS,
        EPSILON_SWEEP,
    ),
    findings=(
        (
            "Of the variance of log time over combinations of seven groups, a share of {combinations_decide} returns "
            "under another data stream; of ten single matrices, {combinations_of_single_matrices_decide}."
        ),
        (
            "Order 1, the main effects, has {main_effects_are_a_minor_part} of what returns between chosen parents, "
            "and {single_matrices_are_a_minor_part} where every matrix is a factor. Orders 3 and above have "
            "{pairs_of_matrices_do_not_suffice} and {pairs_of_single_matrices_do_not_suffice}. The largest main effect "
            "of one group in any chosen pair has {no_group_decides_alone}."
        ),
        (
            "The 32 largest of 1,023 coefficients have {few_coefficients_suffice} of what returns. Two matrices that "
            "the model multiplies have {multiplied_matrices_interact_more} times the joint effect of two others."
        ),
        (
            "Between ordinary parents order 1 has {main_effects_between_ordinary_parents}, and orders 3 and above "
            "{higher_orders_between_ordinary_parents}. Chosen parents have a share of order 1 that is larger by "
            "{distance_favours_main_effects}. Between eight later pairs, held against the intervals over the five that "
            "were known, order 1 has {main_effects_between_later_parents}, and orders 3 and above "
            "{higher_orders_between_later_parents}."
        ),
        (
            "The standard deviation of log time over seeds goes with the width to the power {spread_falls_with_width} "
            "at one learning rate, and {spread_falls_with_width_at_scaled_rates} at rates that fall as 1/width, by 64 "
            "seeds at widths to 64. By 128 fresh seeds at widths 16 to 128 the exponents are "
            "{independent_parts_again}, held against the -1/2 of a mean of independent parts, and "
            "{spread_falls_at_scaled_rates_again}."
        ),
        (
            "Half of the runs converge by step 2,700 at a rate that is, with heads of width 2, "
            "{narrow_heads_need_higher_rates} times that with heads of width 8. That ratio by fresh seeds alone, at "
            "three rates about each boundary: {narrow_heads_need_twice_the_rate}. At 5e-2 the share that does so with "
            "heads of width 4 differs from that at 5e-3 by {high_rates_fail}."
        ),
        (
            "From step 200 on, or before, {fates_are_sealed_early} of parents are committed: at most a tenth of their "
            "forks under fresh data fall on the other side of step 1,100. The state at step 200 fixes "
            "{state_fixes_time} of the variance of log time. Of 48 further parents, {two_thirds_are_sealed_early} are, "
            "and the state at step 200 fixes {state_fixes_time_again}."
        ),
        (
            "Of mixtures of initial states, order 1 has {initial_mixtures_interact} of what returns. Of mixtures at "
            "step 400, orders 2 and above have {late_mixtures_interact}; at step 600 the main effect of the embeddings "
            "has {fate_does_not_move_into_embeddings}. In log time, mixtures at step 400 are slower than unmixed runs "
            "by {mixtures_grow_slower} more than mixtures at step 0."
        ),
        (
            "In B, C, pair tokens and linear self-attention, shares of {setting_b_combinations_decide}, "
            "{setting_c_combinations_decide}, {pair_tokens_combinations_decide} and {lsa_combinations_decide} return "
            "under another data stream. In the first three, order 1 has {setting_b_main_effects_minor}, "
            "{setting_c_main_effects_minor} and {pair_tokens_main_effects_minor} of that, orders 3 and above "
            "{setting_b_two_do_not_suffice}, {setting_c_two_do_not_suffice} and {pair_tokens_two_do_not_suffice}."
        ),
        (
            "At eps 1e2, {large_eps_has_the_first_phase} of rare features show the first phase of gradient descent; at "
            "1e-8 the share is lower by {small_eps_takes_the_first_phase_away}."
        ),
        (
            "Wide models do not average their initialisation as a mean of independent parts does: at one learning rate "
            "the spread of log time over fresh seeds goes with the width to the power {independent_parts_again}, not "
            "-1/2, which a first sample of 64 seeds had suggested. "
            "Of 48 runs in dictionary lookup, {two_thirds_are_sealed_early} are committed by step 200, under fresh "
            "data, to converge before step 1,100 or after it. "
            "In linear self-attention we find no influence of the initialisation on the time: "
            "{lsa_combinations_decide} of the variance of log time over combinations of initial matrices returns under "
            "another data stream. In dictionary lookup {combinations_decide} does, yet between ordinary parents single "
            "groups of matrices account for only {main_effects_between_ordinary_parents} of that. No part of a trained "
            "state carries its run's time into most mixtures: at step 400, interactions have {late_mixtures_interact} "
            "of what returns."
        ),
    ),
)
