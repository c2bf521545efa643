"""Similarity of attention maps between runs, for the claims and figures on Zhao (2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.claims.sweeps import JudgedSweep, UndecidedError
from analysis.dynamics.attention import permuted_positions, read_maps, similarity, steps_at_level, visible_keys
from analysis.dynamics.similarity_contrasts import SimilarityContrast, contrast
from analysis.outcomes.outcomes import CONVERGED, UNCONVERGED
from pipeline.arrays import Bools, Floats
from pipeline.store.history import RunInfo
from sweeps.zhao_2023.measures import outcomes_of, phase_changes

# Excess of 1 is the loss of predicting label frequencies: the best loss without a lookup head.
PLATEAU, NEAR_PLATEAU = 0.9, 0.15


@dataclass(frozen=True)
class AttentionMaps:
    """Attention maps of the runs of a sweep in two cuts that training acts on, both of the same items.

    `layer1`: all queries. `layer2`: the last query, the only one of the last layer on which the loss depends; its other
    queries are not trained.
    """

    layer1: Floats
    layer2: Floats

    @classmethod
    def at(cls, sweep: JudgedSweep, step_R: Floats) -> AttentionMaps:
        """Each run at its own step; NaN where there are no maps. Raises UndecidedError where there are none at all."""
        if sweep.snapshots is None:
            raise UndecidedError("no attention map was kept")
        try:
            maps = read_maps(sweep.snapshots, [run.run_id for run in sweep.history.runs], step_R)
        except ValueError as error:
            raise UndecidedError(str(error)) from None
        return cls(maps[:, :1], maps[:, 1:, ..., -1:, :])

    @property
    def cuts(self) -> tuple[Floats, Floats]:
        """Both cuts, the first layer first."""
        return self.layer1, self.layer2

    def permuted(self, seed: int = 0) -> AttentionMaps:
        """The maps with positions permuted, independently in each run."""
        return AttentionMaps(*(permuted_positions(cut, seed, visible_keys(cut)) for cut in self.cuts))

    def alike(self, other: AttentionMaps | None = None) -> list[Floats]:
        """Per cut, (R, R) similarity of every run with every run of `other` (default: with one another)."""
        others = (None, None) if other is None else other.cuts
        return [similarity(cut, against) for cut, against in zip(self.cuts, others, strict=True)]


@dataclass(frozen=True)
class MapContrast:
    """The similarity of converged runs less that of something else: both cuts together, and each by itself."""

    both: SimilarityContrast
    layer1: SimilarityContrast
    layer2: SimilarityContrast

    @classmethod
    def of(
        cls, runs: Sequence[RunInfo], first: list[Floats], second: list[Floats], in_first_R: Bools, in_second_R: Bools
    ) -> MapContrast:
        """From similarities (R, R) per cut: pairs of runs in `in_first_R` against pairs in `in_second_R`."""
        pairs = [(np.mean(first, axis=0), np.mean(second, axis=0)), *zip(first, second, strict=True)]
        return cls(*(contrast(runs, a, b, in_first_R, in_second_R) for a, b in pairs))

    def note(self, what: str) -> str:
        """A sentence with both similarities in each cut."""
        cuts = (("layer 1", self.layer1), ("layer 2, last query", self.layer2))
        parts = (f"{name} {cut.first.text()} against {cut.second.text()}" for name, cut in cuts)
        return f"Cosine similarity of converged runs against {what}: {'; '.join(parts)}."


class AttentionContrasts:
    """The four contrasts of a sweep whose maps were kept at several steps, its budget among them."""

    def __init__(self, sweep: JudgedSweep) -> None:
        self.sweep, self.history = sweep, sweep.history
        self.outcomes = outcomes_of(sweep.history)
        self.converged_R = self.outcomes.is_kind_R(CONVERGED)
        self.last = AttentionMaps.at(sweep, np.full(len(self.history.runs), float(self.history.budget)))

    def of_permuted(self) -> MapContrast:
        """The same runs with positions renamed: what runs that agree on no position have in common."""
        permuted = self.last.alike(self.last.permuted())
        return MapContrast.of(self.history.runs, self.last.alike(), permuted, self.converged_R, self.converged_R)

    def of_unconverged(self) -> MapContrast:
        """Pairs of runs that did not converge."""
        alike, others_R = self.last.alike(), self.outcomes.is_kind_R(UNCONVERGED)
        return MapContrast.of(self.history.runs, alike, alike, self.converged_R, others_R)

    def of_init(self) -> MapContrast:
        """The same runs before the first step."""
        init = AttentionMaps.at(self.sweep, np.zeros(len(self.history.runs)))
        return MapContrast.of(self.history.runs, self.last.alike(), init.alike(), self.converged_R, self.converged_R)

    def of_matched_loss(self) -> MapContrast:
        """The same runs at one loss, that of the plateau, before their jump."""
        step_R = self.step_at_plateau_R()
        before = AttentionMaps.at(self.sweep, step_R)
        use_R = self.converged_R & np.isfinite(step_R)
        return MapContrast.of(self.history.runs, self.last.alike(), before.alike(), use_R, use_R)

    def matched_text(self) -> str:
        """How many converged runs have a snapshot at that loss before their jump."""
        num_used = int((self.converged_R & np.isfinite(self.step_at_plateau_R())).sum())
        return (
            f"{num_used} of {int(self.converged_R.sum())} converged runs have a snapshot at that loss before the jump."
        )

    def step_at_plateau_R(self) -> Floats:
        """(R,) the snapshot step before the jump with the excess nearest to PLATEAU; NaN without either."""
        changes = phase_changes(self.history)
        before_R = changes.location_R - changes.width_R / 2
        snapshots = self.sweep.snapshots
        assert snapshots is not None
        steps = sorted({step for run in self.history.runs for step in snapshots.of(run.run_id, "attention")})
        excess_RT = self.history.values["label_excess"]
        step_R = steps_at_level(excess_RT, self.history.steps_T, PLATEAU, NEAR_PLATEAU, before_R, steps)
        return np.where(np.isfinite(before_R), step_R, np.nan)
