"""What the page knows of a sweep: names and settings as plain values, columns by run, and a blob for each metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.forecasting.evaluation import PRIMARY
from analysis.outcomes.outcomes import CENSORED, OUTCOME_KINDS, Outcomes
from analysis.outcomes.settings import setting_labels
from analysis.page.columns import MANY_VALUES, columns_blob, metric_blob
from analysis.page.findings import findings
from analysis.page.sampled import PagePart, shown_metrics
from analysis.uncertainty.intervals import json_safe
from pipeline.arrays import Array, Floats, Ints
from pipeline.store.history import History

if TYPE_CHECKING:
    from analysis.summary.analyse import Analysis

IN_TRAINING = "in training"
PAGE_KINDS = (*OUTCOME_KINDS, IN_TRAINING)
# Larger whole numbers need not be floats, which is what a browser takes the numbers of JSON for.
_MOST_EXACT = 2**53 - 1
# Probabilities are shown to four digits; this code means that there is none.
_NO_PROBABILITY = 65535


@dataclass(frozen=True)
class PageData:
    """`state`: plain values that the page reads first; `blobs`: name -> bytes of `columns`, read when needed."""

    state: Mapping[str, Any]
    blobs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class NewestForecast:
    """The newest forecast of runs in training: run_id -> P(converged), median, low and high step (None: beyond)."""

    by_run: Mapping[str, tuple[float, float | None, float | None, float | None]]


@dataclass(frozen=True)
class PageSource:
    """What the results folders add to an analysis: the folder that replays name (empty for several), and maps.

    `maps` are the numbers, among the runs that the page holds, of those whose attention maps are in `maps_blob`;
    `maps_text` says which are left out.
    """

    folder: str = ""
    maps: tuple[int, ...] = ()
    maps_blob: bytes = b""
    maps_text: str = ""


def page_data(analysis: Analysis, source: PageSource | None = None) -> PageData:
    """The data of a page that needs nothing else, from an analysis and what the results folders add to it.

    Of more runs than a page can hold, an even sample (see `PagePart`), which `source` must be of, too.
    """
    part = PagePart.of(analysis.history, analysis.outcomes.criterion.metric)
    rows = part.rows
    history, outcomes = part.held(analysis.history), analysis.outcomes.rows(rows)
    windows = () if analysis.evaluation is None else analysis.evaluation.windows
    held_out = {
        f"held_out_{number}": _by_run(window.scored_R, window.probability_N[PRIMARY])[rows]
        for number, window in enumerate(windows)
        if PRIMARY in window.probability_N and len(window.probability_N[PRIMARY])
    }
    newest = None
    if analysis.forecasts is not None:
        known = [run for run in analysis.forecasts.runs if not run.problem]
        newest = NewestForecast(
            {r.run_id: (r.converged, _or_none(r.median), _or_none(r.low), _or_none(r.high)) for r in known}
        )
    shares = {f"held_out_{number}": (window.fraction, window.last_step) for number, window in enumerate(windows)}
    state = page_state(history, outcomes) | {
        "findings": findings(analysis),
        "left_out": " ".join(filter(None, [part.text(analysis.history), "" if source is None else source.maps_text])),
        "is_sample": len(part.rows) < len(analysis.history.runs),
        "forecasts": forecast_names({name: shares[name] for name in held_out}, newest),
    }
    blobs = {"runs": runs_blob(history, outcomes, held_out, newest)}
    if source is not None:
        state |= {"folder": source.folder, "attention": {"runs": list(source.maps)} if source.maps else None}
        blobs |= {"attention": source.maps_blob} if source.maps else {}
    for number, metric in enumerate(shown_metrics(history)):
        blobs[f"metric_{number}"] = blob_of(history, outcomes, metric, kept_T=part.steps[metric])
    return PageData(state, blobs)


def page_state(history: History, outcomes: Outcomes) -> dict[str, Any]:
    """What is the same for all commits of a sweep, and the metrics so far, in plain values."""
    labels = setting_labels(history)
    first = {run.setting_id: run.hyperparameters for run in reversed(history.runs)}
    criterion = outcomes.criterion
    limit = criterion.at_most if criterion.at_most is not None else criterion.at_least
    state = {
        "name": history.name,
        "budget": history.budget,
        "num_runs": len(history.runs),
        "kinds": list(PAGE_KINDS),
        "varied": list(history.varied),
        "settings": [{"label": labels[setting], "values": _plain(first[setting])} for setting in labels],
        "criterion": {"text": str(criterion), "metric": criterion.metric, "limit": limit},
        "metrics": list(shown_metrics(history)),
        "windows": [list(window) for window in history.windows],
        "findings": [],
        "left_out": "",
        "is_sample": False,
        "forecasts": [],
    }
    plain = json_safe(state)
    assert isinstance(plain, dict)
    return plain


def blob_of(history: History, outcomes: Outcomes, metric: str, version: int = 0, kept_T: Ints | None = None) -> bytes:
    """A metric's values: as float32 if outcomes are judged by it, else at 16 bits, of many values 8.

    `version` is that of the commits of a page that is served; `kept_T` as in `metric_blob`.
    """
    values_RT = history.values[metric]
    bits = 8 if values_RT.size * len(history.values) > MANY_VALUES else 16
    bits_or_exact = None if metric == outcomes.criterion.metric else bits
    return metric_blob(metric, history.steps_T, values_RT, bits_or_exact, version, kept_T)


def runs_blob(
    history: History, outcomes: Outcomes, held_out: Mapping[str, Floats], newest: NewestForecast | None
) -> bytes:
    """Columns by run: identity, setting, seeds, outcome and its steps, probabilities (10,000ths), end."""
    place = {setting: number for number, setting in enumerate(setting_labels(history))}
    runs = history.runs
    columns: dict[str, Array] = {
        "setting": np.array([place[run.setting_id] for run in runs], np.uint16 if len(place) < 65536 else np.uint32),
        # Seeds go up to 2**63 - 1, beyond the whole numbers that a float holds.
        "init_seed": np.array([run.init_seed for run in runs], np.uint64),
        "data_seed": np.array([run.data_seed for run in runs], np.uint64),
        "kind": kinds_R(history, outcomes).astype(np.uint8),
        "lower": outcomes.lower_R.astype(np.float32),
        "upper": outcomes.upper_R.astype(np.float32),
        "step": np.array([end.step for end in history.ends], np.float32),
    }
    columns |= {name: _coded(p_R) for name, p_R in held_out.items()}
    if newest is not None:
        columns |= newest_columns([run.run_id for run in runs], newest)
    texts = {"run_id": [run.run_id for run in runs]}
    if any(run.parent for run in runs):
        texts["parent"] = [f"{run.parent} at step {run.fork_step}" if run.parent else "" for run in runs]
    return columns_blob(columns, texts)


def newest_columns(run_ids: Sequence[str], newest: NewestForecast) -> dict[str, Array]:
    """P(converged) in 10,000ths and steps of convergence of each run; NaN steps lie beyond the budget."""
    rows = [newest.by_run.get(run_id) for run_id in run_ids]
    found = {"newest": _coded(np.array([np.nan if row is None else row[0] for row in rows]))}
    for number, name in enumerate(("median", "low", "high"), start=1):
        steps = [np.nan if row is None or row[number] is None else row[number] for row in rows]
        found[f"newest_{name}"] = np.array(steps, np.float32)
    return found


def kinds_R(history: History, outcomes: Outcomes) -> Ints:
    """(R,) place of each run's outcome in PAGE_KINDS; a run that still trains is no censored one there."""
    kind_R = np.array([OUTCOME_KINDS.index(kind) for kind in outcomes.kind_R.tolist()], np.int64)
    is_running_R = np.array([end.reason == "running" for end in history.ends], bool)
    return np.where(is_running_R & (outcomes.kind_R == CENSORED), PAGE_KINDS.index(IN_TRAINING), kind_R)


