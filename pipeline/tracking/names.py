"""Names of metrics in wandb: the one table from the names that histories have. Needs no wandb.

wandb sorts and filters by names that match `[_a-zA-Z][_a-zA-Z0-9]*`, and folds panels into sections at "/", so a name
is a path whose every part matches. The same names stand in rows, summaries, dashboards and documents.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

# Name in a history -> name in wandb. `*` stands for the same text on both sides.
METRIC_NAMES = {
    "label_*": "label/*",
    "train_loss": "train/loss",
    "grad_norm": "train/grad_norm",
    "update_norm": "train/update_norm",
    "weight_norm": "weights/norm",
    "init_distance": "weights/init_distance",
    "probe_*": "probe/*",
    "attention_entropy.*": "heads/attention_entropy/*",
    "previous_token_score.*": "heads/previous_token/*",
    "induction_score.*": "heads/induction/*",
    "*.*": "*/*",
    "*": "other/*",
}
# Added to the name of a metric whose quantiles over the runs of a setting are tracked.
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
# Added to the name of a label metric in the summary of a run.
BEST = "best"

STEP = "step"
RUN_STEPS = "sweep/run_steps"
CONVERGED_SHARE = "setting/converged_share"
NUM_RUNS = "setting/num_runs"
P_CONVERGED = "forecast/p_converged"
P_DIVERGED = "forecast/p_diverged"
FORECAST_WINDOW = "forecast/window"
FORECAST_STEP = "forecast/step"
MEDIAN_STEP = "forecast/median_step"
EXPECTED_SHARE = "forecast/expected_converged_share"
NUM_FORECAST = "forecast/num_runs"
RUN_TIME = "time/run_s"
OUTCOME_TABLE = "tables/outcomes"
AUROC_TABLE = "tables/auroc"
INTERVAL_TABLE = "tables/auroc_interval"
CALIBRATION_TABLE = "tables/calibration"

# What is tracked under names of its own, and what it is.
OWN_NAMES: Mapping[str, str] = {
    STEP: "optimiser steps of the run: the axis of every panel of runs and settings",
    RUN_TIME: "seconds since the run's first row, by the clock of the machine that trained it",
    P_CONVERGED: "probability that the run converges within its budget, by the newest forecast",
    P_DIVERGED: "probability that it diverges",
    FORECAST_WINDOW: "share of the budget that the forecast is made from",
    FORECAST_STEP: "step that the run stood at when it was made",
    MEDIAN_STEP: "median step of convergence, where that is within the budget",
    CONVERGED_SHARE: "share of a setting's runs that have converged by a step, of all of them",
    NUM_RUNS: "runs of the setting that recorded something at the step",
    EXPECTED_SHARE: "share of a setting's runs that have converged, or are expected to",
    NUM_FORECAST: "runs in training that this rests on",
    RUN_STEPS: "run-steps of the whole sweep so far: the axis of its progress",
    "sweep/num_running": "runs in training",
    "sweep/num_done": "runs that have ended",
    "sweep/num_converged": "runs that ended and have converged",
    "sweep/num_diverged": "runs that diverged",
    "sweep/run_steps_left": "run-steps up to the budgets of all runs",
    "sweep/expected_converged": "runs that have converged or are expected to, of those that ended or have a forecast",
    "sweep/expected_of": "runs that ended or have a forecast",
    OUTCOME_TABLE: "how many runs of each setting ended how, when the mirror last closed the sweep's run",
    AUROC_TABLE: "AUROC between the seeds of a setting, by predictor and window, of the newest analysis",
    INTERVAL_TABLE: "the same of the predictor that forecasts are made by, with its 95% interval, a line each",
    CALIBRATION_TABLE: "share that converged in bins of the forecast, by window, of the newest analysis",
}

_PART = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")


@cache
def wandb_name(metric: str) -> str:
    """The name in wandb of a metric of a history.

    >>> wandb_name("label_loss"), wandb_name("induction_score.l0h1"), wandb_name("circuits.qk-0")
    ('label/loss', 'heads/induction/l0h1', 'circuits/qk_0')
    """
    for pattern, name in METRIC_NAMES.items():
        found = re.fullmatch(re.escape(pattern).replace(r"\*", "(.+?)"), metric, re.DOTALL)
        if found is not None:
            for text in found.groups():
                name = name.replace("*", text, 1)
            return "/".join(map(_legal, name.replace(".", "/").split("/")))
    raise AssertionError(f"no name for {metric!r}")


def quantile_names(metric: str) -> list[str]:
    """The names of the quantiles of a metric, in the order of `QUANTILES`."""
    return [f"{wandb_name(metric)}_{quantile}" for quantile in QUANTILES]


def is_legal(name: str) -> bool:
    """Whether wandb can sort and filter by a name: every part of its path is a word of letters, digits and `_`."""
    return all(_PART.fullmatch(part) for part in name.split("/"))


def names_table() -> Iterable[tuple[str, str]]:
    """(name in a history, name in wandb) as documents show them."""
    yield from METRIC_NAMES.items()
    yield "label_loss of a setting", ", ".join(quantile_names("label_loss"))
    yield "best label_loss of a run, in its summary", f"{wandb_name('label_loss')}_{BEST}"


def _legal(part: str) -> str:
    cleaned = re.sub(r"[^_a-zA-Z0-9]", "_", part)
    return cleaned if _PART.fullmatch(cleaned) else f"_{cleaned}"
