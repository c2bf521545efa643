"""Claims on early determination: what tells before the end whether, and when, a run converges."""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, Region
from sweeps.zhao_2023 import evidence
from sweeps.zhao_2023.failing import NARROW_HEADS, SMALL_MODEL
from sweeps.zhao_2023.measures import EARLY_STEP, EARLY_WINDOW, LARGE_BUDGET, MIXED_BUDGET, SETTING_A

_EARLY_STEPS = f"{EARLY_WINDOW * MIXED_BUDGET:g}"

EARLY_DETERMINATION = (
    Claim(
        name="early_statistics_foretell_convergence",
        statement=(
            f"Statistics of the first {_EARLY_STEPS} steps tell which seeds will have converged by step "
            f"{MIXED_BUDGET}: AUROC"
        ),
        value="early determination",
        region=Region(low=0.7),
        figure="forecasts",
        measure=evidence.early_auroc,
        family="early_statistics",
    ),
    Claim(
        name="early_statistics_tell_more_than_loss",
        statement=(
            f"Statistics of the first {_EARLY_STEPS} steps tell more than the losses of these steps about which "
            f"seeds will have converged by step {MIXED_BUDGET}: AUROC, less that of the losses"
        ),
        value="",
        region=Region(low=0.01),
        figure="forecasts",
        measure=evidence.early_auroc_gain,
        stated_by="us",
        family="early_statistics",
    ),
    Claim(
        name="previous_token_score_foretells_the_time",
        statement=f"At step {EARLY_STEP} the previous-token score tells when a run will converge: rank correlation",
        value="early determination",
        region=Region(high=-0.3),
        figure="early_statistics",
        measure=partial(evidence.score_and_time, step=EARLY_STEP),
        family="early_statistics",
    ),
    Claim(
        name="previous_token_score_at_init_says_little",
        statement="At step 0 the previous-token score says little about when a run will converge: rank correlation",
        value="",
        region=Region(-0.2, 0.2),
        figure="early_statistics",
        measure=partial(evidence.score_and_time, step=0),
        stated_by="us",
    ),
    Claim(
        name="narrower_heads_converge_later",
        statement="Narrower heads converge later: rank correlation of width and time",
        value="",
        region=Region(high=-0.3),
        figure="head_widths",
        measure=evidence.width_and_time,
        stated_by="us",
    ),
    Claim(
        name="init_decides_on_the_time",
        statement="The initial weights decide on the time to convergence: share of the variance of its logarithm",
        value="early determination",
        region=Region(low=0.5),
        figure="init_and_data",
        measure=evidence.variance_of_init,
        family="init_decides",
    ),
    Claim(
        name="init_decides_without_its_slowest_seed",
        statement=(
            "The initial weights decide on the time to convergence, and not by the slowest init seed alone: share of "
            "the variance of its logarithm without that seed"
        ),
        value="asked after these runs were seen",
        region=Region(low=0.5),
        figure="init_and_data",
        measure=evidence.variance_of_init_without_slowest,
        stated_by="us",
        family="init_decides",
    ),
    Claim(
        name="data_stream_hardly_decides",
        statement=(
            "The data stream by itself hardly decides on the time to convergence: share of the variance of its "
            "logarithm"
        ),
        value="",
        region=Region(high=0.1),
        figure="init_and_data",
        measure=evidence.variance_of_data,
        stated_by="us",
        family="init_decides",
    ),
    Claim(
        name="siblings_foretell_convergence",
        statement=(
            "Other runs of the same initial weights tell, before the first step, which of two runs converges "
            "first: concordance over all steps"
        ),
        value="early determination",
        region=Region(low=0.8),
        figure="init_and_data",
        measure=evidence.concordance_of_siblings,
        version=2,
        family="init_decides",
    ),
    Claim(
        name="fate_is_fixed_by_half_of_the_budget",
        statement=(
            f"Whether a run converges within {MIXED_BUDGET} steps is fixed early: step from which 95% of forks "
            "with fresh data end as their parent"
        ),
        value="early determination",
        region=Region(high=MIXED_BUDGET / 2),
        figure="fates",
        measure=evidence.step_of_fixed_fate,
    ),
    Claim(
        name="failure_is_fixed_early_with_narrow_heads",
        statement=(
            "Whether a run with heads of width 2 converges at all by step 3000 is fixed early (setting C): step from "
            "which 95% of forks with fresh data end as their parent"
        ),
        value="early determination",
        region=Region(high=1500),
        figure="fates_of_failing_runs",
        measure=partial(evidence.step_of_fixed_failure, setting=NARROW_HEADS),
        family="fate_is_fixed_by_half_of_the_budget",
    ),
    Claim(
        name="failure_is_fixed_early_in_small_models",
        statement=(
            "Whether a model of width 10 converges at all by step 3000 is fixed early: step from which 95% of forks "
            "with fresh data end as their parent"
        ),
        value="early determination",
        region=Region(high=1500),
        figure="fates_of_failing_runs",
        measure=partial(evidence.step_of_fixed_failure, setting=SMALL_MODEL),
        family="fate_is_fixed_by_half_of_the_budget",
    ),
    Claim(
        name="unconverged_runs_converge_by_a_larger_budget",
        statement=(
            f"Most runs that have not converged by step {MIXED_BUDGET} converge by step {LARGE_BUDGET} ({SETTING_A}): "
            "share of them"
        ),
        value="",
        region=Region(low=0.5),
        figure="learning_curves",
        measure=evidence.share_after_mixed_budget,
        stated_by="us",
        is_share=True,
        family="unconverged_runs_converge_later",
    ),
    Claim(
        name="unconverged_runs_converge_in_the_end",
        statement=(
            f"Most runs that have not converged by step {LARGE_BUDGET} converge later (heads of width 2 to 4): "
            "share of them by step 24000"
        ),
        value="",
        region=Region(low=0.5),
        figure="head_widths",
        measure=evidence.share_after_large_budget,
        stated_by="us",
        family="unconverged_runs_converge_later",
    ),
)