def forecast_names(held_out: Mapping[str, tuple[float, int]], newest: NewestForecast | None) -> list[dict[str, Any]]:
    """The columns of probabilities, each with what it is in words."""
    rows: list[dict[str, Any]] = [
        {"column": name, "share": share, "text": _window_text(share, step)} for name, (share, step) in held_out.items()
    ]
    if newest is not None:
        rows.insert(0, {"column": "newest", "share": None, "text": "newest, of runs in training"})
    return rows


def _window_text(share: float, step: int) -> str:
    seen = f"first {100 * share:.3g}%, to step {step}" if share else "initialisation"
    return f"{seen} (held out)"


def _by_run(scored_R: Array, probability_N: Floats) -> Floats:
    found_R = np.full(len(scored_R), np.nan)
    found_R[scored_R] = probability_N
    return found_R


def _coded(probability_R: Floats) -> Array:
    code_R = np.round(np.nan_to_num(probability_R) * 10_000)
    return np.where(np.isfinite(probability_R), code_R, _NO_PROBABILITY).astype(np.uint16)


def _or_none(step: float) -> float | None:
    return float(step) if np.isfinite(step) else None


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers, booleans and None as they are, anything else as text; so are numbers that a browser would round."""
    return {name: value if _is_plain(value) else str(value) for name, value in values.items()}


def _is_plain(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= _MOST_EXACT
    return value is None or isinstance(value, (float, str))
