"""Claims of Huang, Cheng and Liang (2024, arXiv 2310.05249): softmax attention learns its features in stages.

The sweeps: "balanced" and "imbalanced", the paper's experiment with 300 prompts and Adam, where a step is an epoch;
"sampled", "sampled_balanced" and "sampled_dominant", gradient descent on contexts drawn afresh, the setting of its
theorems but for noise; "mean_field", the same in the limit of long contexts, where nothing is random. Sizes, seeds and
basis of the paper's experiment are not stated: they are ours. A feature has converged when its error L_k stays at or
below SMALL_ERROR; of several features, the median one's time counts.
"""

from __future__ import annotations

from functools import partial

from analysis.claims.claims import Claim, ClaimBook, Region
from sweeps.huang_2024 import evidence
from sweeps.huang_2024.balanced_figure import balanced_phases
from sweeps.huang_2024.evidence import ALL_FEATURES, DOMINANT_FEATURE, FLAT, RARE_FEATURES
from sweeps.huang_2024.figures import (
    attention_concentration,
    feature_errors,
    rare_feature_phases,
    stage_times,
    times_by_size,
)
from sweeps.huang_2024.measures import SMALL_ERROR
from sweeps.huang_2024.ratio_figure import ratio_of_times
from sweeps.huang_2024.task_figure import feature_regression_task

TASK_PICTURE = feature_regression_task
FIGURES = (
    feature_errors,
    attention_concentration,
    stage_times,
    rare_feature_phases,
    times_by_size,
    ratio_of_times,
    balanced_phases,
)

# "Much earlier" is by this factor at least, and "all" this share; an interval can show that from 35 seeds on.
_MUCH, _ALL = Region(low=2.0), Region(low=0.9)

CLAIMS = ClaimBook(
    "Huang, Cheng and Liang 2024",
    (
        Claim(
            name="dominant_is_first_under_adam",
            statement=(
                "A dominant feature converges much earlier than features of balanced data (300 prompts, Adam): their "
                "time over its time"
            ),
            value="T_dominant << T_balanced",
            region=_MUCH,
            figure="stage_times",
            measure=evidence.speedup_of_dominant_under_adam,
            family="dominant_is_first",
        ),
        Claim(
            name="rare_are_last_under_adam",
            statement="Rare features converge after balanced ones (300 prompts, Adam): share of seeds",
            value="T_balanced <= T_rare",
            region=Region(low=0.5),
            figure="stage_times",
            measure=evidence.share_of_late_rare_under_adam,
            is_share=True,
            family="rare_are_last",
        ),
        Claim(
            name="dominant_is_first_under_gradient_descent",
            statement=(
                "A dominant feature converges much earlier than features of balanced data (gradient descent): their "
                "time over its time"
            ),
            value="T_dominant << T_balanced",
            region=_MUCH,
            figure="times_by_size",
            measure=evidence.speedup_of_dominant_under_gradient_descent,
            family="dominant_is_first",
        ),
        Claim(
            name="rare_are_last_under_gradient_descent",
            statement="Rare features converge after balanced ones (gradient descent): share of seeds",
            value="T_balanced <= T_rare",
            region=Region(low=0.5),
            figure="times_by_size",
            measure=evidence.share_of_late_rare_under_gradient_descent,
            is_share=True,
            family="rare_are_last",
        ),
        Claim(
            name="dominant_time_does_not_grow",
            statement=(
                "The time until the dominant feature converges hardly grows with the number of features (20 or more, "
                "gradient descent): exponent of the growth"
            ),
            value="independent of K",
            region=Region(-FLAT, FLAT),
            figure="times_by_size",
            measure=evidence.growth_of_dominant_time,
            version=2,
            paper_figure=0.0,
            margin=0.05,
        ),
        Claim(
            name="swap_time_grows_as_the_square",
            statement=(
                "The length of a rare feature's first phase grows about as the square of the number of features (20 "
                "or more, gradient descent): exponent of the growth"
            ),
            value="1.93 in our integration of gradient flow",
            region=Region(1.8, 2.2),
            figure="times_by_size",
            measure=evidence.growth_of_swap_time,
            version=2,
            stated_by="us",
        ),
        Claim(
            name="rare_features_have_four_phases",
            statement=(
                "A rare feature is learned in four phases, in order (gradient descent, 10 to 40 features): share of "
                "rare features"
            ),
            value="four phases",
            region=_ALL,
            figure="rare_feature_phases",
            measure=evidence.share_with_four_phases,
            paper_figure=1.0,
            margin=0.02,
        ),
        Claim(
            name="rare_features_have_four_phases_under_adam",
            statement="A rare feature is learned in four phases, in order (300 prompts, Adam): share of rare features",
            value="four phases, proved for gradient descent alone",
            region=_ALL,
            figure="rare_feature_phases",
            measure=evidence.share_with_four_phases_under_adam,
        ),
        Claim(
            name="balanced_features_have_no_fall",
            statement=(
                "Balanced features are learned without a phase in which another feature's weight falls (gradient "
                "descent, 10 to 40 features): share of features"
            ),
            value="two phases",
            region=_ALL,
            figure="times_by_size",
            measure=evidence.share_without_fall,
            paper_figure=1.0,
            margin=0.02,
        ),
        Claim(
            name="attention_concentrates_when_balanced",
            statement=(
                "Where features are balanced, attention concentrates on the query's own feature (300 prompts, Adam): "
                "attention on it at the end"
            ),
            value="near 1 (fig. 3)",
            region=Region(low=0.9),
            figure="attention_concentration",
            measure=partial(evidence.final_attention, sweep="balanced", which=ALL_FEATURES),
            family="attention_concentrates",
        ),
        Claim(
            name="attention_concentrates_for_rare_features",
            statement=(
                "Where the query's feature is rare, attention concentrates on that feature (300 prompts, Adam): "
                "attention on it at the end"
            ),
            value="near 1 (fig. 3)",
            region=Region(low=0.9),
            figure="attention_concentration",
            measure=partial(evidence.final_attention, sweep="imbalanced", which=RARE_FEATURES),
            family="attention_concentrates",
        ),
        Claim(
            name="attention_concentrates_for_the_dominant_feature",
            statement=(
                "Where the query's feature is the dominant one, attention concentrates on that feature (300 prompts, "
                "Adam): attention on it at the end"
            ),
            value="near 1 (fig. 3)",
            region=Region(low=0.9),
            figure="attention_concentration",
            measure=partial(evidence.final_attention, sweep="imbalanced", which=DOMINANT_FEATURE),
            family="attention_concentrates",
        ),
        Claim(
            name="balanced_errors_vanish",
            statement=(
                "Balanced features converge in 400 epochs (300 prompts, Adam): share of features with an error of at "
                f"most {SMALL_ERROR}"
            ),
            value="all, to near 0 (fig. 2)",
            region=_ALL,
            figure="feature_errors",
            measure=partial(evidence.share_of_small_errors, sweep="balanced", which=ALL_FEATURES),
            paper_figure=1.0,
            margin=0.02,
            family="errors_vanish",
        ),
        Claim(
            name="rare_errors_vanish",
            statement=(
                "Rare features converge in 400 epochs (300 prompts, Adam): share of features with an error of at "
                f"most {SMALL_ERROR}"
            ),
            value="all, to near 0 (fig. 2)",
            region=_ALL,
            figure="feature_errors",
            measure=partial(evidence.share_of_small_errors, sweep="imbalanced", which=RARE_FEATURES),
            paper_figure=1.0,
            margin=0.02,
            family="errors_vanish",
        ),
    ),
)
