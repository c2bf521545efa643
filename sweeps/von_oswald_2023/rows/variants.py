"""Claims of von Oswald et al. (2023) on heads, fixed tasks, softmax, separate tokens and sine waves."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.von_oswald_2023.evidence import variants as measured

VARIANTS = (
    Claim(
        name="some_seeds_sit_on_a_plateau",
        statement=(
            "Some seeds of a linear-attention layer with one head sit on a long loss plateau: share that leaves it "
            "at twice the median step or later"
        ),
        value="some of 10 seeds (A.11)",
        region=Region(low=0.02),
        figure="plateaus",
        measure=measured.share_of_long_plateaus,
        least_runs=30,
        is_check=True,
        is_share=True,
    ),
    Claim(
        name="two_heads_mitigate_plateaus",
        statement=(
            "A second head makes long loss plateaus of a linear-attention layer rarer: share of seeds with a long "
            "plateau, one head less two"
        ),
        value="no plateaus (A.11)",
        region=Region(low=0.02),
        figure="plateaus",
        measure=measured.plateaus_spared_by_two_heads,
        least_runs=30,
        family="two_heads_spare_plateaus",
    ),
    Claim(
        name="two_heads_leave_earlier",
        statement=(
            "A second head lets a linear-attention layer leave the loss plateau earlier: ratio of steps on the same "
            "seed, two heads over one"
        ),
        value="earlier (A.11)",
        region=Region(high=0.95),
        figure="plateaus",
        measure=measured.time_with_two_heads,
        least_runs=30,
        family="two_heads_spare_plateaus",
    ),
    Claim(
        name="long_plateaus_end_suddenly",
        statement=(
            "Long loss plateaus of a linear-attention layer that end do so abruptly: share of them with a phase change"
        ),
        value="a sudden drop (A.11)",
        region=Region(low=0.6),
        figure="plateaus",
        measure=measured.share_of_sudden_ends,
        is_share=True,
    ),
    Claim(
        name="many_fixed_tasks_suffice",
        statement=(
            "A linear-attention layer that was trained on 8192 fixed tasks is near one gradient step on new ones: "
            "excess loss"
        ),
        value="near (app.)",
        region=Region(high=0.05),
        figure="fixed_tasks",
        measure=partial(measured.excess_of_fixed_tasks, num_tasks=8192),
        family="fixed_tasks",
    ),
    Claim(
        name="few_fixed_tasks_are_overfitted",
        statement=(
            "A linear-attention layer that was trained on 128 fixed tasks overfits, and is worse on new ones than "
            "predicting zero: excess loss"
        ),
        value="worse (app.)",
        region=Region(low=1.5),
        figure="fixed_tasks",
        measure=partial(measured.excess_of_fixed_tasks, num_tasks=128),
        family="fixed_tasks",
    ),
    Claim(
        name="a_block_with_mlp_groks",
        statement=(
            "A block of linear attention and an MLP groks: steps until the excess loss on new tasks is halved, over "
            "those for its 8192 training tasks"
        ),
        value="groks (A.11)",
        region=Region(low=1.5),
        figure="mlp_block",
        measure=measured.delay_of_generalisation,
    ),
    Claim(
        name="two_softmax_heads_come_near",
        statement="Softmax attention with two heads comes near one gradient step: excess loss of the median run",
        value="near",
        region=Region(high=0.1),
        figure="softmax",
        measure=measured.excess_of_two_softmax_heads,
        least_runs=8,
        family="softmax_needs_two_heads",
    ),
    Claim(
        name="two_softmax_heads_align",
        statement=(
            "Softmax attention with two heads depends on the query as one gradient step does: cosine of the "
            "gradients of both predictions by the query's input"
        ),
        value="near 1",
        region=Region(low=0.95),
        figure="softmax",
        measure=measured.cosine_of_two_softmax_heads,
        least_runs=8,
        family="softmax_needs_two_heads",
    ),
    Claim(
        name="one_softmax_head_does_not",
        statement=(
            "Softmax attention with one head stays farther from one gradient step than with two: its excess loss, "
            "less that of two heads on the same seed"
        ),
        value="worse",
        region=Region(low=0.1),
        figure="softmax",
        measure=measured.excess_of_one_softmax_head_over_two,
        least_runs=8,
        family="softmax_needs_two_heads",
    ),
    Claim(
        name="copying_layers_reach_one_step",
        statement=(
            "Runs that learn with inputs and targets in separate tokens end near the loss of one gradient step: "
            "ratio of losses"
        ),
        value="one step's (fig. 5)",
        region=Region(high=1.1),
        figure="copying",
        measure=measured.loss_on_separate_tokens,
        least_runs=5,
        paper_figure=1.0,
        margin=0.02,
    ),
    Claim(
        name="copying_layers_jump",
        statement=(
            "Runs that learn with inputs and targets in separate tokens do so by a jump: share of them whose excess "
            "loss changes abruptly"
        ),
        value="abrupt (fig. 5)",
        region=Region(low=0.6),
        figure="copying",
        measure=measured.share_of_jumps_on_separate_tokens,
        least_runs=5,
        is_share=True,
    ),
    Claim(
        name="next_token_dependence_comes_first",
        statement=(
            "With inputs and targets in separate tokens, the first layer comes to depend on the next token before "
            "the loss jumps: share of runs that learn"
        ),
        value="before the jump (fig. 5)",
        region=Region(low=0.5),
        figure="copying",
        measure=measured.share_with_next_token_first,
        least_runs=5,
        is_share=True,
    ),
    Claim(
        name="copying_takes_a_time_of_its_own",
        statement=(
            "With inputs and targets in separate tokens, the step at which a run learns depends strongly on its "
            "seed: 90th over 10th percentile of the step, at least"
        ),
        value="strongly (fig. 5)",
        region=Region(low=1.5),
        figure="copying",
        measure=measured.spread_of_times_on_separate_tokens,
    ),
    Claim(
        name="sine_layers_match_the_gradient_step",
        statement=(
            "On sine waves a trained attention layer does as well as a gradient step on a meta-trained MLP: ratio of "
            "losses"
        ),
        value="the same loss (fig. 4)",
        region=Region(0.67, 1.5),
        figure="sine",
        measure=measured.loss_on_sine_waves,
        least_runs=5,
        paper_figure=1.0,
        margin=0.02,
        family="sine_waves",
    ),
    Claim(
        name="sine_waves_are_learned",
        statement=(
            "A trained attention layer and a gradient step on a meta-trained MLP both learn sine waves: excess loss "
            "of the worse one"
        ),
        value="near 0 (fig. 4)",
        region=Region(high=0.2),
        figure="sine",
        measure=measured.worse_excess_on_sine_waves,
        least_runs=5,
        family="sine_waves",
    ),
)
