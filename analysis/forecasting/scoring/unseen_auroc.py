"""AUROC of scores that runs were given by models which saw none of their seeds, with its interval."""

from __future__ import annotations

import numpy as np

from analysis.forecasting.scoring.ranked_pairs import OutcomePairs
from analysis.forecasting.scoring.score_table import FEWEST_PAIRS
from analysis.forecasting.scoring.scores import DECIMALS, ratio
from analysis.forecasting.window_model import TrainingSet
from analysis.outcomes.outcomes import CONVERGED
from analysis.uncertainty.blocks import in_blocks
from analysis.uncertainty.intervals import Estimate, from_bootstrap
from pipeline.arrays import Array, Floats, Ints


def unseen_auroc(everyone: TrainingSet, score_R: Floats, group_R: Ints, weight_BR: Array) -> Estimate:
    """AUROC between runs of one group, which count by their weights in `everyone`; those of group -1 have no score.

    Row 0 of `weight_BR` is all ones, the others are resamples. NaN without a pair; no interval under FEWEST_PAIRS.
    """
    scored = np.flatnonzero(group_R >= 0)
    converged_N, weight_N = everyone.outcomes.kind_R[scored] == CONVERGED, everyone.weight_R[scored]
    pairs = OutcomePairs.of(converged_N, group_R[scored])
    ranked = pairs.by(np.round(score_R[scored], DECIMALS))

    def figures(weight_BN: Floats) -> Floats:
        weights = pairs.weights(weight_BN * weight_N)
        return ratio(ranked.won_B(*weights), pairs.everyone.won_B(*weights))

    num_pairs = pairs.everyone.won_B(*pairs.weights(np.ones((1, len(scored)))))[0]
    return from_bootstrap(in_blocks(figures, weight_BR if num_pairs >= FEWEST_PAIRS else weight_BR[:1], scored))
