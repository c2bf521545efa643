"""Which runs a page holds: all, or an even sample, so that its size does not grow with the number of runs."""

from __future__ import annotations

import numpy as np

from analysis.outcomes.settings import setting_R
from pipeline.arrays import Ints
from pipeline.store.history import History

# Bytes of curves and columns by run that a page holds at most, as text.
MOST_BYTES_OF_RUNS = 2_400_000
# A byte as text of base64; a value of the judged metric, and of others where there are many; a run's other columns.
_AS_TEXT, _EXACT, _CODED, _OF_RUN = 4 / 3, 4, 1, 64


def page_rows(history: History, judged: str) -> Ints:
    """Places of the runs that a page holds: all that fit, or as many, evenly spaced within settings, in their order.

    By bytes before compression, which noise hardly shrinks, at 8 bits a value but for the metric `judged`, which is
    exact. In proportion to settings, of which a small one may have none among so many that fit.
    """
    recorded = {name: int((~np.isnan(values_RT)).any(axis=0).sum()) for name, values_RT in history.values.items()}
    values = sum(recorded.values()) * _CODED + recorded.get(judged, 0) * (_EXACT - _CODED)
    most = max(1, int(MOST_BYTES_OF_RUNS / _AS_TEXT / (values + _OF_RUN)))
    everyone = np.arange(len(history.runs))
    if most >= len(everyone):
        return everyone
    by_setting = np.argsort(np.unique(setting_R(history.runs), return_inverse=True)[1], kind="stable")
    return np.sort(by_setting[np.linspace(0, len(everyone) - 1, most).round().astype(np.int64)])


def sampled_text(num_shown: int, num_runs: int) -> str:
    """What a page says of its sample; empty where it holds all runs."""
    if num_shown == num_runs:
        return ""
    return (
        f"The plots and the table of runs on this page hold {num_shown:,} of the {num_runs:,} runs, evenly spaced "
        "within each setting. The findings above and the figures and tables below are of all runs."
    )
