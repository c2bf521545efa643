"""How alike converged runs of different models attend in one layer, by kind of query."""

from __future__ import annotations

import numpy as np

from analysis.claims.claims import Evidence
from analysis.claims.sweeps import Sweeps
from analysis.dynamics.similarity_contrasts import contrast
from analysis.outcomes.settings import runs_by_setting, setting_labels, setting_R
from analysis.uncertainty.intervals import short
from pipeline.arrays import Floats
from pipeline.store.history import History
from sweeps.zhao_2023.attention_maps.by_query import LayerMaps, first_layer, positions

DIFFERENT_MODELS = "models"


def similarity_across_models(sweeps: Sweeps, *, queries: str) -> Evidence:
    """Mean cosine of the first-layer maps of two converged runs of different models, from queries of one kind.

    Models differ in width, head width or learning rate.
    """
    sweep = sweeps[DIFFERENT_MODELS]
    return across_settings(first_layer(sweep), sweep.history, queries)


def similarity_by_model(sweeps: Sweeps, *, queries: str) -> tuple[list[str], Floats]:
    """The models' labels, and the mean cosine (M, M) of two converged runs, one of each; NaN where there is no pair."""
    sweep = sweeps[DIFFERENT_MODELS]
    return by_setting(first_layer(sweep), sweep.history, queries)


def across_settings(found: LayerMaps, history: History, queries: str) -> Evidence:
    """Mean cosine of the maps of two converged runs of different settings, from queries of one kind.

    Runs of one seed are no pair. The note has the two settings that are least alike, and the mean over pairs of runs of
    one setting.
    """
    alike_RR = found.similarity_RR(positions(queries, found.length))
    setting_of_R = setting_R(history.runs)
    is_same_RR = setting_of_R[:, None] == setting_of_R
    across = contrast(
        found.runs,
        np.where(is_same_RR, np.nan, alike_RR),
        np.where(is_same_RR, alike_RR, np.nan),
        found.converged_R,
        found.converged_R,
    )
    labels, mean_MM = by_setting(found, history, queries)
    between_MM = np.where(np.eye(len(labels), dtype=bool), np.inf, np.nan_to_num(mean_MM, nan=np.inf))
    one, other = np.unravel_index(between_MM.argmin(), between_MM.shape)
    note = (
        f"{int(found.converged_R.sum())} of {len(found.runs)} runs of {len(labels)} models converged; least alike: "
        f"{labels[one]} and {labels[other]}, {short(float(between_MM[one, other]))}; two runs of one model have "
        f"{across.second.text()}."
    )
    return Evidence.of(across.first, found.runs, note, num_runs=across.num_runs[0])


def by_setting(found: LayerMaps, history: History, queries: str) -> tuple[list[str], Floats]:
    """The settings' labels, and the mean cosine (M, M) of two converged runs, one of each; NaN where is no pair."""
    alike_RR = found.similarity_RR(positions(queries, found.length))
    seed_R = np.array([run.init_seed for run in history.runs])
    is_pair_RR = (seed_R[:, None] != seed_R) & found.converged_R & found.converged_R[:, None] & np.isfinite(alike_RR)
    member_MR = np.array(list(runs_by_setting(history).values()), dtype=np.float64)
    total_MM = member_MR @ np.where(is_pair_RR, alike_RR, 0.0) @ member_MR.T
    num_MM = member_MR @ is_pair_RR.astype(np.float64) @ member_MR.T
    mean_MM = np.where(num_MM > 0, total_MM / np.maximum(num_MM, 1), np.nan)
    return list(setting_labels(history).values()), mean_MM
