"""What of the runs a page holds: all, or an even sample, so that its size does not grow with their number."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np

from analysis.outcomes.settings import setting_labels, setting_R
from analysis.outcomes.subsets import chosen_runs
from analysis.page.size import AS_TEXT, RUNS_SHARE, evenly_spaced
from pipeline.arrays import Floats, Ints
from pipeline.store.history import History

# Of more steps of a metric so many are held, of more metrics so many. One run then takes 26 kB.
MOST_STEPS, MOST_METRICS = 400, 64
# Bytes: a value of the judged metric, and of others where there are many; a run's other columns; a step, in a header.
_EXACT, _CODED, _OF_RUN, _OF_STEP = 4, 1, 128, 12
# A setting's name and values, at the least: quotation marks, braces.
_OF_SETTING = 32


@dataclass(frozen=True)
class PagePart:
    """Places of the runs that a page holds, the metrics, and the steps of each, by place in `steps_T`."""

    rows: Ints
    steps: dict[str, Ints]

    @classmethod
    def of(cls, history: History, judged: str) -> PagePart:
        """All runs that fit, or as many, evenly spaced within settings, in their order.

        By bytes before compression, which noise hardly shrinks, at 8 bits a value but for the metric `judged`, which is
        exact. In proportion to settings, of which a small one may have none among so many that fit.
        """
        recorded = {name: recorded_T(history.values[name]) for name in shown_metrics(history)}
        chosen = [judged] * (judged in recorded) + [name for name in recorded if name != judged]
        steps = {name: recorded[name][evenly_spaced(len(recorded[name]), MOST_STEPS)] for name in chosen[:MOST_METRICS]}
        values = sum(len(kept_T) * (_EXACT if name == judged else _CODED) for name, kept_T in steps.items())
        room = RUNS_SHARE / AS_TEXT - _OF_STEP * sum(map(len, steps.values()))
        # Each run may be of another setting.
        longest = max(map(len, setting_texts(history)), default=0) + _OF_SETTING
        return cls(_even_runs(history, max(1, int(room / (values + _OF_RUN + longest)))), steps)

    def held(self, history: History) -> History:
        """These runs with these metrics, which keep all of their steps."""
        part = chosen_runs(history, self.rows)
        return replace(part, values={name: part.values[name] for name in self.steps})

    def text(self, history: History) -> str:
        """What is left out, in sentences; empty where the page holds everything."""
        sentences = []
        if len(self.rows) < len(history.runs):
            sentences.append(
                f"The plots and the table of runs on this page hold {len(self.rows):,} of the {len(history.runs):,} "
                "runs, evenly spaced within each setting. The findings above and the figures and tables below are of "
                "all runs."
            )
        if (num := len(shown_metrics(history))) > len(self.steps):
            sentences.append(f"Of {num:,} metrics the page holds {len(self.steps)}.")
        if any(len(recorded_T(history.values[name])) > len(kept_T) for name, kept_T in self.steps.items()):
            sentences.append(f"Curves are drawn through at most {MOST_STEPS} steps, evenly spaced among the recorded.")
        return " ".join(sentences)


def shown_metrics(history: History) -> tuple[str, ...]:
    """The metrics of which a value was recorded, those of the label set first, readings last."""
    recorded = [name for name, values_RT in history.values.items() if len(recorded_T(values_RT))]
    first = {name: (name in history.readings, not name.startswith("label_"), name) for name in recorded}
    return tuple(sorted(recorded, key=lambda name: first[name]))


def recorded_T(values_RT: Floats) -> Ints:
    """Places of the steps at which some run has a value."""
    return np.flatnonzero(~np.isnan(values_RT).all(axis=0))


def setting_texts(history: History) -> list[str]:
    """Each setting's name and values, as they stand on a page."""
    labels = setting_labels(history)
    values = {run.setting_id: run.hyperparameters for run in history.runs}
    return [f"{json.dumps(labels[one])}{json.dumps(values[one], default=str)}" for one in labels]


def _even_runs(history: History, most: int) -> Ints:
    everyone = np.arange(len(history.runs))
    if most >= len(everyone):
        return everyone
    by_setting = np.argsort(np.unique(setting_R(history.runs), return_inverse=True)[1], kind="stable")
    return np.sort(by_setting[np.linspace(0, len(everyone) - 1, most).round().astype(np.int64)])
