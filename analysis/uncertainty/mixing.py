"""Mixing distribution of a probability that is known through small binomial counts alone, by maximum likelihood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.arrays import Floats, Ints

GRID_POINTS = 101
# The log likelihood of 64 counts of 20 is then within 0.1 of its maximum, whose few atoms would tie more pairs.
EM_STEPS = 300


@dataclass(frozen=True)
class Mixture:
    """B discrete distributions of a probability q on one grid: `mass_BG[b, g]` is the mass at `q_G[g]`."""

    q_G: Floats
    mass_BG: Floats

    @classmethod
    def of_counts(cls, count_P: Ints, num_trials: int, weight_BP: Floats) -> Mixture:
        """The nonparametric maximum-likelihood mixture of binomials, under each row of weights of the P counts.

        `count_P` are successes in `num_trials` trials each, at least one. Kiefer and Wolfowitz (1956); on a grid by the
        EM of Laird (1978, J. Am. Stat. Assoc. 73, 805) from a uniform start, stopped after EM_STEPS. Rows of weights
        that are all 0 give NaN.
        """
        q_G = np.linspace(0.0, 1.0, GRID_POINTS)
        count_K1 = np.arange(num_trials + 1.0)[:, None]
        # 0^0 is 1: no success is certain at q = 0.
        likelihood_KG = q_G**count_K1 * (1 - q_G) ** (num_trials - count_K1)
        likelihood_KG /= likelihood_KG.max(axis=1, keepdims=True)
        weight_BK = weight_BP @ (count_P[:, None] == np.arange(num_trials + 1)).astype(np.float64)
        total_B1 = weight_BK.sum(axis=1, keepdims=True)
        share_BK = np.where(total_B1 > 0, weight_BK / np.maximum(total_B1, 1e-300), np.nan)
        mass_BG = np.full((len(weight_BP), GRID_POINTS), 1 / GRID_POINTS)
        for _ in range(EM_STEPS):
            mass_BG = mass_BG * ((share_BK / (mass_BG @ likelihood_KG.T)) @ likelihood_KG)
        return cls(q_G, mass_BG)

    def ranked_pairs_B(self) -> tuple[Floats, Floats]:
        """(B,) P(q1 > q2, Y1 = 1, Y2 = 0) + half of P(q1 = q2, ...), and P(Y1 = 1, Y2 = 0), for independent q1, q2.

        Their ratio is the AUROC that the true q has as a forecast of its outcome Y.

        >>> Mixture(np.array([0.1, 0.9]), np.array([[0.5, 0.5]])).ranked_pairs_B()
        (array([0.225]), array([0.25]))
        """
        positive_BG, negative_BG = self.mass_BG * self.q_G, self.mass_BG * (1 - self.q_G)
        below_BG = np.cumsum(negative_BG, axis=1) - negative_BG / 2
        return (positive_BG * below_BG).sum(axis=1), positive_BG.sum(axis=1) * negative_BG.sum(axis=1)
