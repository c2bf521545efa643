"""Sweeps with planted truth, and what is left of them where a rule stops their runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.forecasting.control_share import control_runs, rule_stops_R
from pipeline.stopping.forecast import StopByForecast
from pipeline.stopping.policy_file import Policy
from pipeline.store.history import History, RunEnd, RunInfo

STEPS = np.array([0, 100, 200, 300, 400])


def drawn_sweep(num_runs: int, seed: int, first: int = 0) -> History:
    """Runs that converge at step 300 or never, with a chance that the probe loss at step 100 half tells."""
    rng = np.random.default_rng(seed)
    latent_R = rng.normal(size=num_runs)
    converged_R = rng.random(num_runs) < 1 / (1 + np.exp(-1.5 * latent_R))
    excess_RT = np.where(converged_R[:, None] & (STEPS >= 300), 0.0, 1.0)
    probe_RT = np.tile(-latent_R[:, None], (1, len(STEPS)))
    runs = tuple(RunInfo(f"{seed}-{r}", "s", first + r, first + r, {}) for r in range(num_runs))
    values = {"label_excess": excess_RT, "probe_loss": probe_RT}
    return History("drawn", 400, runs, (RunEnd("budget", 400),) * num_runs, STEPS, values)


def crude_rule(control_share: float = 0.2, highest: float = 0.3) -> StopByForecast:
    """Stops runs at step 100 whose probe loss is above `highest`: many that would converge are lost."""
    numbers = {"fill": 0.0, "low": -9.0, "high": 9.0, "mean": highest, "spread": 1.0, "weight": -1.0}
    column = {"source": "metric", "name": "probe_loss", "at": 100, **numbers}
    window = {"share": 0.25, "step": 100, "columns": [column], "intercept": 0.0, "threshold": 0.5}
    criterion = {"metric": "label_excess", "at_most": 0.02, "evaluations": 2}
    counts = {"num_runs": 9, "num_convergers": 9, "num_lost": 0, "lose_at_most": 0.01, "is_promised": False}
    about = {"source": "crude", "settings": ["s"], "budget": 400, "criterion": criterion, "windows": [window]}
    return StopByForecast(predictor=Policy.model_validate({**about, **counts}), control_share=control_share)


def under_rule(history: History, rule: StopByForecast) -> History:
    """The same sweep had it run under the rule: nothing of a stopped run after its stop."""
    stop_R = np.where(control_runs(history, rule), np.inf, rule_stops_R(history, rule))
    ends = tuple(
        RunEnd("stopped", int(stop)) if np.isfinite(stop) else end
        for stop, end in zip(stop_R, history.ends, strict=True)
    )
    is_seen_RT = history.steps_T <= stop_R[:, None]
    values = {metric: np.where(is_seen_RT, array, np.nan) for metric, array in history.values.items()}
    return replace(history, ends=ends, values=values)
