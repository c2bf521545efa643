"""Helpers for claim figures: captions over several sweeps, mean and median curves with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from analysis.claims.claims import ClaimFunction
from analysis.claims.sweeps import Sweeps, UndecidedError
from analysis.figures.marks import band
from analysis.figures.style import Rows, captioned, number
from analysis.summary.text import describe_provenance
from analysis.uncertainty.estimates import median_of_runs
from analysis.uncertainty.intervals import Estimate
from analysis.uncertainty.resampling import resample
from pipeline.arrays import Floats, Ints
from pipeline.store.history import RunInfo

NUM_BAND_RESAMPLES = 400


def finding(sweeps: Sweeps, measure: ClaimFunction, sentence: str, subject: str, digits: int | None = None) -> str:
    """A title that states what was found: `sentence`, with the estimate and its 95% interval in place of `{}`.

    The sentence says what the number is of, so that it is true whatever the number. Without an estimate, that the
    `subject` is undecided. None is as many digits as the interval warrants.
    """
    try:
        found = measure(sweeps)
    except UndecidedError:
        return f"Undecided: {subject}"
    estimate = Estimate(found.estimate, found.low, found.high)
    if not np.isfinite(estimate.value):
        return f"Undecided: {subject}"
    return sentence.format(estimate.concise() if digits is None else estimate.text(digits))


def sweeps_caption(sweeps: Sweeps, names: Sequence[str], *parts: str) -> list[str]:
    """The lines under a figure's title: what is seen, then each sweep with its runs, budget and commit."""
    facts = [
        f"{name}: {len(sweeps[name].history.runs)} runs, all {sweeps[name].history.budget} steps, "
        f"{describe_provenance(sweeps[name].provenance)}."
        for name in names
    ]
    return captioned(parts, facts)


def curve_rows(values_RT: Floats, steps_T: Ints | Floats, runs: Sequence[RunInfo], **labels: Any) -> Rows:
    """Rows of step, value (mean over runs), low and high (its 95% interval over seeds), at the steps recorded.

    Low and high are null where there are not two seeds. NaN is left out of the mean. `labels` stand in every row.
    """
    recorded = np.flatnonzero(~np.all(np.isnan(values_RT), axis=0))
    resamples = resample(runs, NUM_BAND_RESAMPLES, 0)
    weight_BR = resamples.with_estimate()
    known_RT = np.isfinite(values_RT[:, recorded])
    total_BT = weight_BR @ known_RT
    sum_BT = weight_BR @ np.where(known_RT, values_RT[:, recorded], 0)
    mean_BT = np.where(total_BT > 0, sum_BT / np.maximum(total_BT, 1), np.nan)
    has_interval = resamples.num_units > 1
    rows: Rows = []
    for column, t in enumerate(recorded):
        drawn_B = mean_BT[1:, column][np.isfinite(mean_BT[1:, column])] if has_interval else np.empty(0)
        low, high = np.quantile(drawn_B, [0.025, 0.975]) if len(drawn_B) else (np.nan, np.nan)
        place = {"step": float(steps_T[t]), "value": number(float(mean_BT[0, column]))}
        rows.append(labels | place | {"low": number(float(low)), "high": number(float(high))})
    return rows


def median_rows(values_RT: Floats, steps_T: Ints | Floats, runs: Sequence[RunInfo], **labels: Any) -> Rows:
    """As `curve_rows`, with medians: a few runs that are far away do not hide the others."""
    rows: Rows = []
    for t in np.flatnonzero(~np.all(np.isnan(values_RT), axis=0)):
        found = median_of_runs(values_RT[:, t], runs, bootstrap=NUM_BAND_RESAMPLES)
        place = {"step": float(steps_T[t]), "value": number(found.value)}
        rows.append(labels | place | {"low": number(found.low), "high": number(found.high)})
    return rows


def bands(x: alt.X, title: str, *, scale: alt.Scale | None = None, detail: Sequence[str] = (), **encodings: Any) -> Any:
    """Lines with their bands for rows as `curve_rows` gives them; data are set by whoever layers or facets it.

    `title` and `scale` are those of the y axis. `detail` names further fields that tell lines apart; `encodings` are
    colours and the like.
    """
    base = alt.Chart().encode(x=x, **encodings)
    if detail:
        base = base.encode(detail=[alt.Detail(f"{name}:N") for name in detail])
    return band(base, title, scale=scale)
